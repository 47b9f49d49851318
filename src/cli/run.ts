/** `run`: code in, output as it appears, the result last. */
import type { Durability, ExecutionRecord, ExecutionStatus, MimeBundle } from "../contract/records.ts";
import { type Client, createClient, type ExecuteRequest, statusLine } from "../sdk/index.ts";
import { readCode } from "./source.ts";
import { aside, note, onReaderGone, write, writeJson } from "./terminal.ts";

interface RunFlags {
  code?: string;
  session: string;
  language?: string;
  /** Milliseconds. */
  timeout?: number;
  fresh?: boolean;
  durability?: Durability;
  json?: boolean;
}

/** The longest that one request may wait; beyond it the execution is followed. */
const DAY_MS = 24 * 3_600_000;

const EXIT: Readonly<Record<ExecutionStatus, number>> = {
  ok: 0,
  error: 1,
  // The code ended its own process: os._exit, a segmentation fault, more memory than there is.
  crashed: 1,
  timed_out: 3,
  interrupted: 3,
  running: 3,
};

export async function run(file: string | undefined, flags: RunFlags): Promise<number> {
  const code = await readCode(file, flags.code);
  const stop = new AbortController();
  listenForSignals(stop);
  await using client = createClient({ client: "cli" });
  const request: ExecuteRequest = {
    code,
    session: flags.session,
    language: flags.language,
    timeoutMs: flags.timeout ?? DAY_MS,
    onTimeout: flags.timeout === undefined ? "detach" : "interrupt",
    durability: flags.durability,
    fresh: flags.fresh,
    signal: stop.signal,
  };
  if (flags.json) {
    const record = await recordOf(client, request);
    await writeJson(record);
    return EXIT[record.status];
  }
  onReaderGone(() => stop.abort());
  const record = await show(client, request);
  aside(statusLine(record));
  return EXIT[record.status];
}

/** The first signal interrupts the code, whose record is still awaited; the second leaves at once. */
function listenForSignals(stop: AbortController): void {
  const interrupt = () => {
    if (stop.signal.aborted) process.exit(3);
    stop.abort();
    aside("Interrupting. Again to leave at once.");
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);
}

async function recordOf(client: Client, request: ExecuteRequest): Promise<ExecutionRecord> {
  let record = await client.execute(request);
  while (record.status === "running") record = await client.wait(record.id, DAY_MS);
  return record;
}

/** Writes the execution's output as it appears, then its result or error. */
async function show(client: Client, request: ExecuteRequest): Promise<ExecutionRecord> {
  let events = client.stream(request);
  let midLine = false;
  const writeOut = async (text: string) => {
    if (text === "") return;
    clearProgress();
    await write(text);
    midLine = !text.endsWith("\n");
  };
  const writeOnOwnLine = (text: string) => writeOut(`${midLine ? "\n" : ""}${text}\n`);
  for (;;) {
    let detached: { id: string; offset: number } | null = null;
    for await (const event of events) {
      switch (event.type) {
        case "stdout":
          await writeOut(event.text);
          break;
        case "stderr":
          clearProgress();
          process.stderr.write(event.text);
          break;
        case "display":
          if (!event.update) await writeOnOwnLine(displayText(event.mime));
          break;
        case "progress":
          showProgress(event.done, event.total, event.message);
          break;
        case "detached":
          detached = { id: event.record.id, offset: event.offset };
          break;
        case "end": {
          clearProgress();
          const { record } = event;
          if (record.result !== null && record.result.text !== "") await writeOnOwnLine(record.result.text);
          showProblems(record);
          return record;
        }
        case "accepted":
        case "failed":
          break;
      }
    }
    if (detached === null) throw new Error("The event stream ended without a record.");
    events = client.follow(detached.id, detached.offset);
  }
}

function showProblems(record: ExecutionRecord): void {
  if (record.error !== null) {
    const { traceback, type, message } = record.error;
    note(traceback === "" ? `${type}: ${message}` : traceback.trimEnd());
  } else if (record.status === "timed_out" || record.status === "interrupted") {
    note(`execute-code: ${record.status === "timed_out" ? "timed out" : "interrupted"}`);
  }
  for (const late of record.late) {
    note(`execute-code: ${late.stream} of ${late.execution}, written after its end:\n${late.text.trimEnd()}`);
  }
  if (record.state === "lost") note("execute-code: the session's earlier variables are lost.");
}

function displayText(mime: MimeBundle): string {
  const text = mime["text/plain"] ?? mime["text/markdown"];
  return typeof text === "string" ? text : `[${Object.keys(mime).join(", ")}]`;
}

let progressShown = false;

function showProgress(done: number, total: number | null, message: string): void {
  if (!process.stderr.isTTY) return;
  const figure = total === null ? `${done}` : `${done}/${total}`;
  process.stderr.write(`\r\u001b[2K${`${figure} ${message}`.slice(0, (process.stderr.columns || 80) - 1)}`);
  progressShown = true;
}

function clearProgress(): void {
  if (progressShown) process.stderr.write("\r\u001b[2K");
  progressShown = false;
}
