/** The client: every call of the HTTP API as a method, safe to use while the daemon stops and starts. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Check,
  type ExportQuery,
  type Health,
  type HistoryPage,
  type Installation,
  type OnError,
  type OnInput,
  type OnTimeout,
  ROUTES,
  type RouteBodyInput,
  type RouteName,
  type RouteParams,
  type RouteQueryInput,
  type RouteResponse,
  type Variables,
  type WorkspaceEntry,
  type WorkspaceListing,
} from "../contract/api.ts";
import { ErrorBody, ExecuteCodeError } from "../contract/errors.ts";
import { ExecutionEvent } from "../contract/events.ts";
import { daemonSocket } from "../contract/location.ts";
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
import {
  type DownloadOptions,
  type DownloadToOptions,
  type FileContent,
  Outgoing,
  receive,
} from "./files.ts";
import { type Grants, profileOptions } from "./grants.ts";
import { Session } from "./session.ts";
import { ConnectionError, readAll, readLines, Transport } from "./transport.ts";

export interface ClientOptions {
  readonly home: string;
  /** Whether to start a daemon when none runs, now and later. */
  readonly start: boolean;
  /** Where a daemon that is started serves HTTP, too. */
  readonly http?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** Who asks, for the records' cause. */
  readonly client: string;
}

export interface ExecuteOptions {
  /** Language of the session that is created when there is none of that name. */
  readonly language?: string | undefined;
  /** Interpreter of the session that is created when there is none of that name. Default: EXECUTE_CODE_PYTHON. */
  readonly python?: string | undefined;
  /** How long to wait for the end, milliseconds, queueing included. Default 30 000. */
  readonly timeoutMs?: number | undefined;
  /** What happens then: `detach` (default) answers status `running` and lets it run on, `interrupt` stops it. */
  readonly onTimeout?: OnTimeout | undefined;
  readonly durability?: Durability | undefined;
  /**
   * Isolation of the session that is created when there is none of that name. Default: EXECUTE_CODE_ISOLATION, else
   * the strongest that the machine offers.
   */
  readonly isolation?: IsolationTier | undefined;
  /** What the session is granted that is created when there is none of that name; one that there is must agree. */
  readonly grants?: Grants | undefined;
  /** Default: a new one for each call, so that a repeat after a broken connection runs nothing twice. */
  readonly idempotencyKey?: string | undefined;
  /** Start the session anew first. */
  readonly fresh?: boolean | undefined;
  /** When the session is busy: `wait` its turn, or `refuse` with session_busy. Default: the session's own policy. */
  readonly onBusy?: OnBusy | undefined;
  /** When it fails: `keep` (default) what it changed in memory, or `rollback` to the memory before it. Files stay. */
  readonly onError?: OnError | undefined;
  /** When it fails, the executions that wait behind it are withdrawn. Default false. */
  readonly stopOnError?: boolean | undefined;
  /**
   * What `input()` in the code does: `wait` (default) for an answer by `client.input`; `detach` waits too, but the
   * call answers at once with status `running` and `input_requested`; `refuse` raises EOFError in the code.
   */
  readonly onInput?: OnInput | undefined;
  /** How long `input()` waits, milliseconds, before it raises EOFError. Default 10 000. */
  readonly inputTimeoutMs?: number | undefined;
  /** Environment variables for this execution alone. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /**
   * Aborting interrupts the execution, whose record is then answered as ever, with status `interrupted`. A signal
   * that is aborted before the call is thrown, and nothing is run.
   */
  readonly signal?: AbortSignal | undefined;
  /** Who asks, for the record's cause. Default: the name given to `connect`. */
  readonly client?: string | undefined;
}

export interface ExecuteRequest extends ExecuteOptions {
  readonly code: string;
  /** Name or id. Default `main`. */
  readonly session?: string | undefined;
}

export interface ForkOptions {
  /** How many. Default: as many as there are names, or 1. */
  readonly count?: number | undefined;
  /** Default: the session's name, with a number. */
  readonly names?: readonly string[] | undefined;
  /** A snapshot's id or name, or an execution whose state one holds. Default: the session as it is now. */
  readonly from?: string | undefined;
  /** `refuse` (default) or `warn`, when the session holds what a copy lacks. */
  readonly onUnsafe?: OnUnsafe | undefined;
}

