/** How a record tells that an execution brought variables of another session in. */
import type { Effect } from "../../contract/records.ts";

const WORDS = "a merge from the session ";

export function mergeEffect(from: string): Effect {
  return { kind: "unknown", target: `${WORDS}${from}`, count: 1 };
}

/** Of one session, or of any. */
export function isMerge(effects: readonly Effect[], from?: string): boolean {
  return effects.some(({ kind, target }) => {
    if (kind !== "unknown") return false;
    return from === undefined ? target.startsWith(WORDS) : target === `${WORDS}${from}`;
  });
}
