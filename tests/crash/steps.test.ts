/**
 * The daemon dies at a chosen step of what it does: every execution ends ok, failed or interrupted, none runs again,
 * and the variables are what the history says, or are told as lost.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Client, ExecutionRecord } from "../../src/sdk/index.ts";
import { ExecuteCodeError } from "../../src/sdk/index.ts";
import { Faults, noFaults, type Order } from "./faults/faults.ts";
import { adding, BEGIN, historyOf, marked, markedIn, ranOf, verdictOf } from "./ledger.ts";
import { ROUNDS, scaled, tell } from "./rounds.ts";

const TIMES = scaled(1, 20);
const SESSION = "steps";
const LOST = new Set(["connection_lost", "daemon_unreachable"]);

type Work = "accept" | "relaxed" | "full" | "running" | "capture" | "restore";

interface Step {
  readonly name: string;
  readonly work: Work;
  readonly order: Order;
  /** What the execution at work may be afterwards. */
  readonly ends: readonly ExecutionRecord["status"][];
}

const [INTERRUPTED, OK] = [["interrupted"], ["ok"]] as const;
const WAL = "history.db-wal";

const STEPS: readonly Step[] = [
  {
    name: "before an acceptance is written",
    work: "accept",
    order: { op: "write", path: "history.db-pending", data: '["accept"', action: "kill-before" },
    // It was never accepted: its repetition runs.
    ends: OK,
  },
  {
    name: "after an acceptance was written",
    work: "accept",
    order: { op: "write", path: "history.db-pending", data: '["accept"', action: "kill-after" },
    ends: INTERRUPTED,
  },
  {
    name: "after an acceptance with a key was written",
    work: "relaxed",
    order: { op: "write", path: WAL, data: "# adds", action: "kill-after" },
    // The transaction may or may not be whole.
    ends: ["interrupted", "ok"],
  },
  {
    name: "when the kernel has been told to run it",
    work: "relaxed",
    order: { op: "write", data: '"type":"execute"', action: "kill-after" },
    ends: INTERRUPTED,
  },
  {
    name: "while it runs",
    work: "running",
    order: { op: "read", path: "/run/", data: "it is running", action: "kill-after" },
    ends: INTERRUPTED,
  },
  {
    name: "at its end, before the record",
    work: "relaxed",
    order: { op: "read", data: '"type":"done"', action: "kill-after" },
    ends: INTERRUPTED,
  },
  {
    name: "before a relaxed record is written",
    work: "relaxed",
    order: { op: "write", path: "history.db-pending", data: '["finish"', action: "kill-before" },
    ends: INTERRUPTED,
  },
  {
    name: "after a relaxed record was written",
    work: "relaxed",
    order: { op: "write", path: "history.db-pending", data: '["finish"', action: "kill-after" },
    ends: OK,
  },
  {
    name: "before a full record is synced",
    work: "full",
    order: { op: "sync", path: WAL, action: "kill-before" },
    ends: ["interrupted", "ok"],
  },
  {
    name: "after a full record was synced",
    work: "full",
    order: { op: "sync", path: WAL, action: "kill-after" },
    ends: OK,
  },
  {
    name: "when a snapshot has been ordered",
    work: "relaxed",
    order: { op: "write", data: '"role":"snapshot"', action: "kill-after" },
    ends: OK,
  },
  {
    name: "when a snapshot has been made",
    work: "relaxed",
    order: { op: "read", data: '"type":"branched"', action: "kill-after" },
    ends: OK,
  },
  {
    name: "when a capture has been ordered",
    work: "capture",
    order: { op: "write", data: '"role":"capture"', action: "kill-after" },
    ends: OK,
  },
  {
    name: "while contents of a capture are written",
    work: "capture",
    order: { op: "write", path: "captures/incoming", action: "kill-after" },
    ends: OK,
  },
  {
    name: "between the contents and the manifest of a capture",
    work: "capture",
    order: { op: "rename", path: "captures/", action: "kill-after" },
    ends: OK,
  },
  {
    name: "when a capture has been written to the database",
    work: "capture",
    order: { op: "write", path: WAL, data: "capt_", action: "kill-after" },
    ends: OK,
  },
  {
    name: "before contents of an older capture are removed",
    work: "capture",
    order: { op: "unlink", path: ".zst", action: "kill-before" },
    ends: OK,
  },
  {
    name: "when a restore has been ordered",
    work: "restore",
    order: { op: "write", data: '"type":"restore"', action: "kill-after" },
    ends: INTERRUPTED,
  },
  {
    name: "when a restore is over",
    work: "restore",
    order: { op: "read", data: '"type":"restored"', action: "kill-after" },
    ends: INTERRUPTED,
  },
];

