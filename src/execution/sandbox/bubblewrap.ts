/**
 * The command line of a bubblewrap box: what session code sees of the machine, and nothing else.
 *
 * Inside, `/work` is the session's folder and the only writable place besides `/tmp` and `/dev/shm`, which are in
 * memory and bounded; `/run/k` holds this box's kernel listener and FIFOs; the interpreter and the system's libraries
 * are read-only. There are no other files, no network, no other processes.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import type { Profile } from "../../contract/profile.ts";
import type { Interpreter } from "../languages/python/interpreter.ts";
import {
  installerCommand,
  KERNEL_FOLDER,
  precompile,
  supervisorCommand,
} from "../languages/python/launch.ts";
import {
  type BoxPlace,
  type Enclosed,
  type EnclosedProgram,
  type Enclosure,
  INSTALL_TEMPORARY,
  type InstallPlace,
  type Owner,
  type Specify,
} from "./enclosure.ts";
import { resourceLimits, temporaryBytes } from "./limits.ts";
import { defaultProfile } from "./profile.ts";
import { hasSeccompFilter, seccompFilter } from "./seccomp.ts";
import { type Bind, stage, staged, within } from "./stage.ts";

const INSIDE = {
  work: "/work",
  runtime: "/run/k",
  packages: "/opt/env",
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
  readonly owner: Owner | null;
  readonly #options: BubblewrapOptions;
  /** Interpreters that the kernel is compiled for, by executable. */
  readonly #compiled = new Map<string, Promise<void>>();

  constructor(options: BubblewrapOptions) {
    this.#options = options;
    this.owner = options.owner;
    if (!hasSeccompFilter(process.arch))
      throw new Error(`there is no system call filter for ${process.arch}`);
    writeFileSync(options.filter, seccompFilter(process.arch, { sockets: true }), { mode: 0o600 });
  }

  async enclose(place: BoxPlace): Promise<Enclosed> {
    const { owner, filter } = this.#options;
    const { profile, proxy } = place;
    await this.#compile(place.interpreter);
    if (owner !== null) {
      // A folder of the user's stays the user's.
      const own = [place.packages, ...(profile.workspace === null ? [place.work] : [])];
      for (const folder of own) chownSync(folder, owner.uid, owner.gid);
    }
    const socket = proxy === null ? null : path.join(INSIDE.runtime, proxy);
    const supervisor = supervisorCommand(
      place.interpreter,
      INSIDE.kernel,
      INSIDE.cache,
      place.folder,
      socket,
    );
    return {
      ...this.#command(this.#binds(place), temporaryBytes(profile), supervisor),
      descriptors: [openSync(filter, "r")],
      folder: INSIDE.runtime,
      work: INSIDE.work,
      packages: INSIDE.packages,
      temporary: "/tmp",
      limits: resourceLimits(profile),
      owner,
    };
  }

  async encloseInstaller(place: InstallPlace, specify: Specify): Promise<EnclosedProgram> {
    const { owner, filter } = this.#options;
    const { folder, packages, interpreter, profile, proxy, read } = place;
    const temporary = path.join(folder, INSTALL_TEMPORARY);
    mkdirSync(temporary, { mode: 0o700 });
    for (const file of owner === null ? [] : [packages, temporary]) chownSync(file, owner!.uid, owner!.gid);
    const binds = [
      { source: temporary, target: "/tmp", writable: true },
      ...this.#system(),
      ...outside([...interpreter.prefixes, ...read], "/usr").map(same),
      { source: KERNEL_FOLDER, target: INSIDE.kernel, writable: false },
      { source: packages, target: INSIDE.packages, writable: true },
      { source: folder, target: INSIDE.runtime, writable: false },
    ];
    const specification = specify({
      packages: INSIDE.packages,
      proxy: path.join(INSIDE.runtime, proxy),
      limits: resourceLimits(profile),
    });
    const program = installerCommand(interpreter, INSIDE.kernel, folder, specification);
    return {
      ...this.#command(binds, temporaryBytes(profile), program),
      descriptors: [openSync(filter, "r")],
    };
  }

  /** Runs a command that does nothing in a box without a session. Rejects with what went wrong. */
  async try(): Promise<void> {
    const { command, args, env } = this.#command(this.#system(), temporaryBytes(defaultProfile()), [
      "/bin/sh",
      "-c",
      "exit 0",
    ]);
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
    room: { temporary: number; shared: number },
    inside: readonly string[],
  ): { command: string; args: string[]; env: Record<string, string> } {
    const { owner, program } = this.#options;
    const box = [program, ...this.#arguments(owner === null ? binds : staged(binds), room), ...inside];
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
  #binds({ folder, work, packages, interpreter, profile }: BoxPlace): Bind[] {
    const { cache } = this.#options;
    return [
      ...this.#system(),
      ...outside(interpreter.prefixes, "/usr").map(same),
      ...granted(profile),
      { source: KERNEL_FOLDER, target: INSIDE.kernel, writable: false },
      { source: cache, target: INSIDE.cache, writable: false },
      { source: packages, target: INSIDE.packages, writable: false },
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

  #arguments(binds: readonly Bind[], room: { temporary: number; shared: number }): string[] {
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
      ["--perms", "1777", "--size", String(room.shared), "--tmpfs", "/dev/shm"],
      ["--remount-ro", "/dev"],
      ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"],
      ["--perms", "1777", "--size", String(room.temporary), "--tmpfs", "/tmp"],
      ...links.map((root) => ["--symlink", readlinkSync(root), root]),
      ...binds.map(({ source, target, writable }) => [writable ? "--bind" : "--ro-bind", source, target]),
      ...(binds.some(({ target }) => target === INSIDE.work) ? ["--chdir", INSIDE.work] : []),
      ["--remount-ro", "/"],
      ["--seccomp", String(SECCOMP_FD)],
      ["--"],
    ].flat();
  }
}

/** What is granted within another grant comes after it. */
function granted({ read, write }: Profile): Bind[] {
  const binds = [...read.map(same), ...write.map((source) => ({ ...same(source), writable: true }))];
  return binds.toSorted((one, other) => one.source.length - other.source.length);
}

function outside(files: readonly string[], folder: string): string[] {
  return files.filter((file) => !within(file, folder));
}

const same = (source: string): Bind => ({ source, target: source, writable: false });
