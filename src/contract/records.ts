/** The record: one shape of an execution for the command line, MCP, HTTP, the SDK and storage. */
import { z } from "zod";
import { Profile } from "./profile.ts";

export const EXECUTION_ID = /^exec_[0-9a-hjkmnp-tv-z]{26}$/;
export const SESSION_ID = /^sess_[0-9a-hjkmnp-tv-z]{26}$/;
export const SESSION_NAME = /^[\p{L}\p{N}][\p{L}\p{N}._-]{0,63}$/u;

/** Languages that sessions run. */
export const Language = z.enum(["python"]);
export type Language = z.infer<typeof Language>;

/** `running` covers an execution that waits, runs, or runs on detached after its caller stopped waiting. */
export const ExecutionStatus = z.enum(["ok", "error", "interrupted", "timed_out", "crashed", "running"]);
export type ExecutionStatus = z.infer<typeof ExecutionStatus>;

/** What became of the session's variables: kept, brought back after a loss, or gone. */
export const SessionMemory = z.enum(["retained", "restored", "lost"]);
export type SessionMemory = z.infer<typeof SessionMemory>;

/** sandbox > reduced > none: what stands between session code and the machine. */
export const IsolationTier = z.enum(["sandbox", "reduced", "none"]);
export type IsolationTier = z.infer<typeof IsolationTier>;

/** `full` survives power loss, `relaxed` the death of the process. */
export const Durability = z.enum(["full", "relaxed"]);
export type Durability = z.infer<typeof Durability>;

/** Mime type to data: text as a string, JSON types as a value, binary types as base64. */
export const MimeBundle = z.record(z.string(), z.json());
export type MimeBundle = z.infer<typeof MimeBundle>;

export const ExecutionResult = z.object({
  /** The compact text of the last expression's value. */
  text: z.string(),
  mime: MimeBundle,
});
export type ExecutionResult = z.infer<typeof ExecutionResult>;

/** A frame of a traceback that lies in session code. */
export const ErrorFrame = z.object({
  /** `exec_…` for code of a cell, else the file's path. */
  source: z.string(),
  function: z.string(),
  line: z.int(),
  text: z.string(),
});
export type ErrorFrame = z.infer<typeof ErrorFrame>;

export const ExecutionError = z.object({
  type: z.string(),
  message: z.string(),
  traceback: z.string(),
  /** One-based position in this execution's code; null when the error has none there. */
  line: z.int().nullable(),
  column: z.int().nullable(),
  frames: z.array(ErrorFrame).default([]),
});
export type ExecutionError = z.infer<typeof ExecutionError>;

export const VariableSummary = z.object({ name: z.string(), type: z.string(), preview: z.string() });
export type VariableSummary = z.infer<typeof VariableSummary>;

export const VariableChanges = z.object({
  added: z.array(VariableSummary),
  changed: z.array(VariableSummary),
  deleted: z.array(z.string()),
});
export type VariableChanges = z.infer<typeof VariableChanges>;

export const Artifact = z.object({
  uri: z.string(),
  /** Position in this execution's list, from 1. */
  number: z.int(),
  mime: z.string(),
  bytes: z.int(),
  sha256: z.string(),
  source: z.enum(["result", "display", "stdout", "stderr"]),
  /** For a display: its position in `displays`, from 0. */
  display: z.int().nullable(),
});
export type Artifact = z.infer<typeof Artifact>;

export const Display = z.object({
  /** Names the display for later updates; null for one that is never updated. */
  display_id: z.string().nullable(),
  /** True when it replaces the earlier display of the same id. */
  update: z.boolean(),
  /** The parts small enough to be inline; the others are artifacts. */
  mime: MimeBundle,
});
export type Display = z.infer<typeof Display>;

/** Who or what caused the execution. */
export const Cause = z.object({
  kind: z.enum(["client", "execution", "directive"]),
  /** For a client: cli, mcp, sdk, or the name that it gave. */
  client: z.string().optional(),
  /** For an execution or a directive: the execution that it came from. */
  execution: z.string().optional(),
});
export type Cause = z.infer<typeof Cause>;

/** What later learning compares executions by. */
export const Features = z.object({
  /** Equal for code that differs only in layout and comments; null where the code has no syntax tree. */
  ast_hash: z.string().nullable(),
  /** Equal for errors of one kind at one place: type, in-session frames, parameterised message. */
  error_fingerprint: z.string().nullable(),
  /** Top-level modules that the code imports. */
  imports: z.array(z.string()),
});
export type Features = z.infer<typeof Features>;

/** What background work of an execution (threads, tasks, processes) printed after its end. */
export const LateOutput = z.object({
  /** The execution that the work belongs to. */
  execution: z.string(),
  stream: z.enum(["stdout", "stderr"]),
  text: z.string(),
});
export type LateOutput = z.infer<typeof LateOutput>;

/** A question that the code asked with `input()`. */
export const InputRequest = z.object({
  prompt: z.string(),
  /** The answer is a secret: it is neither shown nor kept. */
  password: z.boolean(),
});
export type InputRequest = z.infer<typeof InputRequest>;

