/**
 * `npm run bench`: the figures that the project answers for, measured on this machine, each beside its bar and
 * beside the physical floor of the same run. A table on stdout; JSON in bench/results/ with `--save NAME`.
 * Five runs of each; p50 and p99 are the medians of the five runs' p50 and p99. Measure on an idle machine.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg, release, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { connect } from "../src/sdk/index.ts";
import { ROOT } from "./command.ts";
import { type Row, table } from "./figures.ts";
import { floors } from "./floors.ts";
import { overhead, underLoad } from "./isolation.ts";
import { imports, interrupts, prints } from "./kernel.ts";
import { ipykernel } from "./peers.ts";
import { startUp } from "./start-up.ts";
import { executions, memory, output, sessions, throughMcp } from "./subjects.ts";
import { timeTravel } from "./time-travel.ts";

const { values } = parseArgs({
  options: { save: { type: "string" }, quick: { type: "boolean", default: false }, only: { type: "string" } },
});
const runs = values.quick ? 1 : 5;
const say = (text: string): void => void process.stderr.write(`${text}\n`);

const home = mkdtempSync(path.join(tmpdir(), "ec-bench-"));
const rows: Row[] = [];
const failures: string[] = [];
const notes: string[] = [];
const load = loadavg()[0]!;

async function part(name: string, measure: () => Promise<Row[]>): Promise<void> {
  if (values.only !== undefined && !name.includes(values.only)) return;
  say(`… ${name}`);
  try {
    rows.push(...(await measure()));
  } catch (error) {
    failures.push(`${name}: ${String(error)}`);
  }
}

try {
  await part("floors", () => floors(runs, home));
  {
    await using client = await connect({ home });
    const daemon = (await client.health()).pid;
    await part("executions", () => executions(client, runs));
    await part("mcp", () => throughMcp(home, runs));
    await part("sessions", () => sessions(client, runs));
    await part("output", () => output(client, daemon, runs));
    await part("interrupts", () => interrupts(client, runs));
    await part("prints", () => prints(client, runs));
    await part("imports", () => imports(client, runs));
    await part("memory", () => memory(client, daemon));
    await part("load", () => underLoad(client, runs));
    await client.stop();
  }
  await part("overhead", () =>
    overhead({ sandbox: path.join(home, "sandbox"), none: path.join(home, "none") }, runs),
  );
  await part("time-travel", () =>
    timeTravel(path.join(home, "time-travel"), runs, (text) => notes.push(text)),
  );
  await part("start-up", () => startUp(runs));
  await part("peers", () => ipykernel(runs));
} finally {
  rmSync(home, { recursive: true, force: true });
}

const commit = spawnSync("git", ["rev-parse", "--short", "HEAD"], {
  cwd: ROOT,
  encoding: "utf8",
}).stdout.trim();
const facts = {
  commit,
  measured_at: new Date().toISOString(),
  node: process.version,
  kernel: release(),
  cpus: availableParallelism(),
  load_before: load,
  runs,
  notes,
};
console.log(table(rows));
console.log(`\n${JSON.stringify(facts)}`);
if (values.save !== undefined) {
  const file = path.join(ROOT, "bench", "results", `${values.save}.json`);
  writeFileSync(file, `${JSON.stringify({ ...facts, rows }, null, 2)}\n`);
}
const missed = rows.filter((row) => row.met === false);
for (const row of missed) say(`missed: ${row.name}: ${row.value} ${row.unit}, bar ${row.bar}`);
for (const note of notes) say(note);
for (const failure of failures) say(`not measured: ${failure}`);
process.exitCode = missed.length + failures.length === 0 ? 0 : 1;
