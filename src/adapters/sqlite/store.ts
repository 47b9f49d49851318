/**
 * The Store on SQLite. This side only packs and unpacks: the database lives in a worker thread, see writer.ts.
 *
 * Word searches have a worker of their own with a read-only connection, started by the first one: however long a
 * search takes, writes go on, since readers of a WAL block nobody.
 */

import type { HistoryPage, HistoryQuery } from "../../contract/api.ts";
import { SESSION_ID } from "../../contract/records.ts";
import type { Lease } from "../../memory/ports/placement.ts";
import type {
  Acceptance,
  AcceptedExecution,
  FinishedExecution,
  Store,
  StoredExecution,
  StoredSession,
} from "../../memory/ports/store.ts";
import { type StorageLog, WorkerLink } from "./link.ts";
import type { ReaderOperations, WriterOperations } from "./protocol.ts";
import { acceptedRow, artifactRows, finishedRow, storedExecution } from "./rows.ts";

export interface SqliteStoreOptions {
  /** The database file; created when there is none. Its folder must exist. */
  readonly file: string;
  /** Told of failures that no caller sees: those of indexing and checkpointing. */
  readonly log?: StorageLog;
}

/** `start` once, then any other method, then `close`; what is called after that fails with storage_failed. */
export class SqliteStore implements Store, AsyncDisposable {
  readonly #file: string;
  readonly #log: StorageLog;
  #writer: WorkerLink<WriterOperations> | null = null;
  #reader: WorkerLink<ReaderOperations> | null = null;

  constructor({ file, log }: SqliteStoreOptions) {
    this.#file = file;
    this.#log = log ?? (() => {});
  }

  async start(): Promise<void> {
    const writer = new WorkerLink<WriterOperations>({ role: "writer", file: this.#file }, this.#log);
    try {
      await writer.call("open");
      this.#writer = writer;
    } catch (error) {
      await writer.end({ terminate: true });
      throw error;
    }
  }

  async close(): Promise<void> {
    // The reader first: the writer can then give the whole WAL back.
    for (const link of [this.#reader, this.#writer]) {
      if (link?.running !== true) continue;
      await Promise.all([link.call("close"), link.end({ terminate: false })]);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  createSession(session: StoredSession): Promise<void> {
    return this.#running.call("createSession", session);
  }

  async findSession(ref: string): Promise<StoredSession | null> {
    const byId = SESSION_ID.test(ref) ? await this.#running.call("findSession", "id", ref) : null;
    return byId ?? this.#running.call("findSession", "name", ref);
  }

  listSessions({ closed }: { closed: boolean }): Promise<StoredSession[]> {
    return this.#running.call("listSessions", closed);
  }

  closeSession(id: string, epoch: number, closedAt: string): Promise<void> {
    return this.#running.call("closeSession", id, epoch, closedAt);
  }

  beginGeneration(id: string, epoch: number, generation: number): Promise<void> {
    return this.#running.call("beginGeneration", id, epoch, generation);
  }

  accept(execution: AcceptedExecution): Promise<Acceptance> {
    const { session_id, epoch, idempotency } = execution;
    const { key, digest } = idempotency ?? { key: null, digest: null };
    return this.#running.call("accept", session_id, epoch, key, digest, acceptedRow(execution));
  }

  markStarted(id: string, epoch: number, startedAt: string): Promise<void> {
    const marked = this.#running.call("markStarted", id, epoch, startedAt);
    // A caller need not await it; its failure is then nobody's.
    marked.catch(() => {});
    return marked;
  }

  finish(execution: FinishedExecution): Promise<void> {
    const { record, epoch } = execution;
    const row = finishedRow(execution, new Date().toISOString());
    const artifacts = artifactRows(record.artifacts);
    const synced = record.durability === "full";
    return this.#running.call("finish", synced, record.session_id, epoch, record.id, row, artifacts);
  }

  async getExecution(id: string): Promise<StoredExecution | null> {
    const found = await this.#running.call("getExecution", id);
    return found === null ? null : storedExecution(found.row, found.artifacts);
  }

  async search(query: HistoryQuery): Promise<HistoryPage> {
    const writer = this.#running;
    if (query.query !== undefined) await writer.call("index");
    writer.check();
    if (this.#reader?.running !== true) {
      this.#reader = new WorkerLink<ReaderOperations>({ role: "reader", file: this.#file }, this.#log);
    }
    return this.#reader.call("search", query);
  }

  recover(owner: string, at: string): Promise<string[]> {
    return this.#running.call("recover", owner, at);
  }

  refersTo(sha256: string): Promise<boolean> {
    return this.#running.call("refersTo", sha256);
  }

  stats(): Promise<{ executions: number; sessions: number; bytes: number; schema: number; sqlite: string }> {
    return this.#running.call("stats");
  }

  /** For SqlitePlacement: the lease is part of the session's row. */
  acquireLease(sessionId: string, owner: string): Promise<Lease> {
    return this.#running.call("acquireLease", sessionId, owner);
  }

  releaseLease(sessionId: string, { owner, epoch }: Lease): Promise<void> {
    return this.#running.call("releaseLease", sessionId, owner, epoch, new Date().toISOString());
  }

  /** After `close` it answers every call with storage_failed. */
  get #running(): WorkerLink<WriterOperations> {
    if (this.#writer === null) throw new Error("the store was not started");
    return this.#writer;
  }
}
