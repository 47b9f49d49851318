/**
 * The tiers of isolation that this machine offers. A probe at the daemon's start tries each for real; sessions get the
 * strongest, and nothing is run without isolation unless the user asked for that.
 */
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { IsolationTier } from "../../contract/records.ts";
import type { Enclosure } from "./enclosure.ts";

/** What a probe found: an enclosure that works, or why there is none and what to do. */
export type Probed =
  | { readonly tier: IsolationTier; readonly enclosure: Enclosure; readonly detail: string }
  | {
      readonly tier: IsolationTier;
      readonly enclosure: null;
      readonly detail: string;
      readonly remedy: string;
    };

/** What is left where no tier isolates. */
export const LAST_RESORT = "To run code without isolation, say --isolation none.";

export class Isolation {
  /** Strongest first; the last is `none`. */
  readonly probed: readonly Probed[];

  constructor(probed: readonly Probed[]) {
    this.probed = probed;
  }

  /** The strongest tier there is; null when there is none but `none`. */
  get strongest(): IsolationTier | null {
    return this.probed.find((one) => one.enclosure !== null && one.tier !== "none")?.tier ?? null;
  }

  /** The tier for a new session: what was asked for, else the strongest. Throws `no_isolation`. */
  choose(asked: IsolationTier | undefined): IsolationTier {
    if (asked !== undefined) return this.enclosure(asked).tier;
    if (this.strongest === null) throw this.#unavailable(this.probed.filter((one) => one.tier !== "none"));
    return this.strongest;
  }

  /** Throws `no_isolation` when this machine does not offer the tier. */
  enclosure(tier: IsolationTier): Enclosure {
    const found = this.probed.filter((one) => one.tier === tier);
    const enclosure = found.find((one) => one.enclosure !== null)?.enclosure;
    if (enclosure === undefined || enclosure === null) throw this.#unavailable(found);
    return enclosure;
  }

  #unavailable(wanted: readonly Probed[]): ExecuteCodeError {
    const details = wanted.map((one) => `${one.tier}: ${one.detail}`);
    const remedy = remediesOf(wanted);
    return new ExecuteCodeError("no_isolation", {
      message: `Session code cannot be isolated here (${details.join("; ")}).`,
      ...(remedy === "" ? {} : { remedy: `${remedy} ${LAST_RESORT}` }),
    });
  }
}

/** What would make the missing ones of these tiers work; empty when none is missing. */
export function remediesOf(probed: readonly Probed[]): string {
  return probed.flatMap((one) => (one.enclosure === null ? [one.remedy] : [])).join(" Or: ");
}
