/**
 * The writer: the one connection that changes the database.
 *
 * A batch is every request that has arrived. Its writes are one transaction: begun, applied, committed once (with a
 * sync when one of them asks for it), then all are answered; its reads follow. When something other than a Refusal
 * goes wrong, the transaction is rolled back and each write is tried alone, so that a write fails only for itself.
 *
 * After a failure of the disk the connection is suspect: it is closed and opened anew before the next batch. The
 * whole WAL is then written to the database and synced, since what a failed sync left in it may never reach the disk.
 *
 * Quiet for a moment: the text index is advanced, then the WAL is checkpointed when it is long.
 */

import { type Failure, Refusal } from "../../memory/ports/failure.ts";
import type { Reply, Request } from "../../memory/ports/worker-link.ts";
import { type Connection, openWriter, reopenWriter, sizeOf } from "./connection.ts";
import { connectionSuspect, failureOf } from "./failures.ts";
import { readOperations, writeOperations } from "./operations.ts";
import type { ReadOperations, WriteOperations, WriterOperations } from "./protocol.ts";
import { TextIndex } from "./text-index.ts";

/** Writes of one transaction: a bound on how long the first of them waits for the last. */
const BATCH = 256;
/** Without a request for this long, the writer is idle. */
const QUIET_MS = 30;
/** One step of indexing: how long a request may have to wait for it. */
const STEP_MS = 2;
/** A closing writer indexes for this long at most; the next start goes on with the rest. */
const CLOSING_MS = 1_000;
/** More unindexed executions than this are indexed between the batches of a busy writer. */
const BACKLOG = 10_000;
/** Pages in the WAL that are not in the database yet, from which on an idle writer checkpoints. */
const WAL_IDLE_PAGES = 1_000;
/** The same for a busy one. */
const WAL_BUSY_PAGES = 4_000;
/** A WAL that grew longer than this gives its space back. */
const WAL_KEPT_BYTES = 32 * 1024 * 1024;
/** Transactions between looks at the length of the WAL. */
const WAL_LOOK = 32;

interface Open {
  readonly connection: Connection;
  readonly writes: WriteOperations;
  readonly reads: ReadOperations;
}

type AnyOperation = (...values: readonly unknown[]) => unknown;

export interface WriterHost {
  reply(replies: readonly Reply[]): void;
  log(message: string, failure: Failure): void;
  /** The database is closed. */
  closed(): void;
}

export class Writer {
  readonly #file: string;
  readonly #host: WriterHost;
  readonly #index = new TextIndex();
  /** The executions that the current transaction finishes. */
  #finished: string[] = [];
  #open: Open | null = null;
  #started = false;
  #closed = false;
  #suspect = false;
  #synced = false;
  #transactions = 0;
  #indexing = false;
  /** Requests that wait for the index, and how far it must have come. */
  #indexWaiters: { sequence: number; until: number }[] = [];
  #quiet: NodeJS.Timeout | null = null;

  constructor(file: string, host: WriterHost) {
    this.#file = file;
    this.#host = host;
  }

  handle(requests: readonly Request[]): void {
    for (let start = 0; start < requests.length; start += BATCH)
      this.#batch(requests.slice(start, start + BATCH));
    this.#quiet?.refresh();
    if (this.#index.pending > BACKLOG) this.#startIndexing();
    this.#watchWal();
  }

  #batch(requests: readonly Request[]): void {
    const writes: Request[] = [];
    const others: Request[] = [];
    for (const request of requests) (isWrite(request[1]) ? writes : others).push(request);
    if (writes.length > 0) this.#host.reply(this.#write(writes));
    for (const request of others) this.#other(request);
  }

  #write(writes: readonly Request[]): Reply[] {
    try {
      return this.#transaction(writes);
    } catch (error) {
      const single = writes.length === 1 ? writes[0] : undefined;
      if (single === undefined) return writes.flatMap((write) => this.#write([write]));
      return [[single[0], null, this.#failure(error)]];
    }
  }

  #transaction(writes: readonly Request[]): Reply[] {
    const { connection, writes: operations } = this.#writable();
    const synced = writes.some(([, operation, [asked]]) => isSynced(operation, asked));
    this.#finished = [];
    try {
      if (synced !== this.#synced) {
        connection.exec(`PRAGMA synchronous = ${synced ? "FULL" : "NORMAL"}`);
        this.#synced = synced;
      }
      connection.run("BEGIN IMMEDIATE");
      const replies = writes.map(([sequence, name, values]): Reply => {
        try {
          const operation = operations[name as keyof WriteOperations] as AnyOperation;
          return [sequence, operation(...values), null];
        } catch (error) {
          if (error instanceof Refusal) return [sequence, null, error.failure];
          throw error;
        }
      });
      connection.run("COMMIT");
      this.#index.add(this.#finished);
      return replies;
    } catch (error) {
      if (connectionSuspect(error)) this.#suspect = true;
      if (connection.inTransaction) connection.exec("ROLLBACK");
      throw error;
    }
  }

  #other([sequence, name, values]: Request): void {
    try {
      switch (name as Exclude<keyof WriterOperations, keyof WriteOperations>) {
        case "open":
          this.#start();
          this.#host.reply([[sequence, null, null]]);
          break;
        case "settle":
          this.#host.reply([[sequence, null, null]]);
          break;
        case "index":
          this.#indexWaiters.push({ sequence, until: this.#index.indexed + this.#index.pending });
          this.#startIndexing();
          break;
        case "close":
          try {
            this.#close();
            this.#host.reply([[sequence, null, null]]);
          } finally {
            // Ends the thread once this turn's answers are sent.
            setImmediate(() => this.#host.closed());
          }
          break;
        case "findSession":
        case "listSessions":
        case "listInstallations":
        case "listExecutions":
        case "line":
        case "lineIds":
        case "listCaptures":
        case "keptContents":
        case "smallContents":
        case "getExecution":
        case "refersTo":
        case "stats": {
          const operation = this.#readable().reads[name as keyof ReadOperations] as AnyOperation;
          this.#host.reply([[sequence, operation(...values), null]]);
          break;
        }
        default:
          throw new Error(`no operation ${name}`);
      }
    } catch (error) {
      this.#host.reply([[sequence, null, this.#failure(error)]]);
    }
  }

  #start(): void {
    const { connection } = this.#readable();
    this.#index.load(connection);
    this.#quiet = setTimeout(() => this.#idle(), QUIET_MS);
  }

