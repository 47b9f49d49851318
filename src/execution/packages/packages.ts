/**
 * Installs packages into a session's own environment. The installer runs in a box of its own, of the session's tier:
 * the environment is writable there and the package index can be reached, and there is nothing else of the session.
 */
import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { chown, mkdir, readdir, realpath, rm } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { InstalledPackage } from "../../contract/records.ts";
import { newShortId } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Needs } from "../kernel/kernels.ts";
import type { Interpreter, Interpreters } from "../languages/python/interpreter.ts";
import { proxied, sitePackages } from "../languages/python/launch.ts";
import { Disk } from "../sandbox/disk.ts";
import { type EnclosedProgram, INSTALL_TEMPORARY, PROXY_SOCKET } from "../sandbox/enclosure.ts";
import type { Isolation } from "../sandbox/isolation.ts";
import { limitExceeded } from "../sandbox/limits.ts";
import { Watchdog } from "../sandbox/watchdog.ts";
import { type PackageIndex, packageIndex, unreachable } from "./package-index.ts";

export interface PackagesOptions {
  readonly interpreters: Interpreters;
  readonly isolation: Isolation;
  readonly runtime: string;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
}

export interface InstallRequest {
  readonly needs: Needs;
  /** The folder of the session's packages. */
  readonly folder: string;
  /** As `requirement` lets them through. */
  readonly packages: readonly string[];
  /** Newer versions of what is there already, too. */
  readonly upgrade: boolean;
  readonly timeoutMs: number;
  /** Told each line that the installer says. */
  readonly onLine: (line: string) => void;
}

export interface InstallResult {
  /** What was not there before. */
  readonly installed: readonly InstalledPackage[];
  /** All that is there now. */
  readonly packages: readonly InstalledPackage[];
  readonly output: string;
}

const STOPPED = "The daemon stopped before the packages were installed.";
const INDEX_MS = 60_000;
/** Name, extras and versions, as PEP 508 writes them; no files, addresses or options. */
const REQUIREMENT =
  /^[a-z0-9](?:[\w.-]*[a-z0-9])?\s*(?:\[[\w\s,.-]*\])?\s*(?:(?:[<>=!~]=|===|[<>])\s*[\w.*+!-]+(?:\s*,\s*(?:[<>=!~]=|===|[<>])\s*[\w.*+!-]+)*)?$/i;

/** The requirement, when it is one that can be installed. Throws `invalid_request`. */
export function requirement(text: string): string {
  const trimmed = text.trim();
  if (REQUIREMENT.test(trimmed)) return trimmed;
  throw new ExecuteCodeError("invalid_request", {
    message: `\`${text.slice(0, 200)}\` is not the name of a package.`,
    remedy:
      "Use a name with versions where they matter, such as `pandas>=2`; files, addresses and options are not taken.",
  });
}

export class Packages {
  readonly #options: PackagesOptions;
  /** Installers that run, to be ended with the daemon. */
  readonly #running = new Set<() => void>();
  readonly #watchdog = new Watchdog();
  /** By executable. */
  readonly #indexes = new Map<string, { readonly index: PackageIndex; readonly at: number }>();
  #closed = false;

  constructor(options: PackagesOptions) {
    this.#options = options;
  }