export interface ExportOptions extends DownloadOptions {
  /** Default: `ipynb`. */
  readonly format?: ExportQuery["format"] | undefined;
  /** Also what is not on the line from the session's beginning to its head. Default: false. */
  readonly all?: boolean | undefined;
  /** Whether images are told with their content (`inline`, the default), or left out with a note. */
  readonly images?: ExportQuery["images"] | undefined;
}

export interface BisectOptions {
  readonly good?: string | undefined;
  readonly bad?: string | undefined;
  /** How long one evaluation may take, milliseconds. Default 30 000. */
  readonly timeoutMs?: number | undefined;
}

export interface ReplayOptions {
  /** Default: those of the session's line, from `from` to `to`. */
  readonly executions?: readonly string[] | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly into?: string | undefined;
  readonly effects?: boolean | undefined;
  /** Go on after one that fails where it did not before. */
  readonly keepGoing?: boolean | undefined;
}

/** What one route takes. Parts that a route does not have are left out. */
interface RouteInput<N extends RouteName> {
  params?: RouteParams<N>;
  query?: RouteQueryInput<N>;
  body?: RouteBodyInput<N>;
}

/** How long a daemon may take to answer, its start included, and to make room for its successor. */
const REACH_MS = 15_000;
/** Stopped streams and refused connections are tried again this often in a row before the call fails. */
const ATTEMPTS = 5;
const LONGEST_WAIT_MS = 600_000;
/** Calls that change something each time: they are sent once, on a connection of their own. */
const ONCE: ReadonlySet<RouteName> = new Set([
  "createSession",
  "resetSession",
  "closeSession",
  "takeSnapshot",
  "dropSnapshot",
  "rollback",
  "capture",
  "restoreSession",
  "merge",
  "bisect",
  "replay",
  "forkSession",
  "install",
  "input",
  "stop",
]);

/**
 * One client may be used for any number of calls at a time. It holds no resource but idle connections, which keep no
 * process alive; `close` (or `await using`) ends them.
 *
 * Every failure is an ExecuteCodeError. An exception of the session's code is no failure: it is in the record.
 */
export class Client implements AsyncDisposable {
  readonly home: string;
  readonly #options: ClientOptions;
  readonly #transport: Transport;
  #reaching: Promise<void> | null = null;
  #closed = false;

  constructor(options: ClientOptions) {
    this.home = options.home;
    this.#options = options;
    this.#transport = new Transport(daemonSocket(options.home));
  }

  /** Resolves when the daemon answers, starting it first when that was allowed. */
  async reach(): Promise<void> {
    this.#reaching ??= this.#launch();
    await this.#reaching;
  }

  async #launch(): Promise<void> {
    try {
      // Loaded when needed: most clients find the daemon running with their first call.
      const { reachDaemon } = await import("./launch.ts");
      await reachDaemon(this.#transport, this.#options, REACH_MS);
    } finally {
      this.#reaching = null;
    }
  }

