/**
 * One execution from its acceptance to its record.
 *
 * States: queued → running → ended (its record is made) → recorded (the store has it). Only `recorded` is told to
 * callers as an end.
 */
import { constants } from "node:os";
import type { ExecuteBody } from "../../contract/api.ts";
import type { DoneFrame } from "../../contract/frames.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { Profile } from "../../contract/profile.ts";
import type {
  Artifact,
  Display,
  ExecutionError,
  ExecutionRecord,
  ExecutionStatus,
  LateOutput,
  MimeBundle,
  RestoreDigest,
  RolledBack,
  SessionMemory,
} from "../../contract/records.ts";
import {
  type BoundedText,
  boundedText,
  type Cell,
  type DisplayContent,
  type ExecutionSink,
  type KernelExit,
  type KernelOutcome,
  limitExceeded,
  type ProgressContent,
  type Question,
  Spool,
  type StreamName,
  Transcript,
} from "../../execution/index.ts";
import type { Artifacts } from "../artifacts.ts";
import type { AcceptedExecution } from "../ports/store.ts";
import { errorFingerprint } from "./fingerprint.ts";
import { Questions } from "./questions.ts";

/** Why an execution was asked to stop. */
export type StopReason = "interrupted" | "timed_out" | "killed";

/** How it came to an end; withdrawn = before it ran. */
export type Ending = KernelOutcome | { readonly kind: "withdrawn"; readonly message: string };

/** Where in the session's life it ran. */
export interface Position {
  readonly generation: number;
  readonly revision: number;
  readonly state: SessionMemory;
  /** The execution whose state it begins with. */
  readonly parent: string | null;
}

/** What became of the session's memory, where it is not that after the execution. */
export interface Aftermath {
  readonly rolledBack: RolledBack | null;
  readonly state: SessionMemory;
}

/** What its request says of how it runs; none of it outlives it. */
export type RunOptions = Pick<
  ExecuteBody,
  "env" | "on_input" | "input_timeout_ms" | "stop_on_error" | "on_error"
>;

export interface ExecutionOptions {
  readonly accepted: AcceptedExecution;
  readonly run: RunOptions;
  readonly artifacts: Artifacts;
  readonly profile: Profile;
  readonly call: ExecutionSink["call"];
}

export class Execution implements ExecutionSink {
  readonly accepted: AcceptedExecution;
  readonly transcript: Transcript;
  readonly call: ExecutionSink["call"];
  /** Set when somebody asked it to stop. */
  stop: StopReason | null = null;
  position: Position = { generation: 0, revision: 0, state: "retained", parent: null };
  /** Set when the session's variables had to be brought back for it. */
  restore: RestoreDigest | null = null;
  /** Set when it ended with the kernel, or was a transaction that failed. */
  aftermath: Aftermath | null = null;
  /** What earlier executions wrote late, and the record is to tell. */
  late: LateOutput[] = [];
  /** The limit of its session's profile that it was stopped for. */
  limit: string | null = null;
  /** How often it was interrupted. */
  interrupts = 0;
  /** Its record is stored, and told. */
  settled = false;
  readonly run: RunOptions;
  readonly #profile: Profile;
  readonly #questions: Questions;
  readonly #artifacts: Artifacts;
  readonly #stdout: Spool;
  readonly #stderr: Spool;
  readonly #recorded = Promise.withResolvers<ExecutionRecord>();
  #startedAt: number | null = null;
  #started = "";

  constructor(options: ExecutionOptions) {
    this.accepted = options.accepted;
    this.run = options.run;
    this.#artifacts = options.artifacts;
    this.call = options.call;
    this.#profile = options.profile;
    const { output_bytes } = options.profile;
    this.#stdout = new Spool(options.artifacts.temporaryFile(), output_bytes);
    this.#stderr = new Spool(options.artifacts.temporaryFile(), output_bytes);
    this.transcript = new Transcript({
      id: options.accepted.id,
      session: options.accepted.session,
      stdout: this.#stdout,
      stderr: this.#stderr,
    });
    this.transcript.appendAccepted();
    this.#questions = new Questions(options.run, (question) => this.transcript.appendInput(question));
    this.#recorded.promise.catch(() => {});
  }

