/** What waits for a session: executions, and other work that nothing may run beside. In the order of arrival. */
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { Execution } from "../executions/execution.ts";

/** Work that is not an execution. */
export class Task {
  readonly run: () => Promise<void>;
  readonly refuse: (error: ExecuteCodeError) => void;

  constructor(run: () => Promise<void>, refuse: (error: ExecuteCodeError) => void) {
    this.run = run;
    this.refuse = refuse;
  }
}

export class Turns {
  #waiting: Array<Execution | Task> = [];

  /** Executions that wait. */
  get executions(): Execution[] {
    return this.#waiting.filter((turn): turn is Execution => !(turn instanceof Task));
  }

  get length(): number {
    return this.#waiting.length;
  }

  add(execution: Execution): void {
    this.#waiting.push(execution);
  }

  /**
   * Waits for its turn, at most so long, and does the work; `begin` sees to it that turns are taken. Throws
   * `session_busy` with `running()` when the time is over, what `refuse` was told, and what the work throws.
   */
  do<T>(work: () => Promise<T>, waitMs: number, running: () => string | null, begin: () => void): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const task = new Task(async () => {
      clearTimeout(timer);
      await work().then(resolve, reject);
    }, reject);
    const timer = setTimeout(() => {
      this.#waiting = this.#waiting.filter((turn) => turn !== task);
      reject(new ExecuteCodeError("session_busy", { details: { running: running() } }));
    }, waitMs);
    this.#waiting.push(task);
    begin();
    return promise.finally(() => clearTimeout(timer));
  }

  next(): Execution | Task | undefined {
    return this.#waiting.shift();
  }

  /** Whether it waited. */
  withdraw(execution: Execution): boolean {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter((turn) => turn !== execution);
    return this.#waiting.length < before;
  }

  /** Takes out all; tasks are refused, executions are the caller's to end. */
  clear(error: ExecuteCodeError): Execution[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const turn of waiting) if (turn instanceof Task) turn.refuse(error);
    return waiting.filter((turn): turn is Execution => !(turn instanceof Task));
  }

  /** Takes out the executions only. */
  clearExecutions(): Execution[] {
    const executions = this.executions;
    this.#waiting = this.#waiting.filter((turn) => turn instanceof Task);
    return executions;
  }
}
