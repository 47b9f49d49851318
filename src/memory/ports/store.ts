/**
 * The Store port: sessions and the history of their executions, durably. SQL is the truth; whatever else the
 * daemon holds can be made again from it.
 *
 * Life of an execution here: accept (before any code runs; survives the death of the process) → start → finish
 * (acknowledged only when this resolved; with durability `full` it then survives power loss).
 *
 * Every write names the session's epoch and is refused with `stale_epoch` when another owner has moved it on.
 * Failures are ExecuteCodeErrors of the storage rows: storage_full, storage_read_only, storage_failed,
 * database_damaged, database_newer. A failed write leaves nothing half-written, and the next may succeed.
 */
import type { HistoryPage, HistoryQuery } from "../../contract/api.ts";
import type { Profile } from "../../contract/profile.ts";
import type {
  CapturePolicy,
  Cause,
  Durability,
  Effect,
  ExecutionRecord,
  ExecutionStatus,
  InstalledPackage,
  IsolationTier,
  Language,
  LateOutput,
  Lineage,
  OnBusy,
  SnapshotPolicy,
  VariableChanges,
} from "../../contract/records.ts";
import type { CaptureManifest } from "../../contract/time-travel.ts";

/** A session as it is stored: what outlives its kernel. */
export interface StoredSession {
  readonly id: string;
  readonly name: string;
  readonly language: Language;
  readonly python: string | null;
  readonly durability: Durability;
  readonly on_busy: OnBusy;
  readonly snapshots: SnapshotPolicy;
  readonly capture: CapturePolicy;
  readonly forked_from: Lineage | null;
  /** The session whose folder it shares, with files and packages; its own id as a rule. */
  readonly folder: string;
  /** The execution whose state the next one begins with. */
  readonly head: string | null;
  readonly isolation: IsolationTier;
  readonly profile: Profile;
  /** What its own environment has. */
  readonly packages: readonly InstalledPackage[];
  readonly owner: string;
  readonly epoch: number;
  /** 0 until the session's first kernel. */
  readonly generation: number;
  readonly revision: number;
  readonly created_at: string;
  readonly closed_at: string | null;
  readonly used_at: string;
}

/** Packages that were installed into a session's environment with one request. */
export interface StoredInstallation {
  readonly requested: readonly string[];
  readonly installed: readonly InstalledPackage[];
  readonly at: string;
  /** The execution that asked; null when a caller did. */
  readonly execution: string | null;
}

/** What is known of an execution before it runs. */
export interface AcceptedExecution {
  readonly id: string;
  readonly session_id: string;
  readonly session: string;
  readonly epoch: number;
  readonly language: Language;
  readonly code: string;
  readonly cause: Cause;
  readonly durability: Durability;
  readonly accepted_at: string;
  /** Set when it goes straight to a kernel, as it does in an idle session; then `markStarted` is not needed. */
  readonly started_at: string | null;
  readonly isolation: IsolationTier;
  /** With the digest of session and code, which a repeat must match. */
  readonly idempotency: {
    readonly key: string;
    readonly digest: string;
    /** The caller has just made the key up: nothing can have used it. */
    readonly fresh: boolean;
  } | null;
}

/** Run-length list of an execution's events in order: bytes of a stream, or one other event. See execution/output. */
export type StoredTimeline = ReadonlyArray<readonly [kind: string, count: number]>;

export interface FinishedExecution {
  readonly record: ExecutionRecord;
  readonly epoch: number;
  readonly timeline: StoredTimeline;
  /** The session's head after it. */
  readonly head: string | null;
}

/** A content that is kept in the database. */
export interface SmallContent {
  readonly digest: string;
  readonly data: Uint8Array;
}

/** Variables on the disk, as they were after an execution. */
export interface StoredCapture {
  readonly id: string;
  readonly session_id: string;
  readonly name: string | null;
  readonly execution: string | null;
  readonly generation: number;
  readonly revision: number;
  readonly created_at: string;
  readonly bytes: number;
  readonly new_bytes: number;
  readonly manifest: CaptureManifest;
}

/** The content that an artifact's metadata stands for lies in the artifact folder, by its sha256. */
export interface StoredExecution {
  readonly record: ExecutionRecord;
  readonly timeline: StoredTimeline;
}