  /** Throws `install_failed` with what the installer said, `no_python` or `no_isolation`. */
  async install(request: InstallRequest): Promise<InstallResult> {
    const { interpreters, isolation, runtime, log } = this.#options;
    const { needs, folder } = request;
    const enclosure = isolation.enclosure(needs.isolation);
    const interpreter = await interpreters.find(needs.python ?? undefined);
    const index = await this.#index(interpreter);
    if (!index.pip) {
      throw new ExecuteCodeError("install_failed", {
        message: `${interpreter.executable} has no pip.`,
        remedy: `Install it (Debian: apt-get install python3-pip; else ${interpreter.executable} -m ensurepip), or install the packages for that interpreter.`,
      });
    }
    const site = path.join(folder, sitePackages(interpreter));
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const before = await installedIn(folder, site);
    const box = path.join(runtime, newShortId());
    await mkdir(box, { mode: 0o700 });
    const { owner } = enclosure;
    const socket = path.join(box, PROXY_SOCKET);
    const { NetworkProxy } = await import("../network/proxy.ts");
    const proxy = await NetworkProxy.start({ socket, allowed: index.destinations, log });
    try {
      if (owner !== null) await Promise.all([box, socket].map((file) => chown(file, owner.uid, owner.gid)));
      const place = {
        folder: box,
        packages: folder,
        interpreter,
        profile: needs.profile,
        proxy: PROXY_SOCKET,
        read: index.certificates === null ? [] : [index.certificates],
      };
      const program = await enclosure.encloseInstaller(place, ({ packages, proxy, limits }) =>
        JSON.stringify({
          environment: packages,
          proxy,
          limits,
          commands: [pipCommand(packages, request)],
          variables: variables(index, proxy !== null),
        }),
      );
      if (this.#closed) throw new ExecuteCodeError("install_failed", { message: STOPPED });
      const folders = [folder, path.join(box, INSTALL_TEMPORARY)];
      const { status, output, stop } = await this.#run(program, request, folders);
      if (status !== 0) {
        throw new ExecuteCodeError("install_failed", {
          ...(stop ?? (await explained(output, index))),
          details: { output, status },
        });
      }
      const packages = await installedIn(folder, site);
      const known = new Set(before.map(({ name, version }) => `${name} ${version}`));
      return {
        packages,
        installed: packages.filter((one) => !known.has(`${one.name} ${one.version}`)),
        output,
      };
    } finally {
      await proxy.stop();
      await rm(box, { recursive: true, force: true });
    }
  }

  /** As pip is configured, which is asked at most once in a while: it takes as long as a small installation. */
  async #index(interpreter: Interpreter): Promise<PackageIndex> {
    const { executable } = interpreter;
    const known = this.#indexes.get(executable);
    if (known !== undefined && performance.now() - known.at < INDEX_MS) return known.index;
    const index = await packageIndex(interpreter, this.#options.env);
    if (index.pip) this.#indexes.set(executable, { index, at: performance.now() });
    return index;
  }

  /** Ends what still installs; nothing is installed from now on. */
  close(): void {
    this.#closed = true;
    for (const end of this.#running) end();
  }

  /** `folders`: what it fills, and is measured. */
  #run(
    { command, args, env, descriptors }: EnclosedProgram,
    { needs: { isolation, profile }, timeoutMs, onLine }: InstallRequest,
    folders: readonly string[],
  ): Promise<Run> {
    const child = spawn(command, args, {
      cwd: "/",
      env: { ...env },
      // The filter's place among the descriptors is the same as in a session's box.
      stdio: ["ignore", "pipe", "pipe", "ignore", ...descriptors],
      detached: true,
    });
    for (const descriptor of descriptors) closeSync(descriptor);
    let stop: Run["stop"] = null;
    const end = (): void => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
        process.kill(-child.pid, "SIGKILL");
      }
    };
    const endFor = (message: string, remedy?: string): void => {
      stop ??= remedy === undefined ? { message } : { message, remedy };
      end();
    };
    const endWithDaemon = (): void => endFor(STOPPED);
    this.#running.add(endWithDaemon);
    const timer = setTimeout(
      () =>
        endFor(
          "The time was over before the packages were installed.",
          "Give it more time, or install fewer at a time.",
        ),
      timeoutMs,
    );
    const disk = new Disk(folders);
    const unwatch =
      child.pid === undefined || isolation === "none"
        ? () => {}
        : this.#watchdog.watch({
            root: child.pid,
            profile,
            disk,
            memoryFolders: ["/dev/shm"],
            busy: () => true,
            exceeded: (limit) => endFor(`While it installed: ${limitExceeded(limit, profile)}.`),
          });
    let output = "";
    for (const stream of [child.stdout!, child.stderr!]) {
      createInterface({ input: stream }).on("line", (line) => {
        output = `${output}${line.slice(0, 1_000)}\n`.slice(-LIMITS.installOutputChars);
        onLine(line);
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<Run>();
    child.once("error", (cause) =>
      reject(new ExecuteCodeError("install_failed", { message: `${command}: ${cause.message}`, cause })),
    );
    child.once("close", (code) => resolve({ status: code ?? 1, output, stop }));
    return promise.finally(() => {
      clearTimeout(timer);
      unwatch();
      disk.close();
      this.#running.delete(endWithDaemon);
    });
  }
}

/** How an installer ended. */
interface Run {
  readonly status: number;
  readonly output: string;
  /** Why it was ended; null: by itself. */
  readonly stop: { readonly message: string; readonly remedy?: string } | null;
}

/** The environment's own interpreter runs the pip of the session's interpreter, whose packages it sees. */
function pipCommand(environment: string, { packages, upgrade }: InstallRequest): string[] {
  const pip = ["-m", "pip", "install", "--no-input", "--no-cache-dir", "--progress-bar", "off"];
  if (upgrade) pip.push("--upgrade");
  return [path.join(environment, "bin", "python"), ...pip, ...packages];
}

function variables(index: PackageIndex, boxed: boolean): Record<string, string> {
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    LANG: "C.UTF-8",
    HOME: "/tmp",
    TMPDIR: "/tmp",
    PIP_CONFIG_FILE: "/dev/null",
    PIP_DISABLE_PIP_VERSION_CHECK: "1",
    PIP_ROOT_USER_ACTION: "ignore",
    PIP_INDEX_URL: index.url,
    ...(index.extra.length === 0 ? {} : { PIP_EXTRA_INDEX_URL: index.extra.join(" ") }),
    ...(index.trusted.length === 0 ? {} : { PIP_TRUSTED_HOST: index.trusted.join(" ") }),
    ...(index.certificates === null
      ? {}
      : { PIP_CERT: index.certificates, SSL_CERT_FILE: index.certificates }),
    ...(boxed ? proxied(index.destinations) : {}),
  };
}

