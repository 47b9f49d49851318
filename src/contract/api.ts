/**
 * The HTTP API, as a table: daemon/http serves it, the SDK calls it, /v1/openapi.json is made from it.
 * Every failed call answers an ErrorBody with the status that the error table names.
 */
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { ProfileOptions } from "./profile.ts";
import {
  CapturePolicy,
  Durability,
  ExecutionRecord,
  ExecutionStatus,
  InstalledPackage,
  IsolationTier,
  OnBusy,
  SessionInfo,
  SnapshotPolicy,
  VariableDetail,
  VariableInfo,
} from "./records.ts";
import {
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
  SnapshotName,
} from "./time-travel.ts";

/** A session's name or its `sess_…` id. Its form is judged by the daemon, with a particular error. */
const sessionRef = z.string().min(1).max(LIMITS.sessionNameLength);
const timeoutMs = z.int().min(0).max(LIMITS.longestMs);

export const OnTimeout = z.enum(["detach", "interrupt"]);
export type OnTimeout = z.infer<typeof OnTimeout>;

/**
 * What `input()` does: `wait` for an answer; `detach` waits too, but the caller is answered at once with the record so
 * far; `refuse` raises EOFError.
 */
export const OnInput = z.enum(["wait", "detach", "refuse"]);
export type OnInput = z.infer<typeof OnInput>;

/** What becomes of a session's memory when its code fails, runs out of time, or ends its kernel. */
export const OnError = z.enum(["keep", "rollback"]);
export type OnError = z.infer<typeof OnError>;

/** Environment variables by name. */
const environment = z.record(z.string().regex(/^[^=\0]+$/), z.string().regex(/^[^\0]*$/));

export const ExecuteBody = z.strictObject({
  session: sessionRef.default("main"),
  code: z.string(),
  /** Language of the session that is created when there is none of that name. */
  language: z.string().optional(),
  /** Interpreter for the session that is created when there is none of that name. */
  python: z.string().optional(),
  /** How long the caller waits, milliseconds, queueing included; 0 = answer at once. */
  timeout_ms: timeoutMs.default(LIMITS.defaultTimeoutMs),
  on_timeout: OnTimeout.default("detach"),
  durability: Durability.optional(),
  /** Isolation of the session that is created when there is none of that name. Default: the strongest there is. */
  isolation: IsolationTier.optional(),
  /** What the session is granted that is created when there is none of that name; one that there is must agree. */
  profile: ProfileOptions.optional(),
  /** The same key with the same session and code runs once; every repeat gets the first one's record. */
  idempotency_key: z.string().min(1).max(LIMITS.idempotencyKeyLength).optional(),
  /** The key was made up for this very attempt, so no earlier use is looked for. */
  idempotency_fresh: z.boolean().default(false),
  /** Who asks, for the record's cause. */
  client: z.string().max(64).default("http"),
  /** Start the session anew first: its variables are dropped, a closed name is opened again. */
  fresh: z.boolean().default(false),
  /** When the session is busy. Default: the session's own policy. */
  on_busy: OnBusy.optional(),
  /** When it fails, the executions that wait behind it are withdrawn. */
  stop_on_error: z.boolean().default(false),
  /** `rollback`: when it fails, the session's memory goes back to what it was before; files stay as they are. */
  on_error: OnError.default("keep"),
  on_input: OnInput.default("wait"),
  /** How long `input()` waits for an answer, milliseconds, before it raises EOFError. */
  input_timeout_ms: timeoutMs.default(LIMITS.inputTimeoutMs),
  /** Environment variables for this execution alone. */
  env: environment.default({}),
});
export type ExecuteBody = z.infer<typeof ExecuteBody>;

export const CreateSessionBody = z.strictObject({
  name: sessionRef.optional(),
  language: z.string().default("python"),
  python: z.string().optional(),
  durability: Durability.default("full"),
  /** Default: the strongest there is. */
  isolation: IsolationTier.optional(),
  on_busy: OnBusy.default("wait"),
  snapshots: SnapshotPolicy.default("changes"),
  capture: CapturePolicy.default("idle"),
  /** What the session is granted. Default: its own work folder, no network, a share of the machine. */
  profile: ProfileOptions.optional(),
});
export type CreateSessionBody = z.infer<typeof CreateSessionBody>;