  get id(): string {
    return this.accepted.id;
  }

  /** The stored record; rejects when it could not be stored. */
  get recorded(): Promise<ExecutionRecord> {
    return this.#recorded.promise;
  }

  /** The code is given to a kernel now. */
  start(position: Position): string {
    this.position = position;
    this.#startedAt = performance.now();
    this.#started = new Date().toISOString();
    return this.#started;
  }

  get cell(): Cell {
    return { id: this.id, code: this.accepted.code, env: this.run.env };
  }

  output(stream: StreamName, bytes: Buffer): void {
    const spool = stream === "stdout" ? this.#stdout : this.#stderr;
    if (this.transcript.timeline.full) spool.drop(bytes.length);
    else this.transcript.appendOutput(stream === "stdout" ? "o" : "e", spool.append(bytes));
  }

  input(question: Question): Promise<string | null> {
    return this.#questions.ask(question);
  }

  withdraw(request: string): void {
    this.#questions.withdraw(request);
  }

  /** Answers its oldest open question; null ends its input. Throws `no_input_requested`. */
  answer(text: string | null): void {
    this.#questions.answer(text);
  }

  /** Resolves when it waits for input. */
  asked(): Promise<void> {
    return this.#questions.asked();
  }

  display(display: DisplayContent): void {
    this.transcript.appendDisplay(display);
  }

  progress(progress: ProgressContent): void {
    this.transcript.appendProgress(progress);
  }

