/**
 * The reduced tier, for machines without user namespaces or without bubblewrap: the supervisor confines itself by
 * Landlock and each kernel by a filter of system calls (python/execute_code_kernel/confinement.py).
 *
 * Session code sees the file system's names, but opens only the system's programs and libraries, its own work folder
 * and its own temporary folder; it has no sockets but pairs. It shares the machine's process numbers and `/dev/shm`.
 */
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { LIMITS } from "../../contract/limits.ts";
import { KERNEL_FOLDER, supervisorCommand } from "../languages/python/launch.ts";
import type { BoxPlace, Enclosed, Enclosure, Owner } from "./enclosure.ts";
import { RESOURCE_LIMITS } from "./limits.ts";
import { processes, readProc } from "./proc.ts";
import { hasSeccompFilter, seccompFilter } from "./seccomp.ts";
import { uncover } from "./stage.ts";

/** What programs need to read of the system. */
const READ: readonly string[] = [
  ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys/devices/system/cpu"],
  ["/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl", "/etc/localtime", "/etc/mime.types", "/etc/fonts"],
  ["/dev/random", "/dev/urandom"],
].flat();
const WRITE = ["/dev/null", "/dev/zero", "/dev/full", "/dev/shm"];

export class Landlock implements Enclosure {
  readonly tier = "reduced";
  readonly #cache: string;
  readonly #owner: Owner | null;

  /**
   * `cache`: compiled modules of the kernel. `owner`: who the processes are to the host; null: the daemon's user, who
   * must not be root.
   */
  constructor(cache: string, owner: Owner | null) {
    this.#cache = cache;
    this.#owner = owner;
  }

  enclose({ folder, work, interpreter }: BoxPlace): Promise<Enclosed> {
    if (!hasSeccompFilter(process.arch))
      throw new Error(`there is no system call filter for ${process.arch}`);
    const owner = this.#owner;
    const temporary = path.join(folder, "tmp");
    mkdirSync(temporary, { mode: 0o700 });
    const spec = {
      read: [...READ, ...interpreter.prefixes, KERNEL_FOLDER, this.#cache],
      write: [...WRITE, work, temporary],
      open: [folder],
      filter: seccompFilter(process.arch, { sockets: false }).toString("base64"),
    };
    const specification = path.join(folder, "confinement.json");
    writeFileSync(specification, JSON.stringify(spec), { mode: 0o600 });
    const supervisor = supervisorCommand(interpreter, KERNEL_FOLDER, this.#cache, folder);
    if (owner !== null) {
      for (const file of [work, temporary, specification]) chownSync(file, owner.uid, owner.gid);
      mkdirSync(this.#cache, { recursive: true });
    }
    const paths = [...interpreter.prefixes, KERNEL_FOLDER, this.#cache, work, folder];
    const [command, ...args] =
      owner === null ? supervisor : [...uncover(paths, LIMITS.sharedMemoryBytes, owner), ...supervisor];
    return Promise.resolve({
      command: command!,
      args,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" },
      descriptors: [],
      folder,
      work,
      temporary,
      // Processes are counted by user: those of all boxes together, or this user's with all others.
      limits: { ...RESOURCE_LIMITS, processes: RESOURCE_LIMITS.processes! + threadsOf(owner?.uid) },
      owner,
    });
  }
}

/** Threads of a user's processes; of the daemon's user without one. */
function threadsOf(uid: number = process.getuid?.() ?? 0): number {
  const ofUser = new RegExp(`^Uid:\\s+${uid}\\s`, "m");
  let count = 0;
  for (const pid of processes()) {
    const status = readProc(`${pid}/status`);
    if (ofUser.test(status)) count += Number(/^Threads:\s+(\d+)/m.exec(status)?.[1] ?? 1);
  }
  return count;
}
