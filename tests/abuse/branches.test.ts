/** Branches: session code that forges them, hoards them, or would outlive the daemon with them. */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/contract/limits.ts";
import { type Client, connect } from "../../src/sdk/index.ts";
import { temporaryFolder } from "../support/home.ts";
import { arena, attack, counted, userArena } from "./attack.ts";

const at = arena();
const userAt = userArena();

/** What a kernel has to say to the daemon, and where. */
const WIRE = `import json, os, socket, stat, struct, time
def frame(value):
    body = json.dumps(value).encode()
    return struct.pack('>I', len(body)) + body
def channels():
    found = []
    for name in os.listdir('/proc/self/fd'):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode) and 'kernel.sock' in str(socket.socket(fileno=os.dup(int(name))).getpeername()): found.append(int(name))
        except OSError: pass
    return found
def dialled(hello):
    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect('/run/k/kernel.sock')
    s.sendall(frame(hello))
    return s
def closed(s):
    try: return s.recv(1) == b''
    except ConnectionResetError: return True
def branched(request, pids, **more):
    return {'type': 'branched', 'request': request, 'pids': pids, 'unsafe': [], 'error': None, **more}
`;

describe("the listener", () => {
  attack(at, userAt, [
    {
      name: "a nonce that is nobody's",
      code: `${WIRE}[closed(dialled({'type': 'hello', 'protocol': 1, 'nonce': nonce, 'pid': os.getpid()})) for nonce in ('', '0' * 32, 'k1', 'x' * 60_000)]`,
      ends: "[True, True, True, True]",
      reduced: null,
    },
    {
      name: "the nonce of this very kernel, again",
      code: `${WIRE}import gc
gc.unfreeze()
kernels = [one for one in gc.get_objects() if type(one).__name__ == 'Kernel' and hasattr(one, '_nonce')]
[closed(dialled({'type': 'hello', 'protocol': 1, 'nonce': one._nonce, 'pid': os.getpid()})) for one in kernels]`,
      ends: "[True]",
      reduced: null,
    },
    {
      name: "a frame that is no greeting",
      code: `${WIRE}[closed(dialled(one)) for one in (branched('r1', [1]), {'type': 'captured', 'manifest': {'version': 1, 'variables': [], 'blobs': []}}, [], {'type': 'hello'})]`,
      ends: "[True, True, True, True]",
      reduced: null,
    },
    {
      name: "connections without end that say nothing",
      code: `${WIRE}held = []
for _ in range(200):
    s = socket.socket(socket.AF_UNIX); s.setblocking(False)
    try: s.connect('/run/k/kernel.sock')
    except OSError: pass
    held.append(s)
len(held)`,
      ends: "200",
      reduced: null,
    },
    {
      name: "a connection that the supervisor makes, to what is nobody's",
      code: "import os, socket, stat\nfound = []\nfor name in os.listdir('/proc/self/fd'):\n    try:\n        s = socket.socket(fileno=os.dup(int(name)))\n    except OSError: continue\n    if s.type != socket.SOCK_SEQPACKET: continue\n    s.send(b'd'); _, told, _, _ = s.recvmsg(1, 64)\n    c = socket.socket(fileno=int.from_bytes(told[0][2], 'little')); c.setblocking(True); c.sendall(b'\\0\\0\\0\\x02{}')\n    try: found.append(c.recv(1))\n    except ConnectionResetError: found.append(b'')\nfound",
      ends: "[]",
      reduced: "[b'']",
    },
  ]);
});

/** As /proc says it: T for stopped, Z for a zombie. */
function stateOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)![0]!;
  } catch {
    return "gone";
  }
}