/** What an execution did to one variable, as its record tells. */
export const VariableChange = z.object({
  change: z.enum(["added", "changed", "deleted"]),
  name: z.string(),
  /** Null for a deleted one. */
  type: z.string().nullable(),
  preview: z.string().nullable(),
});
export type VariableChange = z.infer<typeof VariableChange>;

export const ExecutionSummary = z.object({
  id: z.string(),
  session: z.string(),
  generation: z.int(),
  revision: z.int(),
  /** The execution whose state it began with; null at a session's beginning, and where that is not known. */
  parent: z.string().nullable(),
  status: ExecutionStatus,
  started_at: z.string(),
  duration_ms: z.number(),
  /** The first 400 characters. */
  code: z.string(),
  /** The first 200 characters of the result's text; null when there is none. */
  result: z.string().nullable(),
  /** `Type: message`, bounded; null when there is none. */
  error: z.string().nullable(),
  /** The first 200 characters of stdout. */
  stdout: z.string(),
  /** Where variables were asked for: the changes that fit. */
  variables: z.array(VariableChange).optional(),
});
export type ExecutionSummary = z.infer<typeof ExecutionSummary>;

export const HistoryQuery = z.strictObject({
  /** Words that must all occur, in any of code, output and error; "quotes" keep words together. Parts of words match. */
  query: z.string().max(1_000).optional(),
  session: z.string().optional(),
  status: ExecutionStatus.optional(),
  /** A variable's name: executions that added, changed or deleted it. */
  variable: z.string().max(1_000).optional(),
  /** What a change of `variable`, or of any one, must be, such as `rows > 1000 and type = DataFrame`. */
  where: z.string().max(2_000).optional(),
  /** ISO 8601 instants: from (inclusive) and until (exclusive) when the execution was accepted. */
  since: z.iso.datetime({ offset: true }).optional(),
  until: z.iso.datetime({ offset: true }).optional(),
  limit: z.coerce.number().int().min(1).max(LIMITS.historyPageMax).default(LIMITS.historyPage),
  /** `next_cursor` of the page before. */
  cursor: z.string().optional(),
});
export type HistoryQuery = z.infer<typeof HistoryQuery>;

export const HistoryPage = z.object({
  /** Newest first. */
  executions: z.array(ExecutionSummary),
  next_cursor: z.string().nullable(),
});
export type HistoryPage = z.infer<typeof HistoryPage>;

export const ExportFormat = z.enum(["ipynb", "md", "jsonl", "py"]);
export type ExportFormat = z.infer<typeof ExportFormat>;

export const ExportQuery = z.strictObject({
  format: ExportFormat.default("ipynb"),
  /** current: from the session's beginning to its head; all: abandoned lines, too. */
  line: z.enum(["current", "all"]).default("current"),
  /** Whether images and other binary parts are told with their content, or left out with a note. */
  images: z.enum(["inline", "omit"]).default("inline"),
});
export type ExportQuery = z.infer<typeof ExportQuery>;

export const Health = z.object({
  version: z.string(),
  pid: z.int(),
  home: z.string(),
  started_at: z.string(),
  uptime_ms: z.number(),
  /** The strongest tier that new sessions can have; null when there is none. */
  isolation: IsolationTier.nullable(),
  python: z.object({ executable: z.string(), version: z.string() }).nullable(),
  sessions: z.int(),
  /** Where the API is served on loopback, and the file of the token that it takes; null: on its socket only. */
  http: z.object({ url: z.string(), token_file: z.string() }).nullable(),
  running: z.int(),
  warm: z.int(),
  rss_bytes: z.int(),
});
export type Health = z.infer<typeof Health>;