export const InputExchange = InputRequest.extend({
  /** Null when nobody answered, and for a secret. */
  answer: z.string().nullable(),
});
export type InputExchange = z.infer<typeof InputExchange>;

/**
 * What an execution did beyond the session's variables, as its interpreter noticed:
 * read, write, delete: files; connect, listen: the network; spawn, signal: processes; input: a question answered;
 * time, random: it used the clock or chance; unknown: something that has no name here.
 */
export const Effect = z.object({
  kind: z.enum([
    "read",
    "write",
    "delete",
    "connect",
    "listen",
    "spawn",
    "signal",
    "input",
    "time",
    "random",
    "unknown",
  ]),
  /** A path, an address, a program; bounded. `…` stands for those that the bound left out. */
  target: z.string(),
  count: z.int(),
});
export type Effect = z.infer<typeof Effect>;

/** A file of the workspace that changed since a moment, or a folder in which names came or went. */
export const FileChange = z.object({
  /** Relative to the workspace, with `/`. */
  path: z.string(),
  /** names: in this folder names came or went. */
  change: z.enum(["written", "names"]),
});
export type FileChange = z.infer<typeof FileChange>;

/** What a copy of a process lacks, or shares with the original to the harm of both. */
export const Unsafe = z.object({
  kind: z.enum(["thread", "socket", "process", "device", "file", "database"]),
  /** In words: `thread "worker-1"`, `a connection to 10.0.0.1:5432`. */
  what: z.string(),
  /** The variable that holds it; null where none was found. */
  variable: z.string().nullable(),
});
export type Unsafe = z.infer<typeof Unsafe>;

/** The session's memory went back to what it was: this is what did not. */
export const RolledBack = z.object({
  /** The execution after which the memory was as it is again; null for the session's beginning. */
  to: z.string().nullable(),
  /** Files that changed meanwhile and stay as they are; bounded. */
  files: z.array(FileChange),
  /** There are more than the bound. */
  truncated: z.boolean(),
  /**
   * What the session had running or connected, and has no more: as a snapshot of the state that it left tells, for an
   * execution of the state before it. Null when there is none.
   */
  ended: z.array(Unsafe).nullable().default(null),
});
export type RolledBack = z.infer<typeof RolledBack>;

/** What became of one variable of a session whose kernel was lost. */
export const RestoredVariable = z.object({
  name: z.string(),
  outcome: z.enum(["restored", "recomputed", "lost"]),
  /** For a recomputed one: the executions that were run again, in order. */
  executions: z.array(z.string()),
  /** Why it is lost; or what is not exactly as it was. */
  reason: z.string().nullable(),
});
export type RestoredVariable = z.infer<typeof RestoredVariable>;

/** What a restore brought back before an execution, told with it. */
export const RestoreDigest = z.object({
  restored: z.int(),
  /** Of the restored ones those that may not be exactly as they were, with the reason; at most 200. */
  altered: z.array(RestoredVariable),
  /** Those that were computed again, and those that are gone; at most 200 each. */
  recomputed: z.array(RestoredVariable),
  lost: z.array(RestoredVariable),
});
export type RestoreDigest = z.infer<typeof RestoreDigest>;

export const ExecutionRecord = z.object({
  id: z.string().regex(EXECUTION_ID),
  /** The session's name. */
  session: z.string(),
  session_id: z.string(),
  /** Rises each time the session gets a new kernel. */
  generation: z.int(),
  /** Rises with each execution of the session that ran. */
  revision: z.int(),
  language: Language,
  status: ExecutionStatus,
  code: z.string(),
  stdout: z.string(),
  stderr: z.string(),
  result: ExecutionResult.nullable(),
  error: ExecutionError.nullable(),
  displays: z.array(Display),
  /**
   * Its own late output, which is added after its end; and what earlier executions of the session wrote late since
   * the record before this one.
   */
  late: z.array(LateOutput),
  /** The questions it asked, in order. */
  inputs: z.array(InputExchange),
  /** The question that it waits with at the moment; null in a finished record. */
  input_requested: InputRequest.nullable(),
  started_at: z.string(),
  /** Wall time in the kernel; time spent waiting in the queue is not part of it. */
  duration_ms: z.number(),
  cpu_ms: z.number(),
  peak_memory_bytes: z.int(),
  variables: VariableChanges,
  /** The execution whose state it began with; null at a session's beginning, and where that is not known. */
  parent: z.string().nullable(),
  /** Set when it failed and the session's memory went back to what it was before it. */
  rolled_back: RolledBack.nullable(),
  /** Set when the session's variables had to be brought back for it. */
  restore: RestoreDigest.nullable(),
  effects: z.array(Effect),
  artifacts: z.array(Artifact),
  directives: z.array(z.json()),
  /** Bytes that stdout and stderr above leave out. An artifact holds them, up to the spool's bound. */
  truncated: z.object({ stdout_bytes: z.int(), stderr_bytes: z.int() }),
  features: Features,
  cause: Cause,
  isolation: IsolationTier,
  state: SessionMemory,
  durability: Durability,
  /** End of the execution's event stream: the offset at which following it goes on. */
  offset: z.int(),
});
export type ExecutionRecord = z.infer<typeof ExecutionRecord>;