const reason = noFaults();

describe.skipIf(reason !== null)(`kill -9 at each step${reason === null ? "" : `: ${reason}`}`, () => {
  let faults: Faults;
  let number = 0;
  beforeAll(() => {
    faults = new Faults();
  });
  afterAll(async () => {
    const client = await faults.connect();
    await client.stop({ drainMs: 0 });
    await client.close();
    faults.remove();
  });

  test.each(STEPS)(`$name (${TIMES} times)`, { timeout: 30_000 + TIMES * 20_000 }, async (step) => {
    let asItWas = 0;
    for (let round = 0; round < TIMES; round++) {
      const before = await prepared(faults, () => {
        number += 1;
        return number;
      });
      const { pid } = await before.health();
      if (step.work === "restore") await restarted(before, pid);
      number += 1;
      const code = codeOf(step.work, number);
      const key = `${SESSION}-${number}`;
      faults.arm(step.order);
      const ended = await work(before, step.work, code, key, number);
      await vi.waitUntil(() => faults.fired, { timeout: 20_000, interval: 2 });
      await before.close();

      const client = await faults.connect();
      expect((await client.health()).pid).not.toBe(pid);
      if (step.work !== "capture") {
        // The same request, once more: it is answered with what became of the first.
        const again = { session: SESSION, code, idempotencyKey: key };
        const record = step.work === "accept" ? ended! : await client.execute(again);
        expect(step.ends, `${step.name}: ${record.status} ${record.error?.message}`).toContain(record.status);
        expect(record.code).toBe(code);
      }
      const history = await historyOf(client, SESSION);
      expect(history.filter(({ status }) => status === "running")).toEqual([]);
      expect(history.filter((one) => one.code === code).length).toBe(1);
      const ran = await ranOf(client, SESSION);
      expect(ran.length, `code ran again: ${ran.join()}`).toBe(new Set(ran).size);
      expect(ran).toEqual(expect.arrayContaining(markedIn(history)));
      if ((await verdictOf(client, SESSION)) === "as it was") asItWas += 1;
      await client.close();
    }
    tell(
      `${step.name}: ${TIMES} of ${TIMES} rounds; the variables came back in ${asItWas}, else were told as lost`,
    );
  });

  test("no step was missed", () => {
    expect(number).toBeGreaterThanOrEqual(STEPS.length * TIMES);
    tell(`${STEPS.length} steps, ${TIMES} times each (EXECUTE_CODE_CRASH_ROUNDS=${ROUNDS})`);
  });
});

/** A client of a daemon that serves, with variables that are known, some of them on the disk. */
async function prepared(faults: Faults, next: () => number): Promise<Client> {
  const client = await faults.connect();
  faults.disarm();
  await client.execute({ session: SESSION, code: BEGIN });
  await client.execute({ session: SESSION, code: adding(next()), durability: "relaxed" });
  await client.execute({ session: SESSION, code: "import os\nblob = os.urandom(100_000)" });
  await client.capture(SESSION);
  const last = await client.execute({ session: SESSION, code: adding(next()), durability: "full" });
  // The session is at rest when it has kept what came of the last one.
  const kept = async (): Promise<boolean> =>
    (await client.snapshots(SESSION)).some(({ execution }) => execution === last.id);
  await vi.waitUntil(kept, { timeout: 20_000, interval: 2 });
  return client;
}

function codeOf(work: Work, number: number): string {
  if (work === "running")
    return `${marked(number)}\nprint("it is running", flush=True)\nimport time; time.sleep(20)`;
  // Half of them do nothing but compute: they can be run again where that is right.
  return work === "capture" || number % 2 === 0 ? adding(number) : marked(number);
}

async function restarted(client: Client, pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  await vi.waitUntil(async () => (await client.health()).pid !== pid, { timeout: 20_000, interval: 2 });
}

/**
 * Ends when the daemon has died, or before; the client asks the next one for the same once more. An acceptance goes to
 * the file beside the database when the client has made up its key.
 */
async function work(
  client: Client,
  kind: Work,
  code: string,
  key: string,
  number: number,
): Promise<ExecutionRecord | null> {
  const durability = kind === "full" ? "full" : "relaxed";
  try {
    if (kind === "capture") {
      await client.execute({ session: SESSION, code: `blob = os.urandom(100_000 + ${number})` });
      await client.execute({ session: SESSION, code, idempotencyKey: key });
      await client.capture(SESSION);
      return null;
    }
    const idempotencyKey = kind === "accept" ? undefined : key;
    return await client.execute({ session: SESSION, code, durability, idempotencyKey });
  } catch (error) {
    if (!(error instanceof ExecuteCodeError) || !LOST.has(error.code)) throw error;
    return null;
  }
}
