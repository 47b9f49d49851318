/** Live snapshots, forks, rollback and transactions of sessions. */
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/contract/limits.ts";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import { connect, type ExecuteCodeError, type Session } from "../../src/sdk/index.ts";
import { testHome } from "../support/home.ts";
import { suiteHome, value } from "../support/suite.ts";

const MIB = 1024 ** 2;
const home = await suiteHome();
const { client } = home;

let names = 0;
const newName = (): string => `b${++names}`;
const newSession = (): Promise<Session> => client.session(newName());

async function gone(pid: number | null): Promise<void> {
  await expect.poll(() => pid === null || !existsSync(`/proc/${pid}`), { timeout: 10_000 }).toBe(true);
}

/** How many boxes a daemon has. */
function boxes(of: string): number {
  const runtime = path.join(of, "run");
  return existsSync(runtime) ? readdirSync(runtime).length : 0;
}

describe("going back", () => {
  test("again goes further back, and never to a line that was left", async () => {
    const session = await newSession();
    await session.execute("x = [1]");
    for (const n of [2, 3, 4]) await session.execute(`x.append(${n})`);
    for (const left of ["[1, 2, 3]", "[1, 2]"]) {
      await session.rollback();
      expect(await value(session, "x")).toBe(left);
    }
    await session.execute("x.append('other')");
    await session.rollback();
    expect(await value(session, "x")).toBe("[1, 2]");
  });

  test("to the oldest snapshot works while the next one is made, which is to take its place", async () => {
    for (let round = 0; round < 12; round++) {
      const session = await newSession();
      await session.execute("v = [0]; pad = [bytearray(50) for _ in range(200_000)]");
      for (let n = 1; n <= 8; n++) await session.execute(`v.append(${n})`);
      await expect.poll(async () => (await session.snapshots()).length).toBe(LIMITS.liveSnapshots);
      const { id, execution } = (await session.snapshots()).at(-1)!;
      await session.execute("v.append('last')");
      // It may have been given up by then: its execution is gone back to all the same.
      expect(await session.rollback(id)).toMatchObject({ to: execution });
      expect(await session.rollback(execution!)).toMatchObject({ to: execution });
      expect(await value(session, "'last' in v")).toBe("False");
      await session.close();
    }
  }, 60_000);

  test("to an execution that no snapshot holds loses nothing for good", async () => {
    const session = await newSession();
    const first = await session.execute("a = 1\nb = [1]");
    await session.execute("open('z', 'w').write('1'); c = object()");
    await session.snapshot("kept");
    let last = first;
    for (let n = 1; n <= 10; n++) last = await session.execute(`b.append(${n})`);
    const back = await session.rollback(first.id);
    expect(back).toMatchObject({ snapshot: null, to: first.id });
    expect(await value(session, "b")).toBe("[1]");
    expect((await session.snapshots()).map(({ name }) => name)).toContain("kept");
    await session.rollback(last.id);
    expect(await value(session, "len(b), type(c).__name__")).toBe("(11, 'object')");
    await session.rollback("kept");
    expect(await value(session, "b, type(c).__name__")).toBe("([1], 'object')");
  });
});

describe("bisect", () => {
  test("refuses what is no expression", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    for (const predicate of ["x >= ", "x = 5", "for", "del x"]) {
      const refused = client.bisect(session.name, predicate);
      await expect(refused).rejects.toMatchObject({ code: "invalid_request", remedy: expect.any(String) });
    }
    expect(await client.bisect(session.name, "x == 1 # so far")).toMatchObject({
      broken_by: null,
    });
  });
});

describe("a capture", () => {
  test("is whole, and comes back, whatever session code has made of the standard library", async () => {
    const session = await newSession();
    await session.execute(
      "import json, hashlib\nx = [1, {'k': 'v'}]\ndef f(): return x\njson.dumps = lambda *a, **k: 'PATCHED'\nhashlib.sha256 = None",
    );
    await client.capture(session.name);
    process.kill((await session.show()).pid!, "SIGKILL");
    await expect.poll(async () => (await session.show()).state).toBe("crashed");
    const { variables } = await client.restoreSession(session.name);
    expect(variables.filter(({ outcome }) => outcome === "lost")).toEqual([]);
    expect(await value(session, "f() is x, x")).toBe("(True, [1, {'k': 'v'}])");
  });

  test("is not what comes back of a variable that was changed out of the lists' sight", async () => {
    const session = await newSession();
    await session.execute("import hashlib\n_kept = []\nh = hashlib.sha256()");
    await client.capture(session.name);
    await session.execute("_kept.append(5)");
    await session.execute("h.update(b'abc')");
    process.kill((await session.show()).pid!, "SIGKILL");
    await expect.poll(async () => (await session.show()).state).toBe("crashed");
    await client.restoreSession(session.name);
    expect(await value(session, "_kept, h.hexdigest() == hashlib.sha256(b'abc').hexdigest()")).toBe(
      "([5], True)",
    );
  });

  test("that is asked for holds what threads have done since the last one", async () => {
    const session = await newSession();
    await session.execute(
      "import threading, time\nlog = []\ndef work():\n    while True: log.append(1); time.sleep(0.01)\nthreading.Thread(target=work, daemon=True).start()",
    );
    const first = await client.capture(session.name);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const second = await client.capture(session.name);
    expect(second.id).not.toBe(first.id);
    process.kill((await session.show()).pid!, "SIGKILL");
    await expect.poll(async () => (await session.show()).state).toBe("crashed");
    await client.restoreSession(session.name);
    expect(Number(await value(session, "len(log)"))).toBeGreaterThan(10);
  });

  test("and what came after it know of hundreds of variables", async () => {
    const session = await newSession();
    await session.execute("for i in range(300): globals()[f'v{i}'] = [i]");
    await client.capture(session.name);
    await session.execute("for i in range(300): globals()[f'w{i}'] = [-i]");
    await session.execute("for i in range(300): del globals()[f'v{i}']");
    process.kill((await session.show()).pid!, "SIGKILL");
    await expect.poll(async () => (await session.show()).state).toBe("crashed");
    await client.restoreSession(session.name);
    const names =
      "[sum(name[:1] == letter and name[1:].isdigit() for name in list(globals())) for letter in 'vw']";
    expect(await value(session, names)).toBe("[0, 300]");
    expect(await value(session, "w299")).toBe("[-299]");
  });

  test("of a file that is open does not have writes done again", async () => {
    const session = await newSession();
    await session.execute(
      "class Journal:\n    def __init__(self, path): self.f = open(path, 'a', buffering=1)\n    def add(self, text): return self.f.write(text + '\\n')",
    );
    await session.execute("j = Journal('journal.log'); j.add('start')");
    await client.capture(session.name);
    await session.execute("n = j.add('pay 100')");
    process.kill((await session.show()).pid!, "SIGKILL");
    await expect.poll(async () => (await session.show()).state).toBe("crashed");
    const { variables } = await client.restoreSession(session.name);
    expect(variables.find(({ name }) => name === "n")).toMatchObject({ outcome: "lost" });
    expect(await value(session, "open('journal.log').read()")).toBe("'start\\npay 100\\n'");
  });
});

