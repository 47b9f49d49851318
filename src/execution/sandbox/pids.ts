/** Processes inside a box, as the host knows them. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { processes, readProc } from "./proc.ts";

/** Not every kernel lists the children of a process. */
const LISTS_CHILDREN = existsSync(`/proc/self/task/${process.pid}/children`);

/** The host's numbers of the processes in a box below `root`, by the numbers that they have inside. */
export function hostPids(root: number): Map<number, number> {
  const found = new Map<number, number>();
  const waiting = [root];
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    for (const child of childrenOf(pid)) {
      const inner = innermostPid(child);
      if (inner !== null && !found.has(inner)) found.set(inner, child);
      waiting.push(child);
    }
  }
  return found;
}

/** A process of the host and all below it, itself first. */
export async function tree(root: number): Promise<number[]> {
  const found = [root];
  for (const pid of found) {
    // A child is its thread's.
    for (const thread of await readdir(`/proc/${pid}/task`).catch(() => [])) {
      const listed = await readFile(`/proc/${pid}/task/${thread}/children`, "utf8").catch(() => "");
      if (listed !== "") found.push(...listed.trim().split(" ").map(Number));
    }
  }
  return found;
}

/** What a process is called in its own pid namespace; null for one of the host's namespace. */
function innermostPid(pid: number): number | null {
  const pids = /^NSpid:\s+(.*)$/m.exec(readProc(`${pid}/status`))?.[1]?.split(/\s+/) ?? [];
  return pids.length > 1 ? Number(pids.at(-1)) : null;
}

function childrenOf(pid: number): number[] {
  if (!LISTS_CHILDREN) return processes().filter((candidate) => parentOf(candidate) === pid);
  const listed = readProc(`${pid}/task/${pid}/children`);
  return listed === "" ? [] : listed.trim().split(" ").map(Number);
}

/** `pid (name) state parent …`; a name may contain spaces and parentheses. */
function parentOf(pid: number): number {
  const stat = readProc(`${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(")") + 1).split(" ")[2]);
}
