import { history } from "./0001-history.ts";
import { lateOutput } from "./0002-late-output.ts";
import { profiles } from "./0003-profiles.ts";
import { timeTravel } from "./0004-time-travel.ts";

export interface Migration {
  /** The database's `user_version` after it. */
  readonly version: number;
  readonly sql: string;
}

/** In order, without gaps. A released one is never changed. */
export const MIGRATIONS: readonly Migration[] = [history, lateOutput, profiles, timeTravel];

export const LATEST_VERSION: number = MIGRATIONS.length;