describe("a fork", () => {
  test("whose first execution ends its kernel is what it was forked from again", async () => {
    const session = await newSession();
    await session.execute("x = [1]; g = (n for n in range(3)); open('q', 'w').write('1')");
    const [fork] = await session.fork(1);
    const crashed = await fork!.execute("x.append(2); import os; os._exit(1)");
    expect(crashed).toMatchObject({ status: "crashed", state: "restored" });
    expect(await value(fork!, "x, next(g)")).toBe("([1], 0)");
    await fork!.execute("x.append(3)");
    await fork!.rollback();
    expect(await value(fork!, "x")).toBe("[1]");
  });

  test("does not do at its end what is for its parent's end", async () => {
    const session = await newSession();
    await session.execute(
      "import atexit, os, tempfile\nfolder = tempfile.TemporaryDirectory()\natexit.register(lambda: open('bye', 'a').write('x'))",
    );
    for (const fork of [...(await session.fork(1)), ...(await session.fork(2))]) {
      await fork.execute("atexit.register(lambda: open('own', 'a').write('x'))");
      await fork.close();
    }
    expect(
      await value(session, "os.path.exists(folder.name), os.path.exists('bye'), open('own').read()"),
    ).toBe("(True, False, 'xxx')");
  });
});

describe("snapshots", () => {
  test("are made after executions that may have changed something, and the newest are kept", async () => {
    const session = await newSession();
    const first = await session.execute("x = [0]");
    await session.execute("x");
    await session.execute("1 + 1");
    await expect.poll(async () => (await session.snapshots()).length).toBe(1);
    expect(await session.snapshots()).toMatchObject([
      { name: null, session: session.name, execution: first.id, generation: 1, revision: 1, unsafe: [] },
    ]);
    const ids: string[] = [];
    for (let n = 1; n <= 10; n++) ids.push((await session.execute(`x.append(${n})`)).id);
    await session.execute("x");
    const kept = await session.snapshots();
    expect(kept).toHaveLength(LIMITS.liveSnapshots);
    expect(kept.map((one) => one.execution)).toEqual(ids.slice(-LIMITS.liveSnapshots).toReversed());
    await expect
      .poll(async () => (await session.snapshots()).every((one) => (one.private_bytes ?? 0) > 0))
      .toBe(true);
  });

  test("with names are kept until they are dropped; names are taken once", async () => {
    const session = await newSession();
    await session.execute("x = 0");
    const named = await session.snapshot("before cleaning");
    expect(named).toMatchObject({ name: "before cleaning", revision: 1 });
    for (let n = 1; n <= 10; n++) await session.execute(`x = ${n}`);
    expect((await session.snapshots()).map((one) => one.name)).toContain("before cleaning");
    const again = session.snapshot("before cleaning");
    await expect(again).rejects.toMatchObject({ code: "snapshot_exists", remedy: expect.any(String) });
    expect(await client.dropSnapshot(session.name, "before cleaning")).toMatchObject({ id: named.id });
    for (const ref of ["before cleaning", named.id, "nothing"]) {
      const unknown = client.dropSnapshot(session.name, ref);
      await expect(unknown).rejects.toMatchObject({ code: "unknown_snapshot" });
    }
    await session.snapshot("before cleaning");
    for (const name of ["", "/", "a\nb", "x".repeat(65)]) {
      await expect(session.snapshot(name)).rejects.toMatchObject({ code: "invalid_request" });
    }
  });

  test("and captures have no names that are ids", async () => {
    const session = await newSession();
    const first = await session.execute("x = 1");
    await session.execute("x = 2");
    const { id: snapshot } = await session.snapshot();
    const { id: capture } = await client.capture(session.name);
    for (const name of [first.id, snapshot, capture]) {
      const refused = {
        code: "invalid_request",
        message: expect.stringContaining("take another name"),
        remedy: expect.any(String),
      };
      await expect(session.snapshot(name), name).rejects.toMatchObject(refused);
      await expect(client.capture(session.name, name), name).rejects.toMatchObject(refused);
    }
    await session.snapshot("exec_ute");
    await session.rollback(first.id);
    expect(await value(session, "x")).toBe("1");
  });

  test("are only those asked for, when that is the session's policy", async () => {
    const name = newName();
    const info = await client.createSession({ name, snapshots: "named" });
    expect(info).toMatchObject({ snapshots: "named", capture: "idle", forked_from: null, head: null });
    const session = await client.session(name);
    const { id } = await session.execute("x = 1");
    await session.execute("y = 1");
    expect(await session.snapshots()).toEqual([]);
    expect((await session.show()).head).not.toBe(id);
    expect(await session.snapshot()).toMatchObject({ name: null });
    expect(await session.snapshots()).toHaveLength(1);
  });

  test("of a session that has run nothing", async () => {
    const name = newName();
    await client.createSession({ name });
    const session = await client.session(name);
    const empty = await session.snapshot("empty");
    expect(empty).toMatchObject({ execution: null, revision: 0 });
    await session.execute("x = 1");
    expect(await session.rollback("empty")).toMatchObject({
      to: null,
      session: { head: null, generation: 2 },
    });
    expect(await value(session, "'x' in globals()")).toBe("False");
  });

  test("end with a reset", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    const { id } = await session.snapshot("kept");
    await session.reset();
    expect(await session.snapshots()).toEqual([]);
    await expect(session.rollback(id)).rejects.toMatchObject({ code: "unknown_snapshot" });
    expect(await session.show()).toMatchObject({ head: null });
    const next = await session.execute("'x' in globals()");
    expect(next).toMatchObject({ result: { text: "False" }, state: "retained", parent: null });
  });

  test("name what they lack", async () => {
    const session = await newSession();
    await session.execute(
      "import threading; stop = threading.Event(); t = threading.Thread(target=stop.wait, daemon=True); t.start()",
    );
    const unsafe = [{ kind: "thread", what: expect.stringContaining("Thread-"), variable: "t" }];
    expect((await session.snapshot()).unsafe).toEqual(unsafe);
    const refused = session.snapshot(undefined, { onUnsafe: "refuse" });
    await expect(refused).rejects.toMatchObject({
      code: "unsafe_fork",
      message: expect.stringContaining("`t`"),
      details: { unsafe },
    });
    expect(await value(session, "t.is_alive()")).toBe("True");
  });
});

