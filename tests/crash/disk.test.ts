/**
 * The disk is full, fails, or there are no descriptors left: what is acknowledged is there afterwards, what cannot be
 * written is refused with what to do, reading goes on, and work goes on when the cause is gone. A capture that cannot
 * be written harms no execution.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFailed, test, vi } from "vitest";
import { type Client, connect, ExecuteCodeError } from "../../src/sdk/index.ts";
import { temporaryFolder } from "../support/home.ts";
import { EIO, EMFILE, ENOSPC, Faults, noFaults, type Order } from "./faults/faults.ts";
import { adding, BEGIN, historyOf, verdictOf } from "./ledger.ts";
import { scaled, tell } from "./rounds.ts";

const TIMES = scaled(1, 20);
const EXECUTIONS = 6;
const REFUSALS = new Set([
  "storage_full",
  "storage_failed",
  "storage_read_only",
  "result_not_recorded",
  "capture_failed",
  "kernel_start_failed",
]);

interface Outcome {
  readonly acknowledged: Map<string, string>;
  readonly refused: ExecuteCodeError[];
}

let number = 0;

/** Executions of both durabilities, while something is wrong. */
async function tried(client: Client, session: string, timeoutMs = 30_000): Promise<Outcome> {
  const outcome: Outcome = { acknowledged: new Map(), refused: [] };
  for (let i = 0; i < EXECUTIONS; i++) {
    number += 1;
    const code = adding(number);
    try {
      const durability = i % 2 === 0 ? "full" : "relaxed";
      const record = await client.execute({ session, code, durability, timeoutMs });
      // One that waits is not acknowledged as done.
      if (record.status === "running") continue;
      expect(record.status).toBe("ok");
      outcome.acknowledged.set(record.id, code);
    } catch (error) {
      if (!(error instanceof ExecuteCodeError)) throw error;
      outcome.refused.push(error);
    }
  }
  return outcome;
}

function check({ refused }: Outcome): void {
  for (const { code, message, remedy } of refused) {
    expect(REFUSALS, `${code}: ${message}`).toContain(code);
    expect(remedy.length, `${code} says nothing to do`).toBeGreaterThan(10);
  }
}

/** All that was acknowledged is there, each once, also for the next daemon; the variables are what the history says. */
async function intact(client: Client, session: string, acknowledged: Map<string, string>): Promise<void> {
  for (const [id, code] of acknowledged) {
    expect(await client.execution(id), `${id} was acknowledged`).toMatchObject({ code, status: "ok" });
  }
  // Records that the disk has refused are offered again.
  const isRecorded = async (): Promise<boolean> =>
    (await historyOf(client, session)).every(({ status }) => status !== "running");
  await vi.waitUntil(isRecorded, { timeout: 20_000, interval: 20 });
  const codes = (await historyOf(client, session))
    .map(({ code }) => code)
    .filter((code) => code.includes("# adds"));
  expect(codes.length).toBe(new Set(codes).size);
  await verdictOf(client, session);
}

const CASES: ReadonlyArray<readonly [name: string, order: Order]> = [
  ["no space for promised writes", { op: "write", path: "history.db-pending", action: ENOSPC }],
  ["no space for the WAL", { op: "write", path: "history.db-wal", action: ENOSPC }],
  ["an error when the WAL is written", { op: "write", path: "history.db-wal", action: EIO }],
  ["an error when the WAL is synced", { op: "sync", path: "history.db-wal", action: EIO }],
  ["an error at the third sync of the WAL", { op: "sync", path: "history.db-wal", nth: 3, action: EIO }],
  ["an error when promised writes are written", { op: "write", path: "history.db-pending", action: EIO }],
];

const reason = noFaults();

