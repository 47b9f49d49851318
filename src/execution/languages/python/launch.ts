/** How a Python supervisor is started, and what environment its kernels have. */
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Interpreter } from "./interpreter.ts";

const PROGRAM = fileURLToPath(new URL("../../../../python/execute_code_kernel/__main__.py", import.meta.url));

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Isolated mode: neither the environment nor the current folder decides what the supervisor imports. The box's folder is named for lists of
 * processes.
 */
export function supervisorLaunch(interpreter: Interpreter, cache: string, box: string): Launch {
  return {
    command: interpreter.executable,
    args: ["-I", PROGRAM, path.join(cache, "python"), box],
    env: { LANG: "C.UTF-8" },
  };
}

/** Names that session code may see of the daemon's environment. Everything else stays outside. */
const PASSED_ON = ["PATH", "TZ", "LANG", "LC_ALL"] as const;

export function kernelEnvironment(outer: NodeJS.ProcessEnv, workspace: string): Record<string, string> {
  const env: Record<string, string> = {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    LANG: "C.UTF-8",
    HOME: workspace,
    MPLBACKEND: "Agg",
  };
  for (const name of PASSED_ON) {
    const value = outer[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}