describe("rollback", () => {
  test("undoes the last execution that changed something", async () => {
    const session = await newSession();
    const first = await session.execute("x = [1]");
    const second = await session.execute("x.append(2)");
    const look = await session.execute("x");
    const done = await session.rollback();
    expect(done).toMatchObject({
      to: first.id,
      abandoned: [second.id, look.id],
      files: [],
      truncated: false,
      snapshot: { execution: first.id, name: null },
      session: { generation: 2, revision: 3, head: first.id, state: "idle" },
    });
    const next = await session.execute("x");
    expect(next).toMatchObject({
      result: { text: "[1]" },
      state: "restored",
      generation: 2,
      revision: 4,
      parent: first.id,
    });
    expect(await session.execute("x")).toMatchObject({ state: "retained", parent: next.id });
    // The history keeps what was abandoned.
    expect(await client.execution(second.id)).toMatchObject({ status: "ok", parent: first.id });
  });

  test("to an id, a name, an execution, and to the same twice", async () => {
    const session = await newSession();
    const first = await session.execute("x = ['a']");
    const look = await session.execute("x");
    const named = await session.snapshot("a");
    const second = await session.execute("x.append('b')");
    const expected = ["['a']", "['a', 'b']"];
    const targets = [named.id, "a", "a", first.id, second.id, look.id, second.id, named];
    for (const [index, to] of targets.entries()) {
      const done = await session.rollback(to);
      const isSecond = to === second.id;
      // An execution that changed nothing shares the state of the one before it.
      expect([first.id, look.id, second.id]).toContain(done.to);
      expect(await value(session, "x"), `${index}`).toBe(expected[isSecond ? 1 : 0]);
      await session.execute("x.append('c')");
    }
    expect((await session.show()).generation).toBe(1 + targets.length);
  });

  test("abandons only what is not on the line any more", async () => {
    const session = await newSession();
    const first = await session.execute("x = 1");
    const second = await session.execute("x = 2");
    await session.rollback(first.id);
    const third = await session.execute("x = 3");
    // To what was abandoned before.
    const [left] = (await session.snapshots()).filter((one) => one.execution === second.id);
    const done = await session.rollback(left);
    expect(done).toMatchObject({ to: second.id, abandoned: [third.id] });
    expect(await session.execute("x")).toMatchObject({ result: { text: "2" }, parent: second.id });
  });

  test("goes further back where no snapshot is any more", async () => {
    const name = newName();
    await client.createSession({ name, snapshots: "named" });
    const session = await client.session(name);
    const first = await session.execute("x = [1]");
    const second = await session.execute("x.append(2)");
    await session.execute("x.append(3)");
    expect(await session.rollback()).toMatchObject({ to: second.id, snapshot: null });
    expect(await session.rollback()).toMatchObject({ to: first.id, snapshot: null });
    expect(await value(session, "x")).toBe("[1]");
  });

  test("goes back before the last change that records tell of where no snapshot is", async () => {
    const name = newName();
    await client.createSession({ name, snapshots: "named" });
    const session = await client.session(name);
    await session.execute("x = [1]; y = 0");
    const look = await session.execute("x");
    await session.execute("x.append(2)");
    for (const code of ["x", "1 + 1", "print(x)"]) await session.execute(code);
    expect(await session.rollback()).toMatchObject({ to: look.id, snapshot: null });
    expect(await value(session, "x")).toBe("[1]");
    const deleted = await session.execute("del y");
    await session.execute("x");
    expect((await session.rollback()).abandoned).toContain(deleted.id);
    expect(await value(session, "x, y")).toBe("([1], 0)");
    await expect(session.rollback()).rejects.toMatchObject({ code: "unknown_snapshot" });
  });

  test("without anything to go back to is refused", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    await expect(session.rollback()).rejects.toMatchObject({
      code: "unknown_snapshot",
      remedy: expect.stringContaining("session snapshots"),
    });
    await expect(session.rollback("snap_nothing")).rejects.toMatchObject({ code: "unknown_snapshot" });
    expect(await value(session, "x")).toBe("1");
  });

  test("lists the files that changed, and leaves them as they are", async () => {
    const session = await newSession();
    // Times of files are as exact as the file system's clock.
    const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
    await session.execute("import os; os.mkdir('sub'); open('old', 'w').write('old'); x = 1");
    await tick();
    await session.snapshot("before");
    await tick();
    await session.execute("open('new', 'w').write('n'); open('sub/inner', 'w').write('i'); x = 2");
    const { files, truncated } = await session.rollback("before");
    expect(truncated).toBe(false);
    expect(files).toContainEqual({ path: "new", change: "written" });
    expect(files).toContainEqual({ path: "sub/inner", change: "written" });
    expect(files).toContainEqual({ path: "sub/", change: "names" });
    expect(files.map((file) => file.path)).not.toContain("old");
    expect(await value(session, "x, open('new').read()")).toBe("(1, 'n')");
  });

  test("ends what the abandoned line had running", async () => {
    const session = await newSession();
    await session.execute("import subprocess; x = 1");
    await session.execute(
      "p = subprocess.Popen(['sleep', '600']); q = subprocess.Popen(['setsid', 'sleep', '600'])",
    );
    const pids = JSON.parse((await value(session, "[p.pid, q.pid]"))!) as number[];
    expect(await value(session, "[p.poll(), q.poll()]")).toBe("[None, None]");
    const { head } = await session.show();
    await expect
      .poll(async () => (await session.snapshots()).map(({ execution }) => execution))
      .toContain(head);
    const { ended } = await session.rollback((await session.snapshots()).at(-1));
    expect(ended).toEqual(
      expect.arrayContaining(
        ["p", "q"].map((variable) => expect.objectContaining({ kind: "process", variable })),
      ),
    );
    const alive = `[pid for pid in ${JSON.stringify(pids)} if os.path.exists(f'/proc/{pid}')]`;
    await expect.poll(() => value(session, `import os; ${alive}`)).toBe("[]");
  });

  test("has tasks go on that were there, and no others", async () => {
    const session = await newSession();
    await session.execute(
      "import asyncio\nlog = []\nasync def tick(n):\n    while True: log.append(n); await asyncio.sleep(0.01)\nt = asyncio.create_task(tick(1))",
    );
    await session.execute("await asyncio.sleep(0.05)");
    await session.snapshot("one");
    await session.execute("u = asyncio.create_task(tick(2))\nawait asyncio.sleep(0.05)");
    await session.snapshot("two");
    expect((await session.rollback("one")).ended).toEqual([]);
    const before = Number(await value(session, "len(log)"));
    await expect.poll(async () => Number(await value(session, "len(log)"))).toBeGreaterThan(before + 5);
    expect(await value(session, "set(log), t.done()")).toBe("({1}, False)");
  });

  test("waits for what runs, and is refused when that takes too long", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    await session.execute("x = 2");
    const busy = session.execute("import time; time.sleep(0.5); x = 3");
    const behind = session.rollback();
    expect((await busy).status).toBe("ok");
    await behind;
    expect(await value(session, "x")).toBe("2");
    const long = await session.execute("import time; time.sleep(60)", { timeoutMs: 100 });
    const refused = [session.rollback(), session.fork(), session.snapshot()];
    for (const one of refused) {
      await expect(one).rejects.toMatchObject({ code: "session_busy", details: { running: long.id } });
    }
    await client.interrupt(long.id);
    expect(await value(session, "x")).toBe("2");
  });
});

