/**
 * The one table of platform errors. Every error that a user, a program or a model sees is a row of it:
 * what went wrong (message), what to do next (remedy), whether the same call may succeed later (retryable),
 * the HTTP status and the exit status of the command line.
 *
 * An exception raised by session code is no platform error: it is part of the execution's record.
 */
import { z } from "zod";

interface ErrorRow {
  readonly message: string;
  readonly remedy: string;
  readonly retryable: boolean;
  readonly http: number;
  /** 2 = the caller's mistake, 3 = timed out or interrupted, 4 = the platform failed. */
  readonly exit: 2 | 3 | 4;
}

const rows = {
  invalid_request: {
    message: "The request does not have the expected form.",
    remedy: "Compare it with /v1/openapi.json, or run the command with --help.",
    retryable: false,
    http: 400,
    exit: 2,
  },
  invalid_json: {
    message: "The request body is not valid JSON.",
    remedy: "Send one JSON object with content-type application/json.",
    retryable: false,
    http: 400,
    exit: 2,
  },
  invalid_encoding: {
    message: "The text is not valid UTF-8.",
    remedy: "Save the code as UTF-8; read other encodings inside the session with open(..., encoding=...).",
    retryable: false,
    http: 400,
    exit: 2,
  },
  unsupported_media_type: {
    message: "Request bodies must be application/json.",
    remedy: "Set the header content-type: application/json.",
    retryable: false,
    http: 415,
    exit: 2,
  },
  body_too_large: {
    message: "The request body is too large.",
    remedy: "Write large data to a file in the session's workspace and read it from there.",
    retryable: false,
    http: 413,
    exit: 2,
  },
  empty_code: {
    message: "There is no code to run.",
    remedy: "Pass at least one statement or expression.",
    retryable: false,
    http: 400,
    exit: 2,
  },
  code_too_large: {
    message: "The code is larger than one execution may carry.",
    remedy: "Write it to a file in the session's workspace and import or exec it; pass data as files.",
    retryable: false,
    http: 413,
    exit: 2,
  },
  unauthorized: {
    message: "The request does not have the token.",
    remedy:
      "Send `authorization: Bearer TOKEN`, with the token of the file that `execute-code daemon status` names.",
    retryable: false,
    http: 401,
    exit: 4,
  },
  forbidden: {
    message: "Requests of this origin are not served.",
    remedy:
      "Call the address that `execute-code daemon status` names, from a program and not from a web page.",
    retryable: false,
    http: 403,
    exit: 4,
  },
  address_unusable: {
    message: "The address cannot be had.",
    remedy: "Choose another port, or 0 for a free one.",
    retryable: false,
    http: 500,
    exit: 4,
  },
  unknown_route: {
    message: "There is no such address in this API.",
    remedy: "See /v1/openapi.json for the addresses there are.",
    retryable: false,
    http: 404,
    exit: 2,
  },
  method_not_allowed: {
    message: "This address does not take that method.",
    remedy: "See /v1/openapi.json for the methods of each address.",
    retryable: false,
    http: 405,
    exit: 2,
  },
  unknown_session: {
    message: "There is no such session.",
    remedy: "List the sessions with `execute-code session list`; running code creates one by name.",
    retryable: false,
    http: 404,
    exit: 2,
  },
  session_exists: {
    message: "A session with this name exists.",
    remedy: "Use it, choose another name, or close it first with `execute-code session close NAME`.",
    retryable: false,
    http: 409,
    exit: 2,
  },
  session_closed: {
    message: "The session is closed.",
    remedy:
      "Start a new one under the name with `execute-code session create NAME` or `run --fresh`; its history is kept.",
    retryable: false,
    http: 410,
    exit: 2,
  },
  session_busy: {
    message: "The session is busy with another execution.",
    remedy: "Wait for it, interrupt it (`execution` action interrupt), or use another session.",
    retryable: true,
    http: 409,
    exit: 4,
  },
  inspection_failed: {
    message: "The variables could not be looked at.",
    remedy: "Look at one variable by its name, less deeply, or print what you want to know.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  no_input_requested: {
    message: "The execution waits for no input.",
    remedy: "See with `execution` action peek whether it runs, and what it asks.",
    retryable: false,
    http: 409,
    exit: 2,
  },
  session_language: {
    message: "The session runs another language.",
    remedy: "Use a session of its own for each language.",
    retryable: false,
    http: 409,
    exit: 2,
  },
  session_profile: {
    message: "The session exists and is granted other things.",
    remedy:
      "Use it without naming them, choose another name, or close it first with `execute-code session close NAME`.",
    retryable: false,
    http: 409,
    exit: 2,
  },
  invalid_profile: {
    message: "The session cannot be granted this.",
    remedy: "See `execute-code session create --help` for what can be.",
    retryable: false,
    http: 400,
    exit: 2,
  },
  install_failed: {
    message: "The packages could not be installed.",
    remedy: "See what the installer said; check the names and versions.",
    retryable: false,
    http: 422,
    exit: 4,
  },
  unsafe_fork: {
    message: "The session holds what a copy of it would not have.",
    remedy: "Close it in the session first, or go on without it: --on-unsafe warn (`on_unsafe`).",
    retryable: false,
    http: 409,
    exit: 2,
  },
  fork_failed: {
    message: "The session could not be copied.",
    remedy:
      "End other branches or processes of the session, or create it with more --memory and --processes.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  merge_conflict: {
    message: "Both sessions have changed the same variables: nothing was merged.",
    remedy: "Say what is to become of them: --on-conflict replace or keep (`on_conflict`), or name others.",
    retryable: false,
    http: 409,
    exit: 2,
  },
  capture_failed: {
    message: "The session's variables could not be written down.",
    remedy: "Try again when the session is idle; the daemon's log says more.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  unknown_capture: {
    message: "The session has no such capture.",
    remedy: "List them with `execute-code session captures NAME`.",
    retryable: false,
    http: 404,
    exit: 2,
  },
  session_live: {
    message: "The session's kernel lives, with its variables: there is nothing to restore.",
    remedy:
      "Name a capture to have its state in place of the session's; `session reset` drops the variables.",
    retryable: false,
    http: 409,
    exit: 2,
  },
  unknown_snapshot: {
    message: "The session has no such snapshot.",
    remedy:
      "List them with `execute-code session snapshots NAME`; the newest are kept, and they are gone when the session's processes are.",
    retryable: false,
    http: 404,
    exit: 2,
  },
  snapshot_exists: {
    message: "The session has a snapshot of this name.",
    remedy: "Choose another name, or drop that one first.",
    retryable: false,
    http: 409,
    exit: 2,
  },
  too_many_snapshots: {
    message: "The session has as many snapshots of its own names as it may have.",
    remedy: "Drop one first: `execute-code session snapshot NAME --drop SNAPSHOT`.",
    retryable: false,
    http: 409,
    exit: 2,
  },
  queue_full: {
    message: "Too many executions wait in this session.",
    remedy: "Wait for some to end, or spread the work over several sessions.",
    retryable: true,
    http: 429,
    exit: 4,
  },
  too_many_sessions: {
    message: "The limit of live sessions is reached.",
    remedy: "Close sessions that are no longer needed with `execute-code session close NAME`.",
    retryable: true,
    http: 429,
    exit: 4,
  },
  unknown_execution: {
    message: "There is no such execution.",
    remedy: "Find its id with `execute-code history`.",
    retryable: false,
    http: 404,
    exit: 2,
  },
  unknown_artifact: {
    message: "The execution has no such output or artifact.",
    remedy: "See the record's `artifacts` for what there is.",
    retryable: false,
    http: 404,
    exit: 2,
  },
  unknown_variable: {
    message: "The session has no such variable.",
    remedy: "List the variables with `execute-code inspect --session NAME`.",
    retryable: false,
    http: 404,
    exit: 2,
  },
  unknown_language: {
    message: "This language is not supported.",
    remedy: "Use python.",
    retryable: false,
    http: 400,
    exit: 2,
  },
  invalid_path: {
    message: "The path does not name a place in the session's workspace.",
    remedy: "Use a relative path with / between its names, without `..`; links are not followed.",
    retryable: false,
    http: 400,
    exit: 2,
  },
  unknown_file: {
    message: "There is no such file in the session's workspace.",
    remedy: "List the workspace with `execute-code session files NAME`.",
    retryable: false,
    http: 404,
    exit: 2,
  },
  file_too_large: {
    message: "The file is larger than one upload may be.",
    remedy: "Split it, or let the session read it where it is (`--read PATH`).",
    retryable: false,
    http: 413,
    exit: 2,
  },
  idempotency_conflict: {
    message: "This idempotency key was used for a different request.",
    remedy: "Use a new key for each distinct request; repeat a key only with the same session and code.",
    retryable: false,
    http: 409,
    exit: 2,
  },
  stale_epoch: {
    message: "The session is owned by another daemon now.",
    remedy: "Send the request again: it is routed to the owner.",
    retryable: true,
    http: 409,
    exit: 4,
  },
  no_isolation: {
    message: "Session code cannot be isolated here.",
    remedy: "Install bubblewrap (Debian: apt-get install bubblewrap), or say --isolation none.",
    retryable: false,
    http: 503,
    exit: 4,
  },
  no_python: {
    message: "No usable Python interpreter was found.",
    remedy:
      "Install Python 3.9 or newer, or set EXECUTE_CODE_PYTHON to an interpreter and start the daemon anew.",
    retryable: false,
    http: 503,
    exit: 4,
  },
  kernel_start_failed: {
    message: "The kernel did not start.",
    remedy: "Run `execute-code doctor`; the daemon's log names the cause.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  kernel_gone: {
    message: "The kernel ended before it answered.",
    remedy: "Run the code again; the session continues with a new kernel and says what was lost.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  home_in_use: {
    message: "Another daemon owns this EXECUTE_CODE_HOME.",
    remedy:
      "Use the running daemon, stop it with `execute-code daemon stop`, or choose another EXECUTE_CODE_HOME.",
    retryable: false,
    http: 409,
    exit: 4,
  },
  home_unusable: {
    message: "EXECUTE_CODE_HOME cannot be used.",
    remedy:
      "Make the folder writable for this user only (mode 0700), or set EXECUTE_CODE_HOME to another one.",
    retryable: false,
    http: 503,
    exit: 4,
  },
  daemon_unreachable: {
    message: "The daemon cannot be reached.",
    remedy:
      "Start it with `execute-code daemon start`; `execute-code doctor` names the cause when that fails.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  daemon_start_failed: {
    message: "The daemon did not start.",
    remedy: "Run `execute-code daemon run` to see why, or `execute-code doctor`.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  daemon_stopping: {
    message: "The daemon is stopping.",
    remedy: "Send the request again in a moment: a new daemon is started on first use.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  connection_lost: {
    message: "The connection to the daemon broke before the answer was complete.",
    remedy:
      "Nothing was lost: find the execution with `execute-code history`, or repeat the request with its idempotency key.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  database_damaged: {
    message: "The history database is damaged.",
    remedy:
      "Move history.db (with its -wal and -shm files) out of EXECUTE_CODE_HOME to a safe place and start again; `sqlite3 history.db .recover` may save its contents.",
    retryable: false,
    http: 503,
    exit: 4,
  },
  database_newer: {
    message: "The history database was written by a newer version.",
    remedy: "Update execute-code, or set EXECUTE_CODE_HOME to another folder.",
    retryable: false,
    http: 503,
    exit: 4,
  },
  storage_full: {
    message: "The disk is full: nothing can be recorded, so nothing is run.",
    remedy:
      "Free space on the disk of EXECUTE_CODE_HOME and send the request again; the daemon keeps running.",
    retryable: true,
    http: 507,
    exit: 4,
  },
  storage_read_only: {
    message: "The storage is read-only: nothing can be recorded, so nothing is run.",
    remedy:
      "Make the disk of EXECUTE_CODE_HOME writable and send the request again; the daemon keeps running.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  storage_failed: {
    message: "The storage reported an error.",
    remedy: "Check the disk of EXECUTE_CODE_HOME and the daemon's log, then send the request again.",
    retryable: true,
    http: 503,
    exit: 4,
  },
  result_not_recorded: {
    message: "The code ran, but its record could not be written.",
    remedy:
      "Free the disk of EXECUTE_CODE_HOME. The session still holds its variables; the record is written when the disk allows.",
    retryable: false,
    http: 507,
    exit: 4,
  },
  unsupported_node: {
    message: "This Node.js is too old.",
    remedy: "Install Node.js 24 or newer, or run `npm ci` in the checkout, which brings one along.",
    retryable: false,
    http: 503,
    exit: 4,
  },
  internal: {
    message: "Something unexpected went wrong inside the platform.",
    remedy: "See the daemon's log (EXECUTE_CODE_HOME/logs) and report it with the request id.",
    retryable: false,
    http: 500,
    exit: 4,
  },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof rows;

export const ERRORS: Readonly<Record<ErrorCode, ErrorRow>> = rows;

/** What every failed HTTP call, tool call and `--json` command answers. */
export const ErrorBody = z.object({
  code: z.string(),
  message: z.string(),
  remedy: z.string(),
  retryable: z.boolean(),
  /** Facts for programs: the limit that was passed, the pid that holds a lock, the id that was sought. */
  details: z.record(z.string(), z.json()).optional(),
});
export type ErrorBody = z.infer<typeof ErrorBody>;

interface ErrorContext {
  /** Replaces the table's general sentence by the particular one. */
  message?: string;
  remedy?: string;
  details?: Record<string, z.infer<ReturnType<typeof z.json>>>;
  cause?: unknown;
}

/** A row of the table as an exception, with the particulars of this case. */
export class ExecuteCodeError extends Error {
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly retryable: boolean;
  readonly details: ErrorContext["details"];

  constructor(code: ErrorCode, context: ErrorContext = {}) {
    super(context.message ?? ERRORS[code].message, { cause: context.cause });
    this.name = "ExecuteCodeError";
    this.code = code;
    this.remedy = context.remedy ?? ERRORS[code].remedy;
    this.retryable = ERRORS[code].retryable;
    this.details = context.details;
  }

  toBody(): ErrorBody {
    return {
      code: this.code,
      message: this.message,
      remedy: this.remedy,
      retryable: this.retryable,
      ...(this.details === undefined ? {} : { details: this.details }),
    };
  }

  /** The exception that a received body stands for; a code unknown to this version becomes `internal`. */
  static fromBody(body: ErrorBody): ExecuteCodeError {
    const known = body.code in ERRORS ? (body.code as ErrorCode) : "internal";
    return new ExecuteCodeError(known, {
      message: body.message,
      remedy: body.remedy,
      ...(body.details === undefined ? {} : { details: body.details }),
    });
  }
}
