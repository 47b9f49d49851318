/**
 * A kernel as the daemon sees it: one process that holds a session's variables, its frame channel, the FIFOs of its
 * output, and the one on which interrupts name whom they are meant for.
 *
 * States: connecting → idle ⇄ running → gone. One execution at a time. An execution that leaves threads, tasks or
 * processes behind keeps its FIFOs; the next one gets fresh ones, so that late output is known by where it arrives.
 */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import type { Socket } from "node:net";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { CompletedFrame, DoneFrame, KernelFrame, SignalTarget } from "../../contract/frames.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { InputRequest, VariableDetail, VariableInfo } from "../../contract/records.ts";
import { monotonicMs } from "../../platform/clock.ts";
import type { DisplayContent, ProgressContent } from "../output/transcript.ts";
import { KernelChannel } from "./channel.ts";
import { OutputPair, type StreamName } from "./streams.ts";

const SIGINT = 2;
const SIGKILL = 9;
/**
 * An interrupt that has not ended its execution is sent again after these times, milliseconds: C code such as
 * system() ignores signals while it waits. The kernel counts it once.
 */
const AGAIN_MS = [30, 200, 800];

/** How a kernel's process ended, as its supervisor saw it; all null when the supervisor itself was gone. */
export interface KernelExit {
  readonly code: number | null;
  readonly signal: number | null;
  readonly peak_memory_bytes: number;
  /** What the platform ended it for; null when it was something else. */
  readonly limit: string | null;
}

/** A question, as code asked it. */
export interface Question extends InputRequest {
  readonly request: string;
}

/** Receives what a running execution emits. */
export interface ExecutionSink {
  output(stream: StreamName, bytes: Buffer): void;
  display(display: DisplayContent): void;
  progress(progress: ProgressContent): void;
  /** Code asks the platform something; the value goes back to it, a rejection becomes an exception there. */
  call(method: string, params: Record<string, unknown>): Promise<unknown>;
  /** Code waits for a line. Null ends its input; a rejection becomes an EOFError there. */
  input(question: Question): Promise<string | null>;
  /** Code waits for the answer no more. */
  withdraw(request: string): void;
}

/** Code to run, and what holds for this execution alone. */
export interface Cell {
  readonly id: string;
  readonly code: string;
  readonly env: Readonly<Record<string, string>>;
}

export type KernelOutcome =
  | { readonly kind: "done"; readonly frame: DoneFrame }
  | { readonly kind: "gone"; readonly exit: KernelExit };

/** FIFOs that the daemon reads already and the kernel has not opened yet. */
export interface FreshStreams {
  readonly stdout: string;
  readonly stderr: string;
  readonly fds: readonly [stdout: number, stderr: number];
  /** Removes their names: both ends are open. */
  forget(): void;
}

export interface KernelOptions {
  /** Names it in its box. */
  readonly name: string;
  /** Descriptors of the FIFOs' reading ends, which the kernel takes over. */
  readonly output: readonly [stdout: number, stderr: number];
  /** Path of the FIFO that names what an interrupt is meant for. */
  readonly interrupts: string;
  /**
   * Sends a signal by way of the supervisor; resolves when it is sent. `sinceMs`: when the execution began, on the
   * machine's monotonic clock.
   */
  readonly signal: (signal: number, target: SignalTarget, sinceMs: number) => Promise<void>;
  /** Throws when there can be none. */
  readonly freshStreams: () => Promise<FreshStreams>;
}

interface Running {
  readonly id: string;
  readonly sink: ExecutionSink;
  readonly finish: (outcome: KernelOutcome) => void;
}

export class Kernel {
  readonly #options: KernelOptions;
  readonly channel: KernelChannel;
  readonly #gone = Promise.withResolvers<KernelExit>();
  /** The streams that the kernel writes to now. */
  #output: OutputPair;
  /** Those of executions that left something behind. */
  readonly #earlier = new Set<OutputPair>();
  /** What the next execution gets, when the last one left something behind. */
  #fresh: Promise<FreshStreams | null> | null = null;
  #interrupts: number | null = null;
  #pid: (() => number) | null = null;
  #running: Running | null = null;
  /** When the last execution began, milliseconds on the machine's monotonic clock. */
  #began = 0;
  #exit: KernelExit | null = null;
  #limit: string | null = null;
  /** Signals that are under way: nothing new begins before they have been sent. */
  #signalling: Promise<unknown> | null = null;
  /** Takes output that arrives after the end of its execution. */
  onLateOutput: ((execution: string, stream: StreamName, bytes: Buffer) => void) | null = null;

  constructor(options: KernelOptions) {
    this.#options = options;
    this.channel = new KernelChannel(
      (frame) => this.#onFrame(frame),
      () => {
        if (this.alive) this.kill();
      },
    );
    this.#output = this.#read(options.output);
  }

  /** As the host knows it. */
  get pid(): number | null {
    return this.#pid?.() ?? null;
  }

  /** Its name in its box. */
  get name(): string {
    return this.#options.name;
  }

