/** A session's history as text that a model reads: bounded, without images. */
import { Writable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { CallToolResult } from "@modelcontextprotocol/server";
import type { Client, ExportFormat } from "../sdk/index.ts";
import { textAnswer } from "./answer.ts";
import { Gathering } from "./text.ts";

/** Characters beside the text: the note. */
const NOTE = 400;

/** Head and tail of the export when it is longer than the room, and where the rest is. */
export async function exportAnswer(
  client: Client,
  session: string,
  { format, all }: { format: ExportFormat; all: boolean },
  room: number,
): Promise<CallToolResult> {
  const gathering = new Gathering(Math.floor((room - NOTE) / 2));
  const decoder = new StringDecoder("utf8");
  const to = new Writable({
    write(chunk: Buffer, _encoding, done) {
      gathering.add(decoder.write(chunk));
      done();
    },
  });
  await client.exportHistory(session, { format, all, images: "omit", to });
  gathering.add(decoder.end());
  const { text, omitted } = gathering.end();
  const answered = textAnswer([text], room - NOTE);
  if (omitted === 0 && text.length <= room - NOTE) return answered;
  const command = `execute-code history export --session ${session} --format ${format}${all ? " --all" : ""} -o FILE`;
  const note = `This is a part of it. All of it, with images, for a person: ${command}`;
  return { content: [...answered.content, { type: "text", text: note }] };
}
