import type { ExportQuery, OnError, OnInput, OnTimeout } from "../contract/api.ts";
import type { Durability, IsolationTier, OnBusy } from "../contract/records.ts";
import type { OnUnsafe } from "../contract/time-travel.ts";
import type { DownloadOptions } from "./files.ts";
import type { Grants } from "./grants.ts";

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
