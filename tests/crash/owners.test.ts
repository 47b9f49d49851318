/** Daemons that are started at once on one home: exactly one owns it, also right after an owner was killed. */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { expect, test } from "vitest";
import { connect, daemonProgram } from "../../src/sdk/index.ts";
import { temporaryFolder } from "../support/home.ts";
import { scaled, tell } from "./rounds.ts";

const TIMES = scaled(2, 50);
const AT_ONCE = 3;

interface Started {
  readonly pid: number;
  /** `serving`, or the exit status of one that could not. */
  readonly fate: Promise<"serving" | number | null>;
  readonly ended: Promise<void>;
}

function start(home: string): Started {
  const child = spawn(process.execPath, [daemonProgram(), "--home", home, "--ready-fd", "3"], {
    cwd: "/",
    stdio: ["ignore", "ignore", "ignore", "pipe"],
    env: { ...process.env, EXECUTE_CODE_WARM: "0" },
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const fate = new Promise<"serving" | number | null>((resolve) => {
    child.stdio[3]!.on("data", (line: Buffer) => {
      if (line.toString().startsWith('{"ready":true')) resolve("serving");
    });
    child.once("exit", (status) => resolve(status));
  });
  return { pid: child.pid!, fate, ended };
}

test(
  `${AT_ONCE} daemons on one home: exactly one owner (${TIMES} times)`,
  async () => {
    const home = temporaryFolder();
    for (let round = 0; round < TIMES; round++) {
      const daemons = Array.from({ length: AT_ONCE }, () => start(home));
      const fates = await Promise.all(daemons.map(({ fate }) => fate));
      expect(fates.filter((fate) => fate === "serving").length, `${fates.join()}`).toBe(1);
      expect(fates.filter((fate) => fate === 4).length, `${fates.join()}`).toBe(AT_ONCE - 1);
      const owner = daemons[fates.indexOf("serving")]!;
      const client = await connect({ home, start: false });
      expect((await client.health()).pid).toBe(owner.pid);
      expect((await client.execute({ code: `${round}` })).result?.text).toBe(`${round}`);
      await client.close();
      process.kill(owner.pid, "SIGKILL");
      await owner.ended;
    }
    rmSync(home, { recursive: true });
    tell(`${TIMES} rounds`);
  },
  30_000 + TIMES * 20_000,
);