describe("forks", () => {
  test("have a copy of everything, and a lineage", async () => {
    const session = await newSession();
    const { id } = await session.execute("x = [1]\ndef f(): return sum(x)");
    const [one, other] = await session.fork(2);
    expect([one!.name, other!.name]).toEqual([`${session.name}.1`, `${session.name}.2`]);
    const parent = await session.show();
    expect(await one!.show()).toMatchObject({
      forked_from: { session: session.name, session_id: parent.id, revision: 1, execution: id },
      head: id,
      generation: 1,
      revision: 1,
      workspace: parent.workspace,
      isolation: parent.isolation,
      state: "idle",
    });
    await one!.execute("x.append(2)");
    await other!.execute("x.append(3)");
    expect(await Promise.all([session, one!, other!].map((each) => value(each, "x, f()")))).toEqual([
      "([1], 1)",
      "([1, 2], 3)",
      "([1, 3], 4)",
    ]);
    const child = await one!.execute("x");
    expect(child).toMatchObject({ session: one!.name, generation: 1, revision: 4, state: "retained" });
    // They share files.
    await one!.execute("open('shared', 'w').write('from one')");
    expect(await value(other!, "open('shared').read()")).toBe("'from one'");
    const [below] = await one!.fork();
    expect(below!.name).toBe(`${one!.name}.1`);
    expect(await value(below!, "x")).toBe("[1, 2]");
  });

  test("draw other random numbers, and have other temporary names", async () => {
    const session = await newSession();
    await session.execute("import random, tempfile; random.seed(1)");
    const all = [session, ...(await session.fork(3))];
    const drawn = await Promise.all(all.map((one) => value(one, "random.random()")));
    const folders = await Promise.all(all.map((one) => value(one, "tempfile.mkdtemp()")));
    expect(new Set(drawn).size).toBe(4);
    expect(new Set(folders).size).toBe(4);
  });

  test("with names of their own; names that are taken, or too few, are refused as a whole", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    const [first, second] = [newName(), newName()];
    const { sessions } = await client.fork(session.name, { names: [first, second] });
    expect(sessions.map((one) => one.name)).toEqual([first, second]);
    const free = newName();
    for (const [wrong, code] of [
      [{ names: [free, first] }, "session_exists"],
      [{ names: [free, session.name] }, "session_exists"],
      [{ names: [free, free] }, "invalid_request"],
      [{ names: [free], count: 2 }, "invalid_request"],
      [{ names: ["no/name"] }, "invalid_request"],
      [{ count: 0 }, "invalid_request"],
      [{ count: LIMITS.forks + 1 }, "invalid_request"],
      [{ from: "nothing", names: [free] }, "unknown_snapshot"],
    ] as const) {
      await expect(client.fork(session.name, wrong), JSON.stringify(wrong)).rejects.toMatchObject({ code });
    }
    await expect(client.showSession(free)).rejects.toMatchObject({ code: "unknown_session" });
    // The name is free again.
    await client.fork(session.name, { names: [free] });
    await expect(client.fork("nobody")).rejects.toMatchObject({ code: "unknown_session" });
  });

  test("that race for a name: one gets it", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    const name = newName();
    const racing = await Promise.allSettled(
      [1, 2, 3].map(() => client.fork(session.name, { names: [name] })),
    );
    expect(racing.filter((one) => one.status === "fulfilled")).toHaveLength(1);
    const free = await Promise.all([1, 2, 3].map(() => session.fork()));
    expect(new Set(free.flat().map((one) => one.name)).size).toBe(3);
  });

  test("from a snapshot, and from an execution", async () => {
    const session = await newSession();
    const first = await session.execute("x = 1");
    await session.snapshot("one");
    const second = await session.execute("x = 2");
    await session.execute("x = 3");
    const [named] = await session.fork(1, { from: "one" });
    const [executed] = await session.fork(1, { from: second.id });
    expect(await value(named!, "x")).toBe("1");
    expect(await value(executed!, "x")).toBe("2");
    expect(await value(session, "x")).toBe("3");
    expect((await named!.show()).forked_from).toMatchObject({ execution: first.id, revision: 1 });
    expect(await client.history({ session: executed!.name, limit: 1 })).toMatchObject({ executions: [{}] });
  });

  test("of what cannot be copied are refused, unless it is to be left out", async () => {
    const session = await newSession();
    await session.execute("import subprocess; job = subprocess.Popen(['sleep', '600'])");
    await expect(session.fork()).rejects.toMatchObject({
      code: "unsafe_fork",
      message: expect.stringContaining("`job`"),
      remedy: expect.stringContaining("--on-unsafe warn"),
    });
    const { unsafe, sessions } = await client.fork(session.name, { onUnsafe: "warn" });
    expect(unsafe).toMatchObject([{ kind: "process", variable: "job" }]);
    await client.closeSession(sessions[0]!.name);
    expect(await value(session, "job.poll() is None")).toBe("True");
  });

  test("of snapshots that lack something are refused as well", async () => {
    const session = await newSession();
    await session.execute(
      "import subprocess, threading, socket; job = subprocess.Popen(['sleep', '600']); stop = threading.Event(); t = threading.Thread(target=stop.wait, daemon=True); t.start(); s, other = socket.socketpair()",
    );
    const { unsafe } = await session.snapshot("busy");
    expect(unsafe.map(({ variable }) => variable)).toEqual(expect.arrayContaining(["job", "t"]));
    const [asItIs, from] = await Promise.all(
      [{}, { from: "busy" }].map((options) =>
        client.fork(session.name, options).catch((error: ExecuteCodeError) => error),
      ),
    );
    expect(from).toMatchObject({ code: "unsafe_fork", details: { unsafe } });
    expect(from).toMatchObject({ message: (asItIs as ExecuteCodeError).message });
    await session.execute("job.kill(); job.wait(); stop.set(); t.join(); s.close(); other.close()");
    await expect(session.fork(1, { from: "busy" })).rejects.toMatchObject({ code: "unsafe_fork" });
    const { sessions, unsafe: told } = await client.fork(session.name, { from: "busy", onUnsafe: "warn" });
    expect(told).toEqual(unsafe);
    await client.closeSession(sessions[0]!.name);
  });

  test("live on when the parent is closed, and their box ends with the last", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    // The pool fills up again, and earlier sessions end.
    const settled = async (): Promise<number> => {
      await expect.poll(async () => (await client.health()).warm, { timeout: 10_000 }).toBe(1);
      return boxes(home.home);
    };
    const before = await settled();
    const [one, other] = await session.fork(2);
    const [last] = await one!.fork();
    expect(await settled()).toBe(before);
    const pids = await Promise.all(
      [session, one!, other!, last!].map(async (each) => (await each.show()).pid),
    );
    await session.close();
    await gone(pids[0]!);
    await one!.close();
    await gone(pids[1]!);
    expect(await value(other!, "x")).toBe("1");
    expect(await value(last!, "x")).toBe("1");
    await other!.close();
    await last!.close();
    await gone(pids[3]!);
    await expect.poll(() => boxes(home.home), { timeout: 10_000 }).toBeLessThanOrEqual(before);
    const { workspace } = await last!.show();
    expect(existsSync(workspace)).toBe(true);
  });

  test("run side by side, each with its own output and interrupts", async () => {
    const session = await newSession();
    await session.execute("import time");
    const forks = await session.fork(4);
    const code = (n: number): string =>
      `for i in range(20): print(${n}, i, flush=True); time.sleep(0.005)\n${n}`;
    const records = await Promise.all(forks.map((one, n) => one.execute(code(n))));
    for (const [n, record] of records.entries()) {
      expect(record.stdout).toBe(Array.from({ length: 20 }, (_, i) => `${n} ${i}\n`).join(""));
      expect(record.result?.text).toBe(String(n));
    }
    const running = await Promise.all(forks.map((one) => one.execute("time.sleep(600)", { timeoutMs: 50 })));
    await client.interrupt(running[1]!.id);
    expect((await client.wait(running[1]!.id)).status).toBe("interrupted");
    for (const n of [0, 2, 3]) expect((await client.execution(running[n]!.id)).status).toBe("running");
    for (const n of [0, 2, 3]) await client.interrupt(running[n]!.id);
  });

  test("tell late output of their own", async () => {
    const session = await newSession();
    await session.execute("import threading");
    const [one] = await session.fork();
    const run = await one!.execute(
      "go = threading.Event(); t = threading.Thread(target=lambda: (go.wait(), print('late'))); t.start()",
    );
    await one!.execute("go.set(); t.join()");
    await expect.poll(async () => (await client.execution(run.id)).late).toMatchObject([{ text: "late\n" }]);
  });
});

