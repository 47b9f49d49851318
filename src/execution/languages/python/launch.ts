/** How a Python supervisor is started, and what environment its kernels have. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Profile } from "../../../contract/profile.ts";
import type { Destination } from "../../network/destinations.ts";
import type { Enclosed } from "../../sandbox/enclosure.ts";
import { destinations, usesNetwork } from "../../sandbox/profile.ts";
import type { Interpreter } from "./interpreter.ts";

/** Folder of the kernel's package. */
export const KERNEL_FOLDER: string = fileURLToPath(
  new URL("../../../../python/execute_code_kernel", import.meta.url),
);

/**
 * The command that starts a supervisor. Isolated mode: neither the environment nor the current folder decides what it
 * imports. `cache` is the folder of the package's compiled modules; the box's folder is named for lists of processes;
 * `proxy` is the socket of the box's way to the network, as it is named inside.
 */
export function supervisorCommand(
  interpreter: Interpreter,
  kernel: string,
  cache: string,
  box: string,
  proxy: string | null,
): string[] {
  const command = [interpreter.executable, "-I", path.join(kernel, "__main__.py"), cache, box];
  return proxy === null ? command : [...command, proxy];
}

/** The command that installs packages; `kernel` is the folder of the kernel's package. */
export function installerCommand(
  interpreter: Interpreter,
  kernel: string,
  box: string,
  specification: string,
): string[] {
  return [interpreter.executable, "-I", path.join(kernel, "installer.py"), box, specification];
}

/**
 * Compiles the kernel's package for boxes in which it lies in `folder`, and nothing can be written; nothing is done
 * when that has been done for these very files.
 */
export async function precompile(interpreter: Interpreter, folder: string, cache: string): Promise<void> {
  const name = createHash("sha256").update(`${interpreter.executable} ${interpreter.version} ${folder}`);
  const stamp = path.join(cache, `${name.digest("hex").slice(0, 16)}.stamp`);
  const sources = describeSources();
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === sources) return;
  const program = path.join(KERNEL_FOLDER, "precompile.py");
  await promisify(execFile)(interpreter.executable, ["-I", program, cache, folder], { cwd: "/", env: {} });
  writeFileSync(stamp, sources);
}

/** Names, times and sizes of the package's files. */
function describeSources(): string {
  const files = readdirSync(KERNEL_FOLDER, { recursive: true, encoding: "utf8" });
  const lines = files
    .filter((file) => file.endsWith(".py"))
    .map((file) => {
      const { mtimeMs, size } = statSync(path.join(KERNEL_FOLDER, file));
      return `${file} ${mtimeMs} ${size}`;
    });
  return lines.toSorted().join("\n");
}

/** Where an environment of this interpreter keeps its packages, below its folder. */
export function sitePackages({ version }: Interpreter): string {
  return path.join("lib", `python${version.split(".", 2).join(".")}`, "site-packages");
}

/** Names that session code may see of the daemon's environment. Everything else stays outside. */
const PASSED_ON = ["TZ", "LANG", "LC_ALL"] as const;
/** How numeric libraries are told how many threads to start. */
const THREADS = [
  "OMP_NUM_THREADS",
  "OPENBLAS_NUM_THREADS",
  "MKL_NUM_THREADS",
  "NUMEXPR_NUM_THREADS",
] as const;
/** Where the relay in the box listens (python/execute_code_kernel/relay.py). */
const RELAY = "http://127.0.0.1:3128";
const OWN_NAMES = ["localhost", "127.0.0.1", "::1"] as const;

/** The environment of programs that are to use it: for all but the box itself, unless the machine of that name is meant. */
export function proxied(destinations: readonly Destination[]): Record<string, string> {
  const own = OWN_NAMES.filter((name) => destinations.every(({ host }) => host !== name)).join(",");
  return {
    HTTP_PROXY: RELAY,
    http_proxy: RELAY,
    HTTPS_PROXY: RELAY,
    https_proxy: RELAY,
    ALL_PROXY: RELAY,
    all_proxy: RELAY,
    NO_PROXY: own,
    no_proxy: own,
  };
}
const SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin";

/** The environment of kernels. With `isolated` the programs to find are the interpreter's and the system's. */
export function kernelEnvironment(
  outer: NodeJS.ProcessEnv,
  interpreter: Interpreter,
  { work, packages, temporary }: Enclosed,
  profile: Profile,
  isolated: boolean,
): Record<string, string> {
  const own = path.dirname(interpreter.executable);
  const programs = isolated
    ? [...new Set([own, ...SYSTEM_PATH.split(":")])].join(":")
    : (outer.PATH ?? SYSTEM_PATH);
  const env: Record<string, string> = {
    PATH: `${path.join(packages, "bin")}:${programs}`,
    LANG: "C.UTF-8",
    HOME: work,
    MPLBACKEND: "Agg",
    // For programs that the session starts; the kernel itself ignores it.
    PYTHONPATH: path.join(packages, sitePackages(interpreter)),
    ...(temporary === null ? {} : { TMPDIR: temporary }),
    ...(usesNetwork(profile) ? proxied(destinations(profile)) : {}),
  };
  if (profile.cpus !== null) {
    for (const name of THREADS) env[name] = String(profile.cpus);
  }
  for (const name of PASSED_ON) {
    const value = outer[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}
