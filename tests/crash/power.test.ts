/**
 * The power goes at random instants: of what was written and not synced nothing is left, or chance decides. What was
 * acknowledged with durability `full` is there, the database opens, and variables are what the history says, or told
 * as lost. The instants are chosen from one daemon's trace of all changes of its files.
 */
import { mkdirSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { connect } from "../../src/sdk/index.ts";
import { Faults, noFaults } from "./faults/faults.ts";
import { leftAfter, readTrace } from "./faults/power.ts";
import { adding, BEGIN, verdictOf } from "./ledger.ts";
import { scaled, tell } from "./rounds.ts";

const LOSSES = scaled(2, 50);
const EXECUTIONS = scaled(20, 300);
const SESSIONS = ["s0", "s1"];

interface Acknowledged {
  readonly id: string;
  readonly code: string;
  /** How long the trace was when it was known. */
  readonly at: number;
}

const reason = noFaults();

describe.skipIf(reason !== null)(`power loss${reason === null ? "" : `: ${reason}`}`, () => {
  test(`at ${LOSSES} instants`, { timeout: 120_000 + LOSSES * 20_000 }, async () => {
    const faults = new Faults();
    try {
      const { home } = faults;
      // A folder is made before the trace begins to know of it.
      mkdirSync(home, { mode: 0o700 });
      const acknowledged = await traced(faults);
      const changes = readTrace(faults.trace);
      const first = acknowledged[0]!.at;
      const came = { "as it was": 0, "told as lost": 0 };
      let checked = 0;
      for (let loss = 0; loss < LOSSES; loss++) {
        const at = first + Math.floor(Math.random() * (changes.at(-1)!.end - first));
        const left = path.join(faults.folder, `left-${loss}`);
        leftAfter(
          changes.filter(({ end }) => end <= at),
          home,
          left,
          loss % 2 === 0 ? "none" : "some",
        );
        await using client = await connect({ home: left, env: { ...process.env, EXECUTE_CODE_WARM: "1" } });
        for (const { id, code } of acknowledged.filter((one) => one.at <= at)) {
          expect(await client.execution(id), `lost by a power loss at ${at}`).toMatchObject({
            code,
            status: "ok",
          });
          checked += 1;
        }
        for (const { name } of await client.sessions()) came[await verdictOf(client, name)] += 1;
        await client.stop({ drainMs: 0 });
        const database = new DatabaseSync(path.join(left, "history.db"), { readOnly: true });
        expect(database.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
        database.close();
        rmSync(left, { recursive: true });
      }
      tell(
        `${LOSSES} losses of power, ${checked} acknowledged executions looked for, 0 lost; variables of a session came back ${came["as it was"]} times, were told as lost ${came["told as lost"]} times`,
      );
    } finally {
      faults.remove();
    }
  });
});

/** A daemon at work: executions of both durabilities, captures between them. Tells what was acknowledged as `full`. */
async function traced(faults: Faults): Promise<Acknowledged[]> {
  await using client = await faults.connect({ traced: true });
  const acknowledged: Acknowledged[] = [];
  const work = async (session: string, first: number): Promise<void> => {
    await client.execute({ session, code: BEGIN, durability: "full" });
    for (let number = first; number < first + EXECUTIONS; number++) {
      const full = number % 3 !== 0;
      const code = adding(number);
      const record = await client.execute({ session, code, durability: full ? "full" : "relaxed" });
      expect(record.status).toBe("ok");
      if (full) acknowledged.push({ id: record.id, code, at: statSync(faults.trace).size });
      if (number % 10 === 0) {
        await client.execute({ session, code: "import os\nblob = os.urandom(50_000)" });
        await client.capture(session);
      }
    }
  };
  await Promise.all(SESSIONS.map((session, index) => work(session, index * 10_000)));
  await client.stop();
  return acknowledged;
}
