/**
 * The command line of a bubblewrap box: what session code sees of the machine, and nothing else.
 *
 * Inside, `/work` is the session's folder and the only writable place besides `/tmp` and `/dev/shm`, which are in
 * memory and bounded; `/run/k` holds this box's kernel listener and FIFOs; the interpreter and the system's libraries
 * are read-only. There are no other files, no network, no other processes.
 */
import { existsSync, lstatSync, readlinkSync } from "node:fs";
import path from "node:path";

export const INSIDE = { work: "/work", runtime: "/run/k", program: "/opt/kernel", cache: "/opt/cache" } as const;

/** What a box needs of the machine, and what it allows. */
export interface BoxPlan {
  /** Host folders by what they are inside. */
  readonly runtime: string;
  readonly work: string;
  readonly program: string;
  readonly cache: string;
  /** Host folders that hold the interpreter and its packages; the same paths inside. */
  readonly interpreter: readonly string[];
  /** Further host paths, the same inside. */
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** Bytes that `/tmp` and `/dev/shm` may hold, each. */
  readonly temporaryBytes: number;
  readonly sharedMemoryBytes: number;
  /** Descriptor of the filter program, in the process that becomes bubblewrap. */
  readonly seccompFd: number | null;
}

/** A folder of the host, and where it appears. */
export interface Bind {
  readonly source: string;
  readonly target: string;
  readonly writable: boolean;
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

/** Everything of the host that appears inside, in the order in which it must be bound. */
export function bindsOf(plan: BoxPlan): Bind[] {
  const same = (source: string, writable = false): Bind => ({ source, target: source, writable });
  const system = [...SYSTEM, HUGE_PAGES].filter((file) => existsSync(file));
  const roots = ROOT_LINKS.filter((root) => existsSync(root) && !lstatSync(root).isSymbolicLink());
  return [
    same("/usr"),
    ...roots.map((root) => same(root)),
    ...system.map((file) => same(file)),
    ...plan.interpreter.filter((folder) => !within(folder, "/usr")).map((folder) => same(folder)),
    { source: plan.program, target: INSIDE.program, writable: false },
    { source: plan.cache, target: INSIDE.cache, writable: false },
    ...plan.read.map((file) => same(file)),
    ...plan.write.map((file) => same(file, true)),
    { source: plan.work, target: INSIDE.work, writable: true },
    { source: plan.runtime, target: INSIDE.runtime, writable: false },
  ];
}

/** The arguments of `bwrap`; the command to run follows. `binds` are those of the plan, wherever they are staged. */
export function bubblewrapArguments(plan: BoxPlan, binds: readonly Bind[]): string[] {
  const links = ROOT_LINKS.filter((root) => existsSync(root) && lstatSync(root).isSymbolicLink());
  return [
    // No privilege, and nothing shared with the host.
    ...["--unshare-user", "--uid", "1000", "--gid", "1000"],
    ...["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"],
    ...["--disable-userns", "--cap-drop", "ALL", "--hostname", "sandbox"],
    // The supervisor is process 1, without a terminal, and ends with its parent.
    ...["--as-pid-1", "--new-session", "--die-with-parent"],
    "--clearenv",
    ...["--dev", "/dev"],
    ...["--perms", "1777", "--size", String(plan.sharedMemoryBytes), "--tmpfs", "/dev/shm"],
    ...["--remount-ro", "/dev"],
    ...["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"],
    ...["--perms", "1777", "--size", String(plan.temporaryBytes), "--tmpfs", "/tmp"],
    ...links.flatMap((root) => ["--symlink", readlinkSync(root), root]),
    ...binds.flatMap(({ source, target, writable }) => [writable ? "--bind" : "--ro-bind", source, target]),
    ...["--chdir", INSIDE.work],
    ...["--remount-ro", "/"],
    ...(plan.seccompFd === null ? [] : ["--seccomp", String(plan.seccompFd)]),
    "--",
  ];
}

/** Whether a path is the folder or lies below it. */
export function within(file: string, folder: string): boolean {
  const relative = path.relative(folder, file);
  return relative === "" || (!relative.startsWith("..") && !path.isAbsolute(relative));
}
