/** What the machine itself costs: a sync to disk, a fork, an empty round trip. */
import { spawn, spawnSync } from "node:child_process";
import { closeSync, fdatasyncSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { Agent, request } from "node:http";
import path from "node:path";
import { latency, type Row, time } from "./figures.ts";

const repeat = async (runs: number, one: () => Promise<number[]> | number[]): Promise<number[][]> => {
  const all: number[][] = [];
  for (let i = 0; i < runs; i++) all.push(await one());
  return all;
};

export async function floors(runs: number, folder: string): Promise<Row[]> {
  mkdirSync(folder, { recursive: true });
  return [
    latency("floor: fdatasync of 4 KiB", await repeat(runs, () => syncs(folder)), null),
    latency("floor: os.fork + wait, bare Python", await repeat(runs, forks), null),
    latency("floor: start of a bare python3, its site packages included", await repeat(runs, starts), null),
    latency("floor: empty HTTP round trip, unix socket", await repeat(runs, () => roundTrips(folder)), null),
  ];
}

async function syncs(folder: string): Promise<number[]> {
  const fd = openSync(path.join(folder, "floor"), "w");
  const block = Buffer.alloc(4096, 1);
  const samples = await time(200, () => {
    writeSync(fd, block);
    fdatasyncSync(fd);
  });
  closeSync(fd);
  return samples;
}

const FORKS = `
import json, os, time
samples = []
for _ in range(200):
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    samples.append((time.perf_counter() - start) * 1000)
print(json.dumps(samples))
`;

function forks(): number[] {
  return JSON.parse(spawnSync("python3", ["-I", "-c", FORKS], { encoding: "utf8" }).stdout) as number[];
}

/** Past the shims of a version manager, as kernels are started. */
async function starts(): Promise<number[]> {
  const find = spawnSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" });
  return time(10, () => spawnSync(find.stdout.trim(), ["-I", "-c", "pass"]));
}

const SERVER = `
const { createServer } = require("node:http");
const server = createServer((incoming, answer) => {
  incoming.resume();
  incoming.once("end", () => answer.end("{}"));
});
server.listen(process.argv[1], () => console.log("ready"));
process.stdin.resume().once("end", () => process.exit());
`;

/** The server is a process of its own, as the daemon is. */
async function roundTrips(folder: string): Promise<number[]> {
  const socketPath = path.join(folder, "floor.sock");
  const server = spawn(process.execPath, ["-e", SERVER, socketPath], { stdio: ["pipe", "pipe", "inherit"] });
  await new Promise((resolve) => server.stdout.once("data", resolve));
  const agent = new Agent({ keepAlive: true });
  const call = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json" };
      const sent = request({ socketPath, agent, method: "POST", path: "/", headers });
      sent.once("response", (answer) => answer.resume().once("end", resolve));
      sent.once("error", reject);
      sent.end("{}");
    });
  await time(200, call);
  const samples = await time(500, call);
  agent.destroy();
  server.stdin.end();
  await new Promise((resolve) => server.once("exit", resolve));
  rmSync(socketPath, { force: true });
  return samples;
}