describe.skipIf(reason !== null)(`calls that fail${reason === null ? "" : `: ${reason}`}`, () => {
  let faults: Faults;
  beforeAll(() => {
    faults = new Faults();
  });
  afterAll(async () => {
    faults.disarm();
    const client = await faults.connect();
    await client.stop({ drainMs: 0 });
    await client.close();
    faults.remove();
  });

  test.each(CASES)(`%s (${TIMES} times)`, { timeout: 30_000 + TIMES * 20_000 }, async (name, order) => {
    let refusals = 0;
    let kept = 0;
    for (let round = 0; round < TIMES; round++) {
      const session = "s";
      const before = await faults.connect();
      await before.execute({ session, code: BEGIN });
      faults.arm(order);
      const outcome = await tried(before, session);
      expect(faults.fired, "nothing of this kind was called").toBe(true);
      check(outcome);
      // Reading goes on.
      expect((await before.history({ limit: 1 })).executions.length).toBe(1);
      faults.disarm();
      // And writing, when the cause is gone.
      number += 1;
      const after = { session, code: adding(number), durability: "full" as const };
      const { id } = await retried(() => before.execute(after));
      outcome.acknowledged.set(id, after.code);
      await intact(before, session, outcome.acknowledged);
      // The next daemon knows the same.
      const { pid } = await before.health();
      process.kill(pid, "SIGKILL");
      await before.close();
      await using client = await faults.connect();
      await intact(client, session, outcome.acknowledged);
      refusals += outcome.refused.length;
      kept += outcome.acknowledged.size;
    }
    tell(`${name}: ${TIMES} rounds, ${kept} acknowledged and there, ${refusals} refused`);
  });

  test.each([
    ["no space for contents", { op: "write", path: "captures/", action: ENOSPC }],
    ["an error when contents are synced", { op: "sync", path: "captures/", action: EIO }],
    ["no descriptors for contents", { op: "open", path: "captures/", action: EMFILE }],
  ] satisfies ReadonlyArray<readonly [string, Order]>)(
    "of a capture: %s, and executions go on",
    async (_name, order) => {
      await using client = await faults.connect();
      const session = "captured";
      await client.execute({ session, code: `${BEGIN}\nimport os` });
      faults.arm(order);
      await client.execute({ session, code: "blob = os.urandom(100_000)" });
      await expect(client.capture(session)).rejects.toMatchObject({
        code: expect.stringMatching(/^(storage_full|storage_failed|capture_failed)$/) as string,
      });
      expect(faults.fired).toBe(true);
      const outcome = await tried(client, session);
      expect(outcome.refused).toEqual([]);
      faults.disarm();
      await client.capture(session);
      await intact(client, session, outcome.acknowledged);
    },
  );
});

/** What was refused because of a failure that is over is taken within a moment. */
async function retried<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof ExecuteCodeError) || !error.retryable || performance.now() > deadline)
        throw error;
    }
  }
}

describe("a disk that is full", () => {
  test("refuses, says what to do, and takes the next when there is room", { timeout: 120_000 }, async ({
    skip,
  }) => {
    const disk = temporaryFolder();
    if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=48m", "tmpfs", disk]).status !== 0) {
      rmSync(disk, { recursive: true });
      skip("no tmpfs can be mounted here");
    }
    try {
      const home = path.join(disk, "home");
      mkdirSync(home, { mode: 0o700 });
      await using client = await connect({ home, env: { ...process.env, EXECUTE_CODE_WARM: "1" } });
      const session = "s";
      await client.execute({ session, code: `${BEGIN}\nimport os\nblob = os.urandom(1_000_000)` });
      await client.capture(session);
      const acknowledged = new Map<string, string>();
      let refused = 0;
      for (let round = 0; round < TIMES; round++) {
        const filler = path.join(disk, "filler");
        const { bavail, bsize } = statfsSync(disk);
        // The daemon may take some of it meanwhile.
        expect(() => writeFileSync(filler, Buffer.alloc((bavail + 1) * bsize))).toThrow("ENOSPC");
        const outcome = await tried(client, session);
        await client.execute({ session, code: "blob = os.urandom(1_000_000)" }).catch(() => null);
        await client.capture(session).catch(() => null);
        check(outcome);
        expect((await client.history({ limit: 1 })).executions.length).toBe(1);
        rmSync(filler);
        number += 1;
        const code = adding(number);
        const { id } = await retried(() => client.execute({ session, code }));
        for (const [one, was] of [...outcome.acknowledged, [id, code] as const]) acknowledged.set(one, was);
        refused += outcome.refused.length;
        await intact(client, session, acknowledged);
      }
      await client.stop({ drainMs: 0 });
      tell(`${TIMES} rounds of a full disk, ${acknowledged.size} acknowledged and there, ${refused} refused`);
    } finally {
      spawnSync("umount", ["-l", disk]);
      rmSync(disk, { recursive: true });
    }
  });

  test("descriptors run out, and come back", { timeout: 60_000 }, async ({ skip }) => {
    if (spawnSync("prlimit", ["--version"]).status !== 0) skip("there is no prlimit");
    const home = temporaryFolder();
    const client = await connect({ home, env: { ...process.env, EXECUTE_CODE_WARM: "0" } });
    try {
      const session = "s";
      await client.execute({ session, code: BEGIN });
      const { pid } = await client.health();
      onTestFailed(() => void process.kill(pid));
      const limit = (soft: string): void => {
        expect(spawnSync("prlimit", ["--pid", `${pid}`, `--nofile=${soft}:`]).status).toBe(0);
      };
      limit("20");
      const outcome = await tried(client, session, 500);
      const other = await client
        .execute({ session: "other", code: "1", timeoutMs: 500 })
        .catch((error: unknown) => error);
      limit("1024");
      check(outcome);
      if (other instanceof ExecuteCodeError) expect(other.remedy.length).toBeGreaterThan(10);
      await retried(() => client.execute({ session: "other", code: "2" }));
      await intact(client, session, outcome.acknowledged);
      tell(
        `1 round without descriptors, ${outcome.acknowledged.size} acknowledged and there, ${outcome.refused.length} refused`,
      );
    } finally {
      await client.stop({ drainMs: 0 });
      await client.close();
      rmSync(home, { recursive: true, force: true });
    }
  });
});
