/** ipykernel on the same machine in the same run, where it can be imported: its no-op execution, nothing recorded. */
import { spawnSync } from "node:child_process";
import { latency, type Row } from "./figures.ts";

const CLIENT = `
import json, time
from jupyter_client.manager import start_new_kernel
start = time.perf_counter()
manager, client = start_new_kernel(kernel_name="python3")
client.execute_interactive("pass", timeout=30)
first = (time.perf_counter() - start) * 1000
for _ in range(100):
    client.execute_interactive("pass", timeout=30)
samples = []
for _ in range(300):
    begin = time.perf_counter()
    client.execute_interactive("pass", timeout=30)
    samples.append((time.perf_counter() - begin) * 1000)
client.stop_channels()
manager.shutdown_kernel(now=True)
print(json.dumps([first, samples]))
`;

const CANDIDATES = ["/usr/bin/python3", "python3"];

export async function ipykernel(runs: number): Promise<Row[]> {
  const python = CANDIDATES.find(
    (candidate) => spawnSync(candidate, ["-c", "import ipykernel, jupyter_client"]).status === 0,
  );
  if (python === undefined) {
    process.stderr.write("  ipykernel is not here (Debian: python3-ipykernel); no peer is measured\n");
    return [];
  }
  const first: number[] = [];
  const all: number[][] = [];
  for (let run = 0; run < runs; run++) {
    const { status, stdout, stderr } = spawnSync(python, ["-c", CLIENT], {
      encoding: "utf8",
      timeout: 120_000,
    });
    if (status !== 0) throw new Error(`ipykernel: ${stderr}`);
    const [start, samples] = JSON.parse(stdout.trim().split("\n").at(-1)!) as [number, number[]];
    first.push(start);
    all.push(samples);
  }
  return [
    latency("peer: ipykernel, new kernel to first result", [first], null),
    latency("peer: ipykernel, no-op execution", all, null),
  ];
}
