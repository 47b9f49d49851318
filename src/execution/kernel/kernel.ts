/**
 * A kernel as the daemon sees it: one process that holds a session's variables, its frame channel, and the two
 * FIFOs of its output.
 *
 * States: connecting → idle ⇄ running → gone. One execution at a time; frames and output of anything else are not
 * expected. What arrives on a FIFO between executions is late output of the last one.
 */
import { readSync } from "node:fs";
import { Socket } from "node:net";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { type DoneFrame, KernelFrame, type KernelRequest } from "../../contract/frames.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { VariableDetail, VariableInfo } from "../../contract/records.ts";
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
}

/** The reading end of a FIFO. The socket owns the descriptor. */
interface Stream {
  readonly name: StreamName;
  readonly fd: number;
  readonly socket: Socket;
  /** Told of every chunk. */
  arrived: (() => void) | null;
}

/** What a FIFO holds at the most. */
const PIPE_BYTES = 1024 * 1024;
/** What every read of every stream goes into: its content is passed on, and copied there, before the next read. */
const buffer = Buffer.allocUnsafe(PIPE_BYTES);

export class Kernel {
  readonly #signal: (signal: number, tree: boolean) => void;
  readonly #streams: readonly [Stream, Stream];
  readonly #inspections = new Map<string, PromiseWithResolvers<KernelFrame & { type: "inspected" }>>();
  readonly #gone = Promise.withResolvers<KernelExit>();
  #channel: Socket | null = null;
  #pid: number | null = null;
  #running: Running | null = null;
  #exit: KernelExit | null = null;
  #requests = 0;
  /** Takes output that arrives while nothing runs. */
  onLateOutput: ((stream: StreamName, bytes: Buffer) => void) | null = null;

  constructor(options: {
    /** Descriptors of the FIFOs' reading ends, which the kernel takes over. */
    stdout: number;
    stderr: number;
    signal: (signal: number, tree: boolean) => void;
  }) {
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

  #read(name: StreamName, fd: number): Stream {
    const onread = {
      buffer,
      callback: (bytes: number): boolean => {
        this.#onOutput(name, buffer.subarray(0, bytes));
        stream.arrived?.();
        return true;
      },
    };
    const socket = new Socket({ fd, readable: true, writable: false, onread });
    const stream: Stream = { name, fd, socket, arrived: null };
    socket.on("error", () => socket.destroy());
    socket.resume();
    return stream;
  }

  #onOutput(name: StreamName, chunk: Buffer): void {
    if (this.#running !== null) this.#running.sink.output(name, chunk);
    else this.onLateOutput?.(name, chunk);
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
      this.#running = { id, sink, finish: resolve };
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
        if (this.#running?.id === frame.id) this.#finish(this.#running, frame);
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

  /** What the execution wrote lies in the FIFOs by now: it is read before the execution ends. */
  #finish(running: Running, frame: DoneFrame): void {
    for (const stream of this.#streams) if (frame.unread[stream.name] > 0) this.#readDry(stream);
    this.#running = null;
    running.finish({ kind: "done", frame });
  }

  #readDry({ name, fd, socket }: Stream): void {
    if (socket.destroyed) return;
    for (let bytes = PIPE_BYTES; bytes === PIPE_BYTES; ) {
      try {
        bytes = readSync(fd, buffer);
      } catch (error) {
        // The event loop has been quicker: there is nothing left.
        if ((error as NodeJS.ErrnoException).code === "EAGAIN") return;
        throw error;
      }
      if (bytes > 0) this.#onOutput(name, buffer.subarray(0, bytes));
    }
  }

  /** The supervisor saw the process end. Its last output is read before anybody is told. */
  onExit(exit: KernelExit): void {
    if (this.#exit !== null) return;
    this.#exit = exit;
    this.#channel?.destroy();
    for (const waiting of this.#inspections.values()) waiting.reject(new ExecuteCodeError("kernel_gone"));
    this.#inspections.clear();
    void Promise.all(this.#streams.map(drain)).then(() => {
      const running = this.#running;
      this.#running = null;
      running?.finish({ kind: "gone", exit });
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
    stream.arrived = () => timer.refresh();
    socket.once("end", finish);
    socket.once("close", finish);
  });
}