  /** Good enough to read from, whatever befell the last write. */
  #readable(): Open {
    this.#open ??= this.#connect();
    return this.#open;
  }

  #writable(): Open {
    if (this.#suspect) {
      this.#open?.connection.close();
      this.#open = null;
      const wal = this.#readable().connection.get<{ busy: number }>("PRAGMA wal_checkpoint(TRUNCATE)");
      if (wal?.busy !== 0) throw new Error("the WAL could not be written back: a reader holds it");
      this.#suspect = false;
    }
    return this.#readable();
  }

  #connect(): Open {
    if (this.#closed) throw new Refusal("storage_failed", { file: this.#file }, "The storage is closed.");
    const connection = this.#started ? reopenWriter(this.#file) : openWriter(this.#file);
    this.#started = true;
    connection.exec("PRAGMA synchronous = NORMAL");
    this.#synced = false;
    return {
      connection,
      writes: writeOperations(connection, (id) => this.#finished.push(id)),
      reads: readOperations(connection, this.#file),
    };
  }

  #failure(error: unknown): Failure {
    if (connectionSuspect(error)) this.#suspect = true;
    return failureOf(error, this.#file);
  }

  #idle(): void {
    if (this.#index.pending > 0) this.#startIndexing();
    else this.#checkpoint(WAL_IDLE_PAGES);
  }

  #startIndexing(): void {
    if (this.#indexing) return;
    this.#indexing = true;
    this.#indexStep();
  }

  /** Requests that arrive meanwhile are served between two steps. */
  #indexStep(): void {
    try {
      if (this.#index.pending > 0) this.#index.advance(this.#writable().connection, STEP_MS);
    } catch (error) {
      // What is not indexed is still listed and shown, only not found by its words: the search goes on without it.
      this.#host.log("the text index could not be advanced", this.#failure(error));
      this.#indexing = false;
      this.#answerIndexWaiters(Number.POSITIVE_INFINITY);
      return;
    }
    this.#answerIndexWaiters(this.#index.indexed);
    this.#watchWal();
    if (this.#index.pending > 0 && this.#open !== null) setImmediate(() => this.#indexStep());
    else {
      this.#indexing = false;
      this.#quiet?.refresh();
    }
  }

  #answerIndexWaiters(reached: number): void {
    const ready = this.#indexWaiters.filter(({ until }) => until <= reached);
    if (ready.length === 0) return;
    this.#indexWaiters = this.#indexWaiters.filter(({ until }) => until > reached);
    this.#host.reply(ready.map(({ sequence }) => [sequence, null, null]));
  }

  #watchWal(): void {
    this.#transactions += 1;
    if (this.#transactions % WAL_LOOK === 0) this.#checkpoint(WAL_BUSY_PAGES);
  }

  #checkpoint(bound: number): void {
    if (this.#open === null || this.#suspect) return;
    const { connection } = this.#open;
    try {
      const wal = connection.get<{ log: number; checkpointed: number }>("PRAGMA wal_checkpoint(NOOP)");
      if (wal === undefined || wal.log - wal.checkpointed < bound) return;
      connection.exec("PRAGMA wal_checkpoint(PASSIVE)");
      if (sizeOf(`${this.#file}-wal`) > WAL_KEPT_BYTES) connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch (error) {
      this.#host.log("the WAL could not be checkpointed", this.#failure(error));
    }
  }

  #close(): void {
    if (this.#quiet !== null) clearTimeout(this.#quiet);
    this.#quiet = null;
    this.#closed = true;
    if (this.#open === null) return;
    const { connection } = this.#open;
    const deadline = performance.now() + CLOSING_MS;
    try {
      while (this.#index.pending > 0 && !this.#suspect && performance.now() < deadline) {
        this.#index.advance(connection, STEP_MS);
      }
      connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch (error) {
      this.#host.log("the database was closed without a checkpoint", this.#failure(error));
    }
    this.#open = null;
    connection.close();
    this.#answerIndexWaiters(Number.POSITIVE_INFINITY);
  }
}

const WRITES: ReadonlySet<string> = new Set<keyof WriteOperations>([
  "createSession",
  "dropSession",
  "closeSession",
  "beginGeneration",
  "accept",
  "markStarted",
  "appendInstallation",
  "appendLate",
  "finish",
  "setHead",
  "addCapture",
  "removeCaptures",
  "recover",
  "acquireLease",
  "releaseLease",
]);

/** What must survive power loss before it is answered: contents are removed from the disk when no capture needs them. */
function isSynced(operation: string, asked: unknown): boolean {
  return operation === "removeCaptures" || (operation === "finish" && asked === true);
}

function isWrite(operation: string): boolean {
  return WRITES.has(operation);
}
