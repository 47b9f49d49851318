/** Databases of every earlier schema open, with all that they hold. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SqliteStore } from "../../src/adapters/sqlite/index.ts";
import { LATEST_VERSION, MIGRATIONS } from "../../src/adapters/sqlite/migrations/migrations.ts";
import { Profile } from "../../src/contract/profile.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "ec-migrations-"));
  file = path.join(folder, "history.db");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const SESSION = "sess_00000000000000000000000001";
const EXECUTION = "exec_00000000000000000000000001";

/** A database as version 1 wrote it: one session and one execution, finished. */
function writeVersion1(): void {
  const database = new DatabaseSync(file);
  database.exec(MIGRATIONS[0]!.sql);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA user_version = 1");
  database.exec(`
    INSERT INTO sessions VALUES ('${SESSION}', 'main', 'python', NULL, 'full', 'local', 1, NULL, 1, 1,
      '2026-11-22T09:00:00.000Z', NULL, '2026-11-22T09:00:01.000Z');
    INSERT INTO executions (number, id, session_id, session, epoch, generation, revision, language, status, accepted_at,
      started_at, finished_at, duration_ms, cause, isolation, durability, result_text, code, stdout, stderr, timeline, record)
    VALUES (1, '${EXECUTION}', '${SESSION}', 'main', 1, 1, 1, 'python', 'ok', '2026-11-22T09:00:01.000Z',
      '2026-11-22T09:00:01.000Z', '2026-11-22T09:00:01.100Z', 4.5, '{"kind":"client","client":"cli"}', 'none', 'full',
      '42', '6 * 7', '', '', '[["a",1],["x",1]]',
      '{"rest":{"displays":[],"late":[],"cpu_ms":3,"peak_memory_bytes":1024,"variables":{"added":[],"changed":[],"deleted":[]},"effects":[],"directives":[],"truncated":{"stdout_bytes":0,"stderr_bytes":0},"features":{"ast_hash":"00","error_fingerprint":null,"imports":[]},"cause":{"kind":"client","client":"cli"},"isolation":"none","state":"retained","durability":"full","offset":2},"mime":{"text/plain":"42"},"error":null}');
  `);
  database.close();
}

/** A database as version 3 wrote it: it knew no heads, parents, forks or captures. */
function writeVersion3(): void {
  writeVersion1();
  const database = new DatabaseSync(file);
  for (const { version, sql } of MIGRATIONS) if (version === 2 || version === 3) database.exec(sql);
  database.exec("PRAGMA user_version = 3");
  database.close();
}

test("version 3", async () => {
  writeVersion3();
  await using store = new SqliteStore({ file });
  await store.start();
  expect((await store.stats()).schema).toBe(LATEST_VERSION);
  expect(await store.findSession("main")).toMatchObject({
    head: null,
    snapshots: "changes",
    capture: "idle",
    forked_from: null,
    folder: SESSION,
  });
  expect((await store.getExecution(EXECUTION))?.record).toMatchObject({
    parent: null,
    rolled_back: null,
    effects: [],
  });
  expect(await store.listExecutions(SESSION, null, 5)).toHaveLength(1);
  expect((await store.line(EXECUTION)).map(({ id }) => id)).toEqual([EXECUTION]);
  expect(await store.listCaptures(SESSION)).toEqual([]);
  await store.setHead(SESSION, 1, EXECUTION);
  expect(await store.findSession("main")).toMatchObject({ head: EXECUTION });
});

test("a record of before a rollback told what it ended", async () => {
  writeVersion3();
  const database = new DatabaseSync(file);
  const rolledBack = '{"to":null,"files":[],"truncated":false}';
  database.exec(
    `UPDATE executions SET record = json_set(record, '$.rest.rolled_back', json('${rolledBack}'))`,
  );
  database.close();
  await using store = new SqliteStore({ file });
  await store.start();
  expect((await store.getExecution(EXECUTION))?.record.rolled_back).toEqual({
    to: null,
    files: [],
    truncated: false,
    ended: null,
  });
});

test("version 1", async () => {
  writeVersion1();
  await using store = new SqliteStore({ file });
  await store.start();
  expect((await store.stats()).schema).toBe(LATEST_VERSION);
  expect(await store.findSession("main")).toMatchObject({ id: SESSION, revision: 1, on_busy: "wait" });
  expect(await store.findSession("main")).toMatchObject({ profile: Profile.parse({}), packages: [] });
  expect(await store.listInstallations(SESSION)).toEqual([]);
  const stored = await store.getExecution(EXECUTION);
  expect(stored?.record).toMatchObject({
    id: EXECUTION,
    result: { text: "42", mime: { "text/plain": "42" } },
    late: [],
    inputs: [],
    input_requested: null,
  });
  await store.appendLate([{ execution: EXECUTION, stream: "stdout", text: "late" }], 1);
  expect((await store.getExecution(EXECUTION))?.record.late).toHaveLength(1);
  expect((await store.search({ query: "6 * 7", limit: 5 })).executions).toMatchObject([{ id: EXECUTION }]);
});
