/**
 * The daemon is killed at random instants while clients execute, and started anew: nothing that was acknowledged is
 * lost, nothing runs twice, and no process outlives its daemon. EXECUTE_CODE_CRASH_ROUNDS sets how often (default 4).
 */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { connect, ExecuteCodeError } from "../../src/sdk/index.ts";
import { temporaryFolder } from "../support/home.ts";

const ROUNDS = Number(process.env.EXECUTE_CODE_CRASH_ROUNDS ?? 4);
const CLIENTS = 3;
/** What a client may meet when its daemon dies; anything else fails the test. */
const EXPECTED = new Set(["connection_lost", "daemon_unreachable"]);

test("random kill -9 of the daemon", { timeout: 60_000 + ROUNDS * 25_000 }, async () => {
  const home = temporaryFolder();
  const acknowledged = new Map<string, string>();
  for (let round = 0; round < ROUNDS; round++) {
    await using client = await connect({ home });
    const { pid } = await client.health();
    let running = true;
    const work = async (worker: number): Promise<void> => {
      for (let i = 0; running; i++) {
        const code = `print(${round}, ${worker}, ${i})`;
        const durability = i % 2 === 0 ? "relaxed" : "full";
        try {
          const record = await client.execute({ session: `s${worker}`, code, durability });
          if (record.status === "ok") acknowledged.set(record.id, code);
        } catch (error) {
          if (!(error instanceof ExecuteCodeError) || !EXPECTED.has(error.code)) throw error;
        }
      }
    };
    const workers = Array.from({ length: CLIENTS }, (_, worker) => work(worker));
    // However slow the machine is: each round has something to lose.
    const enough = acknowledged.size + 2 * CLIENTS;
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
  const times = new Map<string, number>();
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page = await client.history({ limit: 500, ...(cursor === undefined ? {} : { cursor }) });
    for (const { code } of page.executions) times.set(code, (times.get(code) ?? 0) + 1);
    cursor = page.next_cursor;
  }
  expect([...times].filter(([, count]) => count > 1)).toEqual([]);
  await client.stop();
  await client.close();
  expect(processesOf(home)).toEqual([]);
  rmSync(home, { recursive: true });
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
