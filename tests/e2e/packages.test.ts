/** Packages of a session's own, from an index that is the test's. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { homedir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ExecutionEvent } from "../../src/contract/events.ts";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import type { Client } from "../../src/sdk/index.ts";
import { execute } from "../cli/program.ts";
import { type TestHome, temporaryFolder, testHome } from "../support/home.ts";
import { type FakeIndex, packageIndex } from "../support/package-index.ts";

const MIB = 1024 ** 2;
const hasPip = spawnSync("python3", ["-I", "-m", "pip", "--version"]).status === 0;
const suite = hasPip ? describe : describe.skip;
if (!hasPip) console.warn("python3 has no pip: nothing is installed in these tests");

/** Tries what a package has no business with while it is built, and notes what came of it. */
function hostile(mark: string, victim: number): string {
  return `
import ctypes, errno, json, os, socket, subprocess, sys, time
def outcome(function, *arguments):
    try: return str(function(*arguments))
    except OSError as error: return errno.errorcode.get(error.errno, type(error).__name__)
def asked(connection, target):
    with connection:
        connection.sendall(f"GET http://{target}/ HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n".encode())
        return int(connection.recv(4096).split()[1])
def by_socket(target):
    connection = socket.socket(socket.AF_UNIX); connection.connect("/run/k/proxy.sock")
    return asked(connection, target)
def forked():
    made = []
    try:
        while len(made) < 2000:
            pid = os.fork()
            if pid == 0: time.sleep(30); os._exit(0)
            made.append(pid)
    finally:
        for pid in made: os.kill(pid, 9); os.waitpid(pid, 0)
libc = ctypes.CDLL(None, use_errno=True)
found = {
    "workspace": outcome(os.listdir, "/work"),
    "home": [name for name in (os.listdir(${JSON.stringify(homedir())}) if os.path.isdir(${JSON.stringify(homedir())}) else []) if name not in (".pyenv", ".local")],
    "platform": outcome(os.listdir, HOME),
    "secrets": [outcome(open, file) for file in ("/etc/shadow", "/etc/passwd")],
    "environment": [name for name in (*os.environ, open("/proc/1/environ").read()) if "SECRET" in name],
    "direct": outcome(socket.create_connection, ("1.1.1.1", 53), 2),
    "loopback": outcome(socket.create_connection, ("127.0.0.1", ${victim}), 2),
    "relay": [asked(socket.create_connection(("127.0.0.1", 3128)), target) for target in ("127.0.0.1:${victim}", "example.com", "169.254.169.254")],
    "proxy": [by_socket(target) for target in ("127.0.0.1:${victim}", "localhost:${victim}", "[::1]:${victim}")],
    "sockets": sorted(name for name in os.listdir("/run/k") if name.endswith(".sock")),
    "forks": outcome(forked),
    "kernel": outcome(open, "/opt/kernel/execute_code_kernel/kernel.py", "a"),
    "interpreter": outcome(open, os.path.join(os.path.dirname(os.__file__), "planted.py"), "w"),
    "mounts": libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "namespaces": libc.unshare(0x10000000),
    "root": os.getuid(),
}
subprocess.Popen(["sleep", "${mark}"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
with open(os.path.join(sys.prefix, "found.json"), "w") as file: json.dump(found, file)
`;
}