/** pip takes an index that cannot be reached for one that has nothing. */
async function explained(output: string, index: PackageIndex): Promise<{ message: string; remedy?: string }> {
  const said = lastError(output);
  const reason = /^(?:No matching distribution|Could not find)/.test(said) ? await unreachable(index) : null;
  if (reason === null) return { message: `${said}.` };
  return {
    message: `The package index ${reason}.`,
    remedy: "Check the network of this machine, and what is configured for pip (pip config list).",
  };
}

/** What the installer said last that is an error; of a package that could not be built, what its build said last. */
function lastError(output: string): string {
  const lines = output.trimEnd().split("\n");
  const end = lines.findLastIndex((line) => /^\s*\[end of output\]$/.test(line));
  const built = lines[end - 1]?.trim();
  if (built !== undefined) return `A package could not be built: ${built.replace(/\.$/, "")}`;
  const errors = lines.filter((line) => /^\s*(ERROR|error)\b/.test(line));
  const said = errors.at(-1) ?? lines.at(-1) ?? "";
  return said.replace(/^\s*ERROR:?\s*/i, "").replace(/\.$/, "") || "The installer failed";
}

/** Packages of an environment, by what their metadata's folders are called. What was installed may have put links. */
async function installedIn(folder: string, site: string): Promise<InstalledPackage[]> {
  const found: InstalledPackage[] = [];
  const [root, real] = await Promise.all([folder, site].map((one) => realpath(one).catch(() => null)));
  if (root === null || real !== path.join(root!, path.relative(folder, site))) return [];
  for (const name of await readdir(real)) {
    const match = /^([^-]+)-([^-]+)\.(?:dist|egg)-info$/.exec(name);
    if (match !== null) found.push({ name: match[1]!.replaceAll("_", "-"), version: match[2]! });
  }
  return found.toSorted((one, other) => (one.name < other.name ? -1 : 1));
}
