/**
 * What the main thread asks of its workers. Requests are flat arrays of scalars wherever they are frequent:
 * structured clone copies those quickly.
 */
import type { ExecutionSummary, HistoryQuery } from "../../contract/api.ts";
import type { Lease } from "../../memory/ports/placement.ts";
import type { Acceptance, SmallContent } from "../../memory/ports/store.ts";
import type {
  AcceptedRow,
  ArtifactRow,
  CaptureRow,
  ExecutionRow,
  FinishedRow,
  InstallationRow,
  LateRow,
  LineRow,
  SessionRow,
} from "./rows.ts";

/** Operations of the writer that change the database: each batch of them is one transaction. */
export interface WriteOperations {
  createSession(session: SessionRow): void;
  dropSession(id: string, epoch: number): void;
  closeSession(id: string, epoch: number, closedAt: string): void;
  beginGeneration(id: string, epoch: number, generation: number): void;
  accept(
    sessionId: string,
    epoch: number,
    key: string | null,
    digest: string | null,
    row: AcceptedRow,
  ): Acceptance;
  markStarted(id: string, epoch: number, startedAt: string): void;
  /** `synced`: the transaction that holds it survives power loss before it is answered. */
  finish(
    synced: boolean,
    sessionId: string,
    epoch: number,
    id: string,
    row: FinishedRow,
    artifacts: ArtifactRow[],
    head: string | null,
  ): void;
  setHead(sessionId: string, epoch: number, head: string | null): void;
  /** `digests`: the contents that it needs. */
  addCapture(
    epoch: number,
    row: CaptureRow,
    digests: readonly string[],
    small: readonly SmallContent[],
  ): void;
  removeCaptures(ids: readonly string[], pinned: readonly string[]): string[];
  /** `packages`: all that the session's environment has then. */
  appendInstallation(epoch: number, row: InstallationRow, packages: string): void;
  appendLate(epoch: number, rows: readonly LateRow[]): void;
  recover(owner: string, at: string): string[];
  acquireLease(sessionId: string, owner: string): Lease;
  releaseLease(sessionId: string, owner: string, epoch: number, at: string): void;
}

/** An execution with what has rows of its own. */
export interface ExecutionRows {
  readonly row: ExecutionRow;
  readonly artifacts: ArtifactRow[];
  readonly late: LateRow[];
}

/** Cheap look-ups, answered by the writer after the writes that came with them. */
export interface ReadOperations {
  findSession(by: "id" | "name", ref: string): SessionRow | null;
  listSessions(closed: boolean): SessionRow[];
  listInstallations(sessionId: string): InstallationRow[];
  getExecution(id: string): ExecutionRows | null;
  listExecutions(sessionId: string, after: string | null, limit: number): ExecutionRows[];
  line(head: string | null): LineRow[];
  lineIds(head: string | null): string[];
  listCaptures(sessionId: string): CaptureRow[];
  keptContents(digests: readonly string[]): string[];
  smallContents(digests: readonly string[]): SmallContent[];
  refersTo(sha256: string): boolean;
  stats(): { executions: number; sessions: number; bytes: number; schema: number; sqlite: string };
}

export interface WriterOperations extends WriteOperations, ReadOperations {
  open(): void;
  /** Answers when everything that was asked before is done. */
  settle(): void;
  /** Answers when every execution that was finished before is in the text index. */
  index(): void;
  close(): void;
}

/** What a search has found in one go: at most as many executions as the query's limit, newest first. */
export interface SearchPart {
  readonly executions: ExecutionSummary[];
  /** There are others among those that were looked at. */
  readonly more: boolean;
  /** Where the next part goes on; null when nothing is left to look at. */
  readonly searchedTo: number | null;
}

export interface ReaderOperations {
  search(query: HistoryQuery, before: number | null): SearchPart;
  close(): void;
}

/** What a worker finds as its `workerData`. */
export interface WorkerData {
  readonly role: "writer" | "reader";
  readonly file: string;
}
