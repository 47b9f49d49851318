/** Processes of the machine, as /proc tells of them. */
import { readdirSync, readFileSync } from "node:fs";

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  /** With the pid it names a process for ever. */
  readonly began: string;
}

export function look(pid: number): Process | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may hold anything.
    const [state, parent, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { pid, parent: Number(parent), state: state!, began: rest[17]! };
  } catch {
    return null;
  }
}

function all(): Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => look(Number(name)) ?? []);
}

/** Children of a process, with theirs, and so on. */
export function descendants(root: number): Process[] {
  const byParent = Map.groupBy(all(), ({ parent }) => parent);
  const found: Process[] = [];
  for (let next = byParent.get(root) ?? []; next.length > 0; ) {
    found.push(...next);
    next = next.flatMap(({ pid }) => byParent.get(pid) ?? []);
  }
  return found;
}

/** Still there, and not only waiting to be reaped. */
export function isAlive({ pid, began }: Process): boolean {
  const now = look(pid);
  return now !== null && now.began === began && now.state !== "Z";
}

/** In bytes. */
export function residentMemory(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

export function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
