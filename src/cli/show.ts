/** An execution as people see it: its output as it appears, then its result or error. */
import type { ExecutionEvent } from "../contract/events.ts";
import type { ExecutionRecord, ExecutionStatus, InputRequest, MimeBundle } from "../contract/records.ts";
import { type Client, memoryNotes } from "../sdk/index.ts";
import { note, write } from "./terminal.ts";

/** The exit status that tells how an execution ended. */
export const EXIT: Readonly<Record<ExecutionStatus, number>> = {
  ok: 0,
  error: 1,
  // The code ended its own process: os._exit, a segmentation fault, more memory than there is.
  crashed: 1,
  timed_out: 3,
  interrupted: 3,
  running: 3,
};

interface ShowOptions {
  /** Told of every question that the code asks. */
  readonly onQuestion: (id: string, question: InputRequest) => void;
}

/** Writes what events tell, to the end; a stream that detaches is followed on. The record at the end. */
export async function showEvents(
  client: Client,
  events: AsyncIterable<ExecutionEvent>,
  options: ShowOptions,
): Promise<ExecutionRecord> {
  const screen = new Screen();
  let source = events;
  let id = "";
  for (;;) {
    let detached: { id: string; offset: number } | null = null;
    for await (const event of source) {
      switch (event.type) {
        case "accepted":
          id = event.id;
          break;
        case "input":
          options.onQuestion(id, event);
          break;
        case "detached":
          detached = { id: event.record.id, offset: event.offset };
          break;
        case "end":
          await screen.end(event.record);
          return event.record;
        default:
          await screen.show(event);
      }
    }
    if (detached === null) throw new Error("The event stream ended without a record.");
    source = client.follow(detached.id, detached.offset);
  }
}

/** stdout and stderr, with the code's output on them. */
export class Screen {
  #midLine = false;

  async show(event: ExecutionEvent): Promise<void> {
    switch (event.type) {
      case "stdout":
        await this.#write(event.text);
        break;
      case "stderr":
        clearProgress();
        process.stderr.write(event.text);
        break;
      case "display":
        if (!event.update) await this.#writeOnOwnLine(displayText(event.mime));
        break;
      case "progress":
        showProgress(event.done, event.total, event.message);
        break;
      default:
        break;
    }
  }

  /** Writes what the end of an execution adds to its output. */
  async end(record: ExecutionRecord): Promise<void> {
    clearProgress();
    if (record.result !== null && record.result.text !== "") await this.#writeOnOwnLine(record.result.text);
    showProblems(record);
  }

  async #write(text: string): Promise<void> {
    if (text === "") return;
    clearProgress();
    await write(text);
    this.#midLine = !text.endsWith("\n");
  }

  #writeOnOwnLine(text: string): Promise<void> {
    return this.#write(`${this.#midLine ? "\n" : ""}${text}\n`);
  }
}

/** How a question can be answered that nobody here answers. */
export function tellQuestion(id: string): void {
  note(`execute-code: the code waits for input: execute-code execution input ${id} TEXT`);
}

function showProblems(record: ExecutionRecord): void {
  if (record.error !== null) {
    const { traceback, type, message } = record.error;
    note(traceback === "" ? `${type}: ${message}` : traceback.trimEnd());
  } else if (record.status === "timed_out" || record.status === "interrupted") {
    note(`execute-code: ${record.status === "timed_out" ? "timed out" : "interrupted"}`);
  }
  for (const late of record.late) {
    note(`execute-code: late ${late.stream}, from ${late.execution}:\n${late.text.trimEnd()}`);
  }
  for (const line of memoryNotes(record)) note(`execute-code: ${line}`);
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
