/** The Python kernel: interrupts, the replacing of a kernel that ignores them, tiny prints, the cost of its import. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { LIMITS } from "../src/contract/limits.ts";
import type { Client } from "../src/sdk/index.ts";
import { ROOT } from "./command.ts";
import { figure, latency, median, quantile, type Row } from "./figures.ts";

const INTERRUPTS = 40;
const PRINTS = 1_000_000;
const IMPORTS = 10;

/** From the request to interrupt to the record, after which the session is idle. */
export async function interrupts(client: Client, runs: number): Promise<Row[]> {
  const session = "bench-interrupts";
  await client.execute({ session, code: "1" });
  const all: number[][] = [];
  for (let run = 0; run < runs; run++) {
    const samples: number[] = [];
    for (let i = 0; i < INTERRUPTS; i++) samples.push(await interruptOne(client, session));
    all.push(samples);
  }
  const p99 = median(all.map((samples) => quantile(samples, 0.99)));
  return [
    latency("interrupt of a pure Python loop, to idle", all, null),
    figure("  p99 of that", "ms", p99, 50),
    ...(await ignored(client, runs)),
  ];
}

async function interruptOne(client: Client, session: string): Promise<number> {
  for await (const event of client.stream({ session, code: "print('on')\nwhile True: pass" })) {
    if (event.type !== "stdout") continue;
    const id = (await client.showSession(session)).running!;
    const start = performance.now();
    const record = await client.interrupt(id);
    if (record.status !== "interrupted" || record.state !== "retained") throw new Error(record.status);
    return performance.now() - start;
  }
  throw new Error("the loop ended");
}

/** What is beyond the two grace times until a new kernel has answered, with the truth about the variables. */
async function ignored(client: Client, runs: number): Promise<Row[]> {
  const session = "bench-ignored";
  const samples: number[] = [];
  for (let run = 0; run < runs; run++) {
    await client.execute({ session, code: "x = 1" });
    const code = "import time\nwhile True:\n    try: time.sleep(1)\n    except BaseException: pass";
    const { id } = await client.execute({ session, code, timeoutMs: 100 });
    const start = performance.now();
    const record = await client.interrupt(id);
    const next = await client.execute({ session, code: "'x' in globals()" });
    samples.push(performance.now() - start - 2 * LIMITS.interruptGraceMs);
    const told = [record.status, record.state, next.state, next.result?.text];
    if (told.join() !== "interrupted,restored,restored,True") throw new Error(`wrong: ${told.join()}`);
  }
  return [
    figure(
      "a kernel that ignores interrupts: replaced after the grace time, worst run",
      "ms",
      Math.max(...samples),
      1_000,
    ),
  ];
}

/** Against the same program on the same interpreter, writing to a pipe into cat. */
export async function prints(client: Client, runs: number): Promise<Row[]> {
  const { executable } = (await client.health()).python!;
  const code = `for i in range(${PRINTS}): print(i)`;
  const ours: number[] = [];
  const theirs: number[] = [];
  const session = "bench-prints";
  await client.execute({ session, code: "1" });
  const pipe = (program: string): number => {
    const start = performance.now();
    // Nothing of this shell's environment decides how the program buffers.
    const env = { PATH: process.env.PATH };
    const { status } = spawnSync("sh", ["-c", '"$0" -c "$1" | cat > /dev/null', executable, program], {
      env,
    });
    if (status !== 0) throw new Error("the plain program failed");
    return performance.now() - start;
  };
  for (let run = 0; run < runs; run++) {
    const bare = pipe("pass");
    theirs.push(pipe(code) - bare);
    const start = performance.now();
    const record = await client.execute({ session, code, timeoutMs: 120_000 });
    ours.push(performance.now() - start);
    const kept = (await client.output(record.id, "stdout")).length;
    if (kept !== 6_888_890) throw new Error(`kept ${kept} bytes`);
  }
  return [
    latency("1,000,000 tiny prints: time to the record", [ours], null),
    latency("  the same program into cat, its start left out", [theirs], null),
    figure("  ratio of the medians", "×", median(ours) / median(theirs), 1.5),
  ];
}

const IMPORT = `
import sys
before = set(sys.modules)
sys.path.insert(0, ${JSON.stringify(path.join(ROOT, "python"))})
sys.pycache_prefix = sys.argv[1]
import execute_code_kernel.supervisor
import sysconfig
library = (sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["platstdlib"])
new = [sys.modules[name] for name in set(sys.modules) - before if not name.startswith("execute_code_kernel")]
files = [module.__file__ for module in new if getattr(module, "__file__", None)]
print(sum(not file.startswith(library) or "-packages" in file for file in files))
`;

/** What the kernel's import adds to a bare start of each interpreter. */
export async function imports(client: Client, runs: number): Promise<Row[]> {
  const { executable } = (await client.health()).python!;
  const cache = mkdtempSync(path.join(tmpdir(), "ec-bench-cache-"));
  const start = (program: string): { ms: number; out: string } => {
    const began = performance.now();
    const { stdout } = spawnSync(executable, ["-I", "-c", program, cache], { encoding: "utf8" });
    return { ms: performance.now() - began, out: stdout.trim() };
  };
  try {
    const foreign = Number(start(IMPORT).out);
    const added: number[][] = [];
    for (let run = 0; run < runs; run++) {
      const bare = Array.from({ length: IMPORTS }, () => start("import sysconfig").ms);
      const whole = Array.from({ length: IMPORTS }, () => start(IMPORT).ms);
      added.push(whole.map((ms) => ms - median(bare)));
    }
    return [
      latency("import of the kernel, beyond a bare start", added, 40),
      figure("  third-party modules that it imports", "modules", foreign, 0),
    ];
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
}
