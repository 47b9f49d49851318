/** Snapshots whose own process goes on, in a session's place or as a fork of it, and that are there again afterwards. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { SnapshotInfo } from "../../src/contract/time-travel.ts";
import type { Session } from "../../src/sdk/index.ts";
import { suiteHome, value } from "../support/suite.ts";

const { client } = await suiteHome();

let names = 0;
const newSession = (): Promise<Session> => client.session(`r${++names}`);

async function pidOf(session: Session): Promise<number> {
  const { pid } = await session.show();
  if (pid === null) throw new Error("the session has no kernel");
  return pid;
}

/** Its snapshots, when there is one of the state that it is in: that is made after the answer. */
async function kept(session: Session): Promise<SnapshotInfo[]> {
  const { head } = await session.show();
  await expect
    .poll(async () => (await session.snapshots()).some(({ execution }) => execution === head))
    .toBe(true);
  return session.snapshots();
}

/** The live children of a kernel's supervisor. */
function family(pid: number): number[] {
  const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]!;
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8");
  return children.trim().split(" ").map(Number);
}

describe("a rollback", () => {
  test("goes on with the process of the snapshot, and the snapshot stays", async () => {
    const session = await newSession();
    await session.execute("x = ['kept']");
    const kept = await session.snapshot("kept");
    for (let round = 1; round <= 5; round++) {
      const before = family(await pidOf(session));
      await session.execute(`x.append(${round})`);
      expect(await session.rollback("kept")).toMatchObject({ snapshot: { id: kept.id, name: "kept" } });
      // At once: it is listed while its process is made anew.
      expect((await session.snapshots()).map(({ id }) => id)).toContain(kept.id);
      expect(before).toContain(await pidOf(session));
      expect(await value(session, "x")).toBe("['kept']");
    }
  });

  test("and another to the same snapshot at once, and its end", async () => {
    const session = await newSession();
    await session.execute("x = 0");
    await session.snapshot("zero");
    await session.execute("x = 1");
    const rollbacks = await Promise.all([1, 2, 3, 4].map(() => session.rollback("zero")));
    expect(rollbacks.map(({ to }) => to)).toEqual(rollbacks.map(() => rollbacks[0]!.to));
    await session.rollback("zero");
    await client.dropSnapshot(session.name, "zero");
    expect((await session.snapshots()).map(({ name }) => name)).not.toContain("zero");
    await expect(session.rollback("zero")).rejects.toMatchObject({ code: "unknown_snapshot" });
    expect(await value(session, "x")).toBe("0");
  });

  test("where there may be no more processes", async () => {
    const name = `r${++names}`;
    await client.createSession({ name, grants: { processes: 12 }, capture: "named" });
    const session = await client.session(name);
    await session.execute("x = 'kept'");
    await session.snapshot("kept");
    for (let round = 0; round < 3; round++) {
      const full = await session.execute(
        "import subprocess\nx = []\ntry:\n    while True: x.append(subprocess.Popen(['sleep', '600']))\nexcept OSError as error:\n    print(error)",
      );
      expect(full.stdout).toMatch(/unavailable|limit/i);
      await session.rollback("kept");
      expect(await value(session, "x")).toBe("'kept'");
      expect((await session.snapshots()).map((one) => one.name)).toContain("kept");
    }
  });

  test("of a failed transaction leaves the snapshot for the next", async () => {
    const session = await newSession();
    await session.execute("x = [1]");
    for (let round = 0; round < 3; round++) {
      const failed = await session.execute("x.append(2); 1 / 0", { onError: "rollback" });
      expect(failed).toMatchObject({ status: "error", rolled_back: expect.any(Object) });
      expect(await value(session, "x")).toBe("[1]");
    }
    expect(await session.execute("x.append(2); import os; os._exit(1)")).toMatchObject({ status: "crashed" });
    expect(await value(session, "x")).toBe("[1]");
    expect(await session.snapshots()).toHaveLength(1);
  });
});

