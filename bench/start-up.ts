/** From nothing running to a first result, through the installed program; and an idle daemon's memory. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect } from "../src/sdk/index.ts";
import { ROOT } from "./command.ts";
import { figure, latency, median, type Row } from "./figures.ts";

const STARTS = 3;

export async function startUp(runs: number): Promise<Row[]> {
  const folder = mkdtempSync(path.join(tmpdir(), "ec-bench-installed-"));
  try {
    const program = install(folder);
    const first: number[][] = [];
    const idle: number[] = [];
    for (let run = 0; run < runs; run++) {
      const samples: number[] = [];
      for (let i = 0; i < STARTS; i++) {
        const home = path.join(folder, `home-${run}-${i}`);
        const start = performance.now();
        const { status, stdout, stderr } = spawnSync(process.execPath, [program, "run", "-c", "6 * 7"], {
          env: { ...process.env, EXECUTE_CODE_HOME: home },
          encoding: "utf8",
        });
        samples.push(performance.now() - start);
        if (status !== 0 || stdout !== "42\n") throw new Error(`the installed program failed: ${stderr}`);
        await using client = await connect({ home, start: false });
        if (i === 0) idle.push(await idleRss((await client.health()).pid));
        await client.stop();
      }
      first.push(samples);
    }
    return [
      latency("nothing running to first result, installed program", first, 800),
      figure("idle daemon: RSS", "MB", median(idle), 130),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** After the pool is warm and the garbage of the start is behind it. */
async function idleRss(pid: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1000;
}

/** Packs the checkout and installs it, as a user's `npm install` would. Returns the program's path. */
function install(folder: string): string {
  const run = (args: string[], cwd: string): string => {
    const { status, stdout, stderr } = spawnSync("npm", args, { cwd, encoding: "utf8" });
    if (status !== 0) throw new Error(`npm ${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  const [packed] = JSON.parse(run(["pack", "--json", "--silent", "--pack-destination", folder], ROOT)) as [
    { filename: string },
  ];
  run(
    [
      "install",
      "--silent",
      "--no-audit",
      "--no-fund",
      "--prefix",
      folder,
      path.join(folder, packed.filename),
    ],
    folder,
  );
  return path.join(folder, "node_modules", "execute-code", "bin", "execute-code.js");
}
