/** What `repl` was called with. */
import type { IsolationTier } from "../../contract/records.ts";
import type { Grants } from "../../sdk/index.ts";
import { type GrantFlags, grantsOf } from "../grants.ts";

export interface ReplFlags extends GrantFlags {
  session: string;
  language?: string;
  isolation?: IsolationTier;
  json?: boolean;
}

/** What a session is made with; and what the one that the REPL was called for must agree with. */
export function wantedOf({ language, isolation, ...flags }: ReplFlags): {
  language: string | undefined;
  isolation: IsolationTier | undefined;
  grants: Grants;
} {
  return { language, isolation, grants: grantsOf(flags) };
}
