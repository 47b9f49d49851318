/**
 * A session's history in a form for others. Executions are read page by page and written as the reader takes them, so
 * that a long history holds up nothing and is never in memory as a whole.
 */
import { Readable } from "node:stream";
import type { ExportQuery } from "../../contract/api.ts";
import type { Artifacts } from "../artifacts.ts";
import type { Content } from "../executions/history.ts";
import type { Store } from "../ports/store.ts";
import { storedSession } from "../stored-session.ts";
import type { Document } from "./document.ts";
import { Executions } from "./executions.ts";
import { jsonl } from "./jsonl.ts";
import { markdown } from "./markdown.ts";
import { notebook } from "./notebook.ts";
import { script } from "./script.ts";

const FORMATS: Readonly<
  Record<ExportQuery["format"], { mime: string; write: (document: Document) => AsyncIterable<string> }>
> = {
  ipynb: { mime: "application/x-ipynb+json", write: notebook },
  md: { mime: "text/markdown; charset=utf-8", write: markdown },
  jsonl: { mime: "application/x-ndjson", write: jsonl },
  py: { mime: "text/x-python; charset=utf-8", write: script },
};

/** Characters that are gathered before they are sent. */
const CHUNK = 64 * 1024;

/** By name or id, also of a closed session. Throws `unknown_session`; the content's stream fails with storage errors. */
export async function exportHistory(
  store: Store,
  artifacts: Artifacts,
  ref: string,
  { format, line, images }: ExportQuery,
): Promise<Content> {
  const session = await storedSession(store, ref);
  const executions = new Executions(store, session, line === "all");
  const { mime, write } = FORMATS[format];
  const stream = Readable.from(gathered(write({ session, line, images, executions, artifacts })), {
    objectMode: false,
    highWaterMark: CHUNK,
  });
  return { mime, bytes: null, source: { stream }, attachment: true };
}

async function* gathered(pieces: AsyncIterable<string>): AsyncGenerator<Buffer, void> {
  let pending = "";
  for await (const piece of pieces) {
    pending += piece;
    if (pending.length < CHUNK) continue;
    yield Buffer.from(pending);
    pending = "";
  }
  if (pending !== "") yield Buffer.from(pending);
}
