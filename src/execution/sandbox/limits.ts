/** What the processes of an isolated session are granted, and how the end of a grant is told. */
import { totalmem } from "node:os";
import type { ResourceLimits } from "../../contract/frames.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { Profile } from "../../contract/profile.ts";

const GIB = 1024 ** 3;
const FILES = 4_096;
const NICE = 5;

/** Memory of a session that names no bound: half of the machine's, or 8 GiB. */
export const DEFAULT_MEMORY_BYTES: number = Math.min(8 * GIB, Math.floor(totalmem() / 2));

/** Sessions with few processors are spread over the machine's. */
let nextCpu = 0;

/** What the system enforces on each process; the session as a whole is the watchdog's. */
export function resourceLimits(profile: Profile): ResourceLimits {
  const { memory_bytes, processes, disk_bytes, cpus } = profile;
  const positions = cpus === null ? null : Array.from({ length: cpus }, () => nextCpu++);
  return { memory_bytes, processes, files: FILES, file_bytes: disk_bytes, cpus: positions, nice: NICE };
}

/** `/tmp` and `/dev/shm` are in memory: they hold no more than the session may. */
export function temporaryBytes(profile: Profile): { temporary: number; shared: number } {
  const { memory_bytes } = profile;
  return {
    temporary: Math.min(LIMITS.temporaryBytes, memory_bytes),
    shared: Math.min(LIMITS.sharedMemoryBytes, memory_bytes),
  };
}

/** A bound of a session's profile that its code has hit. */
export type ProfileLimit = "memory" | "disk" | "wall time";

const OPTIONS: Readonly<Record<ProfileLimit, string>> = {
  memory: "--memory",
  disk: "--disk",
  "wall time": "--wall",
};

/** `memory limit 1 GiB exceeded; raise with --memory when the session is created` */
export function limitExceeded(limit: ProfileLimit, profile: Profile): string {
  const bound =
    limit === "wall time"
      ? inWords((profile.wall_ms ?? 0) / 1_000, [
          [3_600, "h"],
          [60, "min"],
          [1, "s"],
        ])
      : inWords(limit === "memory" ? profile.memory_bytes : profile.disk_bytes, [
          [GIB, "GiB"],
          [1024 ** 2, "MiB"],
          [1024, "KiB"],
        ]);
  return `${limit} limit ${bound} exceeded; raise with ${OPTIONS[limit]} when the session is created`;
}

/** The number in the largest unit of which it has at least one, to two digits after the point. */
function inWords(value: number, units: ReadonlyArray<readonly [size: number, name: string]>): string {
  const [size, name] = units.find(([size]) => value >= size) ?? units.at(-1)!;
  return `${Math.round((value / size) * 100) / 100} ${name}`;
}
