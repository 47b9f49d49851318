/** A kernel dies in the middle of an execution: the status is right, and the session goes on from the state before. */
import { expect, test, vi } from "vitest";
import type { Client, ExecutionRecord } from "../../src/sdk/index.ts";
import { testHome } from "../support/home.ts";
import { adding, BEGIN, verdictOf } from "./ledger.ts";
import { IS_LONG, quantile, ROUNDS, tell } from "./rounds.ts";

const BYTES = IS_LONG ? 1 << 30 : 64 << 20;
const BACK_MS = 100;
const SESSION = "s";

type Death = (client: Client, code: string) => Promise<{ record: ExecutionRecord; ms: number | null }>;

/** In code that has just said so and sleeps, `end` ends the kernel; told is how long it takes to the answer. */
const whileRunning =
  (end: (client: Client, pid: number, id: string) => unknown): Death =>
  async (client, code) => {
    const pid = (await client.showSession(SESSION)).pid!;
    const sleeping = `${code}\nprint("it runs", flush=True)\nimport time; time.sleep(60)`;
    let began = 0;
    let id = "";
    for await (const event of client.stream({ session: SESSION, code: sleeping, timeoutMs: 0 })) {
      if (event.type === "accepted") id = event.id;
    }
    for await (const event of client.follow(id)) {
      if (event.type === "stdout" && began === 0) {
        began = performance.now();
        void end(client, pid, id);
      }
      if (event.type === "end") break;
    }
    const ms = performance.now() - began;
    return { record: await client.execution(id), ms };
  };

const byItself =
  (statement: string): Death =>
  async (client, code) => ({
    record: await client.execute({ session: SESSION, code: `${code}\n${statement}` }),
    ms: null,
  });

const DEATHS: ReadonlyArray<readonly [status: ExecutionRecord["status"], death: Death]> = [
  ["crashed", whileRunning((_, pid) => process.kill(pid, "SIGKILL"))],
  ["crashed", byItself("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")],
  ["interrupted", whileRunning((client, _, id) => client.kill(id))],
  ["crashed", byItself("import ctypes; ctypes.string_at(1)")],
];

test(`a kernel is killed in mid-execution (${ROUNDS} rounds, ${BYTES >> 20} MiB)`, {
  timeout: 120_000 + ROUNDS * 10_000,
}, async () => {
  await using home = await testHome();
  const { client } = home;
  await client.execute({ session: SESSION, code: `big = b"x" * ${BYTES}\n${BEGIN}`, timeoutMs: 120_000 });
  await client.execute({ session: SESSION, code: BEGIN });
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const kept = await client.execute({ session: SESSION, code: adding(round) });
    expect(kept.status).toBe("ok");
    await vi.waitUntil(async () =>
      (await client.snapshots(SESSION)).some((one) => one.execution === kept.id),
    );
    const [status, death] = DEATHS[round % DEATHS.length]!;
    // What the dying one does must not be seen later.
    const { record, ms } = await death(client, `done.append(-${round})`);
    expect(record).toMatchObject({ status, rolled_back: { to: kept.id }, state: "restored" });
    expect(await verdictOf(client, SESSION)).toBe("as it was");
    const size = await client.execute({ session: SESSION, code: "len(big)" });
    expect(size.result?.text).toBe(`${BYTES}`);
    if (ms !== null) took.push(ms);
  }
  tell(
    `${ROUNDS} rounds; from the kill to the end of the rollback: median ${quantile(took, 0.5).toFixed(0)} ms, worst ${quantile(took, 1).toFixed(0)} ms`,
  );
  if (IS_LONG) expect(quantile(took, 0.99)).toBeLessThan(BACK_MS);
});
