/**
 * A worker that stores things, seen from the main thread.
 *
 * States: running → ending → ended. Requests of one turn of the event loop leave as one message. When the worker ends
 * unasked, every request that waits fails with storage_failed, and so does every later one.
 */
import { Worker } from "node:worker_threads";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { Failure } from "./failure.ts";

/** One message carries every request of a turn of the main thread's event loop. */
export type Request = readonly [sequence: number, operation: string, values: readonly unknown[]];
export type Reply = readonly [sequence: number, value: unknown, failure: Failure | null];

/** A worker's message: answers, or a line for the log. */
export type WorkerMessage =
  | { readonly replies: readonly Reply[] }
  | { readonly log: string; readonly details: Failure };

export type ValuesOf<Operations, Name extends keyof Operations> = Operations[Name] extends (
  ...values: infer Values
) => unknown
  ? Values
  : never;
export type ResultOf<Operations, Name extends keyof Operations> = Operations[Name] extends (
  ...values: never[]
) => infer Value
  ? Value
  : never;

/** Where a worker's code is. Source runs as .ts, a build as .js; `module` lies beside the module of this address. */
export function workerEntry(module: string, beside: string): URL {
  return new URL(`./${module}${beside.endsWith(".ts") ? ".ts" : ".js"}`, beside);
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: ExecuteCodeError) => void;
}

export type StorageLog = (message: string, details: Failure) => void;

export interface WorkerSetup {
  /** Where its code is. */
  readonly entry: URL;
  /** Shown by debuggers. */
  readonly name: string;
  /** What it finds as its `workerData`. */
  readonly data: object;
}

/** The worker's garbage is what is on its way: a small nursery keeps its memory small, too. */
const YOUNG_MB = 4;

export class WorkerLink<Operations> {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #outbox: Request[] = [];
  #sequence = 0;
  #end: ExecuteCodeError | null = null;

  constructor({ entry, name, data }: WorkerSetup, log: StorageLog) {
    this.#worker = new Worker(entry, {
      workerData: data,
      name,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    this.#worker.on("message", (message: WorkerMessage) => {
      if ("log" in message) log(message.log, message.details);
      else for (const [sequence, value, failure] of message.replies) this.#settle(sequence, value, failure);
    });
    this.#worker.on("error", (error) => this.#fail(error));
    this.#ended = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#fail();
        resolve();
      });
    });
  }

  /** False once it ended, or was told to. */
  get running(): boolean {
    return this.#end === null;
  }

  /** Throws what a call would be refused with. */
  check(): void {
    if (this.#end !== null) throw this.#end;
  }

  call<Name extends keyof Operations & string>(
    name: Name,
    ...values: ValuesOf<Operations, Name>
  ): Promise<ResultOf<Operations, Name>> {
    return new Promise((resolve, reject) => {
      if (this.#end !== null) {
        reject(this.#end);
        return;
      }
      this.#sequence += 1;
      // The worker answers an operation with its own result.
      this.#waiting.set(this.#sequence, { resolve: resolve as Waiting["resolve"], reject });
      this.#outbox.push([this.#sequence, name, values]);
      if (this.#outbox.length === 1) queueMicrotask(() => this.#flush());
    });
  }

  /** The worker's last call is on its way: refuses what comes after it, and resolves when the thread is gone. */
  async end(options: { terminate: boolean }): Promise<void> {
    this.#end ??= new ExecuteCodeError("storage_failed", { message: "The storage is closed." });
    if (options.terminate) await this.#worker.terminate();
    await this.#ended;
  }

  #flush(): void {
    const requests = this.#outbox;
    this.#outbox = [];
    this.#worker.postMessage(requests);
  }

  #settle(sequence: number, value: unknown, failure: Failure | null): void {
    const waiting = this.#waiting.get(sequence);
    if (waiting === undefined) return;
    this.#waiting.delete(sequence);
    if (failure === null) waiting.resolve(value);
    else waiting.reject(exceptionOf(failure));
  }

  #fail(cause?: unknown): void {
    this.#end ??= new ExecuteCodeError("storage_failed", { message: "The storage thread ended.", cause });
    for (const waiting of this.#waiting.values()) waiting.reject(this.#end);
    this.#waiting.clear();
  }
}

/** Ends a worker when it has answered what was asked before. */
export async function closeLink(link: WorkerLink<{ close(): void }>): Promise<void> {
  await Promise.all([link.call("close"), link.end({ terminate: false })]);
}

function exceptionOf({ code, message, details }: Failure): ExecuteCodeError {
  return new ExecuteCodeError(code, {
    ...(message === undefined ? {} : { message }),
    ...(details === undefined ? {} : { details }),
  });
}
