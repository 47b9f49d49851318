/** The client: every call of the HTTP API as a method, safe to use while the daemon stops and starts. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type {
  Check,
  Completion,
  Health,
  HistoryPage,
  Installation,
  RouteBodyInput,
  RouteQueryInput,
  Variables,
  WorkspaceEntry,
  WorkspaceListing,
} from "../contract/api.ts";
import { ExecuteCodeError } from "../contract/errors.ts";
import type { ExecutionEvent } from "../contract/events.ts";
import {
  type CapturePolicy,
  type Durability,
  type ExecutionRecord,
  IsolationTier,
  type OnBusy,
  type SessionInfo,
  type SnapshotPolicy,
  type VariableDetail,
} from "../contract/records.ts";
import type {
  Bisection,
  CaptureInfo,
  Difference,
  Forks,
  Merge,
  OnConflict,
  OnUnsafe,
  Replay,
  RestoreReport,
  Rollback,
  SnapshotInfo,
} from "../contract/time-travel.ts";
import { callOf, defined, isRunning, wellFormed } from "./calls.ts";
import { Connection, REACH_MS } from "./connection.ts";
import { type DownloadOptions, type DownloadToOptions, type FileContent, Outgoing } from "./files.ts";
import { type Grants, profileOptions } from "./grants.ts";
import type {
  BisectOptions,
  ClientOptions,
  ExecuteOptions,
  ExecuteRequest,
  ExportOptions,
  ForkOptions,
  ReplayOptions,
} from "./options.ts";

const LONGEST_WAIT_MS = 600_000;

/**
 * One client may be used for any number of calls at a time. It holds no resource but idle connections, which keep no
 * process alive; `close` (or `await using`) ends them.
 *
 * Every failure is an ExecuteCodeError. An exception of the session's code is no failure: it is in the record.
 */
export class Client implements AsyncDisposable {
  readonly home: string;
  readonly #options: ClientOptions;
  readonly #connection: Connection;

  constructor(options: ClientOptions) {
    this.home = options.home;
    this.#options = options;
    this.#connection = new Connection(options);
  }

  /** Resolves when the daemon answers, starting it first when that was allowed. */
  reach(): Promise<void> {
    return this.#connection.reach();
  }

  /** Ends the client's connections, and with them the calls under way. Executions run on. */
  async close(): Promise<void> {
    this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ── executions ────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs code and answers its record; with status `running` when the caller's time was over before its end. */
  async execute(request: ExecuteRequest): Promise<ExecutionRecord> {
    const { signal } = request;
    signal?.throwIfAborted();
    const body = this.#executeBody(request);
    const interrupt = () => {
      // A repeat by the idempotency key answers the same execution at once; its own record tells the outcome.
      const { fresh: _, ...repeat } = { ...body, timeout_ms: 0, on_timeout: "detach" as const };
      this.#connection
        .call("execute", { body: { ...repeat, idempotency_fresh: false } })
        .then((record) => (record.status === "running" ? this.interrupt(record.id) : record))
        .catch(() => {});
    };
    signal?.addEventListener("abort", interrupt, { once: true });
    try {
      return await this.#connection.call("execute", { body });
    } finally {
      signal?.removeEventListener("abort", interrupt);
    }
  }

  /**
   * Runs code and yields its events; the last one, `end` or `detached`, carries the record. A broken connection is
   * resumed where it stopped. Leaving the loop ends the listening, not the execution.
   */
  async *stream(request: ExecuteRequest): AsyncGenerator<ExecutionEvent, void> {
    const { signal } = request;
    signal?.throwIfAborted();
    let body = this.#executeBody(request);
    const open = (): Promise<IncomingMessage> => {
      const opened = this.#connection.open("stream", { body });
      body = { ...body, idempotency_fresh: false };
      return opened;
    };
    let id: string | undefined;
    // The record tells what became of the interruption.
    const interrupt = () => {
      if (id !== undefined) this.interrupt(id).catch(() => {});
    };
    signal?.addEventListener("abort", interrupt, { once: true });
    try {
      for await (const event of this.#connection.resumed(open)) {
        if (event.type === "accepted") {
          id = event.id;
          if (signal?.aborted) interrupt();
        }
        yield event;
      }
    } finally {
      signal?.removeEventListener("abort", interrupt);
    }
  }

  /** The events of an execution from an offset on, to its end; also after it ended. */
  follow(id: string, offset = 0): AsyncGenerator<ExecutionEvent, void> {
    return this.#connection.resumed(
      () => this.#connection.open("follow", { params: { id }, query: { offset } }),
      id,
      offset,
    );
  }

