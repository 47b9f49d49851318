/** The machine's processes, as /proc tells of them. */
import { readdirSync, readFileSync } from "node:fs";

/** Their numbers; one may have ended by the time it is looked at. */
export function processes(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** A file below /proc; empty when its process has just ended, or may not be looked at. */
export function readProc(file: string): string {
  try {
    return readFileSync(`/proc/${file}`, "utf8");
  } catch {
    return "";
  }
}