  get alive(): boolean {
    return this.#exit === null;
  }

  /** An execution runs. */
  get busy(): boolean {
    return this.#running !== null;
  }

  /** Resolves with how it ended. */
  get gone(): Promise<KernelExit> {
    return this.#gone.promise;
  }

  #read(fds: readonly [number, number]): OutputPair {
    return new OutputPair(
      fds,
      (pair, stream, bytes) => this.#onOutput(pair, stream, bytes),
      (pair) => this.#earlier.delete(pair),
    );
  }

  #onOutput(pair: OutputPair, stream: StreamName, bytes: Buffer): void {
    if (this.#running !== null && pair === this.#output) this.#running.sink.output(stream, bytes);
    else this.onLateOutput?.(pair.execution, stream, bytes);
  }

  /** The kernel has dialled in and named its nonce. */
  connect(socket: Socket, pid: () => number, frames: unknown[]): void {
    this.#pid = pid;
    this.#interrupts = openSync(this.#options.interrupts, constants.O_WRONLY | constants.O_NONBLOCK);
    this.channel.connect(socket, frames);
  }

  /** Runs code. Resolves at its end, or at the kernel's; never rejects. */
  execute(cell: Cell, sink: ExecutionSink): Promise<KernelOutcome> {
    if (this.#running !== null) throw new Error("the kernel is running already");
    if (this.#exit !== null) return Promise.resolve({ kind: "gone", exit: this.#exit });
    return new Promise((resolve) => {
      if (this.#fresh === null && this.#signalling === null) {
        this.#begin(cell, sink, null, resolve);
        return;
      }
      void Promise.all([this.#fresh, this.#signalling]).then(([fresh]) => {
        this.#fresh = null;
        if (this.#exit !== null) resolve({ kind: "gone", exit: this.#exit });
        else this.#begin(cell, sink, fresh, resolve);
      });
    });
  }

  #begin(
    cell: Cell,
    sink: ExecutionSink,
    fresh: FreshStreams | null,
    finish: (outcome: KernelOutcome) => void,
  ): void {
    if (fresh !== null) {
      this.#earlier.add(this.#output);
      this.#output = this.#read(fresh.fds);
    }
    this.#output.execution = cell.id;
    this.#began = monotonicMs();
    this.#running = {
      id: cell.id,
      sink,
      finish: (outcome) => {
        fresh?.forget();
        finish(outcome);
      },
    };
    const streams = fresh === null ? null : { stdout: fresh.stdout, stderr: fresh.stderr };
    this.channel.send({ type: "execute", id: cell.id, code: cell.code, env: cell.env, streams });
  }

  /**
   * Looks at variables; only while nothing runs. Throws `kernel_gone`, `unknown_variable`, or `inspection_failed`, at
   * the latest when the time for it is over.
   */
  async inspect(name: null): Promise<VariableInfo[]>;
  async inspect(name: string, depth: number): Promise<VariableDetail>;
  async inspect(name: string | null, depth = 0): Promise<VariableInfo[] | VariableDetail> {
    const request = this.channel.nextRequest();
    const stop = this.#stopLater(request);
    try {
      const frame = await this.channel.ask({ type: "inspect", request, name, depth });
      if (frame.error !== null) {
        throw new ExecuteCodeError(frame.error.code, { message: frame.error.message });
      }
      const answer = name === null ? frame.variables : frame.detail;
      if (answer === null)
        throw new ExecuteCodeError("internal", { message: "The kernel answered without content." });
      return answer;
    } finally {
      stop();
    }
  }

  /** What could stand at a place of some code; only while nothing runs. Throws `kernel_gone`. */
  async complete(code: string, cursor: number | null): Promise<CompletedFrame> {
    const request = this.channel.nextRequest();
    const stop = this.#stopLater(request);
    try {
      return await this.channel.ask({ type: "complete", request, code, cursor });
    } finally {
      stop();
    }
  }

  /** Interrupts a look at variables when its time is over, again after the grace time, and then kills the kernel. */
  #stopLater(request: string): () => void {
    const steps = [
      () => this.#interruptRequest(request, 1),
      () => this.#interruptRequest(request, 2),
      () => this.kill(),
    ];
    const next = (): void => {
      steps.shift()?.();
      if (steps.length > 0) timer = setTimeout(next, LIMITS.interruptGraceMs);
    };
    let timer = setTimeout(next, LIMITS.inspectMs);
    return () => clearTimeout(timer);
  }

  /**
   * Raises KeyboardInterrupt in the running code, and sends SIGINT to what it has started. `number` counts the
   * interrupts of this execution, from 1.
   */
  interrupt(number: number): void {
    const running = this.#running;
    if (running === null) return;
    this.#interruptRequest(running.id, number, "started");
    for (const ms of AGAIN_MS) {
      const timer = setTimeout(() => {
        if (this.#running === running) this.#interruptRequest(running.id, number);
      }, ms);
      timer.unref();
    }
  }

  #interruptRequest(request: string, number: number, target: "kernel" | "started" = "kernel"): void {
    try {
      if (this.#interrupts !== null) writeSync(this.#interrupts, `${request}/${number}\n`);
    } catch (error) {
      // Full: the kernel has not looked for long, and the names of this request are in it. Or the kernel has gone.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EAGAIN" && code !== "EPIPE") throw error;
    }
    void this.#sendSignal(SIGINT, target);
  }

  /** Kills the kernel and every process that descends from it. */
  kill(): void {
    void this.#sendSignal(SIGKILL, "tree");
  }

  /** The same, for a limit that was exceeded: the exit tells of it. */
  killFor(limit: string): void {
    this.#limit ??= limit;
    this.kill();
  }

  /** Kills what the last execution has started and left behind; the kernel lives on. Resolves when it is done. */
  killLeftover(): Promise<void> {
    return this.#sendSignal(SIGKILL, "leftover");
  }

  /** Resolves when no signal to it is under way. */
  async signalled(): Promise<void> {
    await this.#signalling;
  }

  #sendSignal(signal: number, target: SignalTarget): Promise<void> {
    const sent = this.#options.signal(signal, target, this.#began);
    const all = Promise.all([this.#signalling, sent]).then(() => {
      if (this.#signalling === all) this.#signalling = null;
    });
    this.#signalling = all;
    return sent;
  }

  /** Lets exit functions run, for a bounded time; resolves when the process has ended or the time is over. */
  async shutDown(ms: number): Promise<void> {
    if (this.#running !== null || this.#exit !== null) return;
    this.channel.send({ type: "shutdown" });
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([this.gone, promise]);
    clearTimeout(timer);
  }

  #onFrame(frame: KernelFrame): void {
    if (frame.type === "withdrawn") {
      this.#running?.sink.withdraw(frame.request);
      return;
    }
    if (!("id" in frame)) return;
    const running = this.#running?.id === frame.id ? this.#running : null;
    switch (frame.type) {
      case "display": {
        const { display_id, update, mime } = frame;
        running?.sink.display({ display_id, update, mime });
        return;
      }
      case "progress": {
        const { done, total, message } = frame;
        running?.sink.progress({ done, total, message });
        return;
      }
      case "call":
        this.#reply(frame.request, this.#running?.sink.call(frame.method, frame.params));
        return;
      case "input": {
        const { request, prompt, password } = frame;
        this.#reply(request, running?.sink.input({ request, prompt, password }));
        return;
      }
      case "streams_kept":
        this.#keepStreams();
        return;
      case "done":
        if (running !== null) this.#finish(running, frame);
        return;
    }
  }

  /** Answers code that waits; without an answer to come, with an error. */
  #reply(request: string, answer: Promise<unknown> | undefined): void {
    const refuse = (error: string): void => this.channel.send({ type: "reply", request, value: null, error });
    if (answer === undefined) {
      refuse("The execution has ended: nobody can answer.");
      return;
    }
    answer.then(
      (value) => this.channel.send({ type: "reply", request, value: value as never, error: null }),
      (error: unknown) => refuse(explain(error)),
    );
  }

  /** The kernel could not open the fresh streams. */
  #keepStreams(): void {
    const kept = [...this.#earlier].at(-1);
    if (kept === undefined) return;
    this.#earlier.delete(kept);
    kept.execution = this.#output.execution;
    this.#output.close();
    this.#output = kept;
  }

  /** What the execution wrote lies in the FIFOs by now: it is read before the execution ends. */
  #finish(running: Running, frame: DoneFrame): void {
    for (const stream of ["stdout", "stderr"] as const) {
      if (frame.unread[stream] > 0) this.#output.readDry(stream);
    }
    this.#running = null;
    if (frame.lingering && this.#earlier.size < LIMITS.lateStreams) {
      // Late output and the next execution's are not told apart when there are none to be had.
      this.#fresh = this.#options.freshStreams().catch(() => null);
    }
    running.finish({ kind: "done", frame });
  }

  /** The supervisor saw the process end. Its last output is read before anybody is told. */
  onExit(seen: Omit<KernelExit, "limit">): void {
    if (this.#exit !== null) return;
    const exit = { ...seen, limit: this.#limit };
    this.#exit = exit;
    this.channel.close();
    if (this.#interrupts !== null) closeSync(this.#interrupts);
    this.#interrupts = null;
    const pairs = [this.#output, ...this.#earlier];
    void Promise.all(pairs.map((pair) => pair.drain())).then(() => {
      const running = this.#running;
      this.#running = null;
      running?.finish({ kind: "gone", exit });
      this.#gone.resolve(exit);
    });
    void this.#fresh?.then((fresh) => {
      if (fresh === null) return;
      for (const fd of fresh.fds) closeSync(fd);
      fresh.forget();
    });
    this.#fresh = null;
  }
}

/** What code is told of a failure of the platform. */
function explain(error: unknown): string {
  if (error instanceof ExecuteCodeError) return `${error.message} ${error.remedy}`;
  return error instanceof Error ? error.message : String(error);
}
