/** The API of a workspace's files, while the session's code sets traps in it: no byte of the host in, or out. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import path from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { daemonSocket } from "../../src/contract/location.ts";
import { ExecuteCodeError } from "../../src/sdk/index.ts";
import { temporaryFolder } from "../support/home.ts";
import { raw } from "../support/http.ts";
import { arena, counted } from "./attack.ts";

const at = arena();
const SESSION = "traps";
const outside = () => path.join(at().home, "outside");
const secret = () => path.join(outside(), "secret");
const content = (file: string, session = SESSION) =>
  `/v1/sessions/${session}/files/content?path=${encodeURIComponent(file)}`;

beforeAll(async () => {
  mkdirSync(outside());
  writeFileSync(secret(), "the host's");
  await at().client.execute({ session: SESSION, code: "import os, ctypes" });
});
afterEach(() => {
  expect(readdirSync(outside())).toEqual(["secret"]);
  expect(readFileSync(secret(), "utf8")).toBe("the host's");
  counted();
});

/** Runs code of the attacker's. */
async function plant(code: string, session = SESSION): Promise<void> {
  const record = await at().client.execute({ session, code, timeoutMs: 60_000 });
  expect(record.status, record.error?.traceback).toBe("ok");
}

async function outcomeOf(promise: Promise<unknown>): Promise<string> {
  try {
    const value = await promise;
    return value instanceof Buffer ? value.toString() : JSON.stringify(value);
  } catch (error) {
    return error instanceof ExecuteCodeError ? error.code : String(error);
  }
}

/** Everything that can be done to a path. */
const all = (file: string, session = SESSION): Promise<string[]> =>
  Promise.all([
    outcomeOf(at().client.files(session, file)),
    outcomeOf(at().client.download(session, file)),
    outcomeOf(at().client.upload(session, file, "planted")),
  ]);