export const Check = z.object({
  name: z.string(),
  status: z.enum(["ok", "warning", "failed"]),
  detail: z.string(),
  /** What to do about it; null when all is well. */
  remedy: z.string().nullable(),
});
export type Check = z.infer<typeof Check>;

export const Variables = z.object({
  session: z.string(),
  generation: z.int(),
  revision: z.int(),
  variables: z.array(VariableInfo),
});
export type Variables = z.infer<typeof Variables>;

export const CompleteBody = z.strictObject({
  code: z.string().max(LIMITS.codeBytes),
  /** Where names are looked for: a count of Unicode characters. Default: only the status is told. */
  cursor: z.int().min(0).nullable().default(null),
  /** Start the kernel of a session that has run nothing and has none: its code comes soon. */
  start: z.boolean().default(false),
});
export type CompleteBody = z.infer<typeof CompleteBody>;

/** What could stand at a place of some code, and whether it is a whole cell. */
export const Completion = z.object({
  /** What may stand in place of the characters from `start` to `end`, at most 500, by name. */
  matches: z.array(z.string()),
  start: z.int(),
  end: z.int(),
  /**
   * complete: it can run; incomplete: more has to follow, or may: an empty line ends a block; invalid: whatever
   * follows, it is no code. Null: the session has no kernel that could tell.
   */
  status: z.enum(["complete", "incomplete", "invalid"]).nullable(),
  /** White space that the next line begins with. */
  indent: z.string(),
});
export type Completion = z.infer<typeof Completion>;

/** What is to be installed into a session's own environment. */
export const InstallBody = z.strictObject({
  /** Names, with versions where they matter: `numpy`, `pandas>=2`, `requests[socks]==2.32.3`. */
  packages: z.array(z.string().min(1).max(500)).min(1).max(100),
  /** Newer versions of what is there already, too. */
  upgrade: z.boolean().default(false),
  /** How long it may take, milliseconds. */
  timeout_ms: z.int().min(1).max(LIMITS.longestMs).default(LIMITS.installMs),
});
export type InstallBody = z.infer<typeof InstallBody>;

/** What became of a request for packages. */
export const Installation = z.object({
  requested: z.array(z.string()),
  /** What was installed that was not there before, dependencies included. */
  installed: z.array(InstalledPackage),
  /** What the installer said: the end of it, bounded. */
  output: z.string(),
});
export type Installation = z.infer<typeof Installation>;

const snapshotRef = z.string().min(1).max(LIMITS.sessionNameLength);

export const SnapshotBody = z.strictObject({
  /** Snapshots with a name are kept until they are dropped, or the session ends. */
  name: SnapshotName.optional(),
  on_unsafe: OnUnsafe.default("warn"),
});
export type SnapshotBody = z.infer<typeof SnapshotBody>;

export const RollbackBody = z.strictObject({
  /**
   * A snapshot's id or name, or an execution whose state one holds. Default: the newest with another state than now,
   * which undoes the last execution that changed something.
   */
  to: snapshotRef.optional(),
});
export type RollbackBody = z.infer<typeof RollbackBody>;

export const ForkBody = z.strictObject({
  count: z.int().min(1).max(LIMITS.forks).default(1),
  /** Names of the new sessions, as many as `count`. Default: the session's, with a number. */
  names: z.array(sessionRef).max(LIMITS.forks).optional(),
  /** A snapshot's id or name, or an execution whose state one holds. Default: the session as it is now. */
  from: snapshotRef.optional(),
  on_unsafe: OnUnsafe.default("refuse"),
});
export type ForkBody = z.infer<typeof ForkBody>;

export const CaptureBody = z.strictObject({
  /** Captures with a name are kept until the session is closed; of the others, the newest. */
  name: SnapshotName.optional(),
});
export type CaptureBody = z.infer<typeof CaptureBody>;

export const RestoreBody = z.strictObject({
  /** A capture's id or name: its state, in place of the session's. Default: the session's own, when its kernel is gone. */
  capture: z.string().min(1).max(LIMITS.sessionNameLength).optional(),
  /**
   * Runs again whatever is needed, also what wrote files, used the network or started processes; then also in place of a
   * kernel that lives.
   */
  effects: z.boolean().default(false),
});
export type RestoreBody = z.infer<typeof RestoreBody>;

