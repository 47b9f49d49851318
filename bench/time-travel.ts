/** Live snapshots, forks, rollback, captures and restore, each beside what the machine itself takes for it. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, connect } from "../src/sdk/index.ts";
import { difference, figure, latency, median, type Row, time } from "./figures.ts";

const FORKS = 20;
/** A process with a gigabyte in small objects takes long to fork, and to end. */
const LARGE_FORKS = 5;
const MANY = 100;
const ROLLBACKS = 10;
const NO_OPS = 300;
/** Between executions that are sent at a steady pace. */
const PACE_MS = 10;
const PACED = 100;
/** Captures in each run: the longest of some hundred executions is a matter of chance on a machine with other work. */
const CAPTURES = 3;
const GONE_MS = 30_000;
const INSTALL_MS = 180_000;
/** On request only: what the policies do by themselves is measured by itself. */
const BY_HAND = { snapshots: "named", capture: "named" } as const;
const ROOMY = { memoryBytes: 8 * 1024 ** 3 };

const BUFFERS = "buffers = [bytearray(b'x') * (16 << 20) for _ in range(64)]";
const OBJECTS = `
import gc
gc.disable()
objects = [[number] for number in range(8_500_000)]
gc.enable()
`;
const NUMBERS = "import numpy, pandas\nframe = pandas.DataFrame(numpy.random.rand(1_000, 10))";

/** Milliseconds that os.fork itself takes in this process; the children end at once. */
const raw = (count: number): string => `
def _raw(count):
    import json, os, time
    samples = []
    for _ in range(count):
        start = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        samples.append((time.perf_counter() - start) * 1000)
        os.waitpid(pid, 0)
    print(json.dumps(samples))
_raw(${count})
`;

export async function timeTravel(home: string, runs: number, say: (text: string) => void): Promise<Row[]> {
  await using client = await connect({ home });
  try {
    return [
      ...(await forks(client, runs, say)),
      ...(await idleSnapshots(client)),
      ...(await policies(client, runs)),
      ...(await captures(client, runs, path.join(home, "captures"))),
      ...(await restores(client, runs)),
    ];
  } finally {
    await client.stop();
  }
}

// ── forks and rollback ────────────────────────────────────────────────────────────────────────────────────────────

async function forks(client: Client, runs: number, say: (text: string) => void): Promise<Row[]> {
  const rows: Row[] = [];
  const prepare = async (session: string, code: string): Promise<void> => {
    await client.createSession({ name: session, capture: "named", grants: ROOMY });
    await client.createSession({ name: copiedOf(session), ...BY_HAND, grants: ROOMY });
    for (const name of [session, copiedOf(session)]) await run(client, name, code);
  };
  const add = async (session: string, what: string, count: number, bar: number | null): Promise<void> => {
    const { ours, copied, raw } = await forked(client, session, count, runs);
    rows.push(latency(`fork of a session ${what}`, ours, bar));
    rows.push(latency("  where it keeps no snapshots", copied, null));
    rows.push(latency("  os.fork in that session", raw, null));
    if (bar !== null) return;
    const floor = median(raw.map(median));
    rows.push(figure("  the first against os.fork", "×", median(ours.map(median)) / floor, 1.3));
    rows.push(figure("  the second against os.fork", "×", median(copied.map(median)) / floor, 1.3));
  };
  const close = async (session: string): Promise<void> => {
    for (const name of [session, copiedOf(session)]) await client.closeSession(name);
  };

  await prepare("empty", "x = 1");
  await add("empty", "that is empty", FORKS, 3);
  await close("empty");

  await prepare("numbers", "x = 1");
  const missing = await install(client, "numbers");
  if (missing === null) {
    await install(client, copiedOf("numbers"));
    for (const name of ["numbers", copiedOf("numbers")]) await run(client, name, NUMBERS);
    await add("numbers", "with NumPy and pandas", FORKS, 6);
    rows.push(latency(`${MANY} forks of it in one call`, [await fork(client, "numbers", runs, MANY)], 500));
  } else {
    say(`skipped: forks of a session with NumPy and pandas: ${missing}`);
  }
  await close("numbers");

  await prepare("buffers", BUFFERS);
  await add("buffers", "with 1 GB in buffers", FORKS, 10);
  const early = await rollbacks(client, "buffers", runs);
  rows.push(latency("rollback of that session, while its last state is still being kept", early, 10));
  const late = await rollbacks(client, copiedOf("buffers"), runs);
  rows.push(latency("  where it keeps no snapshots but those asked for", late, 10));
  await close("buffers");

  await prepare("objects", OBJECTS);
  await add("objects", "with 1 GB in small objects", LARGE_FORKS, null);
  await close("objects");
  return rows;
}

