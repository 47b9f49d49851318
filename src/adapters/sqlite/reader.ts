/** The reader: answers searches, one after the other, each from the newest committed state. */

import type { Reply, Request } from "../../memory/ports/worker-link.ts";
import { type Connection, openReader } from "./connection.ts";
import { connectionSuspect, failureOf } from "./failures.ts";
import type { ReaderOperations } from "./protocol.ts";
import { search } from "./search.ts";

export interface ReaderHost {
  reply(replies: readonly Reply[]): void;
  /** The connection is closed. */
  closed(): void;
}

export class Reader {
  readonly #file: string;
  readonly #host: ReaderHost;
  #connection: Connection | null = null;

  constructor(file: string, host: ReaderHost) {
    this.#file = file;
    this.#host = host;
  }

  handle(requests: readonly Request[]): void {
    for (const [sequence, name, values] of requests) {
      try {
        if (name === "close") {
          this.#close();
          this.#host.reply([[sequence, null, null]]);
          this.#host.closed();
        } else {
          const [query, before] = values as Parameters<ReaderOperations["search"]>;
          this.#connection ??= openReader(this.#file);
          this.#host.reply([[sequence, search(this.#connection, query, before), null]]);
        }
      } catch (error) {
        this.#host.reply([[sequence, null, failureOf(error, this.#file)]]);
        if (connectionSuspect(error)) this.#close();
      }
    }
  }

  #close(): void {
    this.#connection?.close();
    this.#connection = null;
  }
}
