/** The SDK's door, and the package's main entry. */
export type {
  Check,
  Completion,
  ExecutionSummary,
  ExportFormat,
  Health,
  HistoryPage,
  Installation,
  OnError,
  OnInput,
  OnTimeout,
  VariableChange,
  Variables,
  WorkspaceEntry,
  WorkspaceListing,
} from "../contract/api.ts";
export { type ErrorBody, type ErrorCode, ExecuteCodeError } from "../contract/errors.ts";
export type { ExecutionEvent } from "../contract/events.ts";
export type { Profile } from "../contract/profile.ts";
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
  InstalledPackage,
  IsolationTier,
  LateOutput,
  MimeBundle,
  OnBusy,
  SessionInfo,
  SessionMemory,
  SessionState,
  Unsafe,
  VariableDetail,
  VariableInfo,
  VariableSummary,
} from "../contract/records.ts";
export type {
  Bisection,
  CaptureInfo,
  Difference,
  Forks,
  Merge,
  Replay,
  RestoreReport,
  Rollback,
  SnapshotInfo,
} from "../contract/time-travel.ts";
export { Client, Session } from "./client.ts";
export { type ConnectOptions, connect, createClient } from "./connect.ts";
export type { DownloadOptions, DownloadToOptions, FileContent } from "./files.ts";
export type { Grants } from "./grants.ts";
export { daemonProgram } from "./launch.ts";
export type {
  BisectOptions,
  ExecuteOptions,
  ExecuteRequest,
  ExportOptions,
  ForkOptions,
  ReplayOptions,
} from "./options.ts";
export {
  doubtful,
  endedNote,
  formatBytes,
  formatDuration,
  formatNumber,
  memoryNotes,
  nameUnsafe,
  parseBytes,
  parseDuration,
  parseInstant,
  statusLine,
} from "./text.ts";