/** Why they could not be installed, or null. */
async function install(client: Client, session: string): Promise<string | null> {
  try {
    await client.install(session, ["numpy", "pandas"], { timeoutMs: INSTALL_MS });
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The session beside it that keeps no snapshots: its kernel is copied while the caller waits. */
function copiedOf(session: string): string {
  return `${session}-copied`;
}

/** Forks through the SDK, of both, and forks by the system, in turns. */
async function forked(
  client: Client,
  session: string,
  count: number,
  runs: number,
): Promise<{ ours: number[][]; copied: number[][]; raw: number[][] }> {
  const all = { ours: [] as number[][], copied: [] as number[][], raw: [] as number[][] };
  for (let i = 0; i < runs; i++) {
    all.ours.push(await fork(client, session, count, 1));
    all.copied.push(await fork(client, copiedOf(session), count, 1));
    const { stdout } = await run(client, copiedOf(session), raw(count));
    all.raw.push(JSON.parse(stdout) as number[]);
  }
  return all;
}

/** Milliseconds of each call that forks a session into so many; the new ones are closed in between. */
async function fork(client: Client, session: string, calls: number, count: number): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < calls; i++) {
    await run(client, session, "pass");
    const start = performance.now();
    const { sessions } = await client.fork(session, { count, onUnsafe: "warn" });
    samples.push(performance.now() - start);
    if (sessions.length !== count) throw new Error(`${sessions.length} sessions in place of ${count}`);
    await Promise.all(sessions.map(({ id }) => client.closeSession(id)));
  }
  return samples;
}

async function rollbacks(client: Client, session: string, runs: number): Promise<number[][]> {
  await client.snapshot(session, "before");
  const all: number[][] = [];
  for (let i = 0; i < runs; i++) {
    const samples: number[] = [];
    for (let j = 0; j < ROLLBACKS; j++) {
      await run(client, session, "buffers[0][0] = 0");
      samples.push(...(await time(1, () => client.rollback(session, "before"))));
      const { result } = await run(client, session, "buffers[0][0]");
      if (result?.text !== "120") throw new Error(`the rollback left ${result?.text}`);
    }
    all.push(samples);
  }
  return all;
}

// ── what snapshots cost ───────────────────────────────────────────────────────────────────────────────────────────

/** Of a snapshot whose session has gone on: what it still shares is not its cost. */
async function idleSnapshots(client: Client): Promise<Row[]> {
  const enabled = readFileSync("/sys/kernel/mm/transparent_hugepage/enabled", "utf8");
  const huge = /\[(\w+)\]/.exec(enabled)?.[1] ?? "unknown";
  const measure = async (isolation: "sandbox" | "none"): Promise<number> => {
    const name = `idle-${isolation}`;
    await client.createSession({ name, ...BY_HAND, isolation });
    await run(client, name, "x = 1");
    const kernel = (await client.showSession(name)).pid!;
    const before = new Set(siblings(kernel));
    await client.snapshot(name);
    const [snapshot] = siblings(kernel).filter((pid) => !before.has(pid));
    if (snapshot === undefined) throw new Error("there is no process of the snapshot");
    for (let i = 0; i < 20; i++) await run(client, name, `x = ${i}`);
    const rollup = readFileSync(`/proc/${snapshot}/smaps_rollup`, "utf8");
    await client.closeSession(name);
    return [...rollup.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce((sum, [, kb]) => sum + Number(kb), 0);
  };
  const sandbox = await measure("sandbox");
  const none = await measure("none");
  return [
    figure(`idle snapshot: private memory (huge pages: ${huge}, asked for)`, "MB", sandbox / 1_000, 1.5),
    figure("  without isolation, where huge pages are not asked for", "MB", none / 1_000, null),
  ];
}

/** Children of the same parent. */
function siblings(pid: number): number[] {
  const parent = parentOf(pid);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => parentOf(candidate) === parent);
}

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
  } catch {
    return -1; // It has just ended.
  }
}

/** A no-op under the default policies against one without, in turns. */
async function policies(client: Client, runs: number): Promise<Row[]> {
  const names = ["default", "by-hand"] as const;
  await client.createSession({ name: names[0] });
  await client.createSession({ name: names[1], ...BY_HAND });
  for (const name of names) await run(client, name, "x = 1");
  for (let i = 0; i < NO_OPS; i++) for (const name of names) await run(client, name, "pass");
  const all = { default: [] as number[][], "by-hand": [] as number[][] };
  for (let i = 0; i < runs; i++) {
    const taken = { default: [] as number[], "by-hand": [] as number[] };
    for (let j = 0; j < NO_OPS; j++) {
      for (const name of j % 2 === 0 ? names : names.toReversed()) {
        taken[name].push(...(await time(1, () => run(client, name, "pass"))));
      }
    }
    for (const name of names) all[name].push(taken[name]);
  }
  const ratio = median(all.default.map(median)) / median(all["by-hand"].map(median));
  for (const name of names) await client.closeSession(name);
  return [
    latency("no-op execution, snapshots and captures by policy", all.default, null),
    latency("  the same, both on request only", all["by-hand"], null),
    figure("  ratio of the medians", "×", ratio, 1.1),
  ];
}

