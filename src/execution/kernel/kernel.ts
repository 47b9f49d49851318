/**
 * A kernel as the daemon sees it: one process that holds a session's variables, its frame channel, and the two
 * FIFOs of its output.
 *
 * States: connecting → idle ⇄ running → gone. One execution at a time; frames and output of anything else are not
 * expected. What arrives on a FIFO between executions is late output of the last one.
 */
import type { Socket } from "node:net";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { type DoneFrame, KernelFrame, type KernelRequest } from "../../contract/frames.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { VariableDetail, VariableInfo } from "../../contract/records.ts";
import { MarkSplitter } from "../output/marks.ts";
import type { DisplayContent, ProgressContent } from "../output/transcript.ts";
import { encodeFrame, FrameError, FrameReader } from "./frames.ts";

export const SIGINT = 2;
export const SIGKILL = 9;

export type StreamName = "stdout" | "stderr";

/** How a kernel's process ended, as its supervisor saw it; all null when the supervisor itself was gone. */
export interface KernelExit {
  readonly code: number | null;
  readonly signal: number | null;
  readonly peak_memory_bytes: number;
}

/** Receives what a running execution emits. */
export interface ExecutionSink {
  output(stream: StreamName, bytes: Buffer): void;
  display(display: DisplayContent): void;
  progress(progress: ProgressContent): void;
  /** Code asks the platform something; the value goes back to it, a rejection becomes an exception there. */
  call(method: string, params: Record<string, unknown>): Promise<unknown>;
}

export type KernelOutcome =
  | { readonly kind: "done"; readonly frame: DoneFrame }
  | { readonly kind: "gone"; readonly exit: KernelExit };

interface Running {
  readonly id: string;
  readonly sink: ExecutionSink;
  readonly finish: (outcome: KernelOutcome) => void;
  /** Sequence number of its start marks: what a stream holds before is late output. */
  readonly start: number;
  done: DoneFrame | null;
}

interface Stream {
  readonly name: StreamName;
  readonly socket: Socket;
  readonly splitter: MarkSplitter;
  /** Sequence number of the last mark seen. */
  mark: number;
}

/** The marks follow their `done` frame at once; a stream whose marks were lost to user code is not waited for longer. */
const MARK_DEADLINE_MS = 1_000;

export class Kernel {
  readonly #nonce: string;
  readonly #signal: (signal: number, tree: boolean) => void;
  readonly #streams: readonly [Stream, Stream];
  readonly #inspections = new Map<string, PromiseWithResolvers<KernelFrame & { type: "inspected" }>>();
  readonly #gone = Promise.withResolvers<KernelExit>();
  #channel: Socket | null = null;
  #pid: number | null = null;
  #running: Running | null = null;
  #markTimer: NodeJS.Timeout | null = null;
  #exit: KernelExit | null = null;
  #requests = 0;
  #executions = 0;
  /** Takes output that arrives while nothing runs. */
  onLateOutput: ((stream: StreamName, bytes: Buffer) => void) | null = null;

  constructor(options: {
    nonce: string;
    stdout: Socket;
    stderr: Socket;
    signal: (signal: number, tree: boolean) => void;
  }) {
    this.#nonce = options.nonce;
    this.#signal = options.signal;
    this.#streams = [this.#read("stdout", options.stdout), this.#read("stderr", options.stderr)];
  }

  get pid(): number | null {
    return this.#pid;
  }

  get alive(): boolean {
    return this.#exit === null;
  }

  /** Resolves with how it ended. */
  get gone(): Promise<KernelExit> {
    return this.#gone.promise;
  }