/** What is known of a past execution on a line. */
export interface LineExecution {
  readonly id: string;
  readonly session_id: string;
  readonly revision: number;
  readonly parent: string | null;
  readonly code: string;
  readonly status: ExecutionStatus;
  readonly started_at: string;
  readonly variables: VariableChanges;
  readonly effects: readonly Effect[];
}

export type Acceptance =
  | { readonly kind: "accepted" }
  /** The idempotency key was used for the same request: this execution answers it. */
  | { readonly kind: "duplicate"; readonly id: string };

export interface Store {
  /** Opens (creating or migrating) the database. */
  start(): Promise<void>;
  /** Writes what is pending, checkpoints, and closes. */
  close(): Promise<void>;

  /** Fails with `session_exists` when an open session has the name. */
  createSession(session: StoredSession): Promise<void>;
  /** As if a session that has run nothing had not been. */
  dropSession(id: string, epoch: number): Promise<void>;
  /** The open session of this name, else the latest closed one; or by `sess_…` id. */
  findSession(ref: string): Promise<StoredSession | null>;
  /** Most recently used first. */
  listSessions(options: { closed: boolean }): Promise<StoredSession[]>;
  closeSession(id: string, epoch: number, closedAt: string): Promise<void>;
  /** A new kernel begins: stores its generation. */
  beginGeneration(id: string, epoch: number, generation: number): Promise<void>;

  /** Fails with `idempotency_conflict` when the key was used for another request. */
  accept(execution: AcceptedExecution): Promise<Acceptance>;
  /** Notes that the code is given to a kernel; need not be awaited. */
  markStarted(id: string, epoch: number, startedAt: string): Promise<void>;
  /** Also stores the session's new revision and head. */
  finish(execution: FinishedExecution): Promise<void>;
  /**
   * Keeps what executions of one session wrote after their end: their records carry it from then on, before what
   * `finish` said of others' late output. Survives the death of the process.
   */
  appendLate(outputs: readonly LateOutput[], epoch: number): Promise<void>;
  /** Notes what was installed into a session's environment, and all `packages` that it has then. */
  appendInstallation(
    session: string,
    epoch: number,
    installation: StoredInstallation,
    packages: readonly InstalledPackage[],
  ): Promise<void>;
  /** In the order in which they came. */
  listInstallations(session: string): Promise<StoredInstallation[]>;
  /** The session's memory is that of another moment of its history. */
  setHead(id: string, epoch: number, head: string | null): Promise<void>;
  /** Finished executions of a session in the order of their acceptance, after the one that is named; at most `limit`. */
  listExecutions(session: string, after: string | null, limit: number): Promise<StoredExecution[]>;
  /** The executions from a line's beginning, also in the session that it was forked from, to its head; oldest first. */
  line(head: string | null): Promise<LineExecution[]>;
  /** Their ids alone, which is quick for a long line, too. */
  lineIds(head: string | null): Promise<string[]>;
  /** Keeps a capture, with its small contents; the others lie in their folder already. */
  addCapture(epoch: number, capture: StoredCapture, small: readonly SmallContent[]): Promise<void>;
  /** Newest first, without those that are damaged. */
  listCaptures(session: string): Promise<StoredCapture[]>;
  /** Returns the digests of contents that no capture needs any more, `pinned` ones apart: small ones are gone then. */
  removeCaptures(ids: readonly string[], pinned: readonly string[]): Promise<string[]>;
  /** Those of the contents that are small. */
  smallContents(digests: readonly string[]): Promise<SmallContent[]>;
  /** Those of the digests that some capture needs. */
  keptContents(digests: readonly string[]): Promise<string[]>;
  getExecution(id: string): Promise<StoredExecution | null>;
  search(query: HistoryQuery): Promise<HistoryPage>;
  /**
   * Turns every execution that an earlier life of this owner left unfinished into `interrupted`, saying whether it
   * had been given to a kernel. Nothing is run again. Returns their ids.
   */
  recover(owner: string, at: string): Promise<string[]>;
  /** True when some stored execution refers to the content. */
  refersTo(sha256: string): Promise<boolean>;
  stats(): Promise<{ executions: number; sessions: number; bytes: number; schema: number; sqlite: string }>;
}
