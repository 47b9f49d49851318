/** `execution peek|wait|interrupt|kill|input`: an execution that runs on, by its id. */
import { LIMITS } from "../contract/limits.ts";
import type { ExecutionRecord } from "../contract/records.ts";
import { type Client, createClient, statusLine } from "../sdk/index.ts";
import { EXIT, Screen, showEvents, tellQuestion } from "./show.ts";
import { aside, note, usageError, writeJson } from "./terminal.ts";

interface Flags {
  json?: boolean;
}

/** Its output so far, and how it stands. */
export async function peek(id: string, flags: Flags & { offset: number }): Promise<number> {
  await using client = createClient({ client: "cli" });
  const record = await client.execution(id);
  if (flags.json) await writeJson(record);
  else {
    await showFrom(client, record, flags.offset);
    note(`${statusLine(record)} offset=${record.offset}`);
    if (record.input_requested !== null) tellQuestion(id);
  }
  return 0;
}

/** Its output from the offset on, to its end. */
export async function wait(id: string, flags: Flags & { offset: number; timeout?: number }): Promise<number> {
  await using client = createClient({ client: "cli" });
  if (flags.json || flags.timeout !== undefined) {
    const record = await client.wait(id, flags.timeout ?? LIMITS.longestMs);
    if (flags.json) await writeJson(record);
    else {
      await showFrom(client, record, flags.offset);
      note(statusLine(record));
    }
    return EXIT[record.status];
  }
  const record = await showEvents(client, client.follow(id, flags.offset), {
    onQuestion: () => tellQuestion(id),
  });
  aside(statusLine(record));
  return EXIT[record.status];
}

/** What the record tells of, from the offset on. */
async function showFrom(client: Client, record: ExecutionRecord, offset: number): Promise<void> {
  const screen = new Screen();
  if (record.offset <= offset) return;
  for await (const event of client.follow(record.id, offset)) {
    await screen.show(event);
    if (event.offset >= record.offset) break;
  }
  if (record.status !== "running") await screen.end(record);
}

export async function interrupt(id: string, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  return await tell(await client.interrupt(id), flags);
}

export async function kill(id: string, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  return await tell(await client.kill(id), flags);
}

/** Answers the question that it waits with. */
export async function input(
  id: string,
  text: string | undefined,
  flags: Flags & { eof?: boolean },
): Promise<number> {
  if ((text === undefined) !== (flags.eof === true)) {
    throw usageError("Give the line as TEXT, or --eof for the end of input.");
  }
  await using client = createClient({ client: "cli" });
  return await tell(await client.input(id, text ?? null), flags);
}

async function tell(record: ExecutionRecord, flags: Flags): Promise<number> {
  if (flags.json) await writeJson(record);
  else note(statusLine(record));
  return 0;
}
