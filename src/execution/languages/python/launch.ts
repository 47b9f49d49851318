/** How a Python supervisor is started, and what environment its kernels have. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Interpreter } from "./interpreter.ts";

/** Folder of the kernel's package. */
export const KERNEL_FOLDER: string = fileURLToPath(
  new URL("../../../../python/execute_code_kernel", import.meta.url),
);

/**
 * The command that starts a supervisor. Isolated mode: neither the environment nor the current folder decides what it
 * imports. `cache` is the folder of the package's compiled modules; the box's folder is named for lists of processes.
 */
export function supervisorCommand(
  interpreter: Interpreter,
  kernel: string,
  cache: string,
  box: string,
): string[] {
  return [interpreter.executable, "-I", path.join(kernel, "__main__.py"), cache, box];
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

/** Names that session code may see of the daemon's environment. Everything else stays outside. */
const PASSED_ON = ["TZ", "LANG", "LC_ALL"] as const;
const SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin";

/** The environment of kernels. With `isolated` the programs to find are the interpreter's and the system's. */
export function kernelEnvironment(
  outer: NodeJS.ProcessEnv,
  interpreter: Interpreter,
  { work, temporary }: { readonly work: string; readonly temporary: string | null },
  isolated: boolean,
): Record<string, string> {
  const own = path.dirname(interpreter.executable);
  const env: Record<string, string> = {
    PATH: isolated ? [...new Set([own, ...SYSTEM_PATH.split(":")])].join(":") : (outer.PATH ?? SYSTEM_PATH),
    LANG: "C.UTF-8",
    HOME: work,
    MPLBACKEND: "Agg",
    ...(temporary === null ? {} : { TMPDIR: temporary }),
  };
  for (const name of PASSED_ON) {
    const value = outer[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}
