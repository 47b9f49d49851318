/** The files of a workspace, against a file system that changes at the worst instants. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ExecuteCodeError } from "../../src/contract/errors.ts";
import { LIMITS } from "../../src/contract/limits.ts";
import {
  listWorkspace,
  makeWorkspace,
  openWorkspaceFile,
  storeWorkspaceFile,
} from "../../src/memory/index.ts";
import { temporaryFolder } from "../support/home.ts";

/** Everything of a test: `work` is the workspace, `host` is what must not be reached. */
let base: string;
let work: string;
let incoming: string;
let number = 0;
const staging = () => path.join(incoming, String(++number));
const root = () => ({ base: work, names: [] as string[] });
const inWork = (name: string) => path.join(work, name);

beforeEach(() => {
  base = temporaryFolder();
  [work, incoming] = [path.join(base, "work"), path.join(base, "incoming")];
  for (const folder of [work, incoming, path.join(base, "host")]) mkdirSync(folder);
  writeFileSync(path.join(base, "host", "secret"), "host");
});
afterEach(() => {
  // Nothing of an upload stays, whatever became of it.
  expect(readdirSync(incoming)).toEqual([]);
  expect(readdirSync(path.join(base, "host"))).toEqual(["secret"]);
  expect(readFileSync(path.join(base, "host", "secret"), "utf8")).toBe("host");
  rmSync(base, { recursive: true, force: true });
});

async function* chunks(...parts: string[]): AsyncGenerator<Buffer, void> {
  for (const part of parts) yield Buffer.from(part);
}
const store = (at: string, ...parts: string[]) => storeWorkspaceFile(root(), at, chunks(...parts), staging);
const list = (at = "") => listWorkspace(root(), at);

async function read(at: string, from = root()): Promise<string> {
  const content = await openWorkspaceFile(from, at);
  if (!("stream" in content.source)) throw new Error("no stream");
  return (await buffer(content.source.stream)).toString();
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    (value) => `no failure: ${JSON.stringify(value)}`,
    (thrown: unknown) => thrown,
  );
  return error instanceof ExecuteCodeError ? error.code : String(error);
}

describe("paths", () => {
  test.each([
    ["", "an empty one"],
    ["/etc/passwd", "an absolute one"],
    ["..", "the folder above"],
    ["../host/secret", "through the folder above"],
    ["a/../../host/secret", "down and up"],
    [".", "the folder itself"],
    ["a/./b", "a dot"],
    ["a//b", "an empty name"],
    ["a/", "an empty last name"],
    ["a\0b", "a NUL"],
    ["a\ud800", "half a surrogate pair"],
    ["n".repeat(256), "a name of 256 bytes"],
    ["한".repeat(86), "a name of 258 bytes in 86 characters"],
    [`${"a/".repeat(2_048)}b`, "more than 4096 bytes"],
  ])("%j is refused: %s", async (at) => {
    expect(await codeOf(openWorkspaceFile(root(), at))).toBe("invalid_path");
    expect(await codeOf(store(at, "x"))).toBe("invalid_path");
    expect(readdirSync(work)).toEqual([]);
  });

  test.each(["..", "../", "/", "//", "./.", "a/..", "a//", "..\0"])(
    "a listing of %j is refused",
    async (at) => {
      mkdirSync(inWork("a"));
      expect(await codeOf(list(at))).toBe("invalid_path");
    },
  );

  test.each(["", ".", "./"])("a listing of %j is that of the workspace", async (at) => {
    expect(await list(at)).toEqual({ path: "", entries: [], truncated: false });
  });

  test.each([
    "n".repeat(255),
    "with space",
    "한국어/파일.csv",
    "new\nline",
    "-rf",
    "a\\..\\b",
    "%2e%2e",
    "...",
    "~",
    "$(x)",
  ])("%j is a name like any other", async (at) => {
    expect(await store(at, "content")).toMatchObject({ path: at, type: "file", bytes: 7 });
    expect(await read(at)).toBe("content");
    const entries = (await list(path.dirname(at))).entries.map((entry) => entry.path);
    expect(entries).toEqual([at]);
  });

  test("say what is wrong with them, without control characters", async () => {
    const error = await read("a/../\u001b[31m").catch((thrown: unknown) => thrown);
    expect((error as Error).message).toBe("`a/../\\u001b[31m` has `..` in it.");
  });
});

