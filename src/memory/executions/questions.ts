/**
 * The questions that an execution asks with `input()`, and their answers.
 *
 * A question is open until it is answered, its time is over, the code gives up on it, or the execution ends.
 */
import type { ExecuteBody } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { InputExchange, InputRequest } from "../../contract/records.ts";
import type { Question } from "../../execution/index.ts";

interface Open {
  readonly request: string;
  readonly exchange: InputExchange;
  readonly waiting: PromiseWithResolvers<string | null>;
  readonly timer: NodeJS.Timeout;
}

const REMEDY = "Answer with `execution` action input while it waits, or put the value into the code.";

export class Questions {
  readonly #options: Pick<ExecuteBody, "on_input" | "input_timeout_ms">;
  /** Makes the question an event; false when there have been too many. */
  readonly #announce: (question: InputRequest) => boolean;
  readonly #exchanges: InputExchange[] = [];
  readonly #open: Open[] = [];
  /** Who waits for a question. */
  #waiters: Array<() => void> = [];

  constructor(
    options: Pick<ExecuteBody, "on_input" | "input_timeout_ms">,
    announce: (question: InputRequest) => boolean,
  ) {
    this.#options = options;
    this.#announce = announce;
  }

  /** Everything that was asked so far, in order. */
  get exchanges(): InputExchange[] {
    return this.#exchanges.map((exchange) => ({ ...exchange }));
  }

  /** The oldest question that waits for its answer. */
  get open(): InputRequest | null {
    const oldest = this.#open[0];
    return oldest === undefined
      ? null
      : { prompt: oldest.exchange.prompt, password: oldest.exchange.password };
  }

  /** Resolves with the answer, or null at the end of input. Rejects when there is nobody to answer. */
  async ask({ request, prompt, password }: Question): Promise<string | null> {
    const { on_input, input_timeout_ms } = this.#options;
    if (on_input === "refuse")
      throw new Error(`input() has nobody to answer it: the caller refused. ${REMEDY}`);
    if (!this.#announce({ prompt, password }))
      throw new Error("input() was called too often in this execution.");
    const exchange: InputExchange = { prompt, password, answer: null };
    this.#exchanges.push(exchange);
    const waiting = Promise.withResolvers<string | null>();
    const timer = setTimeout(() => {
      this.withdraw(request);
      const seconds = input_timeout_ms / 1000;
      waiting.reject(new Error(`input() had nobody to answer it within ${seconds} s. ${REMEDY}`));
    }, input_timeout_ms);
    this.#open.push({ request, exchange, waiting, timer });
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
    return waiting.promise;
  }

  /** Resolves when a question is open. */
  asked(): Promise<void> {
    if (this.#open.length > 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Answers the oldest open question. Throws `no_input_requested`. */
  answer(text: string | null): void {
    const open = this.#open.shift();
    if (open === undefined) throw new ExecuteCodeError("no_input_requested");
    clearTimeout(open.timer);
    if (!open.exchange.password) open.exchange.answer = text;
    open.waiting.resolve(text);
  }

  /** The code does not wait for this answer any more. */
  withdraw(request: string): void {
    const index = this.#open.findIndex((open) => open.request === request);
    for (const open of index === -1 ? [] : this.#open.splice(index, 1)) clearTimeout(open.timer);
  }

  /** The execution has ended. */
  close(): void {
    for (const open of this.#open.splice(0)) clearTimeout(open.timer);
  }
}
