/** Where packages come from: the index that this machine's user has configured for pip, or PyPI. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { createConnection } from "node:net";
import { promisify } from "node:util";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { Interpreter } from "../languages/python/interpreter.ts";
import { type Destination, formatDestination, parseDestination } from "../network/destinations.ts";

export interface PackageIndex {
  readonly url: string;
  readonly extra: readonly string[];
  /** Certificates to trust, a file; null: the installer's own. */
  readonly certificates: string | null;
  readonly trusted: readonly string[];
  /** What of the network an installation needs. */
  readonly destinations: readonly Destination[];
  /** Whether the interpreter has pip. */
  readonly pip: boolean;
}

const PYPI = "https://pypi.org/simple";
const REACH_MS = 3_000;
/** PyPI keeps its files on a host of their own. */
const PYPI_FILES = "files.pythonhosted.org:443";

/**
 * Asks pip, which reads its files and its part of the environment. EXECUTE_CODE_INDEX_HOSTS names further hosts that an
 * index sends to for files, `host:port,…`.
 */
export async function packageIndex(interpreter: Interpreter, env: NodeJS.ProcessEnv): Promise<PackageIndex> {
  const configured = await pipConfiguration(interpreter, env);
  const setting = (name: string): string | undefined => configured?.get(name);
  const url = setting("index-url") ?? env.PIP_INDEX_URL ?? env.UV_DEFAULT_INDEX ?? env.UV_INDEX_URL ?? PYPI;
  const extra = (setting("extra-index-url") ?? env.PIP_EXTRA_INDEX_URL ?? "").split(/\s+/).filter(Boolean);
  const certificates = setting("cert") ?? env.PIP_CERT ?? env.SSL_CERT_FILE ?? null;
  const further = (env.EXECUTE_CODE_INDEX_HOSTS ?? "").split(",").filter(Boolean);
  return {
    url,
    extra,
    certificates: certificates !== null && existsSync(certificates) ? certificates : null,
    trusted: (setting("trusted-host") ?? "").split(/\s+/).filter(Boolean),
    destinations: [
      ...[url, ...extra].map(destinationOf),
      ...further.map((text) => ({ ...parseDestination(text), private: true })),
      ...(url.startsWith(PYPI) ? [parseDestination(PYPI_FILES)] : []),
    ],
    pip: configured !== null,
  };
}

/** What the machine's user has configured may have a private address. Throws `install_failed`. */
function destinationOf(url: string): Destination {
  const { hostname, port, protocol } = URL.parse(url) ?? {};
  if (hostname === undefined || !/^https?:$/.test(protocol ?? "")) {
    throw new ExecuteCodeError("install_failed", {
      message: "The package index that is configured for pip is no http or https address.",
      remedy: "See `pip config list`, or set PIP_INDEX_URL for the daemon.",
    });
  }
  const standard = protocol === "http:" ? 80 : 443;
  return { ...parseDestination(`${hostname}:${port === "" ? standard : port}`), private: url !== PYPI };
}

/** Why an index cannot be reached from this machine; null when each can, or says so in its own words. */
export async function unreachable({ destinations }: PackageIndex): Promise<string | null> {
  const reasons = await Promise.all(
    destinations.map(async ({ host, port }) => {
      const socket = createConnection({ host, port, timeout: REACH_MS });
      const failed = await new Promise<string | null>((resolve) => {
        socket.once("connect", () => resolve(null));
        socket.once("timeout", () => resolve("it does not answer"));
        socket.once("error", (error) => resolve(error.message));
      });
      socket.destroy();
      return failed === null ? null : `${formatDestination({ host, port })} cannot be reached: ${failed}`;
    }),
  );
  return reasons.find((reason) => reason !== null) ?? null;
}

/** pip's settings by name, the environment's before the files'; null without pip. */
async function pipConfiguration(
  { executable }: Interpreter,
  env: NodeJS.ProcessEnv,
): Promise<Map<string, string> | null> {
  const command = ["-I", "-m", "pip", "--disable-pip-version-check", "config", "list"];
  const found = await promisify(execFile)(executable, command, { env, cwd: "/" }).catch(() => null);
  if (found === null) return null;
  const settings = new Map<string, string>();
  const rank = new Map<string, number>();
  for (const line of found.stdout.split("\n")) {
    const match = /^(:env:|\w+)\.([\w-]+)='(.*)'$/.exec(line.trim());
    if (match === null) continue;
    const [, section, name, value] = match;
    const weight = ["global", "install", ":env:"].indexOf(section!);
    if (weight < (rank.get(name!) ?? 0)) continue;
    rank.set(name!, weight);
    settings.set(name!, value!.replaceAll("\\n", " "));
  }
  return settings;
}
