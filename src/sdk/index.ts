/** The SDK's door, and the package's main entry. */
export type {
  Check,
  ExecutionSummary,
  Health,
  HistoryPage,
  OnInput,
  OnTimeout,
  Variables,
} from "../contract/api.ts";
export { type ErrorBody, type ErrorCode, ExecuteCodeError } from "../contract/errors.ts";
export type { ExecutionEvent } from "../contract/events.ts";
export type {
  Artifact,
  Cause,
  Display,
  Durability,
  ExecutionError,
  ExecutionRecord,
  ExecutionResult,
  ExecutionStatus,
  InputExchange,
  InputRequest,
  IsolationTier,
  LateOutput,
  MimeBundle,
  OnBusy,
  SessionInfo,
  SessionMemory,
  SessionState,
  VariableDetail,
  VariableInfo,
  VariableSummary,
} from "../contract/records.ts";
export { Client, type ExecuteOptions, type ExecuteRequest, type Session } from "./client.ts";
export { type ConnectOptions, connect, createClient } from "./connect.ts";
export { daemonProgram } from "./launch.ts";
export { formatDuration, formatNumber, parseDuration, parseInstant, statusLine } from "./text.ts";