  #read(name: StreamName, socket: Socket): Stream {
    const splitter = new MarkSplitter(this.#nonce, {
      bytes: (chunk) => {
        if (this.#running !== null && stream.mark >= this.#running.start)
          this.#running.sink.output(name, chunk);
        else this.onLateOutput?.(name, chunk);
      },
      mark: (sequence) => {
        stream.mark = sequence;
        this.#settle();
      },
    });
    const stream: Stream = { name, socket, splitter, mark: 0 };
    socket.on("data", (chunk: Buffer) => splitter.push(chunk));
    socket.on("error", () => socket.destroy());
    return stream;
  }

  /** The kernel has dialled in and named its nonce. */
  connect(socket: Socket, pid: number, frames: unknown[]): void {
    this.#channel = socket;
    this.#pid = pid;
    const reader = new FrameReader();
    const take = (values: unknown[]): void => {
      for (const value of values) this.#onFrame(KernelFrame.parse(value));
    };
    socket.on("data", (chunk: Buffer) => {
      try {
        take(reader.push(chunk));
      } catch (error) {
        // A channel that carries anything but frames is no kernel's any more.
        if (error instanceof FrameError || (error instanceof Error && error.name === "ZodError")) this.kill();
        else throw error;
      }
    });
    // A kernel that lost its channel cannot be spoken to: it is as good as dead, and soon is.
    socket.on("close", () => {
      if (this.alive) this.kill();
    });
    take(frames);
  }

  /** Runs code. Resolves at its end, or at the kernel's; never rejects. */
  execute(id: string, code: string, sink: ExecutionSink): Promise<KernelOutcome> {
    if (this.#running !== null) throw new Error("the kernel is running already");
    if (this.#exit !== null) return Promise.resolve({ kind: "gone", exit: this.#exit });
    return new Promise((resolve) => {
      this.#running = { id, sink, start: 2 * ++this.#executions - 1, done: null, finish: resolve };
      this.#send({ type: "execute", id, code });
    });
  }

  /** Looks at variables; only while nothing runs. Throws `kernel_gone`, or `unknown_variable`. */
  async inspect(name: null): Promise<VariableInfo[]>;
  async inspect(name: string, depth: number): Promise<VariableDetail>;
  async inspect(name: string | null, depth = 0): Promise<VariableInfo[] | VariableDetail> {
    const request = `i${++this.#requests}`;
    const waiting = Promise.withResolvers<KernelFrame & { type: "inspected" }>();
    if (this.#exit !== null) throw new ExecuteCodeError("kernel_gone");
    this.#inspections.set(request, waiting);
    this.#send({ type: "inspect", request, name, depth });
    const frame = await waiting.promise;
    if (frame.error !== null) throw new ExecuteCodeError("unknown_variable", { message: frame.error });
    const answer = name === null ? frame.variables : frame.detail;
    if (answer === null)
      throw new ExecuteCodeError("internal", { message: "The kernel answered without content." });
    return answer;
  }

  /** Raises KeyboardInterrupt in the running code. */
  interrupt(): void {
    this.#signal(SIGINT, false);
  }

  /** Kills the kernel and every process that descends from it. */
  kill(): void {
    this.#signal(SIGKILL, true);
  }

  #send(request: KernelRequest): void {
    if (this.#channel?.writable === true) this.#channel.write(encodeFrame(request));
  }

  #onFrame(frame: KernelFrame): void {
    switch (frame.type) {
      case "hello":
        return;
      case "inspected":
        this.#inspections.get(frame.request)?.resolve(frame);
        this.#inspections.delete(frame.request);
        return;
      case "display":
        if (this.#running?.id === frame.id) {
          this.#running.sink.display({
            display_id: frame.display_id,
            update: frame.update,
            mime: frame.mime,
          });
        }
        return;
      case "progress":
        if (this.#running?.id === frame.id) {
          this.#running.sink.progress({ done: frame.done, total: frame.total, message: frame.message });
        }
        return;
      case "call":
        this.#answer(frame.request, this.#running, frame.method, frame.params);
        return;
      case "done":
        if (this.#running?.id !== frame.id) return;
        this.#running.done = frame;
        this.#markTimer = setTimeout(() => this.#settle(true), MARK_DEADLINE_MS);
        this.#settle();
        return;
    }
  }

  #answer(request: string, running: Running | null, method: string, params: Record<string, unknown>): void {
    if (running === null) {
      this.#send({ type: "reply", request, value: null, error: "nothing runs" });
      return;
    }
    running.sink.call(method, params).then(
      (value) => this.#send({ type: "reply", request, value: value as never, error: null }),
      (error: unknown) => this.#send({ type: "reply", request, value: null, error: String(error) }),
    );
  }

  /** An execution is over when its `done` frame and the end marks of both streams are here. */
  #settle(late = false): void {
    const running = this.#running;
    if (running === null || running.done === null) return;
    const { mark } = running.done;
    if (!late && this.#streams.some((stream) => stream.mark < mark && !stream.socket.destroyed)) return;
    if (this.#markTimer !== null) clearTimeout(this.#markTimer);
    this.#markTimer = null;
    this.#running = null;
    running.finish({ kind: "done", frame: running.done });
  }

  /** The supervisor saw the process end. Its last output is read before anybody is told. */
  onExit(exit: KernelExit): void {
    if (this.#exit !== null) return;
    this.#exit = exit;
    this.#channel?.destroy();
    for (const waiting of this.#inspections.values()) waiting.reject(new ExecuteCodeError("kernel_gone"));
    this.#inspections.clear();
    void Promise.all(this.#streams.map(drain)).then(() => {
      for (const stream of this.#streams) stream.splitter.end();
      if (this.#markTimer !== null) clearTimeout(this.#markTimer);
      const running = this.#running;
      this.#running = null;
      running?.finish(running.done === null ? { kind: "gone", exit } : { kind: "done", frame: running.done });
      this.#gone.resolve(exit);
    });
  }
}

/** Reads a dead kernel's stream to its end, or until nothing has come for a moment: a child may hold it open. */
function drain(stream: Stream): Promise<void> {
  const { socket } = stream;
  return new Promise((resolve) => {
    if (socket.destroyed || socket.readableEnded) {
      resolve();
      return;
    }
    const finish = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve();
    };
    const timer = setTimeout(finish, LIMITS.drainQuietMs);
    socket.on("data", () => timer.refresh());
    socket.once("end", finish);
    socket.once("close", finish);
  });
}