export const MergeBody = z.strictObject({
  /** The session that they come from. */
  from: sessionRef,
  names: z.array(z.string().min(1).max(1_000)).min(1).max(1_000),
  on_conflict: OnConflict.default("refuse"),
  client: z.string().max(64).default("http"),
});
export type MergeBody = z.infer<typeof MergeBody>;

export const BisectBody = z.strictObject({
  /** A Python expression over the session's variables. It is evaluated in copies of the session's past. */
  predicate: z.string().min(1).max(10_000),
  /** An execution after which it held. Default: it is looked for, from the head backwards. */
  good: z.string().optional(),
  /** An execution after which it did not. Default: the head. */
  bad: z.string().optional(),
  /** How long one evaluation may take, milliseconds. */
  timeout_ms: z.int().min(1).max(LIMITS.longestMs).default(LIMITS.defaultTimeoutMs),
});
export type BisectBody = z.infer<typeof BisectBody>;

export const ReplayBody = z.strictObject({
  /** Executions of the session, run in this order. Default: those of its line, from `from` to `to`. */
  executions: z.array(z.string()).max(10_000).optional(),
  /** The first and the last execution of the line. Default: its beginning and its head. */
  from: z.string().optional(),
  to: z.string().optional(),
  /** The session to run them in, which is created when there is none. Default: a new one. */
  into: sessionRef.optional(),
  /** Also those that wrote files, used the network, or started processes; otherwise they are left out. */
  effects: z.boolean().default(false),
  /** Go on after one that fails where it did not before. */
  keep_going: z.boolean().default(false),
  client: z.string().max(64).default("http"),
});
export type ReplayBody = z.infer<typeof ReplayBody>;

/** A file or folder of a session's workspace. */
export const WorkspaceEntry = z.object({
  /** Relative to the workspace, with `/`; bytes of a name that are no UTF-8 are shown as U+FFFD. */
  path: z.string(),
  /** Links are listed and never followed; `other` is a FIFO, a socket or a device. */
  type: z.enum(["file", "folder", "link", "other"]),
  /** Of a file; 0 for all else. */
  bytes: z.int(),
  modified_at: z.string(),
});
export type WorkspaceEntry = z.infer<typeof WorkspaceEntry>;

export const WorkspaceListing = z.object({
  /** The folder, relative to the workspace; empty for the workspace itself. */
  path: z.string(),
  /** By name. */
  entries: z.array(WorkspaceEntry),
  /** There are more than the bound. */
  truncated: z.boolean(),
});
export type WorkspaceListing = z.infer<typeof WorkspaceListing>;

/** A path in a session's workspace. Its form is judged by the daemon, with a particular error. */
const workspacePath = z.string();

const none = z.strictObject({});
const executionId = z.strictObject({ id: z.string() });
const sessionParam = z.strictObject({ session: sessionRef });

/**
 * Bodies: a schema: one JSON document. `bytes`: raw content, of application/octet-stream.
 * Answers: `json`: one JSON document. `events`: NDJSON of ExecutionEvent. `bytes`: the raw content.
 */
interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly summary: string;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly body: z.ZodObject | "bytes" | null;
  readonly answer: "json" | "events" | "bytes";
  readonly response: z.ZodType;
}

const route = <const R extends Route>(r: R): R => r;
const nothing = z.object({});