describe("transactions", () => {
  async function begun(): Promise<{ session: Session; first: ExecutionRecord }> {
    const session = await newSession();
    return { session, first: await session.execute("x = [1]; import time, os, sys") };
  }
  const transaction = { onError: "rollback" } as const;

  test.each([
    ["an error", "x.append(2); y = 1; 1 / 0", {}, { status: "error" }],
    ["a syntax error", "x.append(", {}, { status: "error" }],
    ["sys.exit", "x.append(2); sys.exit(3)", {}, { status: "error" }],
    [
      "a time-out",
      "x.append(2); time.sleep(60)",
      { timeoutMs: 300, onTimeout: "interrupt" },
      { status: "timed_out" },
    ],
    ["the end of the kernel", "x.append(2); os._exit(3)", {}, { status: "crashed" }],
    ["a signal", "x.append(2); os.kill(os.getpid(), 9)", {}, { status: "crashed" }],
  ] as const)("are undone by %s", async (_, code, options, ending) => {
    const { session, first } = await begun();
    const failed = await session.execute(code, { ...transaction, ...options });
    expect(failed).toMatchObject({
      ...ending,
      generation: 1,
      parent: first.id,
      state: "restored",
      rolled_back: { to: first.id, truncated: false },
    });
    expect(await client.execution(failed.id)).toEqual(failed);
    const next = await session.execute("x, 'y' in globals()");
    expect(next).toMatchObject({
      result: { text: "([1], False)" },
      generation: 2,
      revision: 3,
      parent: first.id,
      rolled_back: null,
    });
    expect((await session.show()).head).toBe(next.id);
  });

  test("are undone to just before them, whatever tasks have done since the last execution", async () => {
    const session = await newSession();
    await session.execute(
      "import asyncio\nlog = []\nasync def tick():\n    while True: log.append(1); await asyncio.sleep(0.02)\ntask = asyncio.create_task(tick())",
    );
    await session.execute("await asyncio.sleep(0.01)");
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = Number(await value(session, "len(log)"));
    expect(before).toBeGreaterThan(10);
    await session.execute("log.append('wrong'); 1 / 0", transaction);
    const after = await value(session, "'wrong' in log, len(log)");
    expect(after).toMatch(/^\(False, \d+\)$/);
    expect(Number(after!.match(/\d+/)![0])).toBeGreaterThanOrEqual(before);
  });

  test("that end well stay", async () => {
    const { session, first } = await begun();
    const ended = await session.execute("x.append(2)", transaction);
    expect(ended).toMatchObject({ status: "ok", rolled_back: null, parent: first.id });
    expect(await value(session, "x")).toBe("[1, 2]");
    expect((await session.show()).generation).toBe(1);
  });

  test("list the files that they have written", async () => {
    const { session } = await begun();
    const failed = await session.execute("open('left', 'w').write('x'); 1 / 0", transaction);
    expect(failed.rolled_back?.files).toContainEqual({ path: "left", change: "written" });
    expect(await value(session, "os.path.exists('left')")).toBe("True");
  });

  test("tell what the session had running before them, and has no more", async () => {
    const { session } = await begun();
    await session.execute(
      "import subprocess, threading; job = subprocess.Popen(['sleep', '600']); t = threading.Thread(target=time.sleep, args=(600,), daemon=True); t.start()",
    );
    const failed = await session.execute("1 / 0", transaction);
    const had = ["job", "t"].map((variable) => expect.objectContaining({ variable }));
    expect(failed.rolled_back?.ended).toHaveLength(2);
    expect(failed.rolled_back?.ended).toEqual(expect.arrayContaining(had));
    expect(await client.execution(failed.id)).toEqual(failed);
    expect(await value(session, "job.poll() is None, t.is_alive()")).toBe("(False, False)");
    await session.execute(
      "import socket; l = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(l.getsockname()); d, _ = l.accept()",
    );
    const { rolled_back: back } = await session.execute("1 / 0", transaction);
    expect(back?.ended?.map(({ variable }) => variable)).toEqual(expect.arrayContaining(["l", "c", "d"]));
    const sent = await session.execute("c.send(b'x')");
    expect(sent.error).toMatchObject({ type: "OSError", message: expect.stringContaining("[Errno 9]") });
    // Nothing of what has ended is there any more.
    const crashed = await session.execute("os._exit(3)");
    expect(crashed.rolled_back).toMatchObject({ ended: [] });
  });

  test("work in a session that keeps no snapshots, and as its first execution", async () => {
    const name = newName();
    await client.createSession({ name, snapshots: "named" });
    const session = await client.session(name);
    const failed = await session.execute("x = 1; 1 / 0", transaction);
    expect(failed).toMatchObject({ state: "restored", rolled_back: { to: null }, parent: null });
    expect(await value(session, "'x' in globals()")).toBe("False");
  });

  test("one after the other, with what waits behind them", async () => {
    const { session } = await begun();
    const all = await Promise.all(
      [1, 2, 3, 4].map((n) =>
        session.execute(n % 2 === 0 ? `x.append(${n}); 1 / 0` : `x.append(${n})`, transaction),
      ),
    );
    expect(all.map((one) => one.status)).toEqual(["ok", "error", "ok", "error"]);
    expect(await value(session, "x")).toBe("[1, 1, 3]");
    expect((await session.show()).generation).toBe(3);
  });

  test("without it an error keeps what was changed", async () => {
    const { session } = await begun();
    const failed = await session.execute("x.append(2); 1 / 0");
    expect(failed).toMatchObject({ status: "error", rolled_back: null, state: "retained" });
    expect(await value(session, "x")).toBe("[1, 2]");
    const { to } = await session.rollback();
    expect(to).toBe(failed.parent);
    expect(await value(session, "x")).toBe("[1]");
  });

  test.skipIf(process.env.EXECUTE_CODE_ISOLATION === "none")(
    "are undone by the memory limit",
    async () => {
      const name = newName();
      await client.createSession({ name, grants: { memoryBytes: 150 * MIB } });
      const session = await client.session(name);
      await session.execute("x = [1]; import os, time");
      const failed = await session.execute(
        "x.append(2)\nfor _ in range(6):\n    if os.fork() == 0: held = bytearray(60 << 20); time.sleep(60)\ntime.sleep(60)",
        { ...transaction, timeoutMs: 25_000 },
      );
      // Snapshots go first only where that is enough.
      expect(failed).toMatchObject({
        status: "crashed",
        error: { type: "LimitExceeded" },
        rolled_back: { to: failed.parent },
      });
      expect(await value(session, "x")).toBe("[1]");
      expect(await client.snapshots(name)).not.toEqual([]);
    },
    40_000,
  );
});

