/**
 * Everything an execution emitted, in order: written by the kernel's side, followed by any number of readers from
 * any offset. A reader pulls at its own pace; a slow or vanished one holds up nothing.
 *
 * States: open → ended. Content stays readable until close().
 */
import type { ExecutionEvent } from "../../contract/events.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { ExecutionRecord, InputRequest, MimeBundle } from "../../contract/records.ts";
import { incompleteTail } from "./text.ts";
import { type EventKind, Timeline } from "./timeline.ts";

/** Bytes of one stream; a Spool while the execution runs, stored content afterwards. */
export interface StreamContent {
  readonly bytes: number;
  read(from: number, to: number): Buffer;
}

export interface DisplayContent {
  readonly display_id: string | null;
  readonly update: boolean;
  readonly mime: MimeBundle;
}

export interface ProgressContent {
  readonly done: number;
  readonly total: number | null;
  readonly message: string;
}

/** Output of one event at the most. */
const CHUNK = 64 * 1024;

export class Transcript {
  readonly timeline: Timeline;
  readonly #id: string;
  readonly #session: string;
  readonly #streams: { readonly o: StreamContent; readonly e: StreamContent };
  readonly displays: DisplayContent[];
  readonly inputs: InputRequest[];
  #progress: ProgressContent | null = null;
  #record: ExecutionRecord | null = null;
  #waiting: Array<() => void> = [];

  constructor(options: {
    id: string;
    session: string;
    stdout: StreamContent;
    stderr: StreamContent;
    timeline?: Timeline;
    displays?: DisplayContent[];
    inputs?: InputRequest[];
    record?: ExecutionRecord;
  }) {
    this.#id = options.id;
    this.#session = options.session;
    this.#streams = { o: options.stdout, e: options.stderr };
    this.timeline = options.timeline ?? new Timeline();
    this.displays = options.displays ?? [];
    this.inputs = options.inputs ?? [];
    this.#record = options.record ?? null;
  }

  get progress(): ProgressContent | null {
    return this.#progress;
  }

  /** The bytes are in the stream's content already. */
  appendOutput(kind: "o" | "e", bytes: number): void {
    if (bytes > 0) this.#append(kind, bytes);
  }

  appendAccepted(): void {
    this.#append("a", 1);
  }

  /** False when the execution has had its share of displays. */
  appendDisplay(display: DisplayContent): boolean {
    if (this.displays.length >= LIMITS.displays || this.timeline.full) return false;
    this.displays.push(display);
    this.#append("d", 1);
    return true;
  }

  appendProgress(progress: ProgressContent): void {
    this.#progress = progress;
    if (!this.timeline.full) this.#append("p", 1);
  }

  /** False when the execution has asked often enough. */
  appendInput(question: InputRequest): boolean {
    if (this.inputs.length >= LIMITS.inputs || this.timeline.full) return false;
    this.inputs.push(question);
    this.#append("i", 1);
    return true;
  }

  /** The offset at which the stream will end: the record is made with it, and then given to `end`. */
  get endOffset(): number {
    return this.timeline.end + 1;
  }

  end(record: ExecutionRecord): void {
    this.#record = record;
    this.#append("x", 1);
  }

  /** Events from the offset on, to the end. The signal ends the iteration without an error. */
  async *follow(offset: number, signal?: AbortSignal): AsyncGenerator<ExecutionEvent, void, undefined> {
    let at = offset;
    while (signal?.aborted !== true) {
      const event = this.#eventAt(at);
      if (event !== null) {
        at = event.offset;
        yield event;
        if (event.type === "end") return;
      } else if (this.#record !== null && at >= this.timeline.end) {
        return;
      } else {
        await this.#change(signal);
      }
    }
  }

  #append(kind: EventKind, count: number): void {
    this.timeline.append(kind, count);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.push(wake);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }

  #eventAt(offset: number): ExecutionEvent | null {
    const segment = this.timeline.at(offset);
    if (segment === null) return null;
    const within = offset - segment.start;
    const rest = segment.count - within;
    switch (segment.kind) {
      case "a":
        return { type: "accepted", id: this.#id, session: this.#session, offset: offset + 1 };
      case "o":
      case "e":
        return this.#outputAt(segment.kind, segment.ordinal + within, offset, rest);
      case "d": {
        const display = this.displays[segment.ordinal + within];
        if (display === undefined) return null;
        return { type: "display", ...display, offset: offset + 1 };
      }
      case "p":
        // Only the latest state of progress matters: a run of it is one event.
        return {
          type: "progress",
          ...(this.#progress ?? { done: 0, total: null, message: "" }),
          offset: offset + rest,
        };
      case "i": {
        const question = this.inputs[segment.ordinal + within];
        if (question === undefined) return null;
        const { prompt, password } = question;
        return { type: "input", prompt, password, offset: offset + 1 };
      }
      case "x":
        return this.#record === null ? null : { type: "end", record: this.#record, offset: offset + 1 };
    }
  }

  #outputAt(kind: "o" | "e", from: number, offset: number, rest: number): ExecutionEvent | null {
    const bytes = this.#streams[kind].read(from, from + Math.min(rest, CHUNK));
    const growing = this.#record === null && offset + rest === this.timeline.end;
    const tail = incompleteTail(bytes);
    const cut = bytes.length - tail;
    // A character that is not complete yet waits for its rest, unless no rest can follow.
    if (cut === 0 && growing) return null;
    const hold = cut > 0 && (bytes.length < rest || growing) ? tail : 0;
    const taken = bytes.subarray(0, bytes.length - hold);
    if (taken.length === 0) return null;
    return {
      type: kind === "o" ? "stdout" : "stderr",
      text: taken.toString("utf8"),
      offset: offset + taken.length,
    };
  }
}
