/** The door of layer 1, memory: sessions and their history. */
export { Artifacts } from "./artifacts.ts";
export { Captures } from "./captures/captures.ts";
export type { Execution, StopReason } from "./executions/execution.ts";
export { type Content, History } from "./executions/history.ts";
export { exportHistory } from "./export/export.ts";
export type { Lease, Placement } from "./ports/placement.ts";
export type {
  Acceptance,
  AcceptedExecution,
  FinishedExecution,
  Store,
  StoredExecution,
  StoredSession,
  StoredTimeline,
} from "./ports/store.ts";
export { bisect } from "./sessions/bisect.ts";
export { diff, merge } from "./sessions/merge.ts";
export { replay, wantedOf } from "./sessions/replay.ts";
export type { Session, Submitted } from "./sessions/session.ts";
export { type NewSession, Sessions, type SessionsOptions } from "./sessions/sessions.ts";
export {
  listWorkspace,
  makeWorkspace,
  openWorkspaceFile,
  storeWorkspaceFile,
  workspaceRoot,
} from "./sessions/workspace.ts";
export { storageError } from "./storage-error.ts";
