/** Finds the Python interpreter that kernels run on: the real executable, behind shims of version managers. */
import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { ExecuteCodeError } from "../../../contract/errors.ts";

export interface Interpreter {
  readonly executable: string;
  readonly version: string;
  /** Folders that hold it, its library and its packages. */
  readonly prefixes: readonly string[];
  /** What was asked for: a path, or a name looked up on PATH. */
  readonly requested: string;
}

const OLDEST = [3, 9] as const;
const PROBE =
  "import sys, json; print(json.dumps({'executable': sys.executable, 'version': list(sys.version_info[:3]), 'implementation': sys.implementation.name, 'prefixes': sorted({sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix})}))";
const ProbeAnswer = z.object({
  executable: z.string(),
  version: z.tuple([z.int(), z.int(), z.int()]),
  implementation: z.string(),
  prefixes: z.array(z.string()),
});
const run = promisify(execFile);

/** Finds an interpreter once for each name and remembers it; a failure is tried again at the next use. */
export class Interpreters {
  readonly #found = new Map<string, Promise<Interpreter>>();
  readonly #env: NodeJS.ProcessEnv;

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  /** The name of the default: EXECUTE_CODE_PYTHON, else python3. */
  get defaultName(): string {
    return this.#env.EXECUTE_CODE_PYTHON || "python3";
  }

  /** Throws `no_python`, naming each candidate and why it does not serve. */
  find(name: string = this.defaultName): Promise<Interpreter> {
    let found = this.#found.get(name);
    if (found === undefined) {
      found = this.#search(name);
      this.#found.set(name, found);
      found.catch(() => this.#found.delete(name));
    }
    return found;
  }

  async #search(name: string): Promise<Interpreter> {
    const candidates = await this.#candidates(name);
    const reasons: string[] = [];
    for (const candidate of candidates) {
      try {
        return { ...(await probe(candidate, this.#env)), requested: name };
      } catch (error) {
        reasons.push(
          `${candidate}: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`,
        );
      }
    }
    throw new ExecuteCodeError("no_python", {
      message:
        candidates.length === 0
          ? `There is no Python interpreter \`${name}\` here.`
          : `No usable Python interpreter: ${reasons.join("; ")}.`,
    });
  }

  async #candidates(name: string): Promise<string[]> {
    const paths = name.includes("/")
      ? [path.resolve(name)]
      : (this.#env.PATH ?? "").split(path.delimiter).map((folder) => path.resolve(folder, name));
    const usable: string[] = [];
    for (const candidate of new Set(paths)) {
      try {
        await access(candidate, constants.X_OK);
        usable.push(candidate);
      } catch {
        // Not there, or not for us: no candidate.
      }
    }
    return usable;
  }
}

async function probe(candidate: string, env: NodeJS.ProcessEnv): Promise<Omit<Interpreter, "requested">> {
  const { stdout } = await run(candidate, ["-I", "-c", PROBE], { env, timeout: 10_000, cwd: "/" });
  const answer = ProbeAnswer.parse(JSON.parse(stdout));
  const version = answer.version.join(".");
  if (answer.implementation !== "cpython") throw new Error(`it is ${answer.implementation}, not CPython`);
  const [major, minor] = answer.version;
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new Error(`it is Python ${version}; ${OLDEST.join(".")} or newer is needed`);
  }
  return { executable: answer.executable, version, prefixes: answer.prefixes };
}