describe("planted in the workspace", () => {
  test.each([
    ["a link to a host's file", () => `os.symlink(${JSON.stringify(secret())}, 'a')`],
    ["a chain of links", () => `os.symlink(${JSON.stringify(secret())}, 'b'); os.symlink('b', 'a')`],
    ["a relative link upwards", () => "os.symlink('../../../outside/secret', 'a')"],
    ["a link to the daemon's memory", () => "os.symlink('/proc/self/mem', 'a')"],
    ["a link to the daemon's root", () => "os.symlink('/proc/self/root/etc/passwd', 'a')"],
    ["a link to the daemon's descriptors", () => "os.symlink('/proc/self/fd/0', 'a')"],
    ["a link to a terminal", () => "os.symlink('/dev/tty', 'a')"],
    ["a link to an endless file", () => "os.symlink('/dev/zero', 'a')"],
    ["a link to itself", () => "os.symlink('a', 'a')"],
    ["a FIFO that nobody writes to", () => "os.mkfifo('a')"],
    ["a socket", () => "import socket; s = socket.socket(socket.AF_UNIX); s.bind('a')"],
  ])("%s: neither listed nor read, and replaced as what it is", async (_, code) => {
    await plant(code());
    const started = performance.now();
    expect(await outcomeOf(at().client.files(SESSION, "a"))).toBe("invalid_path");
    expect(await outcomeOf(at().client.download(SESSION, "a"))).toBe("invalid_path");
    expect(await at().client.upload(SESSION, "a", "mine")).toMatchObject({ type: "file", bytes: 4 });
    expect(await outcomeOf(at().client.download(SESSION, "a"))).toBe("mine");
    expect(performance.now() - started).toBeLessThan(5_000);
    await plant("[os.unlink(name) for name in os.listdir('.')]");
  });

  test.each([
    ["the host's", () => outside(), "secret"],
    ["another session's", () => path.join(at().home, "sessions"), "secret"],
    ["the daemon's root", () => "/proc/self/root/etc", "passwd"],
    ["the daemon's work folder", () => "/proc/self/cwd", "secret"],
    ["the daemon's open folders", () => "/proc/self/fd", "0"],
    ["the folder above", () => "..", "secret"],
  ])("a link to a folder, %s: nothing goes through it", async (_, target, file) => {
    await plant(`os.symlink(${JSON.stringify(target())}, 'a'); os.mkdir('d'); os.symlink('../a', 'd/b')`);
    for (const way of ["a", "d/b"]) {
      expect(await all(`${way}/${file}`)).toEqual(["invalid_path", "invalid_path", "invalid_path"]);
      expect(await outcomeOf(at().client.files(SESSION, `${way}/`))).toBe("invalid_path");
      expect(await outcomeOf(at().client.upload(SESSION, `${way}/new/deep`, "x"))).toBe("invalid_path");
    }
    expect((await at().client.files(SESSION)).entries).toMatchObject([
      { path: "a", type: "link", bytes: 0 },
      { path: "d", type: "folder" },
    ]);
    await plant("os.unlink('a'); os.unlink('d/b'); os.rmdir('d')");
  });

  test("names with line ends, escapes and no UTF-8: listed, and nothing else happens", async () => {
    await plant(
      "names = [b'a\\nb', b'\\x1b[2J', b'\\xff\\xfe', b'..\\\\x', b'%2e%2e', b' ', b'-rf']\nfor n in names: open(n, 'w').close()",
    );
    const { entries } = await at().client.files(SESSION);
    expect(entries.map((entry) => entry.path)).toEqual([
      "\u001b[2J",
      " ",
      "%2e%2e",
      "-rf",
      "..\\x",
      "a\nb",
      "\ufffd\ufffd",
    ]);
    expect(await outcomeOf(at().client.download(SESSION, "a\nb"))).toBe("");
    await plant("for n in names: os.unlink(n)");
  });

  test("folders without end: listed, and read to the bound of a path", async () => {
    await plant("here = os.getcwd()\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\nos.chdir(here)");
    expect((await at().client.files(SESSION, "d/".repeat(2_000))).entries).toHaveLength(1);
    expect(await outcomeOf(at().client.files(SESSION, "d/".repeat(2_500)))).toBe("invalid_path");
    await plant("import shutil; __import__('sys').setrecursionlimit(10**5); shutil.rmtree('d')");
  });

  test("folders and files that it has shut", async () => {
    await plant(
      "os.mkdir('shut'); open('shut/a', 'w').write('a'); os.chmod('shut/a', 0); os.chmod('shut', 0)",
    );
    const [files, read, write] = await all("shut/a");
    expect(files).toBe("invalid_path");
    // A daemon of root's may.
    expect(process.getuid?.() === 0 ? "a" : "invalid_path").toBe(read);
    expect(write).toMatch(process.getuid?.() === 0 ? /"bytes":7/ : "invalid_path");
    await plant("os.chmod('shut', 0o700); os.unlink('shut/a'); os.rmdir('shut')");
  });

  test("times beyond the calendar", async () => {
    await plant("open('t', 'w').close(); os.utime('t', (2**40, 2**40))");
    expect((await at().client.files(SESSION)).entries).toMatchObject([{ path: "t", type: "file" }]);
    await plant("os.unlink('t')");
  });

  test("a lease on the file, which the kernel would wait for", async () => {
    await plant("import fcntl\nopen('held', 'w').write('held')\nf = open('held'); fcntl.fcntl(f, 1024, 0)");
    const started = performance.now();
    expect(await outcomeOf(at().client.download(SESSION, "held"))).toMatch(/^(session_busy|held)$/);
    expect(performance.now() - started).toBeLessThan(5_000);
    await plant("f.close(); os.unlink('held')");
  });
});

describe("a path of the caller's", () => {
  test.each([
    "../secret",
    "a/../../work/x",
    "..",
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/environ",
    "a\0b",
    "secret\0",
    "n".repeat(4_096),
    "a/".repeat(3_000),
    "./x",
    "x/.",
    "",
  ])("%j: invalid_path", async (file) => {
    const reading = await raw(at().home, "GET", content(file));
    expect(reading).toMatchObject({ status: 400, json: { code: "invalid_path" } });
    const writing = await raw(at().home, "POST", content(file), "x", {
      "content-type": "application/octet-stream",
    });
    expect(writing).toMatchObject({ status: 400, json: { code: "invalid_path" } });
  });

  test.each([
    ["%2e%2e%2fsecret", 400, "invalid_path"],
    ["..%2f..%2f..%2fetc%2fpasswd", 400, "invalid_path"],
    ["%2fetc%2fpasswd", 400, "invalid_path"],
    ["a%00", 400, "invalid_path"],
    // Decoded once: these are names.
    ["%252e%252e%252fsecret", 404, "unknown_file"],
    ["%252fetc%252fpasswd", 404, "unknown_file"],
    ["..%5c..%5csecret", 404, "unknown_file"],
    // No UTF-8, as overlong forms of / and . are none.
    ["..%c0%afsecret", 400, "invalid_encoding"],
    ["%c0%ae%c0%ae/secret", 400, "invalid_encoding"],
    ["%ff", 400, "invalid_encoding"],
  ])("percent-encoded %s: %i %s", async (encoded, status, code) => {
    const answer = await raw(at().home, "GET", `/v1/sessions/${SESSION}/files/content?path=${encoded}`);
    expect(answer).toMatchObject({ status, json: { code } });
  });

  test.each(["..", "%2e%2e", "..%2f..", "%2e%2e%2fother"])("in place of a session: %s", async (name) => {
    const answer = await raw(at().home, "GET", `/v1/sessions/${name}/files?path=x`);
    expect(answer.status).toBe(404);
  });
});

