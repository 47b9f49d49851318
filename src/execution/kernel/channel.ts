/** The frames that go to and come from one process inside a box, over the connection that it opened. */
import type { Socket } from "node:net";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { KernelFrame, type KernelRequest } from "../../contract/frames.ts";
import { encodeFrame, FrameError, FrameReader } from "./frames.ts";

/** Answers, which name the request they answer, by the type of the question. */
const ANSWERS = {
  inspect: "inspected",
  complete: "completed",
  branch: "branched",
  resume: "resumed",
  restore: "restored",
  merge: "merged",
} as const;
type Answers = typeof ANSWERS;
type Answer = Extract<KernelFrame, { type: Answers[keyof Answers] }>;
type Question = Extract<KernelRequest, { type: keyof Answers }>;
export type AnswerTo<Q extends Question> = Extract<Answer, { type: Answers[Q["type"]] }>;

/** Somebody who waits for an answer of one type. */
interface Waiting extends PromiseWithResolvers<Answer> {
  readonly type: Answer["type"];
}

export class KernelChannel {
  readonly #onFrame: (frame: KernelFrame) => void;
  /** Ends the process: its channel carries something else, or is gone. */
  readonly #kill: () => void;
  readonly #waiting = new Map<string, Waiting>();
  readonly #onData = (chunk: Buffer): void => this.#read(chunk);
  // A process that lost its channel cannot be spoken to: it is as good as dead, and soon is.
  readonly #onClose = (): void => {
    if (!this.#closed) this.#kill();
  };
  #reader = new FrameReader();
  #socket: Socket | null = null;
  #requests = 0;
  #spoilt = false;
  #closed = false;

  /** `onFrame` gets what is no answer. */
  constructor(onFrame: (frame: KernelFrame) => void, kill: () => void) {
    this.#onFrame = onFrame;
    this.#kill = kill;
  }

  /** The process has dialled in; `frames` came with its greeting. */
  connect(socket: Socket, frames: unknown[]): void {
    this.#socket = socket;
    socket.on("data", this.#onData);
    socket.on("close", this.#onClose);
    this.#take(frames);
  }

  #read(chunk: Buffer): void {
    // What comes after something else than a frame is not believed: the process is on its way out.
    if (this.#spoilt) return;
    try {
      this.#take(this.#reader.push(chunk));
    } catch (error) {
      // A channel that carries anything but frames is no kernel's any more.
      const theirs =
        error instanceof FrameError ||
        error instanceof RangeError ||
        (error instanceof Error && error.name === "ZodError");
      if (!theirs) throw error;
      this.#spoilt = true;
      this.#kill();
    }
  }

  /** The connection, for another channel of the same process; this one is closed. Throws `kernel_gone`. */
  release(): Socket {
    const socket = this.#socket;
    if (socket === null || this.#closed) throw new ExecuteCodeError("kernel_gone");
    socket.off("data", this.#onData);
    socket.off("close", this.#onClose);
    this.#socket = null;
    this.close();
    return socket;
  }

  #take(values: unknown[]): void {
    for (const value of values) {
      const frame = KernelFrame.parse(value);
      switch (frame.type) {
        case "inspected":
        case "completed":
        case "branched":
        case "resumed":
        case "restored":
        case "merged":
          this.#answer(frame);
          break;
        default:
          this.#onFrame(frame);
      }
    }
  }

  #answer(frame: Answer): void {
    const waiting = this.#waiting.get(frame.request);
    if (waiting === undefined) return;
    if (waiting.type !== frame.type) throw new FrameError(`${frame.type} answers nothing that was asked`);
    this.#waiting.delete(frame.request);
    waiting.resolve(frame);
  }

  send(request: KernelRequest): void {
    if (this.#socket?.writable === true) this.#socket.write(encodeFrame(request));
  }

  /** A name for the next question. */
  nextRequest(): string {
    this.#requests += 1;
    return `r${this.#requests}`;
  }

  /**
   * Asks, and waits for the answer as long as the process lives; when the answer takes longer than `withinMs`, the
   * process is ended. Throws `kernel_gone`.
   */
  async ask<Q extends Question>(question: Q, withinMs: number | null = null): Promise<AnswerTo<Q>> {
    if (this.#closed) throw new ExecuteCodeError("kernel_gone");
    const waiting: Waiting = { ...Promise.withResolvers<Answer>(), type: ANSWERS[question.type] };
    this.#waiting.set(question.request, waiting);
    this.send(question);
    const timer = withinMs === null ? undefined : setTimeout(() => this.#kill(), withinMs);
    try {
      return (await waiting.promise) as AnswerTo<Q>;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The process is gone. */
  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
    for (const waiting of this.#waiting.values()) waiting.reject(new ExecuteCodeError("kernel_gone"));
    this.#waiting.clear();
  }
}
