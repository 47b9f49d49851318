import { readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Client, createClient, ExecuteCodeError, type Session } from "../../src/sdk/index.ts";
import { type TestHome, temporaryFolder, testHome } from "../support/home.ts";

let at: TestHome;
let client: Client;
let session: Session;
let here: string;
beforeAll(async () => {
  at = await testHome();
  client = at.client;
  session = await client.session("files");
  await session.execute("import os");
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});
beforeEach(() => {
  here = temporaryFolder();
  return () => rmSync(here, { recursive: true, force: true });
});

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return error instanceof ExecuteCodeError ? error.code : String(error);
}

test("files go there, are seen by the code, and come back", async () => {
  expect(await session.upload("in/text.txt", "안녕")).toMatchObject({ path: "in/text.txt", bytes: 6 });
  await session.upload("in/bytes", Buffer.from([0, 255, 10]));
  const run = await session.execute("open('in/text.txt').read(), open('in/bytes', 'rb').read()");
  expect(run.result?.text).toBe("('안녕', b'\\x00\\xff\\n')");
  await session.execute("os.mkdir('out')\nopen('out/made', 'w').write('made')");
  expect(await session.download("out/made")).toEqual(Buffer.from("made"));
  expect((await session.files()).entries.map((entry) => entry.path)).toEqual(["in", "out"]);
  expect((await session.files("in")).entries).toMatchObject([
    { path: "in/bytes", type: "file", bytes: 3 },
    { path: "in/text.txt", type: "file", bytes: 6 },
  ]);
});

test("content that comes as it is made, and goes on as it comes", async () => {
  const parts = async function* (): AsyncGenerator<Buffer, void> {
    for (let i = 0; i < 200; i++) yield Buffer.alloc(100_000, i);
  };
  expect(await session.upload("large", parts())).toMatchObject({ bytes: 20_000_000 });
  const stream = new PassThrough();
  const [bytes, content] = await Promise.all([
    session.download("large", { to: stream }).finally(() => stream.end()),
    stream.toArray(),
  ]);
  expect(bytes).toBe(20_000_000);
  const whole = Buffer.concat(content as Buffer[]);
  expect([whole.length, whole[0], whole[19_999_999]]).toEqual([20_000_000, 0, 199]);
});

test("content that fails is thrown, and leaves nothing", async () => {
  const broken = async function* (): AsyncGenerator<Buffer, void> {
    yield Buffer.from("half");
    throw new Error("no more");
  };
  await expect(session.upload("broken", broken())).rejects.toThrow("no more");
  expect(await codeOf(session.download("broken"))).toBe("unknown_file");
});

describe("a download to a file", () => {
  const file = () => path.join(here, "file");

  test("is there whole, and replaces nothing unless told to", async () => {
    await session.upload("source", "new");
    expect(await session.download("source", { to: file() })).toBe(3);
    writeFileSync(file(), "old");
    expect(await codeOf(session.download("source", { to: file() }))).toBe("invalid_request");
    expect(readFileSync(file(), "utf8")).toBe("old");
    await session.download("source", { to: file(), replace: true });
    expect(readFileSync(file(), "utf8")).toBe("new");
    expect(readdirSync(here)).toEqual(["file"]);
  });

  test("that fails leaves things as they were", async () => {
    expect(await codeOf(session.download("absent", { to: file() }))).toBe("unknown_file");
    expect(await codeOf(session.download("source", { to: path.join(here, "no/file") }))).toBe(
      "invalid_request",
    );
    symlinkSync("elsewhere", file());
    expect(await codeOf(session.download("source", { to: file(), replace: true }))).toBe("invalid_request");
    expect(await codeOf(session.download("source", { to: here, replace: true }))).toBe("invalid_request");
    expect(readdirSync(here)).toEqual(["file"]);
  });

  test("is not begun when it is larger than said", async () => {
    expect(await codeOf(session.download("source", { to: file(), maxBytes: 2 }))).toBe("file_too_large");
    expect(await codeOf(session.download("source", { maxBytes: 2 }))).toBe("file_too_large");
    expect(await session.download("source", { maxBytes: 3 })).toHaveLength(3);
    expect(readdirSync(here)).toEqual([]);
  });
});

test.each(["", "..", "/etc/passwd", "a/../b", "a\0", "a\ud800"])("%j is no path", async (wrong) => {
  expect(await codeOf(session.download(wrong))).toBe("invalid_path");
  expect(await codeOf(session.upload(wrong, "x"))).toBe("invalid_path");
});

test("a closed session's files are read, and not written", async () => {
  const closing = await client.session("closing");
  expect(await codeOf(closing.files())).toBe("unknown_session");
  await client.createSession({ name: "closing" });
  await closing.upload("kept", "kept");
  await closing.close();
  expect((await closing.files()).entries).toMatchObject([{ path: "kept" }]);
  expect((await closing.download("kept")).toString()).toBe("kept");
  expect(await codeOf(closing.upload("new", "x"))).toBe("session_closed");
});

test("a refusal comes before the content's end, and the client is told of it", async () => {
  let given = 0;
  const endless = async function* (): AsyncGenerator<Buffer, void> {
    for (; given < 100_000; given++) yield Buffer.alloc(64 * 1024);
  };
  expect(await codeOf(session.upload("..", endless()))).toBe("invalid_path");
  expect(given).toBeLessThan(100_000);
});

test("a daemon that was not there is started, and content that comes once is sent once", async () => {
  const home = temporaryFolder();
  const env = { ...process.env, EXECUTE_CODE_WARM: "0" };
  const other = createClient({ home, env });
  try {
    const once = async function* (): AsyncGenerator<Buffer, void> {
      yield Buffer.from("once");
    };
    expect(await codeOf(other.upload("main", "x", once()))).toBe("unknown_session");
    await other.createSession({ name: "main" });
    await other.stop({ drainMs: 0 });
    expect(await other.upload("main", "x", once())).toMatchObject({ bytes: 4 });
    await other.stop({ drainMs: 0 });
    const gathered = new PassThrough();
    const [, content] = await Promise.all([
      other.download("main", "x", { to: gathered }).finally(() => gathered.end()),
      text(gathered),
    ]);
    expect(content).toBe("once");
  } finally {
    await other.stop({ drainMs: 0 });
    await other.close();
    rmSync(home, { recursive: true, force: true });
  }
});
