/** The platform itself: executions, new sessions, floods of output, memory. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { Client as McpClient } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import type { Client } from "../src/sdk/index.ts";
import { PROGRAM } from "./command.ts";
import { figure, latency, median, type Row, time } from "./figures.ts";

/** The processor of a virtual machine that has slept takes some milliseconds to be quick again. */
const PAUSE_MS = 50;
const WARM_UP = 500;
const SAMPLES = 500;

async function repeat(runs: number, one: (run: number) => Promise<number[]>): Promise<number[][]> {
  const all: number[][] = [];
  for (let run = 0; run < runs; run++) all.push(await one(run));
  return all;
}

export async function executions(client: Client, runs: number): Promise<Row[]> {
  const session = await client.session("bench");
  const execute = (durability: "relaxed" | "full") => () => session.execute("pass", { durability });
  await time(WARM_UP, execute("relaxed"));
  return [
    latency("no-op execution, relaxed", await repeat(runs, () => time(SAMPLES, execute("relaxed"))), 0.8),
    latency(
      "no-op execution, safe against power loss",
      await repeat(runs, () => time(SAMPLES, execute("full"))),
      1.5,
    ),
  ];
}

/** The same execution through an MCP client over stdio, against the SDK's own in the same minute. */
export async function throughMcp(home: string, runs: number): Promise<Row[]> {
  const client = new McpClient({ name: "bench", version: "1" });
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [PROGRAM, "mcp"],
      env: { ...(process.env as Record<string, string>), EXECUTE_CODE_HOME: home },
    }),
  );
  const { connect } = await import("../src/sdk/index.ts");
  await using sdk = await connect({ home });
  const session = await sdk.session("bench");
  const call = (): Promise<unknown> =>
    client.callTool({ name: "execute_code", arguments: { code: "pass", session: "bench" } });
  await time(WARM_UP, call);
  const direct: number[][] = [];
  const through: number[][] = [];
  for (let run = 0; run < runs; run++) {
    direct.push(await time(SAMPLES, () => session.execute("pass")));
    through.push(await time(SAMPLES, call));
  }
  await client.close();
  const added = median(through.map(median)) - median(direct.map(median));
  return [
    latency("no-op execution through MCP stdio", through, null),
    figure("  added by MCP", "ms", added, 1),
  ];
}

export async function sessions(client: Client, runs: number): Promise<Row[]> {
  let count = 0;
  const standard = (await client.health()).python!.executable;
  const other = OTHER_PYTHON.find((path) => existsSync(path) && path !== standard);

  /** From the request for a session that is new to its first result, with the pool full. */
  const first = async (python: string | undefined, before: () => Promise<unknown>): Promise<number> => {
    await warmKernels(client);
    await before();
    const session = `bench-${++count}`;
    const start = performance.now();
    await client.execute({ session, code: "1", ...(python === undefined ? {} : { python }) });
    const took = performance.now() - start;
    await (await client.session(session)).close();
    return took;
  };
  const working = (): Promise<unknown> => time(30, () => client.execute({ session: "bench", code: "pass" }));
  const pause = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  const several = (count: number, one: () => Promise<number>): Promise<number[][]> =>
    repeat(runs, async () => {
      const samples: number[] = [];
      for (let i = 0; i < count; i++) samples.push(await one());
      return samples;
    });

  // A session that names its interpreter takes the cold path.
  return [
    latency("new session to first result, warm", await several(20, () => first(undefined, working)), 4),
    latency(
      `  the same after ${PAUSE_MS} ms without work`,
      await several(20, () => first(undefined, pause)),
      null,
    ),
    latency("new session to first result, cold", await several(10, () => first(standard, working)), 60),
    ...(other === undefined
      ? []
      : [latency(`  the same with ${other}`, await several(10, () => first(other, working)), null)]),
  ];
}

const OTHER_PYTHON = [
  "/usr/bin/python3.13",
  "/usr/bin/python3.12",
  "/usr/bin/python3.11",
  "/usr/bin/python3.9",
];

/** Waits until the pool is full again, so that its filling is no part of what is measured. */
async function warmKernels(client: Client): Promise<void> {
  while ((await client.health()).warm < 2) await new Promise((resolve) => setTimeout(resolve, 20));
}

export async function output(client: Client, daemon: number, runs: number): Promise<Row[]> {
  const megabytes = 50;
  const growth: number[] = [];
  const took: number[] = [];
  const session = await client.session("bench-output");
  for (let run = 0; run < runs; run++) {
    const before = peakReset(daemon);
    const start = performance.now();
    const record = await session.execute(`for _ in range(${megabytes}): print("x" * 1_048_575)`);
    took.push(performance.now() - start);
    growth.push((peakRss(daemon) - before) / 1e6);
    const kept = (await client.output(record.id, "stdout")).length;
    if (kept !== megabytes * 1024 * 1024) throw new Error(`kept ${kept} bytes of the output`);
    if (record.stdout.length > 300_000) throw new Error("the answer is not bounded");
  }
  return [
    figure("50 MB printed: growth of the daemon's RSS, worst run", "MB", Math.max(...growth), 64),
    latency("50 MB printed: time to the record", [took], null),
  ];
}

/** Writing 5 resets the kernel's record of the highest RSS. */
function peakReset(pid: number): number {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
  return kilobytes(pid, "VmRSS") * 1024;
}

function peakRss(pid: number): number {
  return kilobytes(pid, "VmHWM") * 1024;
}

function kilobytes(pid: number, field: string): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line![1]);
}

function pss(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)![1]) * 1024;
}

function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => {
      try {
        return Number(readFileSync(`/proc/${candidate}/stat`, "utf8").split(") ")[1]!.split(" ")[1]) === pid;
      } catch {
        return false;
      }
    });
}

export async function memory(client: Client, daemon: number): Promise<Row[]> {
  const session = await client.session("bench-memory");
  await session.execute("x = 1");
  const kernel = (await session.show()).pid!;
  const supervisor = Number(readFileSync(`/proc/${kernel}/stat`, "utf8").split(") ")[1]!.split(" ")[1]);
  const all = pss(kernel) + pss(supervisor);
  const rss = kilobytes(daemon, "VmRSS") * 1024;
  const others = childrenOf(daemon).length;
  return [
    figure(`idle daemon: RSS, after all of the above (${others} boxes)`, "MB", rss / 1e6, null),
    figure("idle session: PSS of supervisor and kernel", "MB", all / 1e6, 20),
  ];
}
