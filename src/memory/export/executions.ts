/** The executions that an export tells, oldest first, read from the store page by page. */
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { Store, StoredExecution, StoredSession } from "../ports/store.ts";

/** Executions that are read at a time: with the largest records some megabytes. */
const PAGE = 16;

export interface Exported {
  readonly stored: StoredExecution;
  /** It is not on the session's current line: the memory went back to before it, or was never what it left. */
  readonly abandoned: boolean;
}

export class Executions {
  readonly #store: Store;
  readonly #session: StoredSession;
  readonly #all: boolean;

  /** `all`: also what is not on the line from the beginning to the session's head. */
  constructor(store: Store, session: StoredSession, all: boolean) {
    this.#store = store;
    this.#session = session;
    this.#all = all;
  }

  /** May be iterated more than once. Throws storage errors. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Exported, void> {
    const { id, head, forked_from } = this.#session;
    const line = await this.#line(head);
    if (!this.#all) {
      yield* this.#named(line, line);
      return;
    }
    // What a fork brought along is its parent's.
    if (forked_from !== null) yield* this.#named(await this.#line(forked_from.execution), line);
    let after: string | null = null;
    for (;;) {
      const page = await this.#store.listExecutions(id, after, PAGE);
      for (const stored of page) yield { stored, abandoned: !line.has(stored.record.id) };
      if (page.length < PAGE) return;
      after = page.at(-1)!.record.id;
    }
  }

  async #line(head: string | null): Promise<ReadonlySet<string>> {
    return new Set(await this.#store.lineIds(head));
  }

  async *#named(ids: ReadonlySet<string>, line: ReadonlySet<string>): AsyncGenerator<Exported, void> {
    const list = [...ids];
    for (let at = 0; at < list.length; at += PAGE) {
      const page = await Promise.all(list.slice(at, at + PAGE).map((id) => this.#store.getExecution(id)));
      for (const stored of page) {
        if (stored === null) throw new ExecuteCodeError("unknown_execution");
        yield { stored, abandoned: !line.has(stored.record.id) };
      }
    }
  }
}
