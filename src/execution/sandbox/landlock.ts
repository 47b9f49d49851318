/**
 * The reduced tier, for machines without user namespaces or without bubblewrap: the supervisor confines itself by
 * Landlock and each kernel by a filter of system calls (python/execute_code_kernel/confinement.py).
 *
 * Session code sees the file system's names, but opens only the system's programs and libraries, its own work folder
 * and its own temporary folder; it has no sockets but pairs. It shares the machine's process numbers and `/dev/shm`.
 */
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { KERNEL_FOLDER, supervisorCommand } from "../languages/python/launch.ts";
import type { BoxPlace, Enclosed, Enclosure, Owner } from "./enclosure.ts";
import { resourceLimits, temporaryBytes } from "./limits.ts";
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
  readonly owner: Owner | null;
  readonly #cache: string;

  /**
   * `cache`: compiled modules of the kernel. `owner`: who the processes are to the host; null: the daemon's user, who
   * must not be root.
   */
  constructor(cache: string, owner: Owner | null) {
    this.#cache = cache;
    this.owner = owner;
  }

  enclose({ folder, work, packages, interpreter, profile }: BoxPlace): Promise<Enclosed> {
    if (!hasSeccompFilter(process.arch))
      throw new Error(`there is no system call filter for ${process.arch}`);
    const { owner } = this;
    const temporary = path.join(folder, "tmp");
    mkdirSync(temporary, { mode: 0o700 });
    const spec = {
      read: [...READ, ...interpreter.prefixes, KERNEL_FOLDER, this.#cache, packages, ...profile.read],
      write: [...WRITE, work, temporary, ...profile.write],
      open: [folder],
      filter: seccompFilter(process.arch, { sockets: false }).toString("base64"),
    };
    const specification = path.join(folder, "confinement.json");
    writeFileSync(specification, JSON.stringify(spec), { mode: 0o600 });
    const supervisor = supervisorCommand(interpreter, KERNEL_FOLDER, this.#cache, folder, null);
    if (owner !== null) {
      const own = [packages, temporary, specification, ...(profile.workspace === null ? [work] : [])];
      for (const file of own) chownSync(file, owner.uid, owner.gid);
      mkdirSync(this.#cache, { recursive: true });
    }
    const granted = [...profile.read, ...profile.write];
    const paths = [...interpreter.prefixes, KERNEL_FOLDER, this.#cache, work, packages, folder, ...granted];
    const { shared } = temporaryBytes(profile);
    const limits = resourceLimits(profile);
    const [command, ...args] =
      owner === null ? supervisor : [...uncover(paths, shared, owner), ...supervisor];
    return Promise.resolve({
      command: command!,
      args,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" },
      descriptors: [],
      folder,
      work,
      packages,
      temporary,
      // Processes are counted by user: those of all boxes together, or this user's with all others.
      limits: { ...limits, processes: profile.processes + threadsOf(owner?.uid) },
      owner,
    });
  }

  encloseInstaller(): Promise<never> {
    return Promise.reject(
      new ExecuteCodeError("install_failed", {
        message: "In the reduced tier there is no network, so no package can be installed.",
        remedy:
          "Install bubblewrap for the sandbox (Debian: apt-get install bubblewrap), or install the package for the session's interpreter.",
      }),
    );
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