describe("after a crash", () => {
  test.each(["os._exit(3)", "os.kill(os.getpid(), 9)", "import ctypes; ctypes.string_at(0)"])(
    "the session goes on from before it: %s",
    async (code) => {
      const session = await newSession();
      const first = await session.execute("x = [1]; import os");
      const crashed = await session.execute(`x.append(2); ${code}`);
      expect(crashed).toMatchObject({
        status: "crashed",
        state: "restored",
        generation: 1,
        parent: first.id,
        rolled_back: { to: first.id },
      });
      expect(await session.execute("x")).toMatchObject({
        result: { text: "[1]" },
        state: "restored",
        generation: 2,
        parent: first.id,
      });
      expect(await session.execute("x")).toMatchObject({ state: "retained" });
    },
  );

  test("again and again", async () => {
    const session = await newSession();
    await session.execute("x = 1; import os");
    for (let round = 2; round < 7; round++) {
      await session.execute("os._exit(1)");
      expect(await session.execute("x")).toMatchObject({ result: { text: "1" }, generation: round });
    }
  });

  test("a branch is restored from a snapshot of its own; the parent hears nothing of it", async () => {
    const session = await newSession();
    await session.execute("x = [1]; import os");
    const [one] = await session.fork();
    await one!.execute("x.append(2)");
    expect(await one!.execute("os._exit(1)")).toMatchObject({ status: "crashed", state: "restored" });
    expect(await value(one!, "x")).toBe("[1, 2]");
    expect(await session.execute("x")).toMatchObject({
      result: { text: "[1]" },
      generation: 1,
      state: "retained",
    });
  });

  test("of an idle kernel, in the middle of nothing", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    await session.execute("x");
    await expect.poll(async () => (await session.snapshots()).length).toBe(1);
    process.kill((await session.show()).pid!, "SIGKILL");
    await expect.poll(async () => (await session.show()).state).toBe("crashed");
    expect(await session.execute("x")).toMatchObject({
      result: { text: "1" },
      state: "restored",
      generation: 2,
    });
  });

  test("a killed execution leaves the memory as it was", async () => {
    const session = await newSession();
    await session.execute("x = [1]");
    const running = await session.execute("x.append(2)\nwhile True: pass", { timeoutMs: 100 });
    await client.kill(running.id);
    expect(await client.wait(running.id)).toMatchObject({ status: "interrupted", state: "restored" });
    expect(await value(session, "x")).toBe("[1]");
  });

  test("code that will not be interrupted is ended, and the memory is what it was", async () => {
    const session = await newSession();
    await session.execute("x = [1]");
    const record = await session.execute(
      "x.append(2)\nimport signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\nwhile True: pass",
      { timeoutMs: 200, onTimeout: "interrupt" },
    );
    expect(record).toMatchObject({ state: "restored", rolled_back: { to: expect.any(String) } });
    expect(await value(session, "x")).toBe("[1]");
  }, 20_000);
});