describe("a listing", () => {
  test("tells all kinds by name, and follows no link", async () => {
    mkdirSync(inWork("folder"));
    writeFileSync(inWork("b"), "four");
    writeFileSync(inWork("a"), "");
    symlinkSync(path.join(base, "host"), inWork("link"));
    execFileSync("mkfifo", [inWork("fifo")]);
    utimesSync(inWork("b"), 0, 1_700_000_000);
    expect(await list()).toMatchObject({
      path: "",
      entries: [
        { path: "a", type: "file", bytes: 0 },
        { path: "b", type: "file", bytes: 4, modified_at: "2023-11-14T22:13:20.000Z" },
        { path: "fifo", type: "other", bytes: 0 },
        { path: "folder", type: "folder", bytes: 0 },
        { path: "link", type: "link", bytes: 0 },
      ],
      truncated: false,
    });
    expect(await codeOf(list("link"))).toBe("invalid_path");
    expect(await codeOf(list("link/"))).toBe("invalid_path");
    expect(await codeOf(list("b"))).toBe("invalid_path");
    expect(await codeOf(list("absent"))).toBe("unknown_file");
  });

  test("shows names that are no UTF-8", async () => {
    writeFileSync(Buffer.concat([Buffer.from(`${work}/`), Buffer.from([0xff, 0x61])]), "x");
    expect((await list()).entries).toMatchObject([{ path: "\ufffda", type: "file", bytes: 1 }]);
  });

  test("is bounded", async () => {
    for (let i = 0; i <= LIMITS.workspaceEntries; i++) writeFileSync(inWork(String(i)), "");
    const { entries, truncated } = await list();
    expect(entries).toHaveLength(LIMITS.workspaceEntries);
    expect(truncated).toBe(true);
    rmSync(inWork("0"));
    expect((await list()).truncated).toBe(false);
  });

  test("outlives times that no calendar has", async () => {
    writeFileSync(inWork("late"), "");
    utimesSync(inWork("late"), 0, 9e15);
    writeFileSync(inWork("early"), "");
    utimesSync(inWork("early"), 0, -9e15);
    for (const { modified_at } of (await list()).entries) expect(Date.parse(modified_at)).not.toBeNaN();
  });

  test("of a workspace that is not there is empty", async () => {
    const absent = { base: path.join(base, "absent"), names: [] };
    expect(await listWorkspace(absent, "")).toEqual({ path: "", entries: [], truncated: false });
    expect(await codeOf(listWorkspace(absent, "x"))).toBe("unknown_file");
    expect(await codeOf(openWorkspaceFile(absent, "x"))).toBe("unknown_file");
  });
});

describe("reading", () => {
  test.each(["link", "folder", "fifo", "socket", "folder/link", "linked/secret", "dangling", "loop"])(
    "%s is refused, at once",
    async (at) => {
      mkdirSync(inWork("folder"));
      symlinkSync(path.join(base, "host", "secret"), inWork("link"));
      symlinkSync("../../host/secret", inWork("folder/link"));
      symlinkSync(path.join(base, "host"), inWork("linked"));
      symlinkSync("nowhere", inWork("dangling"));
      symlinkSync("loop", inWork("loop"));
      execFileSync("mkfifo", [inWork("fifo")]);
      execFileSync("python3", [
        "-c",
        "import os, socket, sys; os.chdir(sys.argv[1]); socket.socket(socket.AF_UNIX).bind('socket')",
        work,
      ]);
      expect(await codeOf(openWorkspaceFile(root(), at))).toBe("invalid_path");
    },
  );

  test.each(["/proc/self/fd/0", "/proc/self/root/etc/passwd", "/proc/self/environ", "/dev/zero"])(
    "a link to %s is refused",
    async (target) => {
      symlinkSync(target, inWork("link"));
      expect(await codeOf(openWorkspaceFile(root(), "link"))).toBe("invalid_path");
    },
  );

  test("gives as much as there was when it was opened", async () => {
    await store("file", "12345");
    const content = await openWorkspaceFile(root(), "file");
    writeFileSync(inWork("file"), "67", { flag: "a" });
    expect(content).toMatchObject({ bytes: 5, mime: "application/octet-stream", attachment: true });
    if (!("stream" in content.source)) throw new Error("no stream");
    expect((await buffer(content.source.stream)).toString()).toBe("12345");
    expect(await read("file")).toBe("1234567");
    writeFileSync(inWork("empty"), "");
    expect(await read("empty")).toBe("");
  });

  test("ends early when the file has become shorter", async () => {
    writeFileSync(inWork("file"), "1".repeat(100));
    const content = await openWorkspaceFile(root(), "file");
    truncateSync(inWork("file"), 10);
    if (!("stream" in content.source)) throw new Error("no stream");
    expect(await buffer(content.source.stream)).toHaveLength(10);
  });

  test("leaves no descriptor open, whatever came of it", async () => {
    writeFileSync(inWork("file"), "x");
    symlinkSync("file", inWork("link"));
    const before = readdirSync("/proc/self/fd").length;
    for (let i = 0; i < 50; i++) {
      await read("file");
      await codeOf(read("link"));
      await codeOf(read("file/x"));
      await codeOf(store("file/x/y", "x"));
      await codeOf(list("link"));
      await store("sub/file", "x");
    }
    expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before + 3);
  });
});

