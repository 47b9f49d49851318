/** The MCP tools: names, arguments and structured answers. The descriptions are what a model reads. */
import { z } from "zod";
import { ExportFormat, OnError, OnTimeout } from "./api.ts";
import { LIMITS } from "./limits.ts";
import {
  ExecutionStatus,
  InputRequest,
  OnBusy,
  RestoreDigest,
  RolledBack,
  SessionMemory,
} from "./records.ts";
import { OnConflict, OnUnsafe } from "./time-travel.ts";

const session = z.string().describe("Session name. Sessions keep their variables between calls.");

export const ExecuteCodeInput = z.object({
  code: z.string().describe("Code to run. The value of the last expression is returned."),
  session: session.default("main"),
  language: z.string().optional().describe("Language of a new session: python."),
  timeout_ms: z.int().min(0).default(LIMITS.defaultTimeoutMs).describe("How long to wait for the end."),
  on_timeout: OnTimeout.default("detach").describe(
    "detach: it runs on, and `execution` follows it; interrupt: it is stopped.",
  ),
  on_error: OnError.default("keep").describe(
    "rollback: when it fails, variables are as they were before it; files stay.",
  ),
  max_output_chars: z.int().min(200).max(200_000).default(LIMITS.toolOutputChars),
});

export const ExecuteCodeOutput = z.object({
  execution_id: z.string(),
  session: z.string(),
  revision: z.int(),
  status: ExecutionStatus,
  duration_ms: z.number(),
  result: z.string().nullable(),
  error: z.object({ type: z.string(), message: z.string(), line: z.int().nullable() }).nullable(),
  state: SessionMemory,
  /** Set when the session's memory went back to what it was before. */
  rolled_back: RolledBack.nullable(),
  /** Set when the session's variables had to be brought back for it. */
  restore: RestoreDigest.nullable(),
  variables: z.object({
    added: z.array(z.string()),
    changed: z.array(z.string()),
    deleted: z.array(z.string()),
  }),
  directives: z.array(z.json()),
  artifacts: z.array(z.object({ uri: z.string(), mime: z.string() })),
  /** Bytes of output that the text block leaves out. */
  truncated: z.object({ bytes: z.int() }),
  /** The question that it waits with; `execution` with action input answers it. */
  input_requested: InputRequest.nullable(),
  /** Where following the output goes on, for `execution` with action peek. */
  offset: z.int(),
});
export type ExecuteCodeOutput = z.infer<typeof ExecuteCodeOutput>;

export const ExecutionInput = z.object({
  id: z.string().describe("Execution id, exec_…"),
  action: z
    .enum(["peek", "wait", "interrupt", "kill", "input"])
    .describe(
      "peek: output since `offset`; wait: until it ends; interrupt: stop it; kill: end its kernel; " +
        "input: answer its input() with `text`.",
    ),
  offset: z.int().min(0).default(0).describe("For peek: the offset that the last answer gave."),
  text: z
    .string()
    .max(LIMITS.inputChars)
    .optional()
    .describe("For input: the line. Without it: end of input."),
  timeout_ms: z.int().min(0).max(600_000).default(LIMITS.defaultTimeoutMs).describe("For wait and input."),
  max_output_chars: z.int().min(200).max(200_000).default(LIMITS.toolOutputChars),
});

export const SessionToolInput = z.object({
  action: z
    .enum(["list", "create", "show", "fork", "snapshot", "rollback", "merge", "restore", "reset", "close"])
    .describe(
      "fork: new sessions with copies of its variables; snapshot: keep its variables as they are now; " +
        "rollback: make them what they were (files stay); restore: bring them back after a loss, as the next use " +
        "does by itself; merge: bring `variables` of the session `from` in; reset: drop them.",
    ),
  name: z.string().optional().describe("Needed by all but list and create."),
  options: z
    .object({
      language: z.string().optional(),
      python: z.string().optional(),
      durability: z.string().optional(),
      packages: z.array(z.string()).max(100).optional().describe("Packages to install, such as pandas>=2."),
      on_busy: OnBusy.optional().describe("When it is busy, code waits its turn (default) or is refused."),
      count: z.int().min(1).max(LIMITS.forks).optional().describe("fork: how many."),
      names: z.array(z.string()).max(LIMITS.forks).optional().describe("fork: names of the new sessions."),
      from: z
        .string()
        .optional()
        .describe("fork: a snapshot or an execution, in place of now; merge: the other session."),
      variables: z.array(z.string()).max(1_000).optional().describe("merge: their names."),
      on_conflict: OnConflict.optional().describe(
        "merge: when both changed a variable: refuse (default), replace, keep.",
      ),
      snapshot: z.string().optional().describe("snapshot: its name."),
      to: z
        .string()
        .optional()
        .describe("rollback: a snapshot or an execution. Default: before the last change."),
      capture: z.string().optional().describe("restore: a capture, in place of the session's own state."),
      on_unsafe: OnUnsafe.optional().describe(
        "fork: refuse (default) or warn when there are threads, connections or processes.",
      ),
    })
    .optional()
    .describe("For create, fork, snapshot, rollback, merge and restore."),
});

export const InspectInput = z.object({
  session: session.default("main"),
  name: z.string().optional().describe("One variable; without it, a line for each."),
  depth: z.int().min(0).max(4).default(1),
});

export const HistoryInput = z.object({
  action: z
    .enum(["search", "show", "export", "replay", "bisect"])
    .default("search")
    .describe(
      "export: a session's executions as one text; bisect: which execution made `predicate` false; replay: run past executions again in another session.",
    ),
  predicate: z.string().optional().describe("For bisect: an expression over the session's variables."),
  ids: z
    .array(z.string())
    .max(1_000)
    .optional()
    .describe("For replay: executions. Default: all of the session."),
  into: z.string().optional().describe("For replay: the session to run them in. Default: a new one."),
  query: z.string().optional().describe("Words in code, output or error; parts of words match."),
  variable: z.string().optional().describe("Only what added, changed or deleted this variable."),
  where: z
    .string()
    .optional()
    .describe(
      "Only such changes: rows > 1000 and type = DataFrame. Fields: type, preview, value, length, rows, columns, change. Operators: = != < <= > >= ~ (contains), and, or.",
    ),
  id: z.string().optional().describe("For show: the execution's id."),
  session: z.string().optional(),
  status: ExecutionStatus.optional(),
  since: z.string().optional().describe("ISO 8601 instant, or an age such as 30m, 2h, 7d."),
  limit: z.int().min(1).max(100).default(10),
  cursor: z.string().optional(),
  format: z
    .enum(["brief", "detailed", ...ExportFormat.options])
    .optional()
    .describe("search: brief (default) or detailed; export: md (default), py, jsonl or ipynb."),
  all: z.boolean().default(false).describe("export: abandoned lines, too."),
});
