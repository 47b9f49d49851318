/**
 * The reduced tier, for machines without user namespaces or without bubblewrap: the supervisor confines itself by
 * Landlock and each kernel by a filter of system calls (python/execute_code_kernel/confinement.py).
 *
 * Session code sees the file system's names, but opens only the system's programs and libraries, its own work folder
 * and its own temporary folder; it has no sockets but pairs. It shares the machine's process numbers and `/dev/shm`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { KERNEL_FOLDER, supervisorCommand } from "../languages/python/launch.ts";
import type { BoxPlace, Enclosed, Enclosure } from "./enclosure.ts";
import { RESOURCE_LIMITS } from "./limits.ts";
import { hasSeccompFilter, seccompFilter } from "./seccomp.ts";

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

  /** `cache`: compiled modules of the kernel. */
  constructor(cache: string) {
    this.#cache = cache;
  }

  enclose({ folder, work, interpreter }: BoxPlace): Promise<Enclosed> {
    if (!hasSeccompFilter(process.arch))
      throw new Error(`there is no system call filter for ${process.arch}`);
    const temporary = path.join(folder, "tmp");
    mkdirSync(temporary, { mode: 0o700 });
    const spec = {
      read: [...READ, ...interpreter.prefixes, KERNEL_FOLDER, this.#cache],
      write: [...WRITE, work, temporary],
      open: [folder],
      filter: seccompFilter(process.arch, { sockets: false }).toString("base64"),
    };
    writeFileSync(path.join(folder, "confinement.json"), JSON.stringify(spec), { mode: 0o600 });
    const [command, ...args] = supervisorCommand(interpreter, KERNEL_FOLDER, this.#cache, folder);
    return Promise.resolve({
      command: command!,
      args,
      env: { LANG: "C.UTF-8" },
      descriptors: [],
      folder,
      work,
      temporary,
      // Processes are counted by user, and this user has others.
      limits: { ...RESOURCE_LIMITS, processes: null },
      owner: null,
    });
  }
}