  /** Ends the client's connections, and with them the calls under way. Executions run on. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#transport.close();
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
      this.#call("execute", { body: { ...repeat, idempotency_fresh: false } })
        .then((record) => (record.status === "running" ? this.interrupt(record.id) : record))
        .catch(() => {});
    };
    signal?.addEventListener("abort", interrupt, { once: true });
    try {
      return await this.#call("execute", { body });
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
      const opened = this.#open("stream", { body });
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
      for await (const event of this.#resumed(open)) {
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
    return this.#resumed(() => this.#open("follow", { params: { id }, query: { offset } }), id, offset);
  }

  /** The record of an execution; while it runs, the record so far. */
  execution(id: string): Promise<ExecutionRecord> {
    return this.#call("execution", { params: { id } });
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
      const record = await this.#call("execution", {
        params: { id },
        query: { wait_ms: Math.min(remaining, LONGEST_WAIT_MS), ...options },
      });
      const asks = options.until === "input" && record.input_requested !== null;
      if (record.status !== "running" || asks || remaining <= LONGEST_WAIT_MS) return record;
    }
  }

  /** Interrupts an execution, or withdraws it from the queue. */
  interrupt(id: string): Promise<ExecutionRecord> {
    return this.#call("interrupt", { params: { id }, body: {} });
  }

  /** Kills the kernel that runs the execution; the session's variables are lost. */
  kill(id: string): Promise<ExecutionRecord> {
    return this.#call("kill", { params: { id }, body: {} });
  }

  /**
   * Answers the question that an execution waits with: one line, or null to end its input. Answers the record so far.
   * Fails with no_input_requested when it asks nothing.
   */
  input(id: string, text: string | null): Promise<ExecutionRecord> {
    return this.#call("input", { params: { id }, body: { text } });
  }

  /** Searches the history, newest first. */
  history(query: RouteQueryInput<"history"> = {}): Promise<HistoryPage> {
    return this.#call("history", { query });
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
    return this.#content(call, "The export", options, "Export it again; the daemon's log names the cause.");
  }

  /** All that was kept of a stream, byte for byte. */
  async output(id: string, stream: "stdout" | "stderr"): Promise<Buffer> {
    return (await this.#exchange("output", { params: { id, stream } })).bytes;
  }

  /** One artifact, byte for byte; `number` counts from 1. */
  async artifact(id: string, number: number): Promise<{ mime: string; bytes: Buffer }> {
    const answer = await this.#exchange("artifact", { params: { id, number } });
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
    return (await this.#call("sessions", { query })).sessions;
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
    return this.#call("createSession", {
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
    return this.#call("install", {
      params: { session },
      body: {
        packages: [...packages],
        ...defined({ upgrade: options.upgrade, timeout_ms: options.timeoutMs }),
      },
    });
  }

  showSession(session: string): Promise<SessionInfo> {
    return this.#call("session", { params: { session } });
  }

  /** Gives the session a new kernel: its variables are dropped, its history stays. */
  resetSession(session: string): Promise<SessionInfo> {
    return this.#call("resetSession", { params: { session }, body: {} });
  }

  /** Ends the session and everything it started; its history stays. */
  closeSession(session: string): Promise<SessionInfo> {
    return this.#call("closeSession", { params: { session }, body: {} });
  }

  // ── snapshots and forks ───────────────────────────────────────────────────────────────────────────────────

  /** The session's live snapshots, newest first. */
  async snapshots(session: string): Promise<SnapshotInfo[]> {
    return (await this.#call("snapshots", { params: { session } })).snapshots;
  }

  /**
   * Keeps the session's memory as it is now, for `rollback` and `fork`. Fails with snapshot_exists; with `onUnsafe:
   * "refuse"` with unsafe_fork when the session holds threads, connections or processes, which a copy lacks.
   */
  snapshot(session: string, name?: string, options: { onUnsafe?: OnUnsafe } = {}): Promise<SnapshotInfo> {
    const body = defined({ name, on_unsafe: options.onUnsafe });
    return this.#call("takeSnapshot", { params: { session }, body });
  }

  /** Gives up a snapshot, by id or name. */
  dropSnapshot(session: string, snapshot: string): Promise<SnapshotInfo> {
    return this.#call("dropSnapshot", { params: { session, snapshot }, body: {} });
  }

  /**
   * Makes the session's memory what it was: at a snapshot, by id or name, or after an execution; without one, before
   * the last execution that changed something. Files stay; the answer lists those that changed meanwhile. Fails with
   * unknown_snapshot.
   */
  rollback(session: string, to?: string): Promise<Rollback> {
    return this.#call("rollback", { params: { session }, body: defined({ to }) });
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
    return this.#call("forkSession", { params: { session }, body });
  }

  /** What the disk has of the session's variables, newest first. */
  async captures(session: string): Promise<CaptureInfo[]> {
    return (await this.#call("captures", { params: { session } })).captures;
  }

  /** Writes the session's variables to the disk now, by default in place of the last capture without a name. */
  capture(session: string, name?: string): Promise<CaptureInfo> {
    return this.#call("capture", { params: { session }, body: defined({ name }) });
  }

  /**
   * Brings back the variables of a session whose kernel is gone, as its next use does by itself; with `capture`, an id
   * or name, the state of that one in place of the session's. Tells of every variable what became of it. Fails with
   * session_live and unknown_capture.
   */
  restoreSession(session: string, capture?: string): Promise<RestoreReport> {
    return this.#call("restoreSession", { params: { session }, body: defined({ capture }) });
  }

  /**
   * Brings variables of another session into this one; what they share with each other stays shared, and classes of
   * cells that both have become this one's. Fails with merge_conflict when this session has changed them itself,
   * unless `onConflict` says whose are to hold: `replace` or `keep`.
   */
  merge(
    session: string,
    from: string,
    names: readonly string[],
    options: { onConflict?: OnConflict | undefined } = {},
  ): Promise<Merge> {
    const body = { from, names: [...names], ...defined({ on_conflict: options.onConflict }) };
    return this.#call("merge", { params: { session }, body });
  }

  /** Compares the variables of two sessions. */
  diff(session: string, other: string): Promise<Difference> {
    return this.#call("diff", { params: { session }, query: { with: other } });
  }

  /**
   * Names the execution after which an expression that was true no longer is: the expression is evaluated in copies of
   * the session's past, which are gone afterwards. `good` and `bad` bound the search by executions.
   */
  bisect(session: string, predicate: string, options: BisectOptions = {}): Promise<Bisection> {
    const { good, bad, timeoutMs } = options;
    const body = { predicate, ...defined({ good, bad, timeout_ms: timeoutMs }) };
    return this.#call("bisect", { params: { session }, body });
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
    return this.#call("replay", { params: { session }, body });
  }

  /** The session's variables, a bounded summary of each. */
  variables(session: string): Promise<Variables> {
    return this.#call("variables", { params: { session } });
  }

  /** A closer look at one variable; `depth` (0 to 4) says how many levels of its parts are shown. */
  variable(session: string, name: string, depth = 1): Promise<VariableDetail> {
    return this.#call("variable", { params: { session, name }, query: { depth } });
  }

  // ── files of a session's workspace ────────────────────────────────────────────────────────────────────────

  /**
   * What a folder of the session's workspace holds, by name, at most 10 000 entries; links are listed, and never
   * followed. Also of a closed session. Fails with invalid_path or unknown_file.
   */
  async files(session: string, path = ""): Promise<WorkspaceListing> {
    return await this.#call("files", { params: { session }, query: { path: wellFormed(path) } });
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
    return await this.#content(call, path, options, remedy);
  }

  /**
   * Puts a file of at most 4 GiB into the session's workspace, whole or not at all: missing folders are made, a file or
   * link of that name is replaced. Text is written as UTF-8. What comes as it is made (an AsyncIterable) is sent once,
   * all else again when the connection broke. Fails with invalid_path, file_too_large, storage_full, session_closed,
   * and with what the content throws.
   */
  async upload(session: string, path: string, content: FileContent): Promise<WorkspaceEntry> {
    const call = callOf("upload", { params: { session }, query: { path: wellFormed(path) } });
    const outgoing = new Outgoing(content);
    const sent = this.#reliably(outgoing.repeatable, async () => {
      const given = await this.#transport.request({ ...call, body: outgoing.body, ownConnection: true });
      if (given.status >= 400 && !outgoing.spent) throw refusal(given.status, given.bytes);
      return given;
    });
    const answer = await sent.catch(fileLost("Upload it again: the file is there whole, or not at all."));
    if (answer.status >= 400) throw refusal(answer.status, answer.bytes);
    return understood<WorkspaceEntry>(ROUTES.upload.response, answer.bytes.toString());
  }

  // ── the daemon ────────────────────────────────────────────────────────────────────────────────────────────

  health(): Promise<Health> {
    return this.#call("health", {});
  }

  /** What works in the daemon, what does not, and the remedy. */
  async doctor(): Promise<Check[]> {
    return (await this.#call("doctor", {})).checks;
  }

  /**
   * Stops the daemon and resolves with its pid when it is gone. Running executions get `drainMs` (5 000) to end.
   * A later call of this client starts a new one, where that was allowed.
   */
  async stop(options: { drainMs?: number | undefined } = {}): Promise<{ pid: number }> {
    const answer = await this.#call("stop", { body: defined({ drain_ms: options.drainMs }) });
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

  async #call<N extends RouteName>(name: N, input: RouteInput<N>): Promise<RouteResponse<N>> {
    const { bytes } = await this.#exchange(name, input);
    return understood<RouteResponse<N>>(ROUTES[name].response, bytes.toString());
  }

  #exchange<N extends RouteName>(name: N, input: RouteInput<N>): Promise<{ type: string; bytes: Buffer }> {
    const call = { ...callOf(name, input), ownConnection: ONCE.has(name) };
    return this.#reliably(!ONCE.has(name), async (repeated) => {
      const answer = await this.#transport.request(repeated ? callOf(name, repeat(input)) : call);
      if (answer.status >= 400) throw refusal(answer.status, answer.bytes);
      return answer;
    });
  }

  /** Raw content, or the number of its bytes when it goes elsewhere. `remedy`: for a connection that breaks. */
  #content(
    call: ReturnType<typeof callOf>,
    name: string,
    options: DownloadOptions | DownloadToOptions,
    remedy: string,
  ): Promise<Buffer | number> {
    // What a stream was given cannot be taken back.
    const repeatable = !("to" in options) || typeof options.to === "string";
    const received = this.#reliably(repeatable, async () => {
      const response = await this.#transport.open({ ...call, ownConnection: !repeatable });
      const status = response.statusCode ?? 0;
      if (status >= 400) throw refusal(status, await readAll(response));
      try {
        checkLength(response, name, options.maxBytes);
        return "to" in options ? await receive(response, options) : await readAll(response);
      } finally {
        response.destroy();
      }
    });
    return received.catch(fileLost(remedy));
  }

  #open<N extends RouteName>(name: N, input: RouteInput<N>): Promise<IncomingMessage> {
    const call = callOf(name, input);
    return this.#reliably(true, async (repeated) => {
      const response = await this.#transport.open(repeated ? callOf(name, repeat(input)) : call);
      const status = response.statusCode ?? 0;
      if (status >= 400) throw refusal(status, await readAll(response));
      return response;
    });
  }

  /**
   * Makes an attempt, and makes it again: where the daemon cannot have seen it, after reaching (starting) the daemon;
   * where it may have, once, if repeating is safe; while the daemon stops, until the next one answers.
   */
  async #reliably<T>(repeatable: boolean, attempt: (repeated: boolean) => Promise<T>): Promise<T> {
    const deadline = performance.now() + REACH_MS;
    let repeated = false;
    for (let pause = 10; ; pause = Math.min(pause * 2, 200)) {
      if (this.#closed) throw closed();
      try {
        return await attempt(repeated);
      } catch (error) {
        const late = performance.now() > deadline;
        if (error instanceof ConnectionError) {
          if (this.#closed) throw closed();
          if (error.sent) {
            if (!repeatable || repeated) throw new ExecuteCodeError("connection_lost", { cause: error });
            repeated = true;
          } else if (late) {
            throw new ExecuteCodeError("daemon_unreachable", { cause: error });
          }
          await this.reach();
        } else if (error instanceof ExecuteCodeError && error.code === "daemon_stopping" && !late) {
          await sleep(pause);
        } else {
          throw error;
        }
      }
    }
  }

  /** Events from `open`, and after a break those of the same execution from the last offset on. */
  async *#resumed(
    open: () => Promise<IncomingMessage>,
    id?: string,
    offset = 0,
  ): AsyncGenerator<ExecutionEvent, void> {
    let source = open;
    let execution = id;
    let last = offset;
    for (let failures = 0; ; ) {
      let response: IncomingMessage | undefined;
      try {
        response = await source();
        for await (const line of readLines(response)) {
          const event = understood<ExecutionEvent>(ExecutionEvent, line);
          if (event.type === "failed") throw ExecuteCodeError.fromBody(event.error);
          if (event.type === "accepted") execution = event.id;
          failures = 0;
          last = event.offset;
          yield event;
          if (event.type === "end" || event.type === "detached") return;
        }
        throw new ConnectionError(undefined, true);
      } catch (error) {
        if (!isBreak(error)) throw error;
        if (this.#closed) throw closed();
        failures += 1;
        if (failures >= ATTEMPTS) throw new ExecuteCodeError("connection_lost", { cause: error });
      } finally {
        response?.destroy();
      }
      if (execution !== undefined) {
        const params = { id: execution };
        const query = { offset: last };
        source = () => this.#open("follow", { params, query });
      }
    }
  }
}