describe("writing", () => {
  test("makes folders, and replaces a file, a link or a FIFO of the name", async () => {
    expect(await store("a/b/c", "one", "two")).toMatchObject({ path: "a/b/c", type: "file", bytes: 6 });
    expect(await read("a/b/c")).toBe("onetwo");
    await store("a/b/c", "3");
    expect(await read("a/b/c")).toBe("3");
    symlinkSync(path.join(base, "host", "secret"), inWork("link"));
    await store("link", "mine");
    expect(lstatSync(inWork("link")).isFile()).toBe(true);
    execFileSync("mkfifo", [inWork("fifo")]);
    await store("fifo", "mine");
    expect(await read("fifo")).toBe("mine");
    // Another name of the replaced file keeps what it had.
    linkSync(inWork("fifo"), inWork("other"));
    await store("fifo", "new");
    expect(await read("other")).toBe("mine");
  });

  test.each(["folder", "linked/file", "file/below", "linked/new/file", "dangling/file"])(
    "to %s is refused",
    async (at) => {
      mkdirSync(inWork("folder"));
      writeFileSync(inWork("file"), "kept");
      symlinkSync(path.join(base, "host"), inWork("linked"));
      symlinkSync(path.join(base, "host", "made"), inWork("dangling"));
      expect(await codeOf(store(at, "x"))).toBe("invalid_path");
      expect(readdirSync(work).sort()).toEqual(["dangling", "file", "folder", "linked"]);
    },
  );

  test("is whole or not at all", async () => {
    await store("file", "old");
    const broken = async function* (): AsyncGenerator<Buffer, void> {
      yield Buffer.from("half");
      throw new ExecuteCodeError("connection_lost");
    };
    expect(await codeOf(storeWorkspaceFile(root(), "file", broken(), staging))).toBe("connection_lost");
    expect(await codeOf(storeWorkspaceFile(root(), "new", broken(), staging))).toBe("connection_lost");
    expect(await read("file")).toBe("old");
    expect(readdirSync(work)).toEqual(["file"]);
  });

  test("is not seen before it is whole", async () => {
    const gate = Promise.withResolvers<void>();
    const slow = async function* (): AsyncGenerator<Buffer, void> {
      yield Buffer.from("first");
      await gate.promise;
      yield Buffer.from("second");
    };
    const storing = storeWorkspaceFile(root(), "folder/file", slow(), staging);
    while (readdirSync(incoming).length === 0) await new Promise(setImmediate);
    expect(readdirSync(work)).toEqual(["folder"]);
    expect(readdirSync(inWork("folder"))).toEqual([]);
    gate.resolve();
    await storing;
    expect(await read("folder/file")).toBe("firstsecond");
  });

  test("beyond the bound is refused", async () => {
    const endless = async function* (): AsyncGenerator<Buffer, void> {
      yield Buffer.from("some");
      // Said to be larger than it is: it is not to be written.
      yield Object.defineProperty(Buffer.from("more"), "length", { value: LIMITS.uploadBytes });
    };
    expect(await codeOf(storeWorkspaceFile(root(), "big", endless(), staging))).toBe("file_too_large");
    expect(readdirSync(work)).toEqual([]);
  });

  test("many at once make one folder, and one of their contents is there", async () => {
    await Promise.all(Array.from({ length: 40 }, (_, i) => store(`a/b/${i % 4}`, `${i}`.repeat(1_000))));
    expect((await list("a/b")).entries.map((entry) => entry.path)).toEqual([
      "a/b/0",
      "a/b/1",
      "a/b/2",
      "a/b/3",
    ]);
    for (const at of ["a/b/0", "a/b/3"])
      expect(new Set((await read(at)).match(/../g)).size).toBeLessThanOrEqual(2);
  });

  test("to another file system than the daemon's", async () => {
    const elsewhere = mkdtempSync("/dev/shm/ec-test-");
    try {
      if (statSync(elsewhere).dev === statSync(incoming).dev) return;
      const there = { base: elsewhere, names: [] };
      const entry = await storeWorkspaceFile(there, "a/b/file", chunks("x"), staging);
      expect(entry).toMatchObject({ path: "a/b/file", bytes: 1 });
      expect(await read("a/b/file", there)).toBe("x");
      mkdirSync(path.join(elsewhere, "folder"));
      expect(await codeOf(storeWorkspaceFile(there, "folder", chunks("x"), staging))).toBe("invalid_path");
      expect(readdirSync(elsewhere).sort()).toEqual(["a", "folder"]);
      expect(readdirSync(path.join(elsewhere, "a/b"))).toEqual(["file"]);
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  test("to a full disk is refused, and leaves nothing", async () => {
    const full = mkdtempSync("/dev/shm/ec-test-");
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", full], { stdio: "ignore" });
    } catch {
      rmSync(full, { recursive: true });
      return;
    }
    try {
      const there = { base: full, names: [] };
      const large = chunks("x".repeat(256 * 1024));
      expect(await codeOf(storeWorkspaceFile(there, "a/file", large, staging))).toBe("storage_full");
      expect(readdirSync(path.join(full, "a"))).toEqual([]);
    } finally {
      execFileSync("umount", [full]);
      rmSync(full, { recursive: true });
    }
  });
});

describe("a folder of the user's", () => {
  test("is reached by the way that it was granted by, not through a link in it", async () => {
    mkdirSync(path.join(base, "granted/project"), { recursive: true });
    writeFileSync(path.join(base, "granted/project/secret"), "the project's");
    const names = path.join(base, "granted/project").split("/").slice(1);
    const project = { base: "/", names };
    expect(await read("secret", project)).toBe("the project's");
    rmSync(path.join(base, "granted/project"), { recursive: true });
    symlinkSync(path.join(base, "host"), path.join(base, "granted/project"));
    expect(await codeOf(read("secret", project))).toBe("invalid_path");
    expect(await codeOf(storeWorkspaceFile(project, "new", chunks("x"), staging))).toBe("invalid_path");
    rmSync(path.join(base, "granted"), { recursive: true });
    symlinkSync(base, path.join(base, "granted"));
    mkdirSync(path.join(base, "project"));
    expect(await codeOf(listWorkspace(project, ""))).toBe("invalid_path");
  });
});

describe.runIf(process.getuid?.() === 0)("under a root daemon", () => {
  const OWNER = { uid: 61_999, gid: 61_998 };
  const ownerOf = (name: string) => {
    const { uid, gid } = lstatSync(inWork(name));
    return { uid, gid };
  };

  test("what is made belongs to the owner of the workspace", async () => {
    await makeWorkspace(path.join(base, "sessions/one/work"), OWNER);
    expect(statSync(path.join(base, "sessions/one/work"))).toMatchObject({ ...OWNER });
    expect(statSync(path.join(base, "sessions/one/work")).mode & 0o777).toBe(0o700);
    chownSync(work, OWNER.uid, OWNER.gid);
    await store("a/b/file", "x");
    for (const name of ["a", "a/b", "a/b/file"]) expect(ownerOf(name), name).toEqual(OWNER);
    expect(statSync(inWork("a/b")).mode & 0o777).toBe(0o755);
    expect(statSync(inWork("a/b/file")).mode & 0o777).toBe(0o644);
  });

  test("folders that are there already are given to nobody", async () => {
    chownSync(work, OWNER.uid, OWNER.gid);
    mkdirSync(inWork("vault"));
    chmodSync(inWork("vault"), 0o700);
    await store("vault/file", "x");
    expect(ownerOf("vault")).toEqual({ uid: 0, gid: 0 });
  });

  test("on another file system, too", async () => {
    const elsewhere = mkdtempSync("/dev/shm/ec-test-");
    try {
      chownSync(elsewhere, OWNER.uid, OWNER.gid);
      await storeWorkspaceFile({ base: elsewhere, names: [] }, "a/file", chunks("x"), staging);
      for (const name of ["a", "a/file"]) {
        expect(statSync(path.join(elsewhere, name))).toMatchObject({ ...OWNER });
      }
      expect(statSync(path.join(elsewhere, "a")).mode & 0o777).toBe(0o755);
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });
});

describe("while another process swaps", () => {
  /** Runs `attempt` again and again while the two names change places, and gives what came of it. */
  async function race(
    real: string,
    trap: string,
    attempt: () => Promise<string>,
  ): Promise<{ outcomes: Map<string, number>; changes: number }> {
    const swap = spawn("python3", ["tests/memory/fixtures/swap.py", inWork(real), inWork(trap)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    let said = "";
    swap.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    await once(swap.stdout, "data");
    const outcomes = new Map<string, number>();
    const end = Date.now() + 2_000;
    while (Date.now() < end) {
      const outcome = await attempt().catch((error: unknown) =>
        error instanceof ExecuteCodeError ? error.code : String(error),
      );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    swap.stdin.end();
    await once(swap, "close");
    return { outcomes, changes: Number(said.split("\n")[1]) };
  }

  const EXPECTED = ["session's", "stored", "invalid_path", "unknown_file"];

  test.each([
    ["a folder with a link to the host's", "folder", "folder/secret"],
    ["a file with a link to the host's", "secret", "secret"],
  ])("%s, no byte of the host is read", async (_, name, at) => {
    mkdirSync(inWork("folder"));
    writeFileSync(inWork("folder/secret"), "session's");
    writeFileSync(inWork("secret"), "session's");
    symlinkSync(path.join(base, "host", name === "folder" ? "" : "secret"), inWork("trap"));
    const { outcomes, changes } = await race(name, "trap", () => read(at));
    expect(changes).toBeGreaterThan(1_000);
    expect(EXPECTED).toEqual(expect.arrayContaining([...outcomes.keys()]));
    expect(outcomes.get("session's")).toBeGreaterThan(0);
    expect(outcomes.get("invalid_path")).toBeGreaterThan(0);
  });

  test("a folder with a link to the host's, nothing of the host is listed", async () => {
    mkdirSync(inWork("folder"));
    symlinkSync(path.join(base, "host"), inWork("trap"));
    const { outcomes, changes } = await race("folder", "trap", async () =>
      (await list("folder")).entries.map((entry) => entry.path).join(),
    );
    expect(changes).toBeGreaterThan(1_000);
    expect(["", "invalid_path", "unknown_file"]).toEqual(expect.arrayContaining([...outcomes.keys()]));
  });

  test.each([
    ["a folder with a link to the host's", "folder", "folder/secret", "secret"],
    ["a folder with a link to the host's", "folder", "folder/new", "new"],
    ["a folder with a link to the host's", "folder", "folder/deep/er/secret", "deep"],
  ])("%s, nothing of the host is written: %s, %s", async (_, name, at) => {
    mkdirSync(inWork("folder"));
    symlinkSync(path.join(base, "host"), inWork("trap"));
    const { outcomes, changes } = await race(name, "trap", async () => {
      await store(at, "written");
      return "stored";
    });
    expect(changes).toBeGreaterThan(1_000);
    expect(EXPECTED).toEqual(expect.arrayContaining([...outcomes.keys()]));
    expect(outcomes.get("stored")).toBeGreaterThan(0);
  });

  test("a file with a link to the host's, the link is replaced", async () => {
    writeFileSync(inWork("secret"), "session's");
    symlinkSync(path.join(base, "host", "secret"), inWork("trap"));
    const { outcomes } = await race("secret", "trap", async () => {
      await store("secret", "written");
      return "stored";
    });
    expect([...outcomes.keys()]).toEqual(["stored"]);
    expect(existsSync(path.join(base, "host", "secret"))).toBe(true);
    for (const name of readdirSync(work)) {
      if (lstatSync(inWork(name)).isSymbolicLink()) {
        expect(readlinkSync(inWork(name))).toBe(path.join(base, "host", "secret"));
      }
    }
  });
});