describe("forged answers", () => {
  /**
   * Code that stops its kernel when that is idle, and answers the next request to fork in its place. `pids` is an
   * expression for the processes that it names.
   */
  const answering = (pids: string): string => `${WIRE}import select
channel, kernel = channels()[0], os.getpid()
if os.fork() == 0:
    time.sleep(0.3)
    os.kill(kernel, 19)
    select.select([channel], [], [])
    request = json.loads(os.read(channel, 65536)[4:])
    os.write(channel, frame(branched(request['request'], ${pids})))
    os.kill(kernel, 18); os._exit(0)
None`;

  test.each([
    ["foreign processes", "[1, 2, os.getppid(), os.getpid(), 2 ** 31 - 1]"],
    ["more than were asked for", "list(range(1, 2000))"],
    ["numbers that are none", "[0, -1, 2 ** 60]"],
    ["nobody", "[]"],
  ])(
    "that name %s harm nobody else",
    async (what, pids) => {
      const { client } = at();
      const victim = `victim of ${what}`.replaceAll(" ", "-");
      const forger = `forger of ${what}`.replaceAll(" ", "-");
      const created = await client.createSession({ name: forger, snapshots: "named", capture: "named" });
      expect(created.isolation).toBe("sandbox");
      await client.execute({ session: forger, code: "x = 1" });
      // Both live in one box: nowhere could more be done.
      await client.fork(forger, { names: [victim] });
      await client.execute({ session: victim, code: "y = 1" });
      const before = await client.showSession(victim);
      await client.execute({ session: forger, code: answering(pids) });
      const { pid } = await client.showSession(forger);
      await expect.poll(() => stateOf(pid!)).toBe("T");
      const fork = client.fork(forger, { onUnsafe: "warn" }).then(
        ({ sessions }) => sessions.length,
        (error: { code: string }) => error.code,
      );
      expect([1, "kernel_start_failed", "fork_failed", "kernel_gone"]).toContain(await fork);
      counted();
      expect(await client.execute({ session: victim, code: "x, y" })).toMatchObject({
        result: { text: "(1, 1)" },
        generation: before.generation,
        state: "retained",
      });
      expect((await client.execute({ session: forger, code: "'anew'" })).result?.text).toBe("'anew'");
      await client.closeSession(forger);
      expect((await client.execute({ session: victim, code: "y" })).result?.text).toBe("1");
      await client.closeSession(victim);
    },
    60_000,
  );

  test("that nobody has asked for end their kernel, or nothing", async () => {
    const { client } = at();
    for (const [number, forged] of [
      "branched('r1', [1, 2])",
      "branched('r99', [os.getpid()], unsafe=[{'kind': 'ghost'}])",
      "{'type': 'captured', 'manifest': {'version': 1, 'variables': [], 'blobs': [{'digest': '../../x', 'bytes': 1}]}}",
      "{'type': 'offer', 'contents': [{'digest': 'a' * 64, 'bytes': 2 ** 50}]}",
      "{'type': 'restored', 'request': 'r1', 'variables': [], 'replayed': [], 'error': None}",
    ].entries()) {
      const session = `unasked-${number}`;
      await client.execute({ session, code: "x = 1" });
      const record = await client.execute({
        session,
        code: `${WIRE}for channel in channels(): os.write(channel, frame(${forged}))`,
      });
      expect(["ok", "crashed"]).toContain(record.status);
      counted();
      // Its kernel may be on its way out when the next execution begins.
      await expect
        .poll(async () => (await client.execute({ session, code: "'anew'" })).result?.text, {
          timeout: 20_000,
        })
        .toBe("'anew'");
    }
  });
});