function callOf<N extends RouteName>(name: N, input: RouteInput<N>) {
  const route = ROUTES[name];
  const body = input.body === undefined ? {} : { body: JSON.stringify(input.body) };
  return { method: route.method, path: address(route.path, input.params, input.query), ...body };
}

/** The input of a call that the daemon may have seen: its idempotency key is no fresh one. */
function repeat<N extends RouteName>(input: RouteInput<N>): RouteInput<N> {
  const body: unknown = input.body;
  if (typeof body !== "object" || body === null || !("idempotency_fresh" in body)) return input;
  return { ...input, body: { ...body, idempotency_fresh: false } as RouteBodyInput<N> };
}

/** Fills `{name}` parts and appends the query. */
function address(template: string, params: object | undefined, query: object | undefined): string {
  let filled = template;
  for (const [key, value] of Object.entries(params ?? {})) {
    const text = String(value);
    if (text === "" || text === "." || text === "..") {
      throw new ExecuteCodeError("invalid_request", { message: `“${text}” is no ${key}.` });
    }
    filled = filled.replace(`{${key}}`, () => encodeURIComponent(text));
  }
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined) search.set(key, String(value));
  }
  return search.size === 0 ? filled : `${filled}?${search.toString()}`;
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** Parses an answer by its schema. */
function understood<T>(schema: { parse(value: unknown): unknown }, text: string): T {
  try {
    return schema.parse(JSON.parse(text)) as T;
  } catch (cause) {
    throw new ExecuteCodeError("internal", {
      message: "The daemon's answer does not have the expected form.",
      remedy:
        "Stop the daemon with `execute-code daemon stop`, so that the next call starts one of this version.",
      cause,
    });
  }
}

