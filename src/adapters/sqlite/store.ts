/**
 * The Store on SQLite. This side only packs and unpacks: the database lives in a worker thread, see writer.ts.
 *
 * Word searches have a worker of their own with a read-only connection, started by the first one: however long a
 * search takes, writes go on, since readers of a WAL block nobody.
 */

import type { ExecutionSummary, HistoryPage, HistoryQuery } from "../../contract/api.ts";
import { type InstalledPackage, type LateOutput, SESSION_ID } from "../../contract/records.ts";
import { OccasionalWorker } from "../../memory/ports/occasional-worker.ts";
import type { Lease } from "../../memory/ports/placement.ts";
import type {
  Acceptance,
  AcceptedExecution,
  FinishedExecution,
  LineExecution,
  SmallContent,
  Store,
  StoredCapture,
  StoredExecution,
  StoredInstallation,
  StoredSession,
} from "../../memory/ports/store.ts";
import { closeLink, type StorageLog, WorkerLink, workerEntry } from "../../memory/ports/worker-link.ts";
import { PendingWrites, type PromisedWrite } from "./pending.ts";
import type { ReaderOperations, SearchPart, WorkerData, WriterOperations } from "./protocol.ts";
import {
  acceptedRow,
  artifactRows,
  captureRow,
  finishedRow,
  installationRow,
  lineExecution,
  sessionRow,
  storedCapture,
  storedExecution,
  storedInstallation,
  storedSession,
} from "./rows.ts";

export interface SqliteStoreOptions {
  /** The database file; created when there is none. Its folder must exist. */
  readonly file: string;
  /** Told of failures that no caller sees: those of indexing and checkpointing. */
  readonly log?: StorageLog;
}

const ENTRY = workerEntry("worker", import.meta.url);

/** `start` once, then any other method, then `close`; what is called after that fails with storage_failed. */
export class SqliteStore implements Store, AsyncDisposable {
  readonly #file: string;
  readonly #log: StorageLog;
  #writer: WorkerLink<WriterOperations> | null = null;
  readonly #reader = new OccasionalWorker<ReaderOperations>(() => this.#startWorker("reader"));
  readonly #pending: PendingWrites;
  /** The epochs of sessions, as far as this store has set or seen them: every change of them passes here. */
  readonly #epochs = new Map<string, number>();
  /** Executions that were accepted and have not ended. */
  readonly #accepted = new Set<string>();
  /** The last write that was waited for succeeded: the disk takes writes. */
  #writable = false;

