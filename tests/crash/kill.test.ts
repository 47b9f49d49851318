/**
 * The daemon is killed at random instants while clients execute and sessions are captured, and started anew: nothing
 * that was acknowledged is lost, nothing runs twice, the database is intact, and the variables are what the history
 * says, or are told as lost. No process outlives its daemon.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFailed, test, vi } from "vitest";
import { type Client, connect, ExecuteCodeError } from "../../src/sdk/index.ts";
import { temporaryFolder } from "../support/home.ts";
import { adding, BEGIN, historyOf, marked, markedIn, ranOf, verdictOf } from "./ledger.ts";
import { ROUNDS, tell } from "./rounds.ts";

const CLIENTS = 3;
/** What a client may meet when its daemon dies; anything else fails the test. */
const EXPECTED = new Set(["connection_lost", "daemon_unreachable"]);
const SESSIONS = Array.from({ length: CLIENTS }, (_, worker) => `s${worker}`);
/** Of this one some executions write to a file: they cannot be run again. The variables of the others always come back. */
const WRITING = SESSIONS[0];

test(`random kill -9 of the daemon (${ROUNDS} rounds)`, { timeout: 60_000 + ROUNDS * 40_000 }, async () => {
  const home = temporaryFolder();
  onTestFailed(async () => {
    const client = await connect({ home });
    await client.stop({ drainMs: 0 });
    await client.close();
  });
  const acknowledged = new Map<string, string>();
  /** What was asked for under a key of its own, and got no answer. */
  const unanswered = new Map<string, { session: string; code: string }>();
  const came = { "as it was": 0, "told as lost": 0 };
  let number = 0;
  const begin = async (client: Client, session: string): Promise<void> => {
    await client.execute({ session, code: BEGIN });
  };

  for (let round = 0; round <= ROUNDS; round++) {
    await using client = await connect({ home });
    const { pid } = await client.health();
    for (const [idempotencyKey, request] of unanswered) {
      const record = await client.execute({ ...request, idempotencyKey });
      expect(["ok", "interrupted"]).toContain(record.status);
    }
    unanswered.clear();
    for (const session of SESSIONS) {
      if (round > 0) {
        const verdict = await verdictOf(client, session);
        came[verdict] += 1;
        if (session !== WRITING) expect(verdict).toBe("as it was");
        if (verdict === "as it was") continue;
      }
      await begin(client, session);
    }
    if (round === ROUNDS) {
      await client.stop();
      break;
    }
    let running = true;
    const lost = (error: unknown): void => {
      if (!(error instanceof ExecuteCodeError) || !EXPECTED.has(error.code)) throw error;
    };
    const work = async (session: string): Promise<void> => {
      while (running) {
        const at = ++number;
        const code = session === WRITING && at % 2 === 0 ? marked(at) : adding(at);
        const idempotencyKey = at % 3 === 0 ? `key-${at}` : undefined;
        try {
          if (idempotencyKey !== undefined) unanswered.set(idempotencyKey, { session, code });
          const durability = at % 2 === 0 ? "relaxed" : "full";
          const record = await client.execute({ session, code, durability, idempotencyKey });
          if (record.status === "ok") acknowledged.set(record.id, code);
          if (idempotencyKey !== undefined) unanswered.delete(idempotencyKey);
        } catch (error) {
          lost(error);
        }
      }
    };
    const capture = async (): Promise<void> => {
      while (running) await client.capture(SESSIONS[number % CLIENTS]!).catch(lost);
    };
    // However slow the machine is: each round has something to lose.
    const enough = acknowledged.size + 2 * CLIENTS;
    const workers = [...SESSIONS.map(work), capture()];
    await vi.waitUntil(() => acknowledged.size >= enough, { timeout: 20_000 });
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 400));
    running = false;
    process.kill(pid, "SIGKILL");
    await Promise.all(workers);
  }

  const client = await connect({ home });
  expect(acknowledged.size).toBeGreaterThan(ROUNDS * CLIENTS);
  for (const [id, code] of acknowledged) {
    expect(await client.execution(id)).toMatchObject({ code, status: "ok" });
  }
  for (const session of SESSIONS) {
    const history = await historyOf(client, session);
    const adds = history.filter(({ code }) => code.includes("# adds")).map(({ code }) => code);
    expect(adds.length, `${session}: something is there twice`).toBe(new Set(adds).size);
    const ran = await ranOf(client, session);
    expect(ran.length, `${session}: something ran twice`).toBe(new Set(ran).size);
    expect(ran).toEqual(expect.arrayContaining(markedIn(history)));
  }
  await client.stop();
  await client.close();
  const database = new DatabaseSync(path.join(home, "history.db"), { readOnly: true });
  expect(database.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
  database.close();
  expect(processesOf(home)).toEqual([]);
  rmSync(home, { recursive: true });
  tell(
    `${ROUNDS} rounds, ${acknowledged.size} acknowledged, 0 lost, 0 twice; variables of a session came back ${came["as it was"]} times, were told as lost ${came["told as lost"]} times, were silently wrong 0 times`,
  );
});

function processesOf(home: string): string[] {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, "utf8").includes(home);
    } catch {
      return false;
    }
  });
}