function refusal(status: number, bytes: Buffer): ExecuteCodeError {
  try {
    return ExecuteCodeError.fromBody(ErrorBody.parse(JSON.parse(bytes.toString())));
  } catch (cause) {
    return new ExecuteCodeError("internal", {
      message: `The daemon answered with status ${status} and no error body.`,
      cause,
    });
  }
}

/** Throws what it is given; a broken connection with what to do about the file. */
function fileLost(remedy: string): (error: unknown) => never {
  return (error) => {
    const broken = error instanceof ExecuteCodeError && error.cause instanceof ConnectionError;
    if (!broken || error.code !== "connection_lost") throw error;
    throw new ExecuteCodeError("connection_lost", { remedy, cause: error.cause });
  };
}

/** What is no well-formed text would silently become another path. */
function wellFormed(path: string): string {
  if (path.isWellFormed()) return path;
  throw new ExecuteCodeError("invalid_path", {
    message: `${JSON.stringify(path)} is not well-formed Unicode.`,
  });
}

function checkLength(response: IncomingMessage, path: string, maxBytes: number | undefined): void {
  const bytes = Number(response.headers["content-length"]);
  if (maxBytes === undefined || bytes <= maxBytes) return;
  throw new ExecuteCodeError("file_too_large", {
    message: `${path} has ${bytes} bytes, more than the ${maxBytes} that may be read.`,
    remedy: "Let the session's code read a part of it, or allow more.",
    details: { bytes },
  });
}

/** Whether a stream that failed so is followed again. */
function isBreak(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  return (
    error instanceof ExecuteCodeError &&
    (error.code === "connection_lost" || error.code === "daemon_stopping")
  );
}

/** A process that has ended and is not yet collected by its parent does not count. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

function closed(): ExecuteCodeError {
  return new ExecuteCodeError("connection_lost", {
    message: "This client is closed.",
    remedy: "Make a new one with connect().",
  });
}
