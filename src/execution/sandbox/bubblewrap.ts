/**
 * The command line of a bubblewrap box: what session code sees of the machine, and nothing else.
 *
 * Inside, `/work` is the session's folder and the only writable place besides `/tmp` and `/dev/shm`, which are in
 * memory and bounded; `/run/k` holds this box's kernel listener and FIFOs; the interpreter and the system's libraries
 * are read-only. There are no other files, no network, no other processes.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, closeSync, existsSync, lstatSync, openSync, readlinkSync, writeFileSync } from "node:fs";
import type { Interpreter } from "../languages/python/interpreter.ts";
import { KERNEL_FOLDER, precompile, supervisorCommand } from "../languages/python/launch.ts";
import type { BoxPlace, Enclosed, Enclosure, Owner } from "./enclosure.ts";
import { RESOURCE_LIMITS } from "./limits.ts";
import { hasSeccompFilter, seccompFilter } from "./seccomp.ts";
import { type Bind, stage, staged, within } from "./stage.ts";

const INSIDE = {
  work: "/work",
  runtime: "/run/k",
  kernel: "/opt/kernel/execute_code_kernel",
  cache: "/opt/cache",
} as const;
/** The first descriptor after the control channel. */
const SECCOMP_FD = 4;
const TRY_MS = 10_000;

export interface BubblewrapOptions {
  /** The `bwrap` program. */
  readonly program: string;
  /** Compiled modules of the kernel, by their paths inside. */
  readonly cache: string;
  /** Where the filter program is kept. */
  readonly filter: string;
  /** Bytes that `/tmp` and `/dev/shm` may hold, each. */
  readonly temporaryBytes: number;
  readonly sharedMemoryBytes: number;
  /** Who the processes are to the host; null: the daemon's user, which must not be root. */
  readonly owner: Owner | null;
}

/** Parts of the system that programs need; those that are not there are left out. */
const SYSTEM = [
  "/etc/ld.so.cache",
  "/etc/alternatives",
  "/etc/ssl/certs",
  "/etc/ssl/openssl.cnf",
  "/etc/localtime",
  "/etc/mime.types",
  "/etc/fonts",
] as const;
/** The merged-/usr links of the root. Where one is a folder of its own, it is bound. */
const ROOT_LINKS = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] as const;
const HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage";

export class Bubblewrap implements Enclosure {
  readonly tier = "sandbox";
  readonly #options: BubblewrapOptions;
  /** Interpreters that the kernel is compiled for, by executable. */
  readonly #compiled = new Map<string, Promise<void>>();

  constructor(options: BubblewrapOptions) {
    this.#options = options;
    if (!hasSeccompFilter(process.arch))
      throw new Error(`there is no system call filter for ${process.arch}`);
    writeFileSync(options.filter, seccompFilter(process.arch, { sockets: true }), { mode: 0o600 });
  }

  async enclose(place: BoxPlace): Promise<Enclosed> {
    const { owner, filter } = this.#options;
    await this.#compile(place.interpreter);
    if (owner !== null) chownSync(place.work, owner.uid, owner.gid);
    const supervisor = supervisorCommand(place.interpreter, INSIDE.kernel, INSIDE.cache, place.folder);
    return {
      ...this.#command(this.#binds(place), supervisor),
      descriptors: [openSync(filter, "r")],
      folder: INSIDE.runtime,
      work: INSIDE.work,
      temporary: "/tmp",
      limits: RESOURCE_LIMITS,
      owner,
    };
  }

  /** Runs a command that does nothing in a box without a session. Rejects with what went wrong. */
  async try(): Promise<void> {
    const { command, args, env } = this.#command(this.#system(), ["/bin/sh", "-c", "exit 0"]);
    const filter = openSync(this.#options.filter, "r");
    const child = spawn(command, args, {
      cwd: "/",
      env,
      stdio: ["ignore", "ignore", "pipe", "ignore", filter],
      timeout: TRY_MS,
    });
    closeSync(filter);
    let said = "";
    child.stderr!.on("data", (text: Buffer) => {
      said += text.toString("utf8");
    });
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) throw new Error(said.trim() || `it ended with status ${code}`);
  }

  #command(
    binds: readonly Bind[],
    inside: readonly string[],
  ): { command: string; args: string[]; env: Record<string, string> } {
    const { owner, program } = this.#options;
    const box = [program, ...this.#arguments(owner === null ? binds : staged(binds)), ...inside];
    const [command, ...args] = owner === null ? box : [...stage(binds, owner), ...box];
    return { command: command!, args, env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" } };
  }

  #compile(interpreter: Interpreter): Promise<void> {
    const { executable } = interpreter;
    let compiled = this.#compiled.get(executable);
    if (compiled === undefined) {
      compiled = precompile(interpreter, INSIDE.kernel, this.#options.cache);
      this.#compiled.set(executable, compiled);
      compiled.catch(() => this.#compiled.delete(executable));
    }
    return compiled;
  }

  /** Everything of the host that appears inside, in the order in which it must be bound. */
  #binds({ folder, work, interpreter }: BoxPlace): Bind[] {
    const { cache } = this.#options;
    const prefixes = interpreter.prefixes.filter((prefix) => !within(prefix, "/usr"));
    return [
      ...this.#system(),
      ...prefixes.map(same),
      { source: KERNEL_FOLDER, target: INSIDE.kernel, writable: false },
      { source: cache, target: INSIDE.cache, writable: false },
      { source: work, target: INSIDE.work, writable: true },
      { source: folder, target: INSIDE.runtime, writable: false },
    ];
  }

  /** What programs need of the system. */
  #system(): Bind[] {
    const system = [...SYSTEM, HUGE_PAGES].filter((file) => existsSync(file));
    const roots = ROOT_LINKS.filter((root) => existsSync(root) && !lstatSync(root).isSymbolicLink());
    return ["/usr", ...roots, ...system].map(same);
  }

  #arguments(binds: readonly Bind[]): string[] {
    const { temporaryBytes, sharedMemoryBytes } = this.#options;
    const links = ROOT_LINKS.filter((root) => existsSync(root) && lstatSync(root).isSymbolicLink());
    return [
      // No privilege, and nothing shared with the host.
      ["--unshare-user", "--uid", "1000", "--gid", "1000"],
      ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"],
      ["--disable-userns", "--cap-drop", "ALL", "--hostname", "sandbox"],
      // The supervisor is process 1, without a terminal, and ends with its parent.
      ["--as-pid-1", "--new-session", "--die-with-parent"],
      ["--clearenv", "--setenv", "LANG", "C.UTF-8"],
      ["--setenv", "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"],
      ["--dev", "/dev"],
      ["--perms", "1777", "--size", String(sharedMemoryBytes), "--tmpfs", "/dev/shm"],
      ["--remount-ro", "/dev"],
      ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"],
      ["--perms", "1777", "--size", String(temporaryBytes), "--tmpfs", "/tmp"],
      ...links.map((root) => ["--symlink", readlinkSync(root), root]),
      ...binds.map(({ source, target, writable }) => [writable ? "--bind" : "--ro-bind", source, target]),
      ...(binds.some(({ target }) => target === INSIDE.work) ? ["--chdir", INSIDE.work] : []),
      ["--remount-ro", "/"],
      ["--seccomp", String(SECCOMP_FD)],
      ["--"],
    ].flat();
  }
}

const same = (source: string): Bind => ({ source, target: source, writable: false });