describe("a fork", () => {
  test("of a session at rest is its snapshot, which is there again", async () => {
    const session = await newSession();
    await session.execute("import random; random.seed(1); x = [1]; y = x");
    const snapshots = await kept(session);
    const before = family(await pidOf(session));
    const [one] = await session.fork();
    expect(before).toContain(await pidOf(one!));
    expect((await session.snapshots()).map(({ id }) => id)).toEqual(snapshots.map(({ id }) => id));
    const [two] = await session.fork();
    const drawn = await Promise.all([session, one!, two!].map((each) => value(each, "random.random()")));
    expect(new Set(drawn).size).toBe(3);
    await one!.execute("x.append(2)");
    expect(await Promise.all([session, one!, two!].map((each) => value(each, "x, y is x")))).toEqual([
      "([1], True)",
      "([1, 2], True)",
      "([1], True)",
    ]);
    const temporary = "import tempfile; tempfile.gettempdir()";
    const folders = await Promise.all([session, one!, two!].map((each) => value(each, temporary)));
    expect(new Set(folders).size).toBe(3);
  });

  test("uses up no snapshot that has a name", async () => {
    const name = `r${++names}`;
    await client.createSession({ name });
    const session = await client.session(name);
    await session.snapshot("beginning");
    const before = family(await pidOf(session));
    const [one] = await session.fork();
    expect(before).not.toContain(await pidOf(one!));
  });

  test("draws the same numbers whether it was a snapshot or is a copy of the kernel", async () => {
    const drawn: Array<string | null> = [];
    for (const snapshots of ["changes", "named"] as const) {
      const name = `r${++names}`;
      await client.createSession({ name, snapshots });
      const session = await client.session(name);
      await session.execute("import random; random.seed(7)");
      const [first] = await session.fork();
      const [second] = await session.fork();
      drawn.push(await value(first!, "random.random()"), await value(second!, "random.random()"));
    }
    expect(drawn.slice(2)).toEqual(drawn.slice(0, 2));
    expect(new Set(drawn).size).toBe(2);
  });

  test("of a snapshot and of its session draw different numbers", async () => {
    const session = await newSession();
    await session.execute("import random; random.seed(1)");
    const kept = await session.snapshot("kept");
    const forks = [
      ...(await session.fork(1, { from: kept.id })),
      ...(await session.fork()),
      ...(await session.fork(2)),
    ];
    const drawn = await Promise.all([session, ...forks].map((each) => value(each, "random.random()")));
    expect(new Set(drawn).size).toBe(5);
  });

  test("of a session in which something goes on is a copy of what it is now", async () => {
    const session = await newSession();
    await session.execute(`
import asyncio
seen = 0
async def tick():
    global seen
    while True:
        await asyncio.sleep(0.01)
        seen += 1
task = asyncio.create_task(tick())
await asyncio.sleep(0)`);
    await expect.poll(async () => Number(await value(session, "seen"))).toBeGreaterThan(5);
    const seen = Number(await value(session, "seen"));
    const [one] = await session.fork();
    expect(Number(await value(one!, "seen"))).toBeGreaterThanOrEqual(seen);
  });

  test("of forks, one from the other", async () => {
    let session = await newSession();
    await session.execute("path = []");
    for (let depth = 0; depth < 4; depth++) {
      const [next] = await session.fork();
      session = next!;
      await session.execute(`path.append(${depth})`);
    }
    expect(await value(session, "path")).toBe("[0, 1, 2, 3]");
  });

  test("is interrupted, asks, tells late output and is restored as every session", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    const [one] = await session.fork();
    const slow = await one!.execute("while True: pass", { timeoutMs: 300, onTimeout: "interrupt" });
    expect(slow.status).toBe("timed_out");
    const late = await one!.execute(
      "import threading, time\nthreading.Timer(0.2, print, ['late']).start()\nprint('now')",
    );
    expect(late.stdout).toBe("now\n");
    await expect
      .poll(async () => (await client.execution(late.id)).late, { timeout: 5_000 })
      .toMatchObject([{ execution: late.id, stream: "stdout", text: "late\n" }]);
    await one!.execute("x = 2");
    expect(await one!.execute("import os; os._exit(1)")).toMatchObject({ status: "crashed" });
    expect(await value(one!, "x")).toBe("2");
    expect(await value(session, "x")).toBe("1");
  });
});

describe("a capture", () => {
  test("of a session at rest is a copy of its snapshot, which stays one", async () => {
    const session = await newSession();
    await session.execute("x = list(range(1000))");
    const [snapshot] = await kept(session);
    const capture = await client.capture(session.name, "all");
    expect(capture).toMatchObject({ name: "all" });
    await session.execute("x.clear()");
    await session.rollback(snapshot!.id);
    expect(await value(session, "len(x)")).toBe("1000");
    process.kill(await pidOf(session), "SIGKILL");
    await client.restoreSession(session.name, "all");
    expect(await value(session, "len(x)")).toBe("1000");
  });
});
