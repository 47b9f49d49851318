import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SqlitePlacement, SqliteStore } from "../../src/adapters/sqlite/index.ts";
import type { StoredSession } from "../../src/memory/ports/store.ts";
import { anExecution, aRecord, aSession } from "../contracts/samples.ts";
import { type StoreBackend, storeContract } from "../contracts/store.ts";
import { temporaryFolder } from "../support/home.ts";

storeContract("SqliteStore", async () => {
  const folder = temporaryFolder();
  const file = path.join(folder, "history.db");
  let store = await opened(file);
  const backend: StoreBackend = {
    get store() {
      return store;
    },
    placement: (owner) => new SqlitePlacement({ store, owner }),
    async reopen() {
      await store.close();
      store = await opened(file);
    },
    async remove() {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return backend;
});

async function opened(file: string): Promise<SqliteStore> {
  const store = new SqliteStore({ file });
  await store.start();
  return store;
}

/** With a session and some executions, one of them unfinished. */
async function filled(store: SqliteStore, executions = 20): Promise<StoredSession> {
  const session = aSession();
  await store.createSession(session);
  for (let index = 0; index < executions; index++) await execute(store, session, `value_${index}`);
  await store.accept(anExecution(session));
  return session;
}

async function execute(store: SqliteStore, session: StoredSession, stdout: string): Promise<string> {
  const execution = anExecution(session);
  await store.accept(execution);
  await store.finish({
    record: aRecord(execution, { stdout, durability: "full" }),
    epoch: session.epoch,
    head: null,
    timeline: [],
  });
  return execution.id;
}

describe("the database file", () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = temporaryFolder();
    file = path.join(folder, "history.db");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Starting on the file fails so, and leaves every byte as it was. */
  async function refused(code: string): Promise<void> {
    const before = contents();
    await expect(new SqliteStore({ file }).start()).rejects.toMatchObject({ code, name: "ExecuteCodeError" });
    expect(contents()).toEqual(before);
  }

  function contents(): (Buffer | null)[] {
    return [file, `${file}-wal`].map((name) => (existsSync(name) ? readFileSync(name) : null));
  }

  async function make(): Promise<void> {
    await using store = await opened(file);
    await filled(store);
  }

  test("is alone after a close", async () => {
    await make();
    expect(existsSync(file)).toBe(true);
    expect(existsSync(`${file}-wal`)).toBe(false);
  });

  test("of a newer version is left untouched", async () => {
    await make();
    const database = new DatabaseSync(file);
    database.exec("PRAGMA user_version = 1000");
    database.close();
    await refused("database_newer");
  });

  test("of a newer version is recognised by its WAL alone", async () => {
    await make();
    const database = new DatabaseSync(file);
    database.exec("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 1000");
    for (const suffix of ["", "-wal"]) copyFileSync(file + suffix, `${file}.copy${suffix}`);
    database.close();
    file = `${file}.copy`;
    await refused("database_newer");
  });

  test.each([
    ["garbage", () => writeFileSync(file, Buffer.alloc(20_000, 0xa5))],
    ["text", () => writeFileSync(file, "not a database")],
    ["cut off", () => truncateSync(file, 20_000)],
    ["cut off in its first page", () => truncateSync(file, 50)],
    ["with a garbled first page", () => garble(100, 4_000)],
    [
      "empty beside a WAL",
      () => [truncateSync(file, 0), writeFileSync(`${file}-wal`, Buffer.alloc(5_000, 1))],
    ],
  ])("that is damaged (%s) is left untouched", async (_how, damage) => {
    await make();
    damage();
    await refused("database_damaged");
  });

  function garble(from: number, to: number): void {
    const bytes = readFileSync(file);
    bytes.fill(0xa5, from, to);
    writeFileSync(file, bytes);
  }

  test("that belongs to another program is left untouched", async () => {
    const database = new DatabaseSync(file);
    database.exec("CREATE TABLE theirs (x)");
    database.close();
    await refused("database_damaged");
  });

  test("may be damaged where it is not looked at first: reading it says so, the rest goes on", async () => {
    const store = await opened(file);
    const session = await filled(store, 200);
    const first = (await store.search({ limit: 500 })).executions.at(-1)!.id;
    await store.close();
    const page = pageOf(first);
    garble(page, page + 4_096);
    await using damaged = await opened(file);
    await expect(damaged.getExecution(first)).rejects.toMatchObject({ code: "database_damaged" });
    expect(await damaged.findSession("main")).toMatchObject({ id: session.id });
    await execute(damaged, session, "goes on");
  });

  /** Where the page of the table lies that holds the execution. */
  function pageOf(id: string): number {
    const bytes = readFileSync(file);
    for (let at = 0; ; at += 1) {
      at = bytes.indexOf(id, at);
      if (at < 0) throw new Error("the execution is nowhere");
      const page = Math.floor(at / 4_096) * 4_096;
      const TABLE_LEAF = 13;
      if (bytes[page] === TABLE_LEAF) return page;
    }
  }

  test("holds everything that was acknowledged before the process was killed", async () => {
    for (const acknowledgements of [3, 40, 250]) {
      file = path.join(folder, `killed-${acknowledgements}.db`);
      const lines = await killedAfter(acknowledgements);
      const status = new Map<string, string>();
      for (const line of lines) {
        const [what, id] = line.split(" ") as [string, string];
        status.set(id, what);
      }
      await using store = await opened(file);
      for (const [id, what] of status) {
        const record = (await store.getExecution(id))?.record;
        expect(record?.id).toBe(id);
        if (what === "finished") expect(record?.status).toBe("ok");
      }
      const finished = [...status].filter(([, what]) => what === "finished").map(([id]) => id);
      const recovered = await store.recover("here", new Date().toISOString());
      expect(recovered.filter((id) => finished.includes(id))).toEqual([]);
      expect((await store.search({ status: "running", limit: 10 })).executions).toEqual([]);
      const all = (await store.search({ query: "needle", limit: 500 })).executions.map((one) => one.id);
      expect(all).toEqual(expect.arrayContaining(finished));
      const database = new DatabaseSync(file, { readOnly: true });
      expect(database.prepare("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
      database.close();
    }
  });

  /** The complete lines that the program printed before it was killed. */
  async function killedAfter(count: number): Promise<string[]> {
    const program = path.join(import.meta.dirname, "fixtures", "writer.ts");
    const child = spawn(process.execPath, [program, file], { stdio: ["ignore", "pipe", "inherit"] });
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (lines.length === count) child.kill("SIGKILL");
    }
    expect(lines.length).toBeGreaterThanOrEqual(count);
    return lines.filter((line) => /^(accepted|finished) exec_.{26}$/.test(line));
  }

  test("on a closed store fails in words", async () => {
    const store = await opened(file);
    const session = await filled(store);
    const [last, closed, late] = await Promise.allSettled([
      store.accept(anExecution(session)),
      store.close(),
      store.accept(anExecution(session)),
    ]);
    expect(last).toMatchObject({ status: "fulfilled" });
    expect(closed).toMatchObject({ status: "fulfilled" });
    expect([undefined, "storage_failed"]).toContain(
      late.status === "rejected" ? late.reason.code : undefined,
    );
    for (const call of [store.accept(anExecution(session)), store.search({ limit: 1 }), store.stats()]) {
      await expect(call).rejects.toMatchObject({ code: "storage_failed", name: "ExecuteCodeError" });
    }
    await store.close();
    expect(existsSync(`${file}-wal`)).toBe(false);
    await expect(
      new SqliteStore({ file: path.join(folder, "absent", "history.db") }).start(),
    ).rejects.toMatchObject({
      code: "storage_failed",
    });
  });
});

/** Runs one command of the system; false when it cannot. */
function system(command: string, ...values: string[]): boolean {
  return spawnSync(command, values, { stdio: "ignore" }).status === 0;
}

const root = process.getuid?.() === 0;

describe.runIf(root)("a disk", () => {
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => {
    system("umount", folder);
    rmSync(folder, { recursive: true, force: true });
  });

  test("that is full refuses what does not fit, and takes the next when there is room", async ({ skip }) => {
    if (!system("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder))
      skip("no tmpfs can be mounted here");
    const file = path.join(folder, "history.db");
    const ballast = path.join(folder, "ballast");
    writeFileSync(ballast, Buffer.alloc(512 * 1024));
    await using store = await opened(file);
    const session = await filled(store);
    const large = anExecution(session);
    await store.accept(large);
    const record = aRecord(large, { stdout: "x".repeat(3_000_000), durability: "full" });
    const small = anExecution(session);
    const [big, little] = await Promise.allSettled([
      store.finish({ record, epoch: 1, timeline: [], head: null }),
      store.accept(small),
    ]);
    expect(big).toMatchObject({
      status: "rejected",
      reason: { code: "storage_full", name: "ExecuteCodeError" },
    });
    expect(little).toMatchObject({ status: "fulfilled" });
    expect((await store.getExecution(large.id))?.record.status).toBe("running");

    let kept = 0;
    const fill = async (): Promise<never> => {
      for (;;) {
        await execute(store, session, "y".repeat(20_000));
        kept += 1;
      }
    };
    await expect(fill()).rejects.toMatchObject({ code: "storage_full" });
    expect(kept).toBeGreaterThan(0);
    rmSync(ballast);
    const id = await execute(store, session, "there is room");
    expect((await store.getExecution(id))?.record.stdout).toBe("there is room");
    expect((await store.search({ query: '"is room"', limit: 5 })).executions).toMatchObject([{ id }]);
  });

  test("that is read-only refuses writes, answers reads, and takes writes when it is writable again", async ({
    skip,
  }) => {
    const file = path.join(folder, "history.db");
    const before = await opened(file);
    const session = await filled(before, 1);
    await before.close();
    if (!system("chattr", "+i", file)) skip("no file can be made immutable here");
    try {
      await using store = await opened(file);
      expect(await store.findSession("main")).toMatchObject({ id: session.id });
      expect((await store.search({ query: "value_0", limit: 5 })).executions).toHaveLength(1);
      for (let attempt = 0; attempt < 3; attempt++) {
        const accepted = store.accept(anExecution(session));
        await expect(accepted).rejects.toMatchObject({ code: "storage_read_only", name: "ExecuteCodeError" });
        expect(await store.findSession("main")).toMatchObject({ id: session.id });
        expect((await store.search({ query: "value_0", limit: 5 })).executions).toHaveLength(1);
      }
      system("chattr", "-i", file);
      const id = await execute(store, session, "writable again");
      expect((await store.search({ query: "again", limit: 5 })).executions).toMatchObject([{ id }]);
    } finally {
      system("chattr", "-i", file);
    }
  });
});

test("values are sought in parts, which leave no execution out and none twice", async () => {
  const folder = temporaryFolder();
  const store = await opened(path.join(folder, "history.db"));
  const session = aSession();
  await store.createSession(session);
  const wanted: string[] = [];
  for (let index = 0; index < 4_500; index++) {
    const execution = anExecution(session);
    await store.accept(execution);
    const preview = String(index % 1_000);
    const variables = { added: [{ name: "x", type: "int", preview }], changed: [], deleted: [] };
    await store.finish({
      record: aRecord(execution, { variables }),
      epoch: session.epoch,
      head: null,
      timeline: [],
    });
    if (index % 1_000 === 7) wanted.unshift(execution.id);
  }
  const query = { variable: "x", where: "value = 7" };
  const whole = await store.search({ ...query, limit: 50 });
  expect(whole.executions.map(({ id }) => id)).toEqual(wanted);
  expect(whole.next_cursor).toBeNull();
  for (const limit of [1, 2, 3, wanted.length]) {
    const found: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await store.search({ ...query, limit, ...(cursor === null ? {} : { cursor }) });
      expect(page.executions.length).toBeLessThanOrEqual(limit);
      found.push(...page.executions.map(({ id }) => id));
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(found).toEqual(wanted);
  }
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("promised writes", () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = temporaryFolder();
    file = path.join(folder, "history.db");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("that an earlier life did not get into the database are applied at the start, in order, once", async () => {
    const store = await opened(file);
    const session = await filled(store, 1);
    const executions = [anExecution(session), anExecution(session)];
    const [first, second] = executions;
    for (const execution of executions) await store.accept(execution);
    await store.finish({
      record: aRecord(first!, { durability: "relaxed" }),
      epoch: 1,
      timeline: [],
      head: null,
    });
    // What a process leaves behind that is killed now, before the database has taken the last writes.
    const pending = readFileSync(`${file}-pending`);
    await store.close();
    expect(existsSync(`${file}-pending`) ? readFileSync(`${file}-pending`).length : 0).toBe(0);
    const database = new DatabaseSync(file);
    database.prepare("DELETE FROM executions WHERE id IN (?, ?)").run(first!.id, second!.id);
    database.close();
    writeFileSync(`${file}-pending`, Buffer.concat([pending, Buffer.from('["accept","cut off')]));

    await using again = await opened(file);
    expect((await again.getExecution(first!.id))?.record.status).toBe("ok");
    expect((await again.getExecution(second!.id))?.record.status).toBe("running");
    expect(readFileSync(`${file}-pending`).length).toBe(0);
    expect(await again.recover(session.owner, "2026-11-22T10:00:00.000Z")).toContain(second!.id);
  });

  test("that a loss of power has left with holes are left out, and the others applied", async () => {
    const store = await opened(file);
    const session = await filled(store, 1);
    const executions = Array.from({ length: 3 }, (_, index) =>
      anExecution(session, { code: `x = ${index}${index}` }),
    );
    for (const execution of executions) await store.accept(execution);
    const pending = readFileSync(`${file}-pending`);
    await store.close();
    const database = new DatabaseSync(file);
    for (const { id } of executions) database.prepare("DELETE FROM executions WHERE id = ?").run(id);
    database.close();
    // The first has a hole; the second is other JSON than was written.
    const first = pending.indexOf("x = 00");
    pending.fill(0, first, first + 6);
    pending.write("x = 99", pending.indexOf("x = 11"));
    writeFileSync(`${file}-pending`, pending);

    await using again = await opened(file);
    const codes = await Promise.all(
      executions.map(async ({ id }) => (await again.getExecution(id))?.record.code),
    );
    expect(codes).toEqual([undefined, undefined, "x = 22"]);
  });

  test("leave the file empty whenever the database has caught up", async () => {
    await using store = await opened(file);
    const session = await filled(store, 1);
    for (let i = 0; i < 60; i++) await store.accept({ ...anExecution(session), code: "x".repeat(50_000) });
    await store.search({ limit: 1 });
    await store.accept(anExecution(session));
    await store.search({ limit: 1 });
    expect(readFileSync(`${file}-pending`).length).toBeLessThan(2 * 1024 * 1024);
  });
});