describe("snapshots", () => {
  test("beyond the cap are refused, and cost nobody else anything", async () => {
    const { client } = at();
    const session = "hoarder";
    await client.createSession({ name: session, snapshots: "named", capture: "named" });
    await client.execute({ session, code: "x = 1" });
    const made: string[] = [];
    const refusals = new Set<string>();
    for (let number = 0; number < 1_000; number++) {
      await client.snapshot(session, `s${number}`).then(
        ({ id }) => made.push(id),
        (error: { code: string }) => refusals.add(error.code),
      );
    }
    counted();
    expect(made).toHaveLength(LIMITS.namedSnapshots);
    expect([...refusals]).toEqual(["too_many_snapshots"]);
    const processes = "len([p for p in __import__('os').listdir('/proc') if p.isdigit()])";
    const count = async (): Promise<number> =>
      Number((await client.execute({ session, code: processes })).result?.text);
    // Process 1, the kernel, and a process for each.
    expect(await count()).toBe(2 + made.length);
    for (let number = 0; number < 100; number++) await client.snapshot(session);
    await expect.poll(count).toBe(2 + made.length + LIMITS.liveSnapshots);
    for (const id of made) await client.dropSnapshot(session, id);
    await expect.poll(count).toBe(2 + LIMITS.liveSnapshots);
    await client.closeSession(session);
  }, 120_000);

  test("that session code kills are no more there, and it goes on", async () => {
    const { client } = at();
    const session = "fratricide";
    await client.execute({ session, code: "x = 1; import os" });
    await client.snapshot(session, "mine");
    const code =
      "for p in os.listdir('/proc'):\n    if p.isdigit() and int(p) not in (1, os.getpid()): os.kill(int(p), 9)";
    expect((await client.execute({ session, code })).status).toBe("ok");
    counted();
    await expect
      .poll(async () => (await client.snapshots(session)).map(({ name }) => name))
      .not.toContain("mine");
    await expect(client.rollback(session, "mine")).rejects.toMatchObject({ code: "unknown_snapshot" });
    expect(await client.execute({ session, code: "x" })).toMatchObject({
      result: { text: "1" },
      generation: 1,
    });
  });

  test("and forks at the limit of processes: refused, and nothing is lost", async () => {
    const { client } = at();
    const session = "crowded";
    await client.createSession({ name: session, grants: { processes: 12 }, capture: "named" });
    await client.execute({ session, code: "x = 1" });
    await expect(client.fork(session, { count: 30 })).rejects.toMatchObject({
      code: "fork_failed",
      remedy: expect.stringContaining("--processes"),
    });
    counted();
    expect(await client.execute({ session, code: "x" })).toMatchObject({
      result: { text: "1" },
      generation: 1,
      state: "retained",
    });
    // None of those that were made before the refusal is left.
    const processes = "len([p for p in __import__('os').listdir('/proc') if p.isdigit()])";
    await expect
      .poll(async () => Number((await client.execute({ session, code: processes })).result?.text))
      .toBeLessThanOrEqual(4);
    expect((await client.fork(session)).sessions).toHaveLength(1);
  });
});

describe("the daemon's death", () => {
  /** Processes that have the home in their command line, and are no zombies. */
  const processesOf = (home: string): number[] =>
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(home);
        } catch {
          return false;
        }
      });

  test.each(["sandbox", "reduced", "none"] as const)(
    "ends snapshots and forks, in the tier %s",
    async (isolation) => {
      const home = temporaryFolder();
      const client: Client = await connect({ home, env: { ...process.env, EXECUTE_CODE_WARM: "0" } });
      try {
        await client.createSession({ name: "main", isolation });
        await client.execute({ session: "main", code: "x = 1; import os, time" });
        await client.snapshot("main", "kept");
        const { sessions } = await client.fork("main", { count: 3 });
        await client.execute({ session: sessions[0]!.name, code: "while True: pass", timeoutMs: 100 });
        await client.execute({
          session: sessions[1]!.name,
          code: "os.fork() or time.sleep(600)",
          timeoutMs: 100,
        });
        const pids = [await client.showSession("main"), ...sessions].map(({ pid }) => pid!);
        expect(pids.every((pid) => existsSync(`/proc/${pid}`))).toBe(true);
        const { pid } = await client.health();
        process.kill(pid, "SIGKILL");
        await expect
          .poll(() => pids.map(stateOf).filter((one) => one !== "gone" && one !== "Z"), { timeout: 5_000 })
          .toEqual([]);
        await expect.poll(() => processesOf(home), { timeout: 5_000 }).toEqual([]);
        counted();
      } finally {
        await client.close();
        rmSync(home, { recursive: true, force: true });
      }
    },
  );
});