  /** What can be said while it has not ended. */
  recordSoFar(): ExecutionRecord {
    const duration = this.#startedAt === null ? 0 : performance.now() - this.#startedAt;
    return this.#record("running", this.#inlineTexts(), {
      duration_ms: round(duration),
      input_requested: this.#questions.open,
      offset: this.transcript.timeline.end,
    });
  }

  /**
   * The final record; large and binary content goes to the artifacts on the way. Throws storage errors, after which
   * it may be called again.
   */
  async conclude(outcome: Ending): Promise<ExecutionRecord> {
    this.#questions.close();
    const sync = this.accepted.durability === "full";
    const artifacts: Artifact[] = [];
    const displays: Display[] = [];
    for (const [index, { display_id, update, mime }] of this.transcript.displays.entries()) {
      displays.push({
        display_id,
        update,
        mime: await this.#settle(mime, artifacts, sync, "display", index),
      });
    }
    const done = outcome.kind === "done" ? outcome.frame : null;
    const result =
      done === null || done.result === null
        ? null
        : {
            text: done.result.text,
            mime: await this.#settle(done.result.mime, artifacts, sync, "result", null),
          };
    const inline = this.#inlineTexts();
    await this.#keepStream("stdout", this.#stdout, inline.out, artifacts, sync);
    await this.#keepStream("stderr", this.#stderr, inline.err, artifacts, sync);
    const error = this.#error(outcome);
    const measured = done === null ? this.#measuredFromOutside(outcome) : measuredByKernel(done);
    return this.#record(this.#status(outcome), inline, {
      ...measured,
      displays,
      result,
      error,
      artifacts,
      features: {
        ast_hash: done?.ast_hash ?? null,
        error_fingerprint: error === null ? null : errorFingerprint(error),
        imports: done?.imports ?? [],
      },
      offset: this.transcript.endOffset,
      state: this.aftermath?.state ?? (outcome.kind === "gone" ? "lost" : this.position.state),
      rolled_back: this.aftermath?.rolledBack ?? null,
      restore: this.restore,
    });
  }

  /** All that a stream has kept so far. */
  content(stream: StreamName): Buffer {
    const spool = stream === "stdout" ? this.#stdout : this.#stderr;
    return spool.read(0, spool.bytes);
  }

  /** The store has the record. */
  settle(record: ExecutionRecord): void {
    this.settled = true;
    this.transcript.end(record);
    this.#recorded.resolve(record);
  }

  /** The store refused the record: the caller is told so, and the execution stays unrecorded until a later attempt. */
  fail(error: unknown): void {
    this.#recorded.reject(error);
  }

  /** Gives back memory and files. Readers get the stored form from then on. */
  close(): void {
    this.#stdout.close();
    this.#stderr.close();
  }

  /** What the record shows of both streams. */
  #inlineTexts(): { out: BoundedText; err: BoundedText } {
    const { inlineHeadBytes, inlineTailBytes } = LIMITS;
    return {
      out: boundedText(this.#stdout, inlineHeadBytes, inlineTailBytes),
      err: boundedText(this.#stderr, inlineHeadBytes, inlineTailBytes),
    };
  }

  #record(
    status: ExecutionStatus,
    { out, err }: { out: BoundedText; err: BoundedText },
    given: Partial<ExecutionRecord>,
  ): ExecutionRecord {
    const { accepted, position } = this;
    return {
      id: accepted.id,
      session: accepted.session,
      session_id: accepted.session_id,
      generation: position.generation,
      revision: position.revision,
      language: accepted.language,
      status,
      code: accepted.code,
      stdout: out.text,
      stderr: err.text,
      result: null,
      error: null,
      displays: [],
      late: this.late,
      inputs: this.#questions.exchanges,
      input_requested: null,
      started_at: this.#started || accepted.accepted_at,
      duration_ms: 0,
      cpu_ms: 0,
      peak_memory_bytes: 0,
      variables: { added: [], changed: [], deleted: [] },
      parent: position.parent,
      rolled_back: null,
      restore: null,
      effects: [],
      artifacts: [],
      directives: [],
      truncated: {
        stdout_bytes: out.omitted + this.#stdout.dropped,
        stderr_bytes: err.omitted + this.#stderr.dropped,
      },
      features: { ast_hash: null, error_fingerprint: null, imports: [] },
      cause: accepted.cause,
      isolation: accepted.isolation,
      state: position.state,
      durability: accepted.durability,
      offset: 0,
      ...given,
    };
  }

  #status(outcome: Ending): ExecutionStatus {
    const asked = this.stop === "killed" ? "interrupted" : this.stop;
    if (outcome.kind === "withdrawn") return "interrupted";
    if (outcome.kind === "gone") return asked ?? "crashed";
    return outcome.frame.status === "interrupted" ? (asked ?? "interrupted") : outcome.frame.status;
  }

  #error(outcome: Ending): ExecutionError | null {
    if (outcome.kind === "done") return this.#explained(outcome.frame.error);
    const [type, message] =
      outcome.kind === "withdrawn" ? ["Interrupted", outcome.message] : this.#death(outcome.exit);
    return { type, message, traceback: "", line: null, column: null, frames: [] };
  }

  #death(exit: KernelExit): [type: string, message: string] {
    if (exit.limit !== null) return ["LimitExceeded", exit.limit];
    const message = describeEnd(exit, this.stop);
    return this.limit === null ? ["KernelDied", message] : ["LimitExceeded", `${this.limit}. ${message}`];
  }

  /** An error that a limit of the profile has raised says which. */
  #explained(error: DoneFrame["error"]): ExecutionError | null {
    if (error === null) return null;
    const ranOut = error.type === "MemoryError" && this.accepted.isolation !== "none";
    const limit = this.limit ?? (ranOut ? limitExceeded("memory", this.#profile) : null);
    if (limit === null) return error;
    const message = error.message === "" ? limit : `${error.message} (${limit})`;
    return { ...error, message, traceback: `${error.traceback}\n${limit}` };
  }

  #measuredFromOutside(outcome: Ending): Partial<ExecutionRecord> {
    const gone = outcome.kind === "gone";
    return {
      duration_ms: this.#startedAt === null ? 0 : round(performance.now() - this.#startedAt),
      peak_memory_bytes: gone ? outcome.exit.peak_memory_bytes : 0,
      effects: gone ? [{ kind: "unknown", target: "its kernel ended before it could tell", count: 1 }] : [],
    };
  }

  /** Keeps what is small and textual inline; the rest becomes artifacts. */
  async #settle(
    mime: MimeBundle,
    artifacts: Artifact[],
    sync: boolean,
    source: "result" | "display",
    display: number | null,
  ): Promise<MimeBundle> {
    const inline: MimeBundle = {};
    for (const [type, value] of Object.entries(mime)) {
      const binary = isBinary(type) && typeof value === "string";
      const text = typeof value === "string" ? value : JSON.stringify(value);
      if (!binary && Buffer.byteLength(text) <= LIMITS.inlineMimeBytes) {
        inline[type] = value;
        continue;
      }
      const content = await this.#artifacts.put(Buffer.from(text, binary ? "base64" : "utf8"), sync);
      artifacts.push(this.#artifact(artifacts, { ...content, mime: type, source, display }));
    }
    return inline;
  }

  /** The bytes of a stream are kept where the record's text cannot give them back. */
  async #keepStream(
    source: StreamName,
    spool: Spool,
    { omitted, valid }: BoundedText,
    artifacts: Artifact[],
    sync: boolean,
  ): Promise<void> {
    if (omitted === 0 && valid) return;
    const content = { sha256: spool.digest(), bytes: spool.bytes };
    const file = spool.file(sync);
    if (file === null) await this.#artifacts.put(spool.read(0, spool.bytes), sync);
    else await this.#artifacts.adopt(file, content.sha256, sync);
    const mime = valid ? "text/plain" : "application/octet-stream";
    artifacts.push(this.#artifact(artifacts, { ...content, mime, source, display: null }));
  }

  #artifact(artifacts: Artifact[], given: Omit<Artifact, "uri" | "number">): Artifact {
    const number = artifacts.length + 1;
    return { uri: `execute-code://executions/${this.id}/artifacts/${number}`, number, ...given };
  }
}

