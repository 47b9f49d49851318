/** Open files of sessions that are forked and go back: each has positions of its own. */
import { describe, expect, test } from "vitest";
import { suiteHome, value } from "../support/suite.ts";

const { client } = await suiteHome();

const OPENED = `
import os, tempfile
open('lines.txt', 'w').write('one\\ntwo\\nthree\\n')
lines = open('lines.txt'); first = lines.readline()
gone = open('gone.txt', 'w+b', buffering=0); gone.write(b'abcdef'); gone.seek(1); os.unlink('gone.txt')
temporary = tempfile.TemporaryFile(buffering=0); temporary.write(b'abcdef'); temporary.seek(2)
`;
const READ = "lines.readline(), gone.read(2), temporary.read(2)";
const EXPECTED = "('two\\n', b'bc', b'cd')";

describe("open files", () => {
  test("of a fork are read by themselves", async () => {
    const session = await client.session("files-1");
    await session.execute(OPENED);
    const { sessions, unsafe } = await client.fork(session.name, { onUnsafe: "refuse" });
    expect(unsafe).toEqual([]);
    const fork = await client.session(sessions[0]?.name ?? "");
    expect(await value(fork, READ)).toBe(EXPECTED);
    expect(await value(session, READ)).toBe(EXPECTED);
  });

  test("are read on from where they were when a session goes back", async () => {
    const session = await client.session("files-2");
    await session.execute(OPENED);
    for (const _ of [1, 2]) {
      await session.execute("lines.read(); gone.seek(0, 2); temporary.seek(0, 2)");
      await session.rollback();
      expect(await value(session, READ)).toBe(EXPECTED);
      await session.rollback();
    }
  });

  test("that are a database are named before a fork", async () => {
    const session = await client.session("files-3");
    await session.execute(
      "import sqlite3; db = sqlite3.connect('data.db'); db.execute('create table t (x)'); db.commit()",
    );
    await expect(client.fork(session.name, { onUnsafe: "refuse" })).rejects.toMatchObject({
      code: "unsafe_fork",
      details: { unsafe: [{ variable: "db", what: expect.stringContaining("data.db") }] },
    });
  });
});
