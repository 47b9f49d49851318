/**
 * Installs packages into a session's own environment. The installer runs in a box of its own, of the session's tier:
 * the environment is writable there and the package index can be reached, and there is nothing else of the session.
 */
import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { chown, mkdir, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { InstalledPackage } from "../../contract/records.ts";
import { newShortId } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Needs } from "../kernel/kernels.ts";
import type { Interpreters } from "../languages/python/interpreter.ts";
import { PROXIED, sitePackages } from "../languages/python/launch.ts";
import type { EnclosedProgram } from "../sandbox/enclosure.ts";
import type { Isolation } from "../sandbox/isolation.ts";
import { type PackageIndex, packageIndex } from "./package-index.ts";

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

const PROXY_SOCKET = "proxy.sock";
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

  constructor(options: PackagesOptions) {
    this.#options = options;
  }

  /** Throws `install_failed` with what the installer said, `no_python` or `no_isolation`. */
  async install(request: InstallRequest): Promise<InstallResult> {
    const { interpreters, isolation, runtime, env, log } = this.#options;
    const { needs, folder } = request;
    const enclosure = isolation.enclosure(needs.isolation);
    const interpreter = await interpreters.find(needs.python ?? undefined);
    const index = await packageIndex(interpreter, env);
    if (!index.pip) {
      throw new ExecuteCodeError("install_failed", {
        message: `${interpreter.executable} has no pip.`,
        remedy: `Install it (Debian: apt-get install python3-pip; else ${interpreter.executable} -m ensurepip), or install the packages for that interpreter.`,
      });
    }
    const site = path.join(folder, sitePackages(interpreter));
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const before = await installedIn(site);
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
      const { status, output, timedOut } = await this.#run(program, request);
      if (status !== 0) {
        const what = timedOut ? "The time was over before the packages were installed" : lastError(output);
        throw new ExecuteCodeError("install_failed", {
          message: `${what}.`,
          ...(timedOut ? { remedy: "Give it more time, or install fewer at a time." } : {}),
          details: { output, status },
        });
      }
      const packages = await installedIn(site);
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

  /** Ends what still installs. */
  close(): void {
    for (const end of this.#running) end();
  }

  #run(
    { command, args, env, descriptors }: EnclosedProgram,
    { timeoutMs, onLine }: InstallRequest,
  ): Promise<{ status: number; output: string; timedOut: boolean }> {
    const child = spawn(command, args, {
      cwd: "/",
      env: { ...env },
      // The filter's place among the descriptors is the same as in a session's box.
      stdio: ["ignore", "pipe", "pipe", "ignore", ...descriptors],
      detached: true,
    });
    for (const descriptor of descriptors) closeSync(descriptor);
    let timedOut = false;
    const end = (): void => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
        process.kill(-child.pid, "SIGKILL");
      }
    };
    this.#running.add(end);
    const timer = setTimeout(() => {
      timedOut = true;
      end();
    }, timeoutMs);
    let output = "";
    for (const stream of [child.stdout!, child.stderr!]) {
      createInterface({ input: stream }).on("line", (line) => {
        output = `${output}${line.slice(0, 1_000)}\n`.slice(-LIMITS.installOutputChars);
        onLine(line);
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<{
      status: number;
      output: string;
      timedOut: boolean;
    }>();
    child.once("error", (cause) =>
      reject(new ExecuteCodeError("install_failed", { message: `${command}: ${cause.message}`, cause })),
    );
    child.once("close", (code) => resolve({ status: code ?? 1, output, timedOut }));
    return promise.finally(() => {
      clearTimeout(timer);
      this.#running.delete(end);
    });
  }
}

/** The environment's own interpreter runs the pip of the session's interpreter, whose packages it sees. */
function pipCommand(environment: string, { packages, upgrade }: InstallRequest): string[] {
  const pip = ["-m", "pip", "install", "--no-input", "--no-cache-dir", "--progress-bar", "off"];
  if (upgrade) pip.push("--upgrade");
  return [path.join(environment, "bin", "python"), ...pip, ...packages];
}

function variables(index: PackageIndex, proxied: boolean): Record<string, string> {
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
    ...(proxied ? PROXIED : {}),
  };
}

/** What the installer said last that is an error. */
function lastError(output: string): string {
  const lines = output.trim().split("\n");
  const errors = lines.filter((line) => /^\s*(ERROR|error)\b/.test(line));
  const said = errors.at(-1) ?? lines.at(-1) ?? "";
  return said.replace(/^\s*ERROR:?\s*/i, "").replace(/\.$/, "") || "The installer failed";
}

/** Packages of an environment, by what their metadata's folders are called. */
async function installedIn(site: string): Promise<InstalledPackage[]> {
  const found: InstalledPackage[] = [];
  const names = await readdir(site).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  for (const name of names) {
    const match = /^([^-]+)-([^-]+)\.(?:dist|egg)-info$/.exec(name);
    if (match !== null) found.push({ name: match[1]!.replaceAll("_", "-"), version: match[2]! });
  }
  return found.toSorted((one, other) => (one.name < other.name ? -1 : 1));
}