// ── the disk ──────────────────────────────────────────────────────────────────────────────────────────────────────

async function captures(client: Client, runs: number, folder: string): Promise<Row[]> {
  const session = "captured";
  await client.createSession({ name: session, capture: "named" });
  const alone: number[] = [];
  const beside: number[] = [];
  const took: number[] = [];
  let rewritten = 0;
  for (let i = 0; i < runs * CAPTURES; i++) {
    await run(client, session, "import os\ndata = [os.urandom(10 << 20) for _ in range(10)]");
    const before = await paced(client, session, () => Promise.resolve());
    const during = await paced(client, session, async () => {
      took.push(...(await time(1, () => client.capture(session, `first-${i}`))));
    });
    alone.push(Math.max(...before) - median(before));
    beside.push(Math.max(...during) - median(before));

    const files = stored(folder);
    const again = await client.capture(session, `again-${i}`);
    rewritten = Math.max(rewritten, again.new_bytes, files === stored(folder) ? 0 : 1);
  }
  await client.closeSession(session);
  const added = beside.map((delay, i) => delay - alone[i]!);
  return [
    latency("capture of 100 MB that are new", [took], null),
    latency("  longest delay of an execution meanwhile, beyond the median without", [beside], 5),
    latency("  longest at the same pace without a capture, beyond its median", [alone], null),
    difference("  what a capture adds to the longest delay", added, null),
    figure("capture of what has not changed: new bytes", "bytes", rewritten, 0),
  ];
}

/** Milliseconds from when each execution was due to its end, while the work is under way and at least so many. */
async function paced(client: Client, session: string, work: () => Promise<void>): Promise<number[]> {
  const samples: number[] = [];
  let over = false;
  let due = performance.now() + PACE_MS;
  const send = async (): Promise<void> => {
    await sleep(Math.max(0, due - performance.now()));
    const sent = Math.max(due, performance.now() - 1); // A timer's own lag is not the session's.
    await run(client, session, "pass");
    samples.push(performance.now() - sent);
    due = Math.max(due + PACE_MS, performance.now());
  };
  for (let i = 0; i < PACED / 10; i++) await send();
  samples.length = 0;
  const working = work().finally(() => {
    over = true;
  });
  while (!over || samples.length < PACED) await send();
  await working;
  return samples;
}

/** Every file below the folder, with its size and its last change. */
function stored(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      const { size, mtimeMs } = statSync(file);
      return `${file} ${size} ${mtimeMs}`;
    })
    .toSorted()
    .join("\n");
}

const LARGE = `
import os
blocks = [os.urandom(10 << 20) for _ in range(10)]
records = [{"id": number, "name": f"name {number}", "share": number / 7} for number in range(280_000)]
`;

async function restores(client: Client, runs: number): Promise<Row[]> {
  const session = "restored";
  await client.createSession({ name: session, ...BY_HAND });
  await run(client, session, LARGE);
  await client.capture(session);
  const took: number[] = [];
  for (let i = 0; i < runs; i++) {
    process.kill((await client.showSession(session)).pid!, "SIGKILL");
    for (const until = Date.now() + GONE_MS; (await client.showSession(session)).state !== "crashed"; ) {
      if (Date.now() > until) throw new Error("the kernel did not end");
      await sleep(10);
    }
    const start = performance.now();
    const { variables } = await client.restoreSession(session);
    took.push(performance.now() - start);
    const lost = variables.filter(({ outcome }) => outcome !== "restored");
    if (lost.length > 0) throw new Error(`not restored: ${JSON.stringify(lost)}`);
    const { result } = await run(client, session, "len(blocks), len(records)");
    if (result?.text !== "(10, 280000)") throw new Error(`wrong after the restore: ${result?.text}`);
  }
  await client.closeSession(session);
  return [latency("restore of 200 MB after the kernel's end", [took], 2_000)];
}

async function run(client: Client, session: string, code: string): ReturnType<Client["execute"]> {
  const record = await client.execute({ session, code, timeoutMs: 120_000 });
  if (record.status !== "ok") throw new Error(`${record.status}: ${record.error?.traceback ?? ""}`);
  return record;
}