describe("hooks of forks that session code has", () => {
  test("and that hang end their kernel, and the session goes on from before", async () => {
    const session = await newSession();
    await session.execute("x = 1; import os, time");
    await session.execute("x = 2; os.register_at_fork(before=lambda: time.sleep(600)); None");
    // It waits for the snapshot after the one before it, which is given up.
    const next = await session.execute("x", { timeoutMs: 60_000 });
    expect(next).toMatchObject({ status: "ok", generation: 2 });
    expect(await session.execute("'goes on'")).toMatchObject({ result: { text: "'goes on'" } });
  }, 60_000);
});

describe("memory", () => {
  test.skipIf(process.env.EXECUTE_CODE_ISOLATION === "none")(
    "that runs short is taken from snapshots first, and the session lives",
    async () => {
      const name = newName();
      await client.createSession({ name, grants: { memoryBytes: 300 * MIB }, capture: "named" });
      const session = await client.session(name);
      await session.execute("x = 1");
      await session.snapshot("small");
      await session.execute("big = bytearray(b'1' * (100 << 20))");
      // Each copy of what is written over stays in a snapshot.
      for (let n = 0; n < 6; n++) await session.execute(`for i in range(0, len(big), 4096): big[i] = ${n}`);
      const room = await session.execute(
        "more = bytearray(60 << 20)\nfor i in range(0, len(more), 4096): more[i] = 1\nimport time; time.sleep(3); len(more)",
      );
      expect(room).toMatchObject({ status: "ok", generation: 1, state: "retained" });
    },
    60_000,
  );

  test("of snapshots is bounded: the oldest are given up", async () => {
    const name = newName();
    await client.createSession({ name, grants: { memoryBytes: 400 * MIB }, capture: "named" });
    const session = await client.session(name);
    await session.execute("big = bytearray(b'1' * (60 << 20))");
    for (let n = 0; n < 4; n++) await session.execute(`for i in range(0, len(big), 4096): big[i] = ${n}`);
    await expect
      .poll(async () => (await session.snapshots()).length, { timeout: 10_000 })
      .toBeLessThanOrEqual(2);
    expect(await session.execute("big[0]")).toMatchObject({ result: { text: "3" }, generation: 1 });
  }, 40_000);
});

