/** What isolation costs, and what a session that takes all it can does to the daemon and to the others. */
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import type { IsolationTier } from "../src/contract/records.ts";
import { compose } from "../src/daemon/compose.ts";
import { type ExecutionSink, Interpreters, type Kernel } from "../src/execution/index.ts";
import { newSessionId } from "../src/platform/ids.ts";
import { pathsOf } from "../src/platform/paths.ts";
import { type Client, connect } from "../src/sdk/index.ts";
import { difference, figure, latency, median, type Row, time } from "./figures.ts";

const SAMPLES = 500;
/** Under load a call each so many milliseconds, for so long. */
const EVERY_MS = 10;
const LOAD_MS = 5_000;
const LOOPS = 60;
const WARM_UP = 500;
const PAIRS = 5_000;

/** Takes what an execution emits that emits nothing. */
const DEAF: ExecutionSink = {
  output: () => {},
  display: () => {},
  progress: () => {},
  call: () => Promise.reject(new Error("nobody answers")),
  input: () => Promise.resolve(null),
  withdraw: () => {},
};

/** The sandbox against no isolation, each with warm kernels of its own daemon, in turns. */
export async function overhead(homes: { sandbox: string; none: string }, runs: number): Promise<Row[]> {
  const warm = { EXECUTE_CODE_WARM: "2" };
  await using sandbox = await connect({ home: homes.sandbox, env: { ...process.env, ...warm } });
  await using none = await connect({
    home: homes.none,
    env: { ...process.env, ...warm, EXECUTE_CODE_ISOLATION: "none" },
  });
  const starts = { sandbox: [] as number[][], none: [] as number[][] };
  const executions = { sandbox: [] as number[][], none: [] as number[][] };
  let count = 0;
  for (let run = 0; run < runs; run++) {
    for (const [name, client] of [
      ["sandbox", sandbox],
      ["none", none],
    ] as const) {
      const samples: number[] = [];
      for (let i = 0; i < 20; i++) {
        while ((await client.health()).warm < 2) await sleep(20);
        await time(30, () => client.execute({ session: "bench", code: "pass" }));
        const session = `start-${++count}`;
        samples.push(...(await time(1, () => client.execute({ session, code: "1" }))));
        await client.closeSession(session);
      }
      starts[name].push(samples);
    }
    // In turns, so that whatever slows the machine slows both.
    const taken = { sandbox: [] as number[], none: [] as number[] };
    for (let i = 0; i < SAMPLES; i++) {
      taken.sandbox.push(...(await time(1, () => sandbox.execute({ session: "bench", code: "pass" }))));
      taken.none.push(...(await time(1, () => none.execute({ session: "bench", code: "pass" }))));
    }
    executions.sandbox.push(taken.sandbox);
    executions.none.push(taken.none);
  }
  await sandbox.stop();
  await none.stop();
  const pairs = await differences(homes.sandbox);
  const added = (all: { sandbox: number[][]; none: number[][] }): number =>
    median(all.sandbox.map(median)) - median(all.none.map(median));
  return [
    latency("warm session in the sandbox", starts.sandbox, null),
    latency("warm session without isolation", starts.none, null),
    figure("  added by the sandbox to a warm session's start", "ms", added(starts), 2),
    latency("no-op execution in the sandbox", executions.sandbox, null),
    latency("no-op execution without isolation", executions.none, null),
    difference("  added by the sandbox to an execution, kernel against kernel", pairs, 0.05),
  ];
}

/**
 * What an execution takes longer in a sandbox: two kernels of this very process, without a daemon between them and the
 * clock, each execution of one next to one of the other, and each of the two first as often as the other.
 */
async function differences(home: string): Promise<number[]> {
  const env = { ...process.env, EXECUTE_CODE_WARM: "0" };
  const { kernels, store } = await compose(
    pathsOf(home),
    new Interpreters(env),
    env,
    pino({ enabled: false }),
  );
  try {
    const launch = async (isolation: IsolationTier): Promise<Kernel> =>
      (
        await kernels.launch(newSessionId(), {
          python: null,
          isolation,
          profile: kernels.grant(undefined, isolation),
        })
      ).kernel;
    const sandbox = await launch("sandbox");
    const none = await launch("none");
    const pairs: number[] = [];
    for (let i = -WARM_UP; i < PAIRS; i++) {
      const taken = new Map<Kernel, number>();
      for (const kernel of i % 2 === 0 ? [sandbox, none] : [none, sandbox]) {
        const cell = { id: `x${i}`, code: "pass", env: {} };
        taken.set(kernel, (await time(1, () => kernel.execute(cell, DEAF)))[0]!);
      }
      if (i >= 0) pairs.push(taken.get(sandbox)! - taken.get(none)!);
    }
    return pairs;
  } finally {
    await kernels.close();
    await store.close();
  }
}

const BUSY = `
import os, time
for _ in range(${LOOPS - 1}):
    if os.fork() == 0:
        break
end = time.monotonic() + ${LOAD_MS / 1_000 + 3}
while time.monotonic() < end:
    pass
if os.getpid() != ec_pid:
    os._exit(0)
`;

const BOMB = `
import os, time
end = time.monotonic() + ${LOAD_MS / 1_000 + 3}
while time.monotonic() < end:
    try:
        os.fork()
    except OSError:
        pass
if os.getpid() != ec_pid:
    os._exit(0)
`;

/** Answers of the daemon, and of another session, while one session takes all it can. */
export async function underLoad(client: Client, runs: number): Promise<Row[]> {
  const rows: Row[] = [];
  const idle = await repeatedly(runs, () => calls(client, LOAD_MS / 5));
  const before = median(idle.executions.map(median));
  rows.push(latency("no-op execution of a session, others idle", idle.executions, null));
  for (const [name, code] of [
    [`${LOOPS} busy loops`, BUSY],
    ["a fork bomb", BOMB],
  ] as const) {
    const under = await repeatedly(runs, async () => {
      const session = "hog";
      await client.execute({ session, code: "import os; ec_pid = os.getpid()", fresh: true });
      const hog = await client.execute({ session, code, timeoutMs: 0 });
      await sleep(500);
      const taken = await calls(client, LOAD_MS);
      await client.kill(hog.id);
      return taken;
    });
    rows.push(lag(`answer of the daemon under ${name}, p99`, under.health));
    rows.push(latency(`no-op execution of another session under ${name}`, under.executions, null));
    rows.push(figure("  against idle", "×", median(under.executions.map(median)) / before, 3));
  }
  return rows;
}

interface Taken {
  readonly health: number[];
  readonly executions: number[];
}

/** Calls of both kinds, in turns. A call of the daemon takes no less than its event loop lags. */
async function calls(client: Client, ms: number): Promise<Taken> {
  const taken: Taken = { health: [], executions: [] };
  const end = performance.now() + ms;
  while (performance.now() < end) {
    taken.health.push(...(await time(1, () => client.health())));
    taken.executions.push(...(await time(1, () => client.execute({ session: "victim", code: "pass" }))));
    await sleep(EVERY_MS);
  }
  return taken;
}

async function repeatedly(
  runs: number,
  one: () => Promise<Taken>,
): Promise<{ health: number[][]; executions: number[][] }> {
  const all = { health: [] as number[][], executions: [] as number[][] };
  for (let run = 0; run < runs; run++) {
    const { health, executions } = await one();
    all.health.push(health);
    all.executions.push(executions);
  }
  return all;
}

/** The bar holds for the p99. */
function lag(name: string, runs: readonly number[][]): Row {
  const row = latency(name, runs, null);
  return { ...row, value: row.p99!, p99: null, bar: 50, met: row.p99! < 50 };
}
