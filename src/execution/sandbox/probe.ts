/** Tries what isolation this machine offers. */
import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { IsolationTier } from "../../contract/records.ts";
import type { Interpreters } from "../languages/python/interpreter.ts";
import { Bubblewrap } from "./bubblewrap.ts";
import type { Owner } from "./enclosure.ts";
import { Isolation, type Probed } from "./isolation.ts";
import { Landlock } from "./landlock.ts";
import { NoIsolation } from "./none.ts";
import { hasSeccompFilter } from "./seccomp.ts";
import { STAGE_TOOLS } from "./stage.ts";

export interface ProbeOptions {
  /** Folder for compiled modules of the kernel. */
  readonly cache: string;
  /** Where the system call filter is kept. */
  readonly filter: string;
  readonly interpreters: Interpreters;
  readonly env: NodeJS.ProcessEnv;
}

/** Whom the boxes of a root daemon belong to: a user that nothing else is. */
const UNPRIVILEGED: Owner = { uid: 61_999, gid: 61_999 };

function ownerOfBoxes(): Owner | null {
  return process.getuid?.() === 0 ? UNPRIVILEGED : null;
}

function missing(tier: IsolationTier, detail: string, remedy: string): Probed {
  return { tier, enclosure: null, detail, remedy };
}

/** Why a tier cannot be had on this kind of machine; null where it may. */
function unsupported(tier: IsolationTier): Probed | null {
  if (process.platform === "linux" && hasSeccompFilter(process.arch)) return null;
  const detail = `not made for ${process.platform} on ${process.arch}`;
  return missing(tier, detail, "Use Linux on x86-64 or arm64.");
}

/** Why a root daemon cannot become that user; null where it can, and for others. */
function withoutTools(tier: IsolationTier, env: NodeJS.ProcessEnv): Probed | null {
  const tool =
    ownerOfBoxes() === null ? undefined : STAGE_TOOLS.find((name) => programAt(name, env) === null);
  if (tool === undefined) return null;
  return missing(tier, `there is no \`${tool}\``, "Install it (Debian: util-linux, mount).");
}

export async function probeIsolation(options: ProbeOptions): Promise<Isolation> {
  const strongest = await sandbox(options);
  const weaker = strongest.enclosure === null ? await reduced(options) : untried(options);
  return new Isolation([strongest, weaker, none(options)]);
}

/** Where the sandbox works, the reduced tier is for those who ask for it by name: its kernels say whether it works. */
function untried({ cache }: ProbeOptions): Probed {
  const enclosure = new Landlock(cache, ownerOfBoxes());
  return { tier: "reduced", enclosure, detail: "not tried, since the sandbox works" };
}

/** The version of Landlock's interface; an error number below 0 where there is none. */
const LANDLOCK_VERSION = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1))";

/** From this version on signals can be kept to a box's own processes. */
const SCOPED = 6;

async function reduced({ cache, interpreters, env }: ProbeOptions): Promise<Probed> {
  const lacking = unsupported("reduced") ?? withoutTools("reduced", env);
  if (lacking !== null) return lacking;
  try {
    const { executable } = await interpreters.find();
    const { stdout } = await promisify(execFile)(executable, ["-I", "-c", LANDLOCK_VERSION]);
    const version = Number(stdout);
    if (version < 1) {
      return missing(
        "reduced",
        "this Linux has no Landlock",
        "Use Linux 5.13 or newer, with Landlock among its modules.",
      );
    }
    const signals = version < SCOPED && ownerOfBoxes() === null ? "; and signalled, before Linux 6.12" : "";
    const detail = `Landlock ${version} and a filter of system calls; no sockets, but the machine's processes are seen${signals}`;
    return { tier: "reduced", enclosure: new Landlock(cache, ownerOfBoxes()), detail };
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return missing("reduced", said, "Run `execute-code doctor`.");
  }
}

function none({ cache }: ProbeOptions): Probed {
  return {
    tier: "none",
    enclosure: new NoIsolation(cache),
    detail: "session code runs with the daemon's rights",
  };
}

async function sandbox({ cache, filter, env }: ProbeOptions): Promise<Probed> {
  const unfit = unsupported("sandbox");
  if (unfit !== null) return unfit;
  const program = programAt("bwrap", env);
  if (program === null) {
    return missing("sandbox", "there is no `bwrap`", "Install it (Debian: apt-get install bubblewrap).");
  }
  const lacking = withoutTools("sandbox", env);
  if (lacking !== null) return lacking;
  const enclosure = new Bubblewrap({
    program,
    cache,
    filter,
    owner: ownerOfBoxes(),
  });
  try {
    await enclosure.try();
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return missing("sandbox", `bubblewrap does not work: ${said}`, remedyFor(said));
  }
  return {
    tier: "sandbox",
    enclosure,
    detail: "bubblewrap, a filter of system calls, no network but what is granted",
  };
}

function remedyFor(said: string): string {
  if (/uid map|namespace|Operation not permitted|Permission denied/.test(said)) {
    return "Allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1, on Ubuntu sysctl kernel.apparmor_restrict_unprivileged_userns=0, in Docker --security-opt seccomp=unconfined --security-opt apparmor=unconfined.";
  }
  return "Run `bwrap --ro-bind / / true` to see what is wrong.";
}

/** A program on PATH, or where root's tools usually are. */
function programAt(name: string, env: NodeJS.ProcessEnv): string | null {
  const folders = [...(env.PATH ?? "").split(path.delimiter), "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    const file = path.resolve(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not there.
    }
  }
  return null;
}
