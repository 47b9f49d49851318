/** An execution as people see it: its output as it appears, then its result or error. */
import { styleText } from "node:util";
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
  /** What is written to. Default: one that begins with a line of its own. */
  readonly screen?: Screen;
}

/** Writes what events tell, to the end; a stream that detaches is followed on. The record at the end. */
export async function showEvents(
  client: Client,
  events: AsyncIterable<ExecutionEvent>,
  options: ShowOptions,
): Promise<ExecutionRecord> {
  const screen = options.screen ?? new Screen();
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
  #line = "";
  #errorLine = "";

  /** What stands on the line of stdout that has no end yet. */
  get line(): string {
    return this.#line;
  }

  /** Whether a line of stdout, or of stderr, has no end yet. */
  get isOpen(): boolean {
    return this.#line !== "" || this.#errorLine !== "";
  }

  /** Somebody else has ended the line. */
  endLine(): void {
    this.#line = this.#errorLine = "";
  }

  async show(event: ExecutionEvent): Promise<void> {
    switch (event.type) {
      case "stdout":
        await this.#write(event.text);
        break;
      case "stderr":
        clearProgress();
        process.stderr.write(event.text);
        this.#errorLine = lastLine(this.#errorLine, event.text);
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
    this.#line = lastLine(this.#line, text);
  }

  #writeOnOwnLine(text: string): Promise<void> {
    return this.#write(`${this.#line === "" ? "" : "\n"}${text}\n`);
  }
}

/** What stands behind the last end of a line, of a line and what follows it: the end of it, bounded. */
function lastLine(line: string, text: string): string {
  const end = text.lastIndexOf("\n");
  return (end < 0 ? line + text : text.slice(end + 1)).slice(-LINE_CHARS);
}

const LINE_CHARS = 4_000;

/** How a question can be answered that nobody here answers. */
export function tellQuestion(id: string): void {
  note(`execute-code: the code waits for input: execute-code execution input ${id} TEXT`);
}

function showProblems(record: ExecutionRecord): void {
  if (record.error !== null) {
    const { traceback, type, message } = record.error;
    note(emphasized(traceback === "" ? `${type}: ${message}` : traceback.trimEnd(), type));
  } else if (record.status === "timed_out" || record.status === "interrupted") {
    note(`execute-code: ${record.status === "timed_out" ? "timed out" : "interrupted"}`);
  }
  for (const late of record.late) {
    note(`execute-code: late ${late.stream}, from ${late.execution}:\n${late.text.trimEnd()}`);
  }
  for (const line of memoryNotes(record)) note(`execute-code: ${line}`);
}

/** A traceback, whose error is red on a terminal. */
function emphasized(traceback: string, type: string): string {
  const lines = traceback.split("\n");
  const from = lines.findLastIndex((line) => line.split(/[:\s]/, 1)[0]!.endsWith(type));
  if (from < 0) return traceback;
  const red = styleText("red", lines.slice(from).join("\n"), { stream: process.stderr });
  return [...lines.slice(0, from), red].join("\n");
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
