/**
 * Attacks from inside a session, and what must come of them: in the sandbox and in the reduced tier, of the daemon of
 * whoever runs the tests, and where that is root, of an ordinary user's, too.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import { type Client, ExecuteCodeError, type Grants } from "../../src/sdk/index.ts";
import { type TestHome, testHome } from "../support/home.ts";
import { noUserDaemon, userHome } from "../support/user.ts";

export interface Arena {
  readonly home: string;
  readonly client: Client;
}

/** The text of the value that tells what came of it. */
type End = string | RegExp;

interface Attack {
  /** What is tried. */
  readonly name: string;
  /** Code whose last expression tells what came of it; a name of an OSError's errno, as a rule. */
  readonly code: string | ((arena: Arena) => string);
  readonly ends: End;
  /** Where it ends otherwise in the reduced tier; null: what it tries is not promised there. */
  readonly reduced?: End | null;
  /** Leaves its session in no state for others, or needs one that has run nothing. */
  readonly alone?: true;
  /** What its session is granted. */
  readonly grants?: Grants | (() => Grants);
}

/** Gives the errno's name of an OSError, or what the call returned. */
const PRELUDE = `
import errno, os, sys
def outcome(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
`;

const PLACES = ["sandbox", "reduced tier", "user's sandbox", "user's reduced tier"] as const;
type Place = (typeof PLACES)[number];

const attacks = new Map<Place, number>();
/** Why a place cannot be had on this machine. */
const missing = new Map<Place, string>();
const noUser = noUserDaemon();

/** A daemon for a suite of attacks. The suite fails where sessions are not in a sandbox: nothing would be proved. */
export function arena(): () => Arena {
  let home: TestHome;
  beforeAll(async () => {
    home = await testHome();
    const check = (await home.client.doctor()).find((one) => one.name === "isolation");
    if ((await home.client.health()).isolation !== "sandbox") {
      throw new Error(`the abuse suite needs the sandbox: ${check?.detail} → ${check?.remedy}`);
    }
    await probe(home.client, "reduced tier", "reduced");
  });
  afterAll(async () => {
    await home[Symbol.asyncDispose]();
    const counts = [...attacks].map(([place, count]) => `${place} ${count}`);
    const reasons = [...(noUser === null ? [] : [noUser]), ...missing.values()].map(
      (reason) => `; ${reason}`,
    );
    const sum = [...attacks.values()].reduce((total, one) => total + one, 0);
    console.log(`${sum} attacks ran (${counts.join(", ")})${reasons.join("")}`);
  });
  return () => home;
}

/** The daemon of an ordinary user; null where there can be none, for which it is the first arena anyway. */
let user: TestHome | null = null;

/** Another arena for the attacks of this suite. */
export function userArena(): () => Arena | null {
  if (noUser === null) {
    beforeAll(async () => {
      user ??= await userHome();
      await probe(user.client, "user's sandbox", "sandbox");
      await probe(user.client, "user's reduced tier", "reduced");
    });
    afterAll(async () => {
      await user?.[Symbol.asyncDispose]();
      user = null;
    });
  }
  return () => user;
}

/** A place is missing where the machine does not offer its tier; a tier that is there and fails is a failure. */
async function probe(client: Client, place: Place, isolation: "sandbox" | "reduced"): Promise<void> {
  const session = place.replace(/[^a-z]+/g, "-");
  await client.execute({ session, isolation, code: "1" }).catch((error: Error) => {
    const lacking = error instanceof ExecuteCodeError && error.code === "no_isolation";
    if (!lacking && !error.message.includes("this kernel has no Landlock")) throw error;
    missing.set(place, `${place}: ${error.message}`);
  });
}

/** Attacks with the same grants share a session. */
const grantings: unknown[] = [];

function granted(grants: unknown): string {
  if (!grantings.includes(grants)) grantings.push(grants);
  return `granted ${grantings.indexOf(grants)}`;
}

/**
 * Makes each attack everywhere, and checks that its session lives on. In the sandbox each has a session of its own;
 * elsewhere those that leave theirs whole share one.
 */
export function attack(at: () => Arena, userAt: () => Arena | null, list: readonly Attack[]): void {
  for (const place of PLACES) {
    const reduced = place.endsWith("reduced tier");
    const users = place.startsWith("user");
    const tried = list.filter((one) => !reduced || one.reduced !== null);
    if (tried.length === 0) continue;
    describe.skipIf(users && noUser !== null)(place, () => {
      test.for(tried)("$name", async (one, context) => {
        const { name, code, ends, reduced: otherwise, alone, grants } = one;
        if (missing.has(place)) return context.skip(missing.get(place));
        const arena = users ? userAt()! : at();
        const own = (place === "sandbox" && grants === undefined) || alone === true;
        const words = own
          ? `${reduced ? "reduced " : ""}${name}`
          : `${place}${grants === undefined ? "" : ` ${granted(grants)}`}`;
        const session = words.replace(/[^a-z0-9]+/gi, "-").slice(0, 60);
        const { client } = arena;
        const text = typeof code === "string" ? code : code(arena);
        const isolation = reduced ? "reduced" : "sandbox";
        const record = await client.execute({
          session,
          code: `${PRELUDE}\n${text}`,
          isolation,
          grants: typeof grants === "function" ? grants() : grants,
          timeoutMs: 60_000,
        });
        counted(place);
        expect(record.isolation).toBe(isolation);
        const end = reduced && otherwise ? otherwise : ends;
        const said = record.result?.text ?? endOf(record);
        if (typeof end === "string") expect(said).toBe(end);
        else expect(said).toMatch(end);
        const after = await client.execute({ session, code: "'alive'" });
        expect(after).toMatchObject({ result: { text: "'alive'" }, state: "retained", generation: 1 });
      });
    });
  }
}

function endOf(record: ExecutionRecord): string {
  return record.error === null ? record.status : `${record.error.type}: ${record.error.message}`;
}

/** How late the daemon answers, at the 99th percentile: the best of some rounds, since the machine has other work, too. */
export async function lagMs({ client }: Arena): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 4 && best >= 50; round++) {
    const took: number[] = [];
    while (took.length < 100) {
      const began = performance.now();
      await client.health();
      took.push(performance.now() - began);
    }
    best = Math.min(best, took.toSorted((one, other) => one - other)[98]!);
  }
  return best;
}

/** Counts an attack that a test makes by itself. */
export function counted(place: Place = "sandbox"): void {
  attacks.set(place, (attacks.get(place) ?? 0) + 1);
}
