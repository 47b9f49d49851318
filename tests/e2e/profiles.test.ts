/** What a session is granted: what it sees, what it may use, and what becomes of it when it wants more. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cacheFolder } from "../../src/contract/location.ts";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import type { Client, Grants } from "../../src/sdk/index.ts";
import { execute } from "../cli/program.ts";
import { type TestHome, temporaryFolder, testHome } from "../support/home.ts";
import { raw } from "../support/http.ts";

const MIB = 1024 ** 2;
let home: TestHome;
let client: Client;
/** A folder of the user's, which every user may read and write. */
let folder: string;
let tier: string | null;

/** Without isolation nothing is bounded. */
const bounded = describe.skipIf(process.env.EXECUTE_CODE_ISOLATION === "none");

beforeAll(async () => {
  home = await testHome();
  client = home.client;
  tier = (await client.health()).isolation;
  folder = temporaryFolder();
  chmodSync(folder, 0o777);
});
afterAll(async () => {
  await home[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

let names = 0;
const newName = (): string => `p${++names}`;

/** A folder below the user's, with a file in it. */
function userFolder(): string {
  const made = path.join(folder, newName());
  mkdirSync(made);
  chmodSync(made, 0o777);
  writeFileSync(path.join(made, "data"), "theirs");
  return made;
}

async function run(grants: Grants, code: string, session = newName()): Promise<ExecutionRecord> {
  return await client.execute({ session, grants, code, timeoutMs: 25_000 });
}

/** The names of the errors that the lines raise, or their values. */
function outcomes(...lines: string[]): string {
  return `import errno, os
said = []
for line in ${JSON.stringify(lines)}:
    try: said.append(eval(line))
    except OSError as error: said.append(errno.errorcode[error.errno])
said`;
}

bounded("files", () => {
  test("what may be read cannot be written", async () => {
    const data = userFolder();
    const record = await run(
      { read: [data] },
      outcomes(`open('${data}/data').read()`, `open('${data}/data', 'a')`, `open('${data}/new', 'w')`),
    );
    expect(record.result?.text).toMatch(/^\['theirs', '(EROFS|EACCES)', '(EROFS|EACCES)'\]$/);
    expect(existsSync(path.join(data, "new"))).toBe(false);
  });

  test("one file alone can be granted", async () => {
    const data = userFolder();
    writeFileSync(path.join(data, "other"), "not for them");
    const record = await run(
      { read: [path.join(data, "data")] },
      outcomes(`open('${data}/data').read()`, `open('${data}/other').read()`),
    );
    expect(record.result?.text).toMatch(/^\['theirs', '(ENOENT|EACCES)'\]$/);
  });

  test("what may be written is written on the machine", async () => {
    const data = userFolder();
    const record = await run(
      { write: [data] },
      outcomes(`open('${data}/new', 'w').write('ours')`, `os.remove('${data}/data')`),
    );
    expect(record.result?.text).toBe("[4, None]");
    expect(readFileSync(path.join(data, "new"), "utf8")).toBe("ours");
    expect(existsSync(path.join(data, "data"))).toBe(false);
  });

  test("a folder for reading stays so within one for writing, and the other way round", async (context) => {
    if (tier !== "sandbox") return context.skip("Landlock's rights add up");
    const [outer, inner] = [userFolder(), "inner"];
    mkdirSync(path.join(outer, inner));
    chmodSync(path.join(outer, inner), 0o777);
    const code = outcomes(`open('${outer}/new', 'w').close()`, `open('${outer}/inner/new', 'w').close()`);
    const within = path.join(outer, inner);
    expect((await run({ write: [outer], read: [within] }, code)).result?.text).toBe("[None, 'EROFS']");
    expect((await run({ read: [outer], write: [within] }, code)).result?.text).toBe("['EROFS', None]");
  });

  test("a folder of the user's as the work folder stays the user's", async () => {
    const work = userFolder();
    const before = statSync(work);
    const session = newName();
    const record = await run(
      { workspace: work },
      "open('made', 'w').write('x'); import os; sorted(os.listdir('.'))",
      session,
    );
    expect(record.result?.text).toBe("['data', 'made']");
    expect(readFileSync(path.join(work, "made"), "utf8")).toBe("x");
    const after = statSync(work);
    expect([after.uid, after.gid, after.mode]).toEqual([before.uid, before.gid, before.mode]);
    expect((await client.showSession(session)).workspace).toBe(work);
    await client.closeSession(session);
    expect(existsSync(path.join(work, "data"))).toBe(true);
  });

  test("the command line takes paths from where it stands", async () => {
    const data = userFolder();
    const relative = path.relative(process.cwd(), data);
    const args = ["run", "-s", newName(), "--read", relative, "-c", `print(open('${data}/data').read())`];
    expect((await execute(home.home, args)).stdout).toBe("theirs\n");
  });
});

bounded("what cannot be granted", () => {
  const refusals: ReadonlyArray<readonly [name: string, file: () => string, why: RegExp]> = [
    ["a relative path", () => "data", /no absolute path/],
    ["a path that is not there", () => path.join(folder, "nowhere"), /no such file/],
    ["a path with NUL", () => `${folder}\0`, /no absolute path/],
    ["the root", () => "/", /whole machine/],
    ["what leads to the root", () => "/usr/..", /whole machine/],
    ["/proc", () => "/proc", /has of its own/],
    ["a process", () => "/proc/self", /has of its own/],
    ["/dev", () => "/dev/shm", /has of its own/],
    ["a folder that holds one of each session's own", () => "/run", /has of its own/],
    ["the daemon's home", () => home.home, /platform's own/],
    ["a file in it", () => path.join(home.home, "history.db"), /platform's own/],
    ["its parent", () => path.dirname(home.home), /platform's own/],
    ["its socket", () => path.join(home.home, "daemon.sock"), /platform's own/],
  ];
  for (const access of ["read", "write", "workspace"] as const) {
    test.each(refusals)(`${access}: %s`, async (_, file, why) => {
      const profile = access === "workspace" ? { workspace: file() } : { [access]: [file()] };
      // As the API gets it: the SDK makes paths absolute.
      const answer = await create(profile);
      expect(answer).toMatchObject({ code: "invalid_profile" });
      expect(answer.message).toMatch(why);
    });
  }

  test("compiled programs of the platform, for writing", async () => {
    const cache = cacheFolder();
    mkdirSync(cache, { recursive: true });
    for (const write of [cache, path.dirname(cache)]) {
      expect(await create({ write: [write] })).toMatchObject({ code: "invalid_profile" });
    }
  });

  test("a file as the work folder; a path for both reading alone and writing", async () => {
    const data = userFolder();
    chmodSync(path.join(data, "data"), 0o777);
    expect(await create({ workspace: path.join(data, "data") })).toMatchObject({
      code: "invalid_profile",
      message: expect.stringContaining("no folder"),
    });
    expect(await create({ read: [data], write: [data] })).toMatchObject({ code: "invalid_profile" });
  });

  test("what the user of session code may not use, with what to do", async (context) => {
    if (process.getuid?.() !== 0) return context.skip("session code runs as the daemon's user");
    const data = userFolder();
    chmodSync(data, 0o700);
    const answer = await create({ read: [data] });
    expect(answer).toMatchObject({ code: "invalid_profile", remedy: expect.stringContaining("chown -R") });
  });

  test("destinations that are none", async () => {
    for (const text of ["example.com", "https://example.com:443", "*.example.com:443", "0x7f.1:80"]) {
      expect((await create({ allow_net: [text] })).code, text).toMatch(/^invalid_(request|profile)$/);
    }
  });

  test("a link that has taken a granted folder's place", async () => {
    const data = userFolder();
    const session = newName();
    await run({ read: [data] }, "1", session);
    renameSync(data, `${data}.away`);
    symlinkSync("/etc", data);
    // The kernel that runs still has what it was given.
    expect((await client.execute({ session, code: "2" })).result?.text).toBe("2");
    await client.resetSession(session);
    await expect(client.execute({ session, code: "3" })).rejects.toMatchObject({
      code: "invalid_profile",
      message: expect.stringContaining("is a link now"),
    });
    rmSync(data);
    renameSync(`${data}.away`, data);
    expect((await client.execute({ session, code: `open('${data}/data').read()` })).result?.text).toBe(
      "'theirs'",
    );
  });
});

/** The error of a request for a session with this profile. */
async function create(profile: object): Promise<{ code?: string; message?: string; remedy?: string }> {
  const body = JSON.stringify({ name: newName(), profile });
  const { json } = await raw(home.home, "POST", "/v1/sessions", body);
  const { error } = json as { error?: { code: string } };
  return error ?? json;
}

bounded("a profile", () => {
  test("is shown, holds for the session, and survives the daemon", async () => {
    const session = newName();
    const grants = ["--memory", "300MiB", "--cpus", "1", "--wall", "10s", "--no-install"];
    await execute(home.home, ["run", "-s", session, ...grants, "-c", "1"]);
    const shown = async () => {
      const { stdout } = await execute(home.home, ["session", "show", session, "--json"]);
      return (JSON.parse(stdout) as { profile: object }).profile;
    };
    const profile = await shown();
    expect(profile).toMatchObject({
      read: [],
      workspace: null,
      memory_bytes: 300 * MIB,
      cpus: 1,
      wall_ms: 10_000,
      install: false,
    });
    await client.stop({ drainMs: 0 });
    expect(await shown()).toEqual(profile);
    const code = "import os; len(os.sched_getaffinity(0))";
    expect((await client.execute({ session, code })).result?.text).toBe("1");
  });

  test("that differs from the session's is refused; one that agrees, and none, are not", async () => {
    const session = newName();
    await run({ memoryBytes: 300 * MIB, cpus: 1 }, "x = 1", session);
    await expect(run({ memoryBytes: 400 * MIB }, "x", session)).rejects.toMatchObject({
      code: "session_profile",
      message: expect.stringContaining(`memory_bytes ${300 * MIB}`),
    });
    await expect(run({ read: [folder] }, "x", session)).rejects.toMatchObject({ code: "session_profile" });
    expect((await run({ cpus: 1 }, "x", session)).result?.text).toBe("1");
    expect((await client.execute({ session, code: "x" })).result?.text).toBe("1");
  });

  test("of a session that asks for nothing leaves the warm path open", async () => {
    await using own = await testHome();
    const deadline = performance.now() + 10_000;
    while ((await own.client.health()).warm === 0 && performance.now() < deadline);
    const before = await own.client.createSession({ name: "warm", grants: {} });
    expect(before.pid).not.toBeNull();
    const cold = await own.client.createSession({ name: "cold", grants: { cpus: 1 } });
    expect(cold.pid).toBeNull();
  });

  test("without isolation promises no limits of what is not limited", async () => {
    const refused = client.createSession({ isolation: "none", grants: { cpus: 1 } });
    await expect(refused).rejects.toMatchObject({ code: "invalid_profile" });
    const network = client.createSession({ isolation: "none", grants: { allowNet: ["example.com:443"] } });
    await expect(network).rejects.toMatchObject({ code: "invalid_profile" });
  });
});

bounded("processors, processes, output and time", () => {
  test("processors, and what numeric libraries are told", async () => {
    const code =
      "import os, subprocess; len(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'], subprocess.run(['nproc'], env={'PATH': os.environ['PATH']}, capture_output=True, text=True).stdout";
    expect((await run({ cpus: 1 }, code)).result?.text).toBe("(1, '1', '1', '1\\n')");
  });

  test("sessions with one processor each are spread", async () => {
    const code = "import os; sorted(os.sched_getaffinity(0))";
    const used = await Promise.all([1, 2].map(async () => (await run({ cpus: 1 }, code)).result?.text));
    const all = (await client.execute({ session: newName(), code })).result?.text;
    if (all?.includes(",") === true) expect(new Set(used).size).toBe(2);
  });

  test("processes", async () => {
    const code = `import errno, os, time
made = []
try:
    while len(made) < 100:
        pid = os.fork()
        if pid == 0: time.sleep(60)
        made.append(pid)
except OSError as error: ended = errno.errorcode[error.errno]
for pid in made: os.kill(pid, 9); os.waitpid(pid, 0)
ended, len(made) < 24`;
    expect((await run({ processes: 24 }, code)).result?.text).toBe("('EAGAIN', True)");
  });

  test("output beyond the bound is counted, and dropped", async () => {
    const session = newName();
    const record = await run({ outputBytes: 4_096 }, "print('x' * 100_000, end='')", session);
    expect(record).toMatchObject({ status: "ok", truncated: { stdout_bytes: 100_000 - 4_096 } });
    expect((await client.output(record.id, "stdout")).length).toBe(4_096);
  });

  test("time", async () => {
    const session = newName();
    const record = await run({ wallMs: 300 }, "kept = 1\nimport time; time.sleep(60)", session);
    const message = "wall time limit 0.3 s exceeded; raise with --wall when the session is created";
    expect(record).toMatchObject({ status: "timed_out", state: "retained", error: { message } });
    expect(record.duration_ms).toBeLessThan(5_000);
    expect((await client.execute({ session, code: "kept" })).result?.text).toBe("1");
    // Each execution has it anew; waiting for its turn does not count.
    const slow = [1, 2, 3].map(() => client.execute({ session, code: "time.sleep(0.15); 'whole'" }));
    for (const each of await Promise.all(slow)) expect(each.result?.text).toBe("'whole'");
  });

  test("time of code that ignores interrupts", async () => {
    const code =
      "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\nwhile True:\n    try:\n        while True: pass\n    except BaseException: pass";
    const record = await run({ wallMs: 300 }, code);
    expect(record).toMatchObject({
      status: "timed_out",
      state: "lost",
      error: { type: "LimitExceeded", message: expect.stringContaining("wall time limit 0.3 s exceeded") },
    });
  });
});

bounded("memory", () => {
  const grants: Grants = { memoryBytes: 200 * MIB };
  const message = "memory limit 200 MiB exceeded; raise with --memory when the session is created";
  const LIBC = "import ctypes, os, time\nlibc = ctypes.CDLL(None)\n";
  const FILL = `def fill(mebibytes):
    held = bytearray(mebibytes << 20)
    for at in range(0, len(held), 4096): held[at] = 1
    return held
`;

  test("of one process is an error that code can handle", async () => {
    const session = newName();
    const record = await run(grants, "kept = 1\nheld = bytearray(1 << 30)", session);
    expect(record).toMatchObject({
      status: "error",
      state: "retained",
      error: { type: "MemoryError", message },
    });
    expect((await client.execute({ session, code: "kept" })).result?.text).toBe("1");
  });

  /** Each must end its session, whose next execution says so; another session goes on meanwhile. */
  const attempts: ReadonlyArray<readonly [name: string, code: string]> = [
    [
      "of many processes",
      `${FILL}import os, time\nfor _ in range(6):\n    if os.fork() == 0: held = fill(50); time.sleep(60); os._exit(0)\ntime.sleep(60)`,
    ],
    [
      "of processes that hide",
      `${LIBC}${FILL}for _ in range(6):\n    if os.fork() == 0: libc.prctl(4, 0, 0, 0, 0); held = fill(50); time.sleep(60); os._exit(0)\ntime.sleep(60)`,
    ],
    [
      "of orphans in process sessions of their own",
      `${FILL}import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0: held = fill(50); time.sleep(60)\n        os._exit(0)\ntime.sleep(60)`,
    ],
    [
      "shared without a file",
      "import mmap, time\nheld = []\nfor _ in range(6):\n    one = mmap.mmap(-1, 50 << 20); one.write(bytes(50 << 20)); held.append(one)\ntime.sleep(60)",
    ],
    [
      "of files in /tmp and /dev/shm together",
      "import os, time\nfor file in ('/tmp/a', '/dev/shm/a'):\n    with open(file, 'wb') as f:\n        for _ in range(120): f.write(bytes(1 << 20))\ntime.sleep(60)",
    ],
    [
      "of files in memory that have no name any more",
      "import os, time\nheld = []\nfor file in ('/tmp/a', '/dev/shm/a'):\n    f = open(file, 'wb'); os.remove(file); held.append(f)\n    for _ in range(120): f.write(bytes(1 << 20))\n    f.flush()\ntime.sleep(60)",
    ],
    [
      "of empty files in memory",
      "import os, time\nfor number in range(400_000): os.close(os.open(f'/tmp/{number}', os.O_CREAT | os.O_WRONLY))\ntime.sleep(60)",
    ],
  ];
  test.concurrent.for(attempts)("%s ends the session alone", async ([name, code], context) => {
    if (tier !== "sandbox" && /files/.test(name)) return context.skip("the tier has no /tmp of its own");
    const session = newName();
    const other = newName();
    await client.execute({ session: other, code: "calm = 1" });
    const attempt = run(grants, code, session);
    const began = performance.now();
    expect((await client.execute({ session: other, code: "calm" })).result?.text).toBe("1");
    expect(performance.now() - began).toBeLessThan(2_000);
    const record = await attempt;
    expect(record).toMatchObject({
      status: "crashed",
      state: "lost",
      generation: 1,
      error: { type: "LimitExceeded", message },
    });
    const next = await client.execute({ session, code: "'anew'" });
    expect(next).toMatchObject({ result: { text: "'anew'" }, state: "lost", generation: 2 });
    expect((await client.execute({ session: other, code: "calm" })).result?.text).toBe("1");
  });

  test("that processes share counts once", async () => {
    const code = `${FILL}import os, time
held = fill(80)
for _ in range(6):
    if os.fork() == 0: time.sleep(1.5); os._exit(0)
for _ in range(6): os.wait()
'once'`;
    expect((await run(grants, code)).result?.text).toBe("'once'");
  });

  test("that is shared and mapped counts once", async () => {
    const code = `from multiprocessing.shared_memory import SharedMemory
import time
shared = SharedMemory(create=True, size=120 << 20)
for at in range(0, 120 << 20, 4096): shared.buf[at] = 1
time.sleep(1); shared.close(); shared.unlink()
'once'`;
    expect((await run(grants, code)).result?.text).toBe("'once'");
  });
});

bounded("the disk", () => {
  const grants: Grants = { diskBytes: 8 * MIB };
  const message = "disk limit 8 MiB exceeded; raise with --disk when the session is created";
  const exceeded = { status: "crashed", error: { type: "LimitExceeded", message } };

  test("one file is an error that code can handle", async () => {
    const record = await run(
      grants,
      outcomes("open('big', 'wb').write(bytes(20 << 20))", "os.path.getsize('big')"),
    );
    expect(record.result?.text).toBe(`['EFBIG', ${8 * MIB}]`);
  });

  test.concurrent("many files, after which the session can make room", async () => {
    const session = newName();
    const code =
      "import time\nfor number in range(300): open(str(number), 'wb').write(bytes(1 << 16))\ntime.sleep(60)";
    expect(await run(grants, code, session)).toMatchObject(exceeded);
    const room = await client.execute({
      session,
      code: "import os, time\nfor name in os.listdir('.'): os.remove(name)\ntime.sleep(3); os.listdir('.')",
    });
    expect(room).toMatchObject({ result: { text: "[]" }, state: "lost", generation: 2 });
    // Who has made room has all of it again.
    const again = await client.execute({ session, code: "open('some', 'wb').write(bytes(4 << 20))" });
    expect(again.status).toBe("ok");
  });

  const attempts: ReadonlyArray<readonly [name: string, code: string]> = [
    [
      "files that have no name any more and are open",
      "held = []\nfor _ in range(5):\n    f = open('f', 'wb'); os.remove('f'); f.write(bytes(4 << 20)); f.flush(); held.append(f)",
    ],
    [
      "folders deeper than any path",
      "for _ in range(60): os.mkdir('d' * 200); os.chdir('d' * 200)\nfor number in range(300): open(str(number), 'wb').write(bytes(1 << 16))",
    ],
    [
      "folders that their owner may not enter",
      "os.mkdir('barred')\nheld = [open(f'barred/{number}', 'wb') for number in range(5)]\nos.chmod('barred', 0)\nfor f in held: f.write(bytes(4 << 20)); f.flush()",
    ],
    [
      "files without content",
      "for number in range(60_000): os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY))",
    ],
    [
      "names that are no text",
      "for number in range(300): open(b'\\n\\xff' + str(number).encode(), 'wb').write(bytes(1 << 16))",
    ],
  ];
  test.concurrent.for(attempts)("%s", async ([, code]) => {
    expect(await run(grants, `import os, time\n${code}\ntime.sleep(60)`)).toMatchObject(exceeded);
  });

  test.concurrent.for(["sandbox", "reduced"] as const)(
    "temporary files, in the tier %s",
    async (isolation, context) => {
      if (isolation === "sandbox" && tier !== "sandbox") return context.skip("there is no sandbox here");
      const record = await client.execute({
        session: newName(),
        isolation,
        grants: { ...grants, memoryBytes: 200 * MIB },
        code: "import os, tempfile, time\nfor number in range(800): open(os.path.join(tempfile.gettempdir(), str(number)), 'wb').write(bytes(1 << 18))\ntime.sleep(60)",
        timeoutMs: 25_000,
      });
      const limit = isolation === "sandbox" ? "memory limit 200 MiB" : "disk limit 8 MiB";
      expect(record).toMatchObject({
        status: "crashed",
        error: { type: "LimitExceeded", message: expect.stringContaining(limit) },
      });
    },
  );

  test.concurrent("what is there already does not count against a session that only reads it", async () => {
    const work = userFolder();
    writeFileSync(path.join(work, "big"), Buffer.alloc(20 * MIB, 1));
    const record = await run(
      { ...grants, workspace: work },
      "import time; time.sleep(2.5); len(open('big', 'rb').read())",
    );
    expect(record.result?.text).toBe(String(20 * MIB));
  });
});
