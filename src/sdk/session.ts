/** A session's handle. */
import type { Completion, Variables, WorkspaceEntry, WorkspaceListing } from "../contract/api.ts";
import type { ExecutionEvent } from "../contract/events.ts";
import type { ExecutionRecord, SessionInfo, VariableDetail } from "../contract/records.ts";
import type {
  CaptureInfo,
  Merge,
  OnConflict,
  OnUnsafe,
  RestoreReport,
  Rollback,
  SnapshotInfo,
} from "../contract/time-travel.ts";
import type { Client } from "./client.ts";
import type { DownloadOptions, DownloadToOptions, FileContent } from "./files.ts";
import type { ExecuteOptions, ExportOptions, ForkOptions } from "./options.ts";

/** A session by name: the calls of the client that concern it. */
export class Session {
  readonly name: string;
  readonly #client: Client;

  constructor(client: Client, name: string) {
    this.#client = client;
    this.name = name;
  }

  /** As Client.execute, in this session. */
  execute(code: string, options: ExecuteOptions = {}): Promise<ExecutionRecord> {
    return this.#client.execute({ ...options, code, session: this.name });
  }

  /** As Client.stream, in this session. */
  stream(code: string, options: ExecuteOptions = {}): AsyncGenerator<ExecutionEvent, void> {
    return this.#client.stream({ ...options, code, session: this.name });
  }

  show(): Promise<SessionInfo> {
    return this.#client.showSession(this.name);
  }

  /** As Client.snapshots, of this session. */
  snapshots(): Promise<SnapshotInfo[]> {
    return this.#client.snapshots(this.name);
  }

  /** As Client.snapshot, of this session. */
  snapshot(name?: string, options: { onUnsafe?: OnUnsafe } = {}): Promise<SnapshotInfo> {
    return this.#client.snapshot(this.name, name, options);
  }

  /** As Client.rollback: to a snapshot, or to what an id or name says. */
  rollback(to?: SnapshotInfo | string): Promise<Rollback> {
    return this.#client.rollback(this.name, typeof to === "object" ? to.id : to);
  }

  /** As Client.fork: so many sessions with copies of this one's memory. */
  async fork(count = 1, options: Omit<ForkOptions, "count"> = {}): Promise<Session[]> {
    const { sessions } = await this.#client.fork(this.name, { ...options, count });
    return sessions.map(({ name }) => new Session(this.#client, name));
  }

  /** As Client.merge: variables of another session into this one. */
  merge(
    from: Session | string,
    names: readonly string[],
    options: { onConflict?: OnConflict | undefined } = {},
  ): Promise<Merge> {
    return this.#client.merge(this.name, typeof from === "string" ? from : from.name, names, options);
  }

  /** As Client.captures, of this session. */
  captures(): Promise<CaptureInfo[]> {
    return this.#client.captures(this.name);
  }

  /** As Client.capture, of this session. */
  capture(name?: string): Promise<CaptureInfo> {
    return this.#client.capture(this.name, name);
  }

  /** As Client.restoreSession, of this session. */
  restore(capture?: string, options: { effects?: boolean | undefined } = {}): Promise<RestoreReport> {
    return this.#client.restoreSession(this.name, capture, options);
  }

  /** As Client.exportHistory, of this session. */
  exportHistory(options?: ExportOptions): Promise<Buffer>;
  exportHistory(options: ExportOptions & DownloadToOptions): Promise<number>;
  exportHistory(options: ExportOptions | (ExportOptions & DownloadToOptions) = {}): Promise<Buffer | number> {
    return "to" in options
      ? this.#client.exportHistory(this.name, options)
      : this.#client.exportHistory(this.name, options);
  }

  /** As Client.resetSession. */
  reset(): Promise<SessionInfo> {
    return this.#client.resetSession(this.name);
  }

  /** As Client.closeSession. */
  close(): Promise<SessionInfo> {
    return this.#client.closeSession(this.name);
  }

  /** As Client.files, of this session. */
  files(path = ""): Promise<WorkspaceListing> {
    return this.#client.files(this.name, path);
  }

  /** As Client.download, from this session. */
  download(path: string, options?: DownloadOptions): Promise<Buffer>;
  download(path: string, options: DownloadToOptions): Promise<number>;
  download(path: string, options: DownloadOptions | DownloadToOptions = {}): Promise<Buffer | number> {
    return "to" in options
      ? this.#client.download(this.name, path, options)
      : this.#client.download(this.name, path, options);
  }

  /** As Client.upload, to this session. */
  upload(path: string, content: FileContent): Promise<WorkspaceEntry> {
    return this.#client.upload(this.name, path, content);
  }

  /** As Client.complete, in this session. */
  complete(
    code: string,
    cursor: number | null = null,
    options: { start?: boolean } = {},
  ): Promise<Completion> {
    return this.#client.complete(this.name, code, cursor, options);
  }

  /** Without a name a summary of every variable, with one a closer look at it. */
  inspect(): Promise<Variables>;
  inspect(name: string, depth?: number): Promise<VariableDetail>;
  inspect(name?: string, depth?: number): Promise<Variables | VariableDetail> {
    return name === undefined
      ? this.#client.variables(this.name)
      : this.#client.variable(this.name, name, depth);
  }
}