export const ROUTES = {
  health: route({
    method: "GET",
    path: "/v1/health",
    summary: "Whether the daemon lives, and its figures.",
    params: none,
    query: none,
    body: null,
    answer: "json",
    response: Health,
  }),
  doctor: route({
    method: "GET",
    path: "/v1/doctor",
    summary: "What works in the daemon, what does not, and the remedy.",
    params: none,
    query: none,
    body: null,
    answer: "json",
    response: z.object({ checks: z.array(Check) }),
  }),
  stop: route({
    method: "POST",
    path: "/v1/daemon/stop",
    summary: "Stops the daemon: no new work, running executions get the time given, kernels are closed.",
    params: none,
    query: none,
    body: z.strictObject({ drain_ms: z.int().min(0).max(600_000).default(5_000) }),
    answer: "json",
    response: z.object({ pid: z.int() }),
  }),
  execute: route({
    method: "POST",
    path: "/v1/executions",
    summary: "Runs code in a session and answers its record.",
    params: none,
    query: none,
    body: ExecuteBody,
    answer: "json",
    response: ExecutionRecord,
  }),
  stream: route({
    method: "POST",
    path: "/v1/executions/stream",
    summary: "Runs code in a session and streams its events; the last one carries the record.",
    params: none,
    query: none,
    body: ExecuteBody,
    answer: "events",
    response: nothing,
  }),
  history: route({
    method: "GET",
    path: "/v1/executions",
    summary: "Searches the history, newest first.",
    params: none,
    query: HistoryQuery,
    body: null,
    answer: "json",
    response: HistoryPage,
  }),
  execution: route({
    method: "GET",
    path: "/v1/executions/{id}",
    summary: "The record of one execution; while it runs, the record so far.",
    params: executionId,
    query: z.strictObject({
      /** Wait this long, milliseconds, for its end. */
      wait_ms: z.coerce.number().int().min(0).max(600_000).default(0),
      /** What ends the wait early: its end, or also a question that it asks. */
      until: z.enum(["end", "input"]).default("end"),
    }),
    body: null,
    answer: "json",
    response: ExecutionRecord,
  }),
  follow: route({
    method: "GET",
    path: "/v1/executions/{id}/events",
    summary: "The events of one execution from an offset on, to its end; also after it ended.",
    params: executionId,
    query: z.strictObject({ offset: z.coerce.number().int().min(0).default(0) }),
    body: null,
    answer: "events",
    response: nothing,
  }),
  output: route({
    method: "GET",
    path: "/v1/executions/{id}/output/{stream}",
    summary: "All that was kept of stdout or stderr, byte for byte.",
    params: z.strictObject({ id: z.string(), stream: z.enum(["stdout", "stderr"]) }),
    query: none,
    body: null,
    answer: "bytes",
    response: nothing,
  }),
  artifact: route({
    method: "GET",
    path: "/v1/executions/{id}/artifacts/{number}",
    summary: "One artifact, byte for byte, with its media type.",
    params: z.strictObject({ id: z.string(), number: z.coerce.number().int().min(1) }),
    query: none,
    body: null,
    answer: "bytes",
    response: nothing,
  }),
  interrupt: route({
    method: "POST",
    path: "/v1/executions/{id}/interrupt",
    summary: "Interrupts a running execution; one that waits in the queue is withdrawn.",
    params: executionId,
    query: none,
    body: none,
    answer: "json",
    response: ExecutionRecord,
  }),
  kill: route({
    method: "POST",
    path: "/v1/executions/{id}/kill",
    summary:
      "Kills the kernel that runs the execution, with everything it started. The session's variables are lost.",
    params: executionId,
    query: none,
    body: none,
    answer: "json",
    response: ExecutionRecord,
  }),
  input: route({
    method: "POST",
    path: "/v1/executions/{id}/input",
    summary: "Answers the question that an execution waits with; answers the record so far.",
    params: executionId,
    query: none,
    body: z.strictObject({
      /** One line; null says that there is no more input, and raises EOFError. */
      text: z.string().max(LIMITS.inputChars).nullable(),
    }),
    answer: "json",
    response: ExecutionRecord,
  }),
  sessions: route({
    method: "GET",
    path: "/v1/sessions",
    summary: "The sessions, most recently used first.",
    params: none,
    query: z.strictObject({ closed: z.stringbool().default(false) }),
    body: null,
    answer: "json",
    response: z.object({ sessions: z.array(SessionInfo) }),
  }),
  createSession: route({
    method: "POST",
    path: "/v1/sessions",
    summary: "Creates a session.",
    params: none,
    query: none,
    body: CreateSessionBody,
    answer: "json",
    response: SessionInfo,
  }),
  session: route({
    method: "GET",
    path: "/v1/sessions/{session}",
    summary: "One session, by name or id.",
    params: sessionParam,
    query: none,
    body: null,
    answer: "json",
    response: SessionInfo,
  }),
  resetSession: route({
    method: "POST",
    path: "/v1/sessions/{session}/reset",
    summary: "Gives the session a new kernel: its variables are dropped, its history stays.",
    params: sessionParam,
    query: none,
    body: none,
    answer: "json",
    response: SessionInfo,
  }),
  snapshots: route({
    method: "GET",
    path: "/v1/sessions/{session}/snapshots",
    summary: "The session's live snapshots, newest first.",
    params: sessionParam,
    query: none,
    body: null,
    answer: "json",
    response: z.object({ snapshots: z.array(SnapshotInfo) }),
  }),
  takeSnapshot: route({
    method: "POST",
    path: "/v1/sessions/{session}/snapshots",
    summary: "Keeps the session's memory as it is now, to go back to or to fork from as often as wanted.",
    params: sessionParam,
    query: none,
    body: SnapshotBody,
    answer: "json",
    response: SnapshotInfo,
  }),
  dropSnapshot: route({
    method: "POST",
    path: "/v1/sessions/{session}/snapshots/{snapshot}/drop",
    summary: "Gives up a snapshot, and the memory that it takes.",
    params: z.strictObject({ session: sessionRef, snapshot: snapshotRef }),
    query: none,
    body: none,
    answer: "json",
    response: SnapshotInfo,
  }),
  rollback: route({
    method: "POST",
    path: "/v1/sessions/{session}/rollback",
    summary:
      "Makes the session's memory what it was at a snapshot. Files stay as they are; the history keeps all.",
    params: sessionParam,
    query: none,
    body: RollbackBody,
    answer: "json",
    response: Rollback,
  }),
  forkSession: route({
    method: "POST",
    path: "/v1/sessions/{session}/fork",
    summary: "New sessions with copies of the session's memory; all share its workspace.",
    params: sessionParam,
    query: none,
    body: ForkBody,
    answer: "json",
    response: Forks,
  }),
  captures: route({
    method: "GET",
    path: "/v1/sessions/{session}/captures",
    summary: "What the disk has of the session's variables, newest first.",
    params: sessionParam,
    query: none,
    body: null,
    answer: "json",
    response: z.object({ captures: z.array(CaptureInfo) }),
  }),
  capture: route({
    method: "POST",
    path: "/v1/sessions/{session}/captures",
    summary: "Writes the session's variables to the disk now.",
    params: sessionParam,
    query: none,
    body: CaptureBody,
    answer: "json",
    response: CaptureInfo,
  }),
  restoreSession: route({
    method: "POST",
    path: "/v1/sessions/{session}/restore",
    summary:
      "Brings back the variables of a session whose kernel is gone, as its next use does; or those of a named capture.",
    params: sessionParam,
    query: none,
    body: RestoreBody,
    answer: "json",
    response: RestoreReport,
  }),
  exportHistory: route({
    method: "GET",
    path: "/v1/sessions/{session}/export",
    summary:
      "The session's executions as a notebook, Markdown, JSON lines or a script; also of a closed session.",
    params: sessionParam,
    query: ExportQuery,
    body: null,
    answer: "bytes",
    response: nothing,
  }),
  merge: route({
    method: "POST",
    path: "/v1/sessions/{session}/merge",
    summary: "Brings variables of another session into this one; what they share stays shared.",
    params: sessionParam,
    query: none,
    body: MergeBody,
    answer: "json",
    response: Merge,
  }),
  diff: route({
    method: "GET",
    path: "/v1/sessions/{session}/diff",
    summary: "Compares the variables of two sessions.",
    params: sessionParam,
    query: z.strictObject({ with: sessionRef }),
    body: null,
    answer: "json",
    response: Difference,
  }),
  bisect: route({
    method: "POST",
    path: "/v1/sessions/{session}/bisect",
    summary: "Names the execution after which an expression that was true no longer is.",
    params: sessionParam,
    query: none,
    body: BisectBody,
    answer: "json",
    response: Bisection,
  }),
  replay: route({
    method: "POST",
    path: "/v1/sessions/{session}/replay",
    summary: "Runs past executions of the session again, in order, in another session.",
    params: sessionParam,
    query: none,
    body: ReplayBody,
    answer: "json",
    response: Replay,
  }),
  closeSession: route({
    method: "POST",
    path: "/v1/sessions/{session}/close",
    summary: "Ends the session and everything it started; its history stays.",
    params: sessionParam,
    query: none,
    body: none,
    answer: "json",
    response: SessionInfo,
  }),
  variables: route({
    method: "GET",
    path: "/v1/sessions/{session}/variables",
    summary: "The session's variables, a bounded summary of each.",
    params: sessionParam,
    query: none,
    body: null,
    answer: "json",
    response: Variables,
  }),
  variable: route({
    method: "GET",
    path: "/v1/sessions/{session}/variables/{name}",
    summary: "A closer look at one variable.",
    params: z.strictObject({ session: sessionRef, name: z.string() }),
    query: z.strictObject({ depth: z.coerce.number().int().min(0).max(4).default(1) }),
    body: null,
    answer: "json",
    response: VariableDetail,
  }),
  complete: route({
    method: "POST",
    path: "/v1/sessions/{session}/complete",
    summary: "What could stand at a place of some code, and whether it is a whole cell. Runs nothing.",
    params: sessionParam,
    query: none,
    body: CompleteBody,
    answer: "json",
    response: Completion,
  }),
  install: route({
    method: "POST",
    path: "/v1/sessions/{session}/packages",
    summary:
      "Installs packages into the session's own environment, from the package index; usable in the session at once.",
    params: sessionParam,
    query: none,
    body: InstallBody,
    answer: "json",
    response: Installation,
  }),
  files: route({
    method: "GET",
    path: "/v1/sessions/{session}/files",
    summary: "What a folder of the session's workspace holds.",
    params: sessionParam,
    query: z.strictObject({ path: workspacePath.default("") }),
    body: null,
    answer: "json",
    response: WorkspaceListing,
  }),
  download: route({
    method: "GET",
    path: "/v1/sessions/{session}/files/content",
    summary: "One file of the session's workspace, byte for byte.",
    params: sessionParam,
    query: z.strictObject({ path: workspacePath }),
    body: null,
    answer: "bytes",
    response: nothing,
  }),
  upload: route({
    method: "POST",
    path: "/v1/sessions/{session}/files/content",
    summary:
      "Puts a file into the session's workspace, whole or not at all; missing folders are made, a file of that name is replaced.",
    params: sessionParam,
    query: z.strictObject({ path: workspacePath }),
    body: "bytes",
    answer: "json",
    response: WorkspaceEntry,
  }),
} as const;

export type RouteName = keyof typeof ROUTES;
type Table = typeof ROUTES;
export type RouteParams<N extends RouteName> = z.infer<Table[N]["params"]>;
export type RouteQuery<N extends RouteName> = z.infer<Table[N]["query"]>;
export type RouteBody<N extends RouteName> = Table[N]["body"] extends z.ZodType
  ? z.infer<Table[N]["body"]>
  : Table[N]["body"] extends "bytes"
    ? AsyncIterable<Uint8Array>
    : null;
export type RouteResponse<N extends RouteName> = z.infer<Table[N]["response"]>;
/** What a caller passes: defaults may be left out. */
export type RouteQueryInput<N extends RouteName> = z.input<Table[N]["query"]>;
export type RouteBodyInput<N extends RouteName> = Table[N]["body"] extends z.ZodType
  ? z.input<Table[N]["body"]>
  : Table[N]["body"] extends "bytes"
    ? AsyncIterable<Uint8Array>
    : null;
