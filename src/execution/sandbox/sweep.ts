/** Ends what an earlier life of the daemon left behind, in whatever moment it was killed. */
import { processes, readProc } from "./proc.ts";

/**
 * Kills every process whose command line names a box's folder below `runtime`: supervisors, and what starts them.
 * What is inside a box ends with its supervisor. Returns how many there were.
 */
export function sweep(runtime: string): number {
  let count = 0;
  for (const pid of processes()) {
    if (pid === process.pid || !isOf(pid, `${runtime}/`)) continue;
    try {
      process.kill(pid, "SIGKILL");
      count += 1;
    } catch {
      // It has just ended, or is another user's.
    }
  }
  return count;
}

function isOf(pid: number, marker: string): boolean {
  return readProc(`${pid}/cmdline`)
    .split("\0")
    .some((argument) => argument.startsWith(marker));
}