suite("packages", () => {
  const mark = `73${process.pid}`;
  let index: FakeIndex;
  let home: TestHome;
  let client: Client;
  let isolated = true;
  const victim = createServer((_, response) => response.end("reached"));

  beforeAll(async () => {
    await new Promise<void>((resolve) => victim.listen(0, "127.0.0.1", resolve));
    const { port } = victim.address() as { port: number };
    const platform = temporaryFolder();
    rmSync(platform, { recursive: true });
    const tell = "\ndef tell(queue): queue.put(VERSION)\n";
    index = await packageIndex([
      { name: "tiny-one", version: "1.0", module: `VERSION = "1.0"${tell}` },
      { name: "tiny-one", version: "2.0", module: `VERSION = "2.0"${tell}`, requires: ["tiny-dep>=0.1"] },
      { name: "tiny-dep", version: "0.1" },
      { name: "slow", version: "1.0" },
      {
        name: "hostile",
        version: "1.0",
        build: `HOME = ${JSON.stringify(platform)}\n${hostile(mark, port)}`,
      },
      {
        name: "filler",
        version: "1.0",
        build:
          "import os, sys, time\nfor n in range(400): open(os.path.join(sys.prefix, f'fill{n}'), 'wb').write(bytes(1 << 18))\ntime.sleep(60)",
      },
      { name: "broken", version: "1.0", build: "raise SystemExit('this cannot be built')" },
    ]);
    home = await testHome({ ...index.env, SECRET_TOKEN: "s3cret" });
    client = home.client;
    const tier = (await client.health()).isolation;
    if (tier === "reduced") throw new Error("the tests of packages need the sandbox, or no isolation");
    isolated = tier === "sandbox";
  });
  afterAll(async () => {
    await home[Symbol.asyncDispose]();
    await index[Symbol.asyncDispose]();
    victim.close();
  });

  const run = (session: string, code: string): Promise<ExecutionRecord> =>
    client.execute({ session, code, timeoutMs: 60_000 });
  const installed = (...list: Array<[string, string]>) => list.map(([name, version]) => ({ name, version }));

  test("by code: usable at once, here and in processes, with progress meanwhile", async () => {
    const events: ExecutionEvent[] = [];
    const code = "print(ec.install('tiny-one==1.0'))\nimport tiny_one\ntiny_one.VERSION";
    for await (const event of client.stream({ session: "code", code, timeoutMs: 60_000 })) events.push(event);
    const record = (events.at(-1) as { record: ExecutionRecord }).record;
    expect(record).toMatchObject({ stdout: "['tiny-one 1.0']\n", result: { text: "'1.0'" } });
    const messages = events.flatMap((event) => (event.type === "progress" ? [event.message] : []));
    expect(messages).toEqual(expect.arrayContaining([expect.stringMatching(/^Collecting tiny-one==1\.0/)]));
    const processes = await run(
      "code",
      `import multiprocessing, subprocess, sys
context = multiprocessing.get_context("spawn")
queue = context.Queue()
process = context.Process(target=tiny_one.tell, args=(queue,)); process.start()
told = queue.get(timeout=20); process.join()
told, subprocess.run([sys.executable, "-c", "import tiny_one; print(tiny_one.VERSION)"], capture_output=True, text=True).stdout`,
    );
    expect(processes.result?.text).toBe("('1.0', '1.0\\n')");
  });

  test("by the command line, a newer version and what it needs; by the client, nothing new", async () => {
    const cli = ["session", "install", "code", "tiny-one>=2", "--json"];
    const { stdout, stderr } = await execute(home.home, cli);
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toMatchObject({
      requested: ["tiny-one>=2"],
      installed: installed(["tiny-dep", "0.1"], ["tiny-one", "2.0"]),
    });
    const again = await client.install("code", ["tiny-one", "tiny-dep==0.1"]);
    expect(again.installed).toEqual([]);
    expect((await run("code", "import tiny_dep; tiny_dep.VERSION")).result?.text).toBe("'0.1'");
    // A module that is imported stays what it is until it is loaded anew.
    const reloaded =
      "before = tiny_one.VERSION\nimport importlib; importlib.reload(tiny_one)\nbefore, tiny_one.VERSION";
    expect((await run("code", reloaded)).result?.text).toBe("('1.0', '2.0')");
  });

  test("are the session's alone, are shown, and stay after its kernel and the daemon", async () => {
    expect((await run("other", "import tiny_one")).error?.type).toBe("ModuleNotFoundError");
    const own = installed(["tiny-dep", "0.1"], ["tiny-one", "2.0"]);
    expect((await client.showSession("other")).packages).toEqual([]);
    await client.resetSession("code");
    expect((await run("code", "import tiny_one; tiny_one.VERSION")).result?.text).toBe("'2.0'");
    await client.stop({ drainMs: 0 });
    expect((await client.showSession("code")).packages).toEqual(own);
    const { stdout } = await execute(home.home, ["session", "show", "code"]);
    expect(stdout).toMatch(/packages +tiny-dep 0\.1, tiny-one 2\.0\n/);
    expect((await run("code", "import tiny_one; tiny_one.VERSION")).result?.text).toBe("'2.0'");
  });

  test("cannot be changed by the session's code", async (context) => {
    if (!isolated) return context.skip("without isolation everything can");
    const code = `import errno, tiny_one
try: open(tiny_one.__file__, "a"); said = "opened"
except OSError as error: said = errno.errorcode[error.errno]
said`;
    expect((await run("code", code)).result?.text).toMatch(/'(EROFS|EACCES)'/);
  });

  test("a package that cannot be built is a failure with what its build said", async () => {
    await expect(client.install("other", ["broken"])).rejects.toMatchObject({
      code: "install_failed",
      message: "A package could not be built: this cannot be built.",
      details: { output: expect.stringContaining("Preparing metadata") },
    });
  });

  test("failures are errors in code, too, and the session goes on", async () => {
    const record = await run("other", "ec.install('tiny-one==9')");
    expect(record).toMatchObject({
      status: "error",
      error: {
        type: "RuntimeError",
        message: expect.stringContaining("No matching distribution found for tiny-one==9."),
      },
    });
    expect((await run("other", "'on'")).result?.text).toBe("'on'");
  });

  test("what is no name is refused before anything runs", async () => {
    const before = index.asked.length;
    const names = [
      "-r requirements.txt",
      "--index-url=http://evil.example/simple",
      "-e .",
      "./folder",
      "/etc/passwd",
      "https://evil.example/a.whl",
      "git+https://evil.example/a",
      "a @ https://evil.example/a.whl",
      "a.whl;x",
      "tiny-one --pre",
      "tiny-one\n--pre",
      "tiny-one\0",
      "tiny-one==1.0 ; python_version>'3'",
      "…",
      " ",
      "$(id)",
    ];
    for (const name of names) {
      await expect(client.install("other", [name]), name).rejects.toMatchObject({ code: "invalid_request" });
    }
    expect((await run("other", "ec.install('-r x')")).error?.message).toContain(
      "is not the name of a package",
    );
    expect((await run("other", "ec.install()")).error?.type).toBe("TypeError");
    expect(index.asked.length).toBe(before);
  });

  test("a session without the right to install says so", async () => {
    const record = await client.execute({
      session: "fixed",
      grants: { install: false },
      code: "ec.install('tiny-one')",
    });
    expect(record.error).toMatchObject({
      type: "RuntimeError",
      message: expect.stringContaining("--no-install"),
    });
  });

  test("an installation ends with its time", async () => {
    const hold = index.hold("slow");
    const failed = client.install("other", ["slow"], { timeoutMs: 3_000 });
    await expect(failed).rejects.toMatchObject({
      code: "install_failed",
      message: "The time was over before the packages were installed.",
    });
    hold.letGo();
    expect(installers()).toEqual([]);
    // What was begun is no obstacle.
    expect((await client.install("other", ["slow"])).installed).toEqual(installed(["slow", "1.0"]));
  });

  test("an index that is down, an interpreter without pip, and one that is a virtual environment", async () => {
    const folder = temporaryFolder();
    const bare = path.join(folder, "bare");
    const seeing = path.join(folder, "seeing");
    execFileSync("python3", ["-m", "venv", "--without-pip", bare]);
    execFileSync("python3", ["-m", "venv", "--without-pip", "--system-site-packages", seeing]);
    const { version } = (await client.health()).python!;
    const site = path.join(
      seeing,
      "lib",
      `python${version.split(".").slice(0, 2).join(".")}`,
      "site-packages",
    );
    mkdirSync(site, { recursive: true });
    writeFileSync(path.join(site, "of_the_environment.py"), "VERSION = 'theirs'\n");
    execFileSync("chmod", ["-R", "a+rX", folder]);

    await client.createSession({ name: "bare", python: path.join(bare, "bin/python") });
    await expect(client.install("bare", ["tiny-one"])).rejects.toMatchObject({
      code: "install_failed",
      message: expect.stringMatching(/bare\/bin\/python\S* has no pip\.$/),
      remedy: expect.stringContaining("-m ensurepip"),
    });

    const closed = await packageIndex([]);
    await closed[Symbol.asyncDispose]();
    const env = { ...index.env, EXECUTE_CODE_PYTHON: path.join(seeing, "bin/python") };
    {
      await using own = await testHome(env);
      await own.client.execute({ session: "venv", code: "1" });
      await own.client.install("venv", ["tiny-one==1.0"]);
      const code =
        "import tiny_one, of_the_environment, subprocess, sys\ntiny_one.VERSION, of_the_environment.VERSION, subprocess.run([sys.executable, '-c', 'import tiny_one, of_the_environment; print(1)'], capture_output=True, text=True).stdout";
      const record = await own.client.execute({ session: "venv", code });
      expect(record.result?.text).toBe("('1.0', 'theirs', '1\\n')");
    }
    await using down = await testHome({ ...env, ...closed.env });
    await down.client.execute({ session: "down", code: "1" });
    await expect(down.client.install("down", ["tiny-one"])).rejects.toMatchObject({
      code: "install_failed",
      message: expect.stringMatching(`127.0.0.1:${closed.port} cannot be reached: .*ECONNREFUSED`),
    });
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  test("what is hostile while it is built gets nothing", async (context) => {
    if (!isolated) return context.skip("without isolation it gets everything");
    await run("victim", "open('secret', 'w').write('mine')");
    const result = await client.install("victim", ["hostile"]);
    expect(result.installed).toEqual(installed(["hostile", "1.0"]));
    const record = await run(
      "victim",
      "import json; print(json.dumps(json.load(open('/opt/env/found.json'))))",
    );
    expect(JSON.parse(record.stdout)).toEqual({
      workspace: "ENOENT",
      home: [],
      platform: "ENOENT",
      secrets: ["ENOENT", "ENOENT"],
      environment: [],
      direct: "ENETUNREACH",
      loopback: "ECONNREFUSED",
      relay: [403, 403, 403],
      proxy: [403, 403, 403],
      sockets: ["proxy.sock"],
      forks: "EAGAIN",
      kernel: expect.stringMatching(/^(EROFS|EACCES)$/),
      interpreter: expect.stringMatching(/^(EROFS|EACCES)$/),
      mounts: -1,
      namespaces: -1,
      root: 1000,
    });
    expect(processes()).not.toContain(`sleep\0${mark}`);
    expect(installers()).toEqual([]);
  });

  test("what fills the disk while it is built is ended", async (context) => {
    if (!isolated) return context.skip("without isolation nothing is bounded");
    await client.createSession({ name: "full", grants: { diskBytes: 48 * MIB } });
    await expect(client.install("full", ["filler"])).rejects.toMatchObject({
      code: "install_failed",
      message: expect.stringContaining("disk limit 48 MiB exceeded"),
    });
    expect(installers()).toEqual([]);
  });

  test("a stop of the daemon ends what installs", async () => {
    const hold = index.hold("slow");
    await client.createSession({ name: "stopped" });
    const failed = client.install("stopped", ["slow"]).catch((error: unknown) => error);
    await hold.reached;
    expect(installers()).not.toEqual([]);
    await client.stop({ drainMs: 0 });
    expect(await failed).toBeInstanceOf(Error);
    expect(installers()).toEqual([]);
    hold.letGo();
    expect((await run("stopped", "import slow")).error?.type).toBe("ModuleNotFoundError");
  });

  /** Command lines of installers of this test's daemons. */
  function installers(): string[] {
    return processes()
      .split("\n")
      .filter((line) => line.includes("installer.py") && line.includes(home.home));
  }
});

/** Command lines of all processes, their arguments separated by NUL. */
function processes(): string {
  const lines = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8");
      } catch {
        return "";
      }
    });
  return lines.join("\n");
}
