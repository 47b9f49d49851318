/** A run that leaves a daemon, supervisor or kernel behind fails, whatever its tests said. */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { userCache } from "./user.ts";

/** Homes are named after the run; their names are in the command lines of daemons, supervisors and kernels. */
const RUN = `ec-test-${process.pid}-`;
process.env.EXECUTE_CODE_TEST_RUN = RUN;
const DEADLINE_MS = 5_000;

function ours(): Map<number, string> {
  const found = new Map<number, string>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\u0000", " ");
      if (command.includes(RUN)) found.set(Number(name), command);
    } catch {
      // The process has just ended.
    }
  }
  return found;
}

export function setup(): () => Promise<void> {
  const before = ours();
  return async () => {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      const left = [...ours()].filter(([pid]) => !before.has(pid));
      if (left.length === 0) {
        rmSync(userCache(), { recursive: true, force: true });
        return;
      }
      if (Date.now() > deadline) {
        throw new Error(
          `processes were left behind:\n${left.map(([pid, command]) => `${pid} ${command}`).join("\n")}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
}