describe("isolation", () => {
  test.each(["none", "reduced"] as const)(
    "%s: sessions fork, go back and are restored",
    async (isolation) => {
      const name = newName();
      const created = await client
        .createSession({ name, isolation })
        .catch((error: { code?: string }) => error.code);
      if (created === "no_isolation") return;
      const session = await client.session(name);
      await session.execute("x = [1]; import os");
      await session.execute("x.append(2)");
      const [one] = await session.fork();
      expect(await one!.show()).toMatchObject({ isolation });
      await one!.execute("x.append(3)");
      await session.rollback();
      expect(await value(session, "x")).toBe("[1]");
      expect(await value(one!, "x")).toBe("[1, 2, 3]");
      expect(await session.execute("os._exit(1)")).toMatchObject({ state: "restored" });
      expect(await value(session, "x")).toBe("[1]");
      await one!.close();
      await session.close();
    },
  );
});

describe("another daemon", () => {
  test("finds the session where it stood, without its snapshots", async () => {
    await using own = await testHome();
    const session = await own.client.session("main");
    const first = await session.execute("x = [1]");
    await session.execute("x.append(2)");
    await session.rollback();
    await session.snapshot("kept");
    const [fork] = await session.fork();
    await fork!.execute("x.append(9)");
    const forked = (await fork!.show()).forked_from;
    await own.client.stop({ drainMs: 0 });
    await using next = await connect({ home: own.home, env: { ...process.env, EXECUTE_CODE_WARM: "1" } });
    const again = await next.session("main");
    expect(await again.show()).toMatchObject({ state: "dormant", head: first.id, generation: 2 });
    expect(await again.snapshots()).toEqual([]);
    expect(await (await next.session(fork!.name)).show()).toMatchObject({
      forked_from: forked,
      state: "dormant",
    });
    expect(await again.execute("x")).toMatchObject({ parent: first.id, generation: 3 });
  });
});

describe("the record", () => {
  test("of a branch's line leads back through its parent", async () => {
    const session = await newSession();
    const first = await session.execute("x = 1");
    const [one] = await session.fork();
    const theirs = await one!.execute("x += 1");
    const last = await one!.execute("x");
    expect([first.parent, theirs.parent, last.parent]).toEqual([null, first.id, theirs.id]);
    const ours = await session.execute("x");
    expect(ours.parent).toBe(first.id);
  });

  test("of an execution that was withdrawn has no part in the line", async () => {
    const session = await newSession();
    await session.execute("x = 1");
    const long = session.execute("import time; time.sleep(0.4)");
    const waiting = await session.execute("x = 5", { timeoutMs: 0 });
    await client.interrupt(waiting.id);
    const done = await long;
    expect(await session.execute("x")).toMatchObject({ result: { text: "1" }, parent: done.id });
  });
});
