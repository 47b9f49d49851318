/**
 * A worker that is there while it is needed: started by a call, ended when there has been none for a while, so that its
 * memory is given back. Should it have died, the next call starts another.
 */
import { closeLink, type ResultOf, type ValuesOf, type WorkerLink } from "./worker-link.ts";

const IDLE_MS = 10_000;

export class OccasionalWorker<Operations extends { close(): void }> {
  readonly #start: () => WorkerLink<Operations>;
  #link: WorkerLink<Operations> | null = null;
  /** Calls and other things that need it. */
  #needs = 0;
  #idle: NodeJS.Timeout | null = null;

  constructor(start: () => WorkerLink<Operations>) {
    this.#start = start;
  }

  async call<Name extends keyof Operations & string>(
    name: Name,
    ...values: ValuesOf<Operations, Name>
  ): Promise<ResultOf<Operations, Name>> {
    using _need = this.need();
    if (this.#link?.running !== true) this.#link = this.#start();
    return await this.#link.call(name, ...values);
  }

  /** It does not end before this is disposed of. */
  need(): Disposable {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = null;
    this.#needs += 1;
    return {
      [Symbol.dispose]: () => {
        this.#needs -= 1;
        // Who died by itself has told its callers.
        if (this.#needs === 0)
          this.#idle = setTimeout(() => void this.end().catch(() => {}), IDLE_MS).unref();
      },
    };
  }

  /** Ends it when it has answered. */
  async end(): Promise<void> {
    if (this.#idle !== null) clearTimeout(this.#idle);
    const link = this.#link;
    this.#link = null;
    if (link?.running === true) await closeLink(link);
  }
}