  constructor({ file, log }: SqliteStoreOptions) {
    this.#file = file;
    this.#pending = new PendingWrites(`${file}-pending`, ([operation, ...values]: PromisedWrite) =>
      this.#link.call(operation, ...(values as never)),
    );
    this.#log = log ?? (() => {});
  }

  #startWorker<Operations>(role: WorkerData["role"]): WorkerLink<Operations> {
    const data: WorkerData = { role, file: this.#file };
    return new WorkerLink({ entry: ENTRY, name: `storage ${role}`, data }, this.#log);
  }

  async start(): Promise<void> {
    const writer = this.#startWorker<WriterOperations>("writer");
    try {
      await writer.call("open");
      this.#writer = writer;
      await this.#pending.start();
    } catch (error) {
      this.#writer = null;
      await writer.end({ terminate: true });
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#writer?.running === true) await this.#pending.close();
    // The reader first: the writer can then give the whole WAL back.
    await this.#reader.end();
    if (this.#writer?.running === true) await closeLink(this.#writer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async createSession(session: StoredSession): Promise<void> {
    await this.#write(() => this.#running.call("createSession", sessionRow(session)));
    this.#epochs.set(session.id, session.epoch);
  }

  async findSession(ref: string): Promise<StoredSession | null> {
    const byId = SESSION_ID.test(ref) ? await this.#running.call("findSession", "id", ref) : null;
    const row = byId ?? (await this.#running.call("findSession", "name", ref));
    return row === null ? null : storedSession(row);
  }

  async listSessions({ closed }: { closed: boolean }): Promise<StoredSession[]> {
    return (await this.#running.call("listSessions", closed)).map(storedSession);
  }

  async dropSession(id: string, epoch: number): Promise<void> {
    await this.#write(() => this.#running.call("dropSession", id, epoch));
    this.#epochs.delete(id);
  }

  closeSession(id: string, epoch: number, closedAt: string): Promise<void> {
    return this.#running.call("closeSession", id, epoch, closedAt);
  }

  beginGeneration(id: string, epoch: number, generation: number): Promise<void> {
    return this.#running.call("beginGeneration", id, epoch, generation);
  }

  async accept(execution: AcceptedExecution): Promise<Acceptance> {
    const { session_id, epoch, idempotency } = execution;
    const { key, digest, fresh } = idempotency ?? { key: null, digest: null, fresh: true };
    const row = acceptedRow(execution);
    if (fresh && this.#mayPromise(session_id, epoch)) {
      this.#pending.promise(["accept", session_id, epoch, key, digest, row]);
      this.#accepted.add(execution.id);
      return { kind: "accepted" };
    }
    const acceptance = await this.#write(() =>
      this.#running.call("accept", session_id, epoch, key, digest, row),
    );
    if (acceptance.kind === "accepted") this.#accepted.add(execution.id);
    return acceptance;
  }

  /** What is promised will be written: no other owner can have the session, and the disk takes writes. */
  #mayPromise(sessionId: string, epoch: number): boolean {
    return (
      this.#link.running && this.#writable && !this.#pending.behind && this.#epochs.get(sessionId) === epoch
    );
  }

  /** A write that is waited for; those that were promised before go first. */
  async #write<T>(call: () => Promise<T>): Promise<T> {
    try {
      if (this.#pending.behind) await this.#pending.catchUp();
      const answer = await call();
      this.#writable = true;
      return answer;
    } catch (error) {
      this.#writable = false;
      throw error;
    }
  }

  markStarted(id: string, epoch: number, startedAt: string): Promise<void> {
    const marked = this.#running.call("markStarted", id, epoch, startedAt);
    // A caller need not await it; its failure is then nobody's.
    marked.catch(() => {});
    return marked;
  }

  async finish(execution: FinishedExecution): Promise<void> {
    const { record, epoch, head } = execution;
    const row = finishedRow(execution, new Date().toISOString());
    const artifacts = artifactRows(record.artifacts);
    const synced = record.durability === "full";
    const write = [synced, record.session_id, epoch, record.id, row, artifacts, head] as const;
    if (!synced && this.#accepted.has(record.id) && this.#mayPromise(record.session_id, epoch)) {
      this.#pending.promise(["finish", ...write]);
    } else {
      await this.#write(() => this.#running.call("finish", ...write));
    }
    this.#accepted.delete(record.id);
  }

  appendLate(outputs: readonly LateOutput[], epoch: number): Promise<void> {
    const rows = outputs.map(({ execution, stream, text }) => ({
      execution,
      stream,
      text: text.toWellFormed(),
    }));
    return this.#running.call("appendLate", epoch, rows);
  }

  appendInstallation(
    session: string,
    epoch: number,
    installation: StoredInstallation,
    packages: readonly InstalledPackage[],
  ): Promise<void> {
    const row = installationRow(session, installation);
    return this.#running.call("appendInstallation", epoch, row, JSON.stringify(packages));
  }

  async listInstallations(session: string): Promise<StoredInstallation[]> {
    return (await this.#running.call("listInstallations", session)).map(storedInstallation);
  }

  setHead(id: string, epoch: number, head: string | null): Promise<void> {
    return this.#write(() => this.#running.call("setHead", id, epoch, head));
  }

  async listExecutions(session: string, after: string | null, limit: number): Promise<StoredExecution[]> {
    const found = await this.#running.call("listExecutions", session, after, limit);
    return found.map(({ row, artifacts, late }) => storedExecution(row, artifacts, late));
  }

  async line(head: string | null): Promise<LineExecution[]> {
    return (await this.#running.call("line", head)).map(lineExecution);
  }

  lineIds(head: string | null): Promise<string[]> {
    return this.#running.call("lineIds", head);
  }

  addCapture(epoch: number, capture: StoredCapture, small: readonly SmallContent[]): Promise<void> {
    const digests = [...new Set(capture.manifest.blobs.map(({ digest }) => digest))];
    return this.#write(() => this.#running.call("addCapture", epoch, captureRow(capture), digests, small));
  }

  async listCaptures(session: string): Promise<StoredCapture[]> {
    const rows = await this.#running.call("listCaptures", session);
    return rows.flatMap((row) => {
      const capture = storedCapture(row);
      if (capture !== null) return capture;
      const { id } = row;
      this.#log("a capture is damaged, and left out", { code: "database_damaged", details: { capture: id } });
      return [];
    });
  }

  removeCaptures(ids: readonly string[], pinned: readonly string[]): Promise<string[]> {
    return this.#write(() => this.#running.call("removeCaptures", ids, pinned));
  }

  smallContents(digests: readonly string[]): Promise<SmallContent[]> {
    return this.#running.call("smallContents", digests);
  }

  keptContents(digests: readonly string[]): Promise<string[]> {
    return this.#running.call("keptContents", digests);
  }

  async getExecution(id: string): Promise<StoredExecution | null> {
    const found = await this.#running.call("getExecution", id);
    return found === null ? null : storedExecution(found.row, found.artifacts, found.late);
  }

  async search(query: HistoryQuery): Promise<HistoryPage> {
    const writer = this.#running;
    // What was promised is in the database, and in the text index when words are sought.
    await writer.call(query.query === undefined ? "settle" : "index");
    writer.check();
    const executions: ExecutionSummary[] = [];
    let before: number | null = null;
    do {
      const limit = query.limit - executions.length;
      const part: SearchPart = await this.#reader.call("search", { ...query, limit }, before);
      executions.push(...part.executions);
      if (part.more) return { executions, next_cursor: executions.at(-1)!.id };
      before = part.searchedTo;
    } while (before !== null);
    return { executions, next_cursor: null };
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
  async acquireLease(sessionId: string, owner: string): Promise<Lease> {
    this.#epochs.delete(sessionId);
    const lease = await this.#running.call("acquireLease", sessionId, owner);
    this.#epochs.set(sessionId, lease.epoch);
    return lease;
  }

  releaseLease(sessionId: string, { owner, epoch }: Lease): Promise<void> {
    this.#epochs.delete(sessionId);
    return this.#running.call("releaseLease", sessionId, owner, epoch, new Date().toISOString());
  }

  /** The writer, which has been given everything that was promised. */
  get #running(): WorkerLink<WriterOperations> {
    this.#pending.flush();
    return this.#link;
  }

  /** After `close` it answers every call with storage_failed. */
  get #link(): WorkerLink<WriterOperations> {
    if (this.#writer === null) throw new Error("the store was not started");
    return this.#writer;
  }
}