  /** The record of an execution; while it runs, the record so far. */
  execution(id: string): Promise<ExecutionRecord> {
    return this.#connection.call("execution", { params: { id } });
  }

  /**
   * The record when the execution has ended; after the given time (milliseconds), or with `until: "input"` when it
   * asks for input, the record so far.
   */
  async wait(
    id: string,
    timeoutMs = 30_000,
    options: { until?: "end" | "input" } = {},
  ): Promise<ExecutionRecord> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const remaining = Math.max(0, Math.ceil(deadline - performance.now()));
      const record = await this.#connection.call("execution", {
        params: { id },
        query: { wait_ms: Math.min(remaining, LONGEST_WAIT_MS), ...options },
      });
      const asks = options.until === "input" && record.input_requested !== null;
      if (record.status !== "running" || asks || remaining <= LONGEST_WAIT_MS) return record;
    }
  }

  /** Interrupts an execution, or withdraws it from the queue. */
  interrupt(id: string): Promise<ExecutionRecord> {
    return this.#connection.call("interrupt", { params: { id }, body: {} });
  }

  /** Kills the kernel that runs the execution; the session's variables are lost. */
  kill(id: string): Promise<ExecutionRecord> {
    return this.#connection.call("kill", { params: { id }, body: {} });
  }

  /**
   * Answers the question that an execution waits with: one line, or null to end its input. Answers the record so far.
   * Fails with no_input_requested when it asks nothing.
   */
  input(id: string, text: string | null): Promise<ExecutionRecord> {
    return this.#connection.call("input", { params: { id }, body: { text } });
  }

  /** Searches the history, newest first. */
  history(query: RouteQueryInput<"history"> = {}): Promise<HistoryPage> {
    return this.#connection.call("history", { query });
  }

  /**
   * A session's executions as a notebook (`ipynb`), Markdown, JSON lines or a Python script: its bytes; with `to` they go
   * to a file of this machine or a stream, and their number is answered. Also of a closed session. Fails with
   * unknown_session, and with connection_lost when the daemon cannot read on.
   */
  exportHistory(session: string, options?: ExportOptions): Promise<Buffer>;
  exportHistory(session: string, options: ExportOptions & DownloadToOptions): Promise<number>;
  exportHistory(
    session: string,
    options: ExportOptions | (ExportOptions & DownloadToOptions) = {},
  ): Promise<Buffer | number> {
    const { format, all, images } = options;
    const query = defined({ format, line: all === true ? ("all" as const) : undefined, images });
    const call = callOf("exportHistory", { params: { session }, query });
    return this.#connection.content(
      call,
      "The export",
      options,
      "Export it again; the daemon's log names the cause.",
    );
  }

  /** All that was kept of a stream, byte for byte. */
  async output(id: string, stream: "stdout" | "stderr"): Promise<Buffer> {
    return (await this.#connection.exchange("output", { params: { id, stream } })).bytes;
  }

  /** One artifact, byte for byte; `number` counts from 1. */
  async artifact(id: string, number: number): Promise<{ mime: string; bytes: Buffer }> {
    const answer = await this.#connection.exchange("artifact", { params: { id, number } });
    return { mime: answer.type, bytes: answer.bytes };
  }

  // ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────

  /** A handle on the session of this name, which comes into being with its first execution. */
  async session(name = "main"): Promise<Session> {
    return new Session(this, name);
  }

  /** The sessions, most recently used first. */
  async sessions(options: { closed?: boolean } = {}): Promise<SessionInfo[]> {
    const query = options.closed === undefined ? {} : { closed: String(options.closed) };
    return (await this.#connection.call("sessions", { query })).sessions;
  }

  /** Creates a session. Fails with session_exists when there is an open one of that name. */
  createSession(
    options: {
      name?: string | undefined;
      language?: string | undefined;
      python?: string | undefined;
      durability?: Durability | undefined;
      isolation?: IsolationTier | undefined;
      onBusy?: OnBusy | undefined;
      /** `changes` (default): a live snapshot after every execution that changed something; `named`: on request only. */
      snapshots?: SnapshotPolicy | undefined;
      /** `idle` (default): variables are written to the disk when the session is idle; `named`: on request only. */
      capture?: CapturePolicy | undefined;
      /** Default: its own work folder, no network, a share of the machine. */
      grants?: Grants | undefined;
    } = {},
  ): Promise<SessionInfo> {
    const { name, language, durability, onBusy, snapshots, capture } = options;
    return this.#connection.call("createSession", {
      body: {
        ...defined({ name, language, durability, on_busy: onBusy, snapshots, capture }),
        ...this.#python(options.python),
        ...this.#isolation(options.isolation),
        ...defined({ profile: profileOptions(options.grants ?? {}) }),
      },
    });
  }

  /**
   * Installs packages into the session's own environment; they can be imported at once. Each is a name, with a version
   * where that matters: `pandas>=2`; with `upgrade` newer ones than are there are fetched. Fails with install_failed, whose details have what the installer said.
   */
  install(
    session: string,
    packages: readonly string[],
    options: { upgrade?: boolean | undefined; timeoutMs?: number | undefined } = {},
  ): Promise<Installation> {
    return this.#connection.call("install", {
      params: { session },
      body: {
        packages: [...packages],
        ...defined({ upgrade: options.upgrade, timeout_ms: options.timeoutMs }),
      },
    });
  }

  showSession(session: string): Promise<SessionInfo> {
    return this.#connection.call("session", { params: { session } });
  }

  /** Gives the session a new kernel: its variables are dropped, its history stays. */
  resetSession(session: string): Promise<SessionInfo> {
    return this.#connection.call("resetSession", { params: { session }, body: {} });
  }

  /** Ends the session and everything it started; its history stays. */
  closeSession(session: string): Promise<SessionInfo> {
    return this.#connection.call("closeSession", { params: { session }, body: {} });
  }

  // ── snapshots and forks ───────────────────────────────────────────────────────────────────────────────────

  /** The session's live snapshots, newest first. */
  async snapshots(session: string): Promise<SnapshotInfo[]> {
    return (await this.#connection.call("snapshots", { params: { session } })).snapshots;
  }

  /**
   * Keeps the session's memory as it is now, for `rollback` and `fork`. Fails with snapshot_exists; with `onUnsafe:
   * "refuse"` with unsafe_fork when the session holds threads, connections or processes, which a copy lacks.
   */
  snapshot(session: string, name?: string, options: { onUnsafe?: OnUnsafe } = {}): Promise<SnapshotInfo> {
    const body = defined({ name, on_unsafe: options.onUnsafe });
    return this.#connection.call("takeSnapshot", { params: { session }, body });
  }

  /** Gives up a snapshot, by id or name. */
  dropSnapshot(session: string, snapshot: string): Promise<SnapshotInfo> {
    return this.#connection.call("dropSnapshot", { params: { session, snapshot }, body: {} });
  }

  /**
   * Makes the session's memory what it was: at a snapshot, by id or name, or after an execution; without one, before
   * the last execution that changed something. Files stay; the answer lists those that changed meanwhile. Fails with
   * unknown_snapshot.
   */
  rollback(session: string, to?: string): Promise<Rollback> {
    return this.#connection.call("rollback", { params: { session }, body: defined({ to }) });
  }

  /**
   * New sessions with copies of the session's memory, or of a snapshot's; they share its workspace. Fails with
   * unsafe_fork when it holds what a copy lacks, unless `onUnsafe` is `warn`.
   */
  fork(session: string, options: ForkOptions = {}): Promise<Forks> {
    const { count, names, from, onUnsafe } = options;
    const body = defined({
      count: count ?? names?.length,
      names: names && [...names],
      from,
      on_unsafe: onUnsafe,
    });
    return this.#connection.call("forkSession", { params: { session }, body });
  }

  /** What the disk has of the session's variables, newest first. */
  async captures(session: string): Promise<CaptureInfo[]> {
    return (await this.#connection.call("captures", { params: { session } })).captures;
  }

  /** Writes the session's variables to the disk now, by default in place of the last capture without a name. */
  capture(session: string, name?: string): Promise<CaptureInfo> {
    return this.#connection.call("capture", { params: { session }, body: defined({ name }) });
  }

  /**
   * Brings back the variables of a session whose kernel is gone, as its next use does by itself; with `capture`, an id
   * or name, the state of that one in place of the session's. Tells of every variable what became of it. With
   * `effects` whatever is needed is run again, also what wrote files or used the network. Fails with
   * session_live and unknown_capture.
   */
  restoreSession(
    session: string,
    capture?: string,
    options: { effects?: boolean | undefined } = {},
  ): Promise<RestoreReport> {
    const body = defined({ capture, effects: options.effects });
    return this.#connection.call("restoreSession", { params: { session }, body });
  }

  /**
   * Brings variables of another session into this one; what they share with each other stays shared, and objects become
   * of this one's classes, unless those are among the names, too. Fails with merge_conflict when this session has changed
   * them itself, unless `onConflict` says whose are to hold: `replace` or `keep`.
   */
  merge(
    session: string,
    from: string,
    names: readonly string[],
    options: { onConflict?: OnConflict | undefined } = {},
  ): Promise<Merge> {
    const body = {
      from,
      names: [...names],
      ...defined({ on_conflict: options.onConflict }),
      client: this.#options.client,
    };
    return this.#connection.call("merge", { params: { session }, body });
  }

  /** Compares the variables of two sessions. */
  diff(session: string, other: string): Promise<Difference> {
    return this.#connection.call("diff", { params: { session }, query: { with: other } });
  }

  /**
   * Names the execution after which an expression that was true no longer is: the expression is evaluated in copies of
   * the session's past, which are gone afterwards. `good` and `bad` bound the search by executions.
   */
  bisect(session: string, predicate: string, options: BisectOptions = {}): Promise<Bisection> {
    const { good, bad, timeoutMs } = options;
    const body = { predicate, ...defined({ good, bad, timeout_ms: timeoutMs }) };
    return this.#connection.call("bisect", { params: { session }, body });
  }

  /**
   * Runs past executions of a session again, in order, in another session: a new one, or `into`. Those that did
   * something outside their session are left out, unless `effects` says otherwise.
   */
  replay(session: string, options: ReplayOptions = {}): Promise<Replay> {
    const { executions, from, to, into, effects, keepGoing } = options;
    const chosen = executions === undefined ? {} : { executions: [...executions] };
    const body = {
      ...chosen,
      ...defined({ from, to, into, effects, keep_going: keepGoing }),
      client: this.#options.client,
    };
    return this.#connection.call("replay", { params: { session }, body });
  }

  /** The session's variables, a bounded summary of each. */
  variables(session: string): Promise<Variables> {
    return this.#connection.call("variables", { params: { session } });
  }

  /** A closer look at one variable; `depth` (0 to 4) says how many levels of its parts are shown. */
  variable(session: string, name: string, depth = 1): Promise<VariableDetail> {
    return this.#connection.call("variable", { params: { session, name }, query: { depth } });
  }

  /**
   * What could stand at a place of some code, and whether the code is a whole cell; nothing is run. `cursor`, and the
   * answer's `start` and `end`, are offsets in the string as JavaScript counts them; without a cursor no names are
   * looked for. With `start` a session that has run nothing gets its kernel; else its status is null. Waits up to 5 s
   * for what runs; fails with session_busy then.
   */
  async complete(
    session: string,
    code: string,
    cursor: number | null = null,
    options: { start?: boolean } = {},
  ): Promise<Completion> {
    const count = cursor === null ? null : Array.from(code.slice(0, cursor)).length;
    const body = { code, cursor: count, ...defined({ start: options.start }) };
    const found = await this.#connection.call("complete", { params: { session }, body });
    if (cursor === null) return found;
    const characters = Array.from(code);
    const offset = (place: number): number => characters.slice(0, place).join("").length;
    return { ...found, start: offset(found.start), end: offset(found.end) };
  }

  // ── files of a session's workspace ────────────────────────────────────────────────────────────────────────

  /**
   * What a folder of the session's workspace holds, by name, at most 10 000 entries; links are listed, and never
   * followed. Also of a closed session. Fails with invalid_path or unknown_file.
   */
  async files(session: string, path = ""): Promise<WorkspaceListing> {
    return await this.#connection.call("files", { params: { session }, query: { path: wellFormed(path) } });
  }

  /**
   * A file of the session's workspace: its bytes; with `to` they go to a file of this machine or a stream, and their
   * number is answered. Also of a closed session. Fails with invalid_path (links are not followed), unknown_file,
   * file_too_large beyond `maxBytes`, and connection_lost when the session's code shortens the file meanwhile.
   */
  download(session: string, path: string, options?: DownloadOptions): Promise<Buffer>;
  download(session: string, path: string, options: DownloadToOptions): Promise<number>;
  async download(
    session: string,
    path: string,
    options: DownloadOptions | DownloadToOptions = {},
  ): Promise<Buffer | number> {
    const call = callOf("download", { params: { session }, query: { path: wellFormed(path) } });
    const remedy = "Download it again; the session's code may have shortened it meanwhile.";
    return await this.#connection.content(call, path, options, remedy);
  }

  /**
   * Puts a file of at most 4 GiB into the session's workspace, whole or not at all: missing folders are made, a file or
   * link of that name is replaced. Text is written as UTF-8. What comes as it is made (an AsyncIterable) is sent once,
   * all else again when the connection broke. Fails with invalid_path, file_too_large, storage_full, session_closed,
   * and with what the content throws.
   */
  async upload(session: string, path: string, content: FileContent): Promise<WorkspaceEntry> {
    const call = callOf("upload", { params: { session }, query: { path: wellFormed(path) } });
    return await this.#connection.send("upload", call, new Outgoing(content));
  }

  // ── the daemon ────────────────────────────────────────────────────────────────────────────────────────────

  health(): Promise<Health> {
    return this.#connection.call("health", {});
  }

  /** What works in the daemon, what does not, and the remedy. */
  async doctor(): Promise<Check[]> {
    return (await this.#connection.call("doctor", {})).checks;
  }

  /**
   * Stops the daemon and resolves with its pid when it is gone. Running executions get `drainMs` (5 000) to end.
   * A later call of this client starts a new one, where that was allowed.
   */
  async stop(options: { drainMs?: number | undefined } = {}): Promise<{ pid: number }> {
    const answer = await this.#connection.call("stop", { body: defined({ drain_ms: options.drainMs }) });
    const deadline = performance.now() + (options.drainMs ?? 5_000) + REACH_MS;
    for (let pause = 5; performance.now() < deadline; pause = Math.min(pause * 2, 50)) {
      if (!isRunning(answer.pid)) return answer;
      await sleep(pause);
    }
    throw new ExecuteCodeError("daemon_stopping", {
      message: "The daemon was told to stop, and is still there.",
      remedy: `See its log; end the process ${answer.pid} if need be.`,
      details: { pid: answer.pid },
    });
  }

  // ── how calls are made ────────────────────────────────────────────────────────────────────────────────────

  #executeBody(request: ExecuteRequest): RouteBodyInput<"execute"> {
    return {
      code: request.code,
      client: request.client ?? this.#options.client,
      idempotency_key: request.idempotencyKey ?? randomUUID(),
      idempotency_fresh: request.idempotencyKey === undefined,
      ...this.#python(request.python),
      ...this.#isolation(request.isolation),
      ...defined({
        session: request.session,
        language: request.language,
        timeout_ms: request.timeoutMs,
        on_timeout: request.onTimeout,
        durability: request.durability,
        fresh: request.fresh,
        on_busy: request.onBusy,
        stop_on_error: request.stopOnError,
        on_error: request.onError,
        on_input: request.onInput,
        input_timeout_ms: request.inputTimeoutMs,
        env: request.env,
        profile: profileOptions(request.grants ?? {}),
      }),
    };
  }

  /** A path is meant relative to this process, not to the daemon. */
  #python(given: string | undefined): { python?: string } {
    const python = given ?? this.#options.env.EXECUTE_CODE_PYTHON;
    if (python === undefined || python === "") return {};
    return { python: python.includes("/") ? path.resolve(python) : python };
  }

  #isolation(given: IsolationTier | undefined): { isolation?: IsolationTier } {
    const wanted = given ?? this.#options.env.EXECUTE_CODE_ISOLATION;
    if (wanted === undefined || wanted === "") return {};
    const tier = IsolationTier.safeParse(wanted);
    if (tier.success) return { isolation: tier.data };
    throw new ExecuteCodeError("invalid_request", {
      message: `EXECUTE_CODE_ISOLATION is ${wanted}, which is no tier of isolation.`,
      remedy: `Use one of: ${IsolationTier.options.join(", ")}.`,
    });
  }
}

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