function isBinary(mime: string): boolean {
  if (mime === "image/svg+xml") return false;
  return (
    /^(image|audio|video)\//.test(mime) || mime === "application/pdf" || mime === "application/octet-stream"
  );
}

function measuredByKernel(done: DoneFrame): Partial<ExecutionRecord> {
  const { duration_ms, cpu_ms, peak_memory_bytes, variables, effects } = done;
  return { duration_ms: round(duration_ms), cpu_ms: round(cpu_ms), peak_memory_bytes, variables, effects };
}

/** Milliseconds to the microsecond. */
function round(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}

function describeEnd(exit: KernelExit, stop: StopReason | null): string {
  if (stop === "killed") return "The kernel was killed on request.";
  if (stop !== null) {
    const why = stop === "timed_out" ? "ran out of time" : "was interrupted";
    return `The code ${why} and ignored the interrupt, so its kernel was killed.`;
  }
  if (exit.signal !== null) {
    const name = Object.entries(constants.signals).find(([, number]) => number === exit.signal)?.[0];
    const hint = HINTS[name ?? ""];
    return `The kernel was ended by ${name ?? `signal ${exit.signal}`}${hint === undefined ? "" : ` (${hint})`}.`;
  }
  const own = exit.code === null ? undefined : KERNEL_STATUS[exit.code];
  if (own !== undefined) return own;
  if (exit.code !== null) return `The code ended the kernel's process with exit status ${exit.code}.`;
  return "The kernel's supervisor ended, and the kernel with it.";
}

/** Exit statuses of the kernel itself (python/execute_code_kernel/kernel.py). */
const KERNEL_STATUS: Readonly<Record<number, string>> = {
  71: "The code closed the kernel's own connection, and the kernel ended.",
  73: "The kernel had no memory left for an answer, and ended.",
};

const HINTS: Readonly<Record<string, string>> = {
  SIGSEGV: "a memory fault in native code",
  SIGBUS: "a memory fault in native code, or a mapped file that became too short",
  SIGABRT: "native code gave up",
  SIGILL: "an instruction that this processor does not have",
  SIGFPE: "an arithmetic fault in native code",
  SIGKILL: "by its own code or another process, or by the system because memory ran out",
};
