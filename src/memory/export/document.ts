/** What every format is written from. */
import type { Artifacts } from "../artifacts.ts";
import type { StoredSession } from "../ports/store.ts";
import type { Exported } from "./executions.ts";
import type { OutputOptions } from "./outputs.ts";

export interface Document extends OutputOptions {
  readonly session: StoredSession;
  readonly line: "current" | "all";
  /** May be iterated more than once. */
  readonly executions: AsyncIterable<Exported>;
  readonly artifacts: Artifacts;
}