test("a session's files are reached by no path of another's", async () => {
  const { client } = at();
  await plant("open('mine', 'w').write('the victim\\'s')", "victim");
  const { id, workspace } = await client.showSession("victim");
  await plant(
    `import os\nfor name, to in (('a', ${JSON.stringify(workspace)}), ('b', '../../${id}/work'), ('c', '/work')): os.symlink(to, name)`,
    "thief",
  );
  for (const way of ["a", "b", "c", `../../${id}/work`, `../${id}/work`, workspace]) {
    expect(await all(`${way}/mine`, "thief")).toEqual(["invalid_path", "invalid_path", "invalid_path"]);
  }
  expect((await client.download("victim", "mine")).toString()).toBe("the victim's");
});

test("a folder of the user's, whose way the session's code can change, leads nowhere else", async () => {
  const { client } = at();
  const base = temporaryFolder();
  try {
    const { uid, gid } = statSync((await client.showSession(SESSION)).workspace);
    chmodSync(base, 0o755);
    for (const folder of ["granted", "granted/way", "granted/way/work", "host", "host/work"]) {
      mkdirSync(path.join(base, folder));
      if (folder.startsWith("granted")) chownSync(path.join(base, folder), uid, gid);
    }
    writeFileSync(path.join(base, "host/work/secret"), "the host's");
    const granted = path.join(base, "granted");
    const workspace = path.join(granted, "way/work");
    await client.createSession({ name: "granted", grants: { workspace, write: [granted] } });
    expect(await client.upload("granted", "own", "own")).toMatchObject({ bytes: 3 });
    await plant(
      `import os; os.rename('${granted}/way', '${granted}/aside'); os.symlink('${base}/host', '${granted}/way')`,
      "granted",
    );
    expect(await all("secret", "granted")).toEqual(["invalid_path", "invalid_path", "invalid_path"]);
    expect(await outcomeOf(client.files("granted"))).toBe("invalid_path");
    expect(readdirSync(path.join(base, "host/work"))).toEqual(["secret"]);
    await client.closeSession("granted");
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
});

test("what is uploaded is the session's own, and no program of anybody's", async () => {
  const { client } = at();
  await client.upload("owner", "x", "1").catch(() => client.execute({ session: "owner", code: "1" }));
  await client.upload("owner", "bin/tool", "#!/bin/sh\n");
  const record = await client.execute({
    session: "owner",
    code: "import os\n[(os.lstat(n).st_uid == os.getuid(), oct(os.lstat(n).st_mode & 0o7777)) for n in ('bin', 'bin/tool')]",
  });
  expect(record.result?.text).toBe("[(True, '0o755'), (True, '0o644')]");
});

/** Exchanges two names until it is stopped. */
const SWAP = `
import ctypes, os, threading
libc = ctypes.CDLL(None, use_errno=True)
swapping = True
changes = 0
def swap():
    global changes
    while swapping:
        for _ in range(100): changes += libc.renameat2(-100, b'a', -100, b'b', 2) == 0
threading.Thread(target=swap, daemon=True).start()
`;

describe("while session code swaps", () => {
  test.each([
    ["a folder and a link to the host's", "os.mkdir('a'); open('a/secret', 'w').write('own')", "a/secret"],
    ["a file and a link to the host's", "open('a', 'w').write('own')", "a"],
  ])(
    "%s: no byte of the host is read or written",
    async (_, code, file) => {
      const { client } = at();
      const session = `swap-${file.length}`;
      const target = file === "a" ? secret() : outside();
      await plant(`import os\n${code}; os.symlink(${JSON.stringify(target)}, 'b')${SWAP}`, session);
      const seen = new Set<string>();
      const end = Date.now() + 3_000;
      while (Date.now() < end) {
        seen.add(await outcomeOf(client.download(session, file)));
        seen.add(await outcomeOf(client.upload(session, file, "own").then(() => "stored")));
        seen.add(await outcomeOf(client.files(session, "a").then(({ entries }) => entries.length)));
      }
      const { result } = await client.execute({ session, code: "swapping = False; changes" });
      expect(Number(result?.text)).toBeGreaterThan(1_000);
      expect(["own", "stored", "1", '"stored"', "invalid_path", "unknown_file"]).toEqual(
        expect.arrayContaining([...seen]),
      );
      expect(seen).toContain("own");
      expect(seen).toContain("invalid_path");
    },
    60_000,
  );
});

describe("content", () => {
  test("a sparse file as large as it may be is sent as it is read, and can be broken off", async () => {
    const { client } = at();
    await plant(
      "import resource\nsize = min(resource.getrlimit(resource.RLIMIT_FSIZE)[0] % 2**63, 2**40)\nos.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), size)",
    );
    const { entries } = await client.files(SESSION);
    const { bytes } = entries.find((entry) => entry.path === "sparse")!;
    expect(bytes).toBeGreaterThan(1024 ** 3);
    const before = (await client.health()).rss_bytes;
    const received = await new Promise<number>((resolve, reject) => {
      let sum = 0;
      const call = request({ socketPath: daemonSocket(at().home), path: content("sparse") }, (answer) => {
        expect(answer.headers["content-length"]).toBe(String(bytes));
        answer.once("close", () => resolve(sum));
        answer.on("data", (chunk: Buffer) => {
          sum += chunk.length;
          if (sum > 200 * 1024 * 1024) answer.destroy();
        });
      });
      call.once("error", reject);
      call.end();
    });
    expect(received).toBeLessThan(300 * 1024 * 1024);
    const after = (await client.health()).rss_bytes;
    expect(after - before).toBeLessThan(64 * 1024 * 1024);
    await plant("os.unlink('sparse')");
  });

  test("a file that shrinks meanwhile breaks the answer", async () => {
    const { client } = at();
    await plant("open('long', 'wb').write(bytes(64 * 1024 * 1024))");
    const outcome = await new Promise<string>((resolve, reject) => {
      const call = request({ socketPath: daemonSocket(at().home), path: content("long") }, (answer) => {
        answer.once("readable", () => {
          plant("os.truncate('long', 1)").then(() => answer.resume(), reject);
        });
        answer.once("end", () => resolve("whole"));
        answer.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
      });
      call.once("error", reject);
      call.end();
    });
    expect(outcome).toBe("ECONNRESET");
    expect((await client.download(SESSION, "long")).length).toBe(1);
    await plant("os.unlink('long')");
  });

  test("an upload that breaks off leaves nothing", async () => {
    const { client } = at();
    for (let i = 0; i < 20; i++) {
      await new Promise<void>((resolve) => {
        const call = request({
          socketPath: daemonSocket(at().home),
          path: content("half/broken"),
          method: "POST",
          headers: { "content-type": "application/octet-stream", "content-length": 1024 * 1024 },
        });
        call.once("error", () => resolve());
        call.write(Buffer.alloc(1 + i * 20_000), () => call.destroy(new Error("gone")));
      });
    }
    const incoming = path.join(at().home, "artifacts", "incoming");
    await expect.poll(() => readdirSync(incoming)).toEqual([]);
    expect((await client.files(SESSION)).entries.map((entry) => entry.path)).toEqual(["half"]);
    expect((await client.files(SESSION, "half")).entries).toEqual([]);
    expect(existsSync(path.join(outside(), "broken"))).toBe(false);
    await plant("os.rmdir('half')");
  });

  test("one that says it is too large is refused before it is sent", async () => {
    const answer = await new Promise<number>((resolve, reject) => {
      const call = request(
        {
          socketPath: daemonSocket(at().home),
          path: content("large"),
          method: "POST",
          headers: { "content-type": "application/octet-stream", "content-length": 5 * 1024 ** 3 },
        },
        (response) => {
          resolve(response.statusCode!);
          response.destroy();
        },
      );
      call.once("error", reject);
      call.flushHeaders();
    });
    expect(answer).toBe(413);
  });

  test("a workspace that is gone", async () => {
    await at().client.createSession({ name: "gone" });
    const { workspace } = await at().client.showSession("gone");
    rmSync(workspace, { recursive: true, force: true });
    expect((await at().client.files("gone")).entries).toEqual([]);
    expect(await outcomeOf(at().client.download("gone", "x"))).toBe("unknown_file");
    expect(await at().client.upload("gone", "x", "back")).toMatchObject({ bytes: 4 });
  });
});