/** What happens to an execution that finds its session busy: it waits its turn, or is refused with session_busy. */
export const OnBusy = z.enum(["wait", "refuse"]);
export type OnBusy = z.infer<typeof OnBusy>;

/** starting → idle ⇄ busy → closed; a dead kernel goes crashed → starting; dormant = no kernel until next use. */
export const SessionState = z.enum(["starting", "idle", "busy", "crashed", "dormant", "closed"]);
export type SessionState = z.infer<typeof SessionState>;

/** A package in a session's own environment. */
export const InstalledPackage = z.object({ name: z.string(), version: z.string() });
export type InstalledPackage = z.infer<typeof InstalledPackage>;

/** `changes`: a live snapshot after every execution that may have changed the memory; `named`: those asked for. */
export const SnapshotPolicy = z.enum(["changes", "named"]);
export type SnapshotPolicy = z.infer<typeof SnapshotPolicy>;

/** `idle`: the variables are written to the disk whenever the session is idle; `named`: only when asked for. */
export const CapturePolicy = z.enum(["idle", "named"]);
export type CapturePolicy = z.infer<typeof CapturePolicy>;

/** Where a session that was forked comes from. */
export const Lineage = z.object({
  /** The parent's name and id. */
  session: z.string(),
  session_id: z.string(),
  /** The parent's revision, and the execution after which it was forked; null: before the first. */
  revision: z.int(),
  execution: z.string().nullable(),
});
export type Lineage = z.infer<typeof Lineage>;

export const SessionInfo = z.object({
  id: z.string().regex(SESSION_ID),
  name: z.string(),
  language: Language,
  state: SessionState,
  generation: z.int(),
  revision: z.int(),
  owner: z.string(),
  /** Fencing token: rises each time the session changes owner. */
  epoch: z.int(),
  durability: Durability,
  isolation: IsolationTier,
  profile: Profile,
  /** What was installed into its own environment. */
  packages: z.array(InstalledPackage),
  /** What happens to an execution that finds the session busy and does not say itself. */
  on_busy: OnBusy,
  snapshots: SnapshotPolicy,
  capture: CapturePolicy,
  /** Null for a session that was not forked from another one. */
  forked_from: Lineage.nullable(),
  /** The execution whose state the next one begins with; null at the beginning. */
  head: z.string().nullable(),
  /** The interpreter that was asked for; null = the daemon's default. */
  python: z.string().nullable(),
  workspace: z.string(),
  created_at: z.string(),
  closed_at: z.string().nullable(),
  /** Executions that wait or run. */
  queued: z.int(),
  running: z.string().nullable(),
  pid: z.int().nullable(),
});
export type SessionInfo = z.infer<typeof SessionInfo>;

/** A variable as `inspect` shows it: a bounded summary, never the whole value. */
export const VariableInfo = z.object({
  name: z.string(),
  type: z.string(),
  module: z.string().nullable(),
  /** Dimensions, for arrays and tables. */
  shape: z.array(z.int()).nullable(),
  dtype: z.string().nullable(),
  length: z.int().nullable(),
  /** Size in bytes: of an array or a table with its cells, of anything else shallow, as the interpreter counts it. */
  bytes: z.int().nullable(),
  preview: z.string(),
});
export type VariableInfo = z.infer<typeof VariableInfo>;

/** The first rows of a table or an array, and figures of its columns. All texts are bounded. */
export const TableLook = z.object({
  columns: z.array(z.object({ name: z.string(), dtype: z.string() })),
  /** Columns that the bound left out. */
  omitted_columns: z.int(),
  /** Labels of the rows below. */
  index: z.array(z.string()),
  /** One list of cells a row, in the order of the columns. */
  head: z.array(z.array(z.string())),
  /** By column: count, missing, mean, std, min, 25%, 50%, 75%, max for numbers; count, missing, unique otherwise. */
  describe: z.record(z.string(), z.record(z.string(), z.number().nullable())),
  /** Rows that the figures come from; fewer than there are when the table is large. */
  described_rows: z.int(),
});
export type TableLook = z.infer<typeof TableLook>;

/** A closer look at one variable: its summary, and its parts down to the depth asked for. */
export interface VariableDetail extends VariableInfo {
  /** Items, keys, attributes or members by label. */
  children: VariableDetail[];
  /** Children that the bound left out. */
  omitted: number;
  /** For a function or class defined in a cell: its source. */
  source: string | null;
  doc: string | null;
  /** For a function or class: how it is called. */
  signature: string | null;
  /** For an array or a table of a known library. */
  table: TableLook | null;
}
export const VariableDetail: z.ZodType<VariableDetail> = VariableInfo.extend({
  get children() {
    return z.array(VariableDetail);
  },
  omitted: z.int(),
  source: z.string().nullable(),
  doc: z.string().nullable(),
  signature: z.string().nullable(),
  table: TableLook.nullable(),
});
