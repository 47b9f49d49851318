/** `doctor`: what works here. It needs neither a daemon nor Python to say so. */
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import path from "node:path";
import { promisify, styleText } from "node:util";
import { ERRORS, ExecuteCodeError } from "../contract/errors.ts";
import { daemonSocket, homeFolder } from "../contract/location.ts";
import { type Check, connect, formatDuration } from "../sdk/index.ts";
import { oneLine, writeJson, writeLine } from "./terminal.ts";

const run = promisify(execFile);
const PROGRAM_MS = 10_000;

export async function doctor(flags: { json?: boolean }): Promise<number> {
  const own = [nodeVersion(), await home(), await python(), await isolation()];
  // Of two checks of one name the daemon's counts: it is the one that runs the code.
  const byName = new Map([...own, ...(await daemon())].map((check) => [check.name, check]));
  const checks = [...byName.values()];
  const failed = checks.some((check) => check.status === "failed");
  if (flags.json) await writeJson({ ok: !failed, checks });
  else for (const check of checks) await writeCheck(check);
  return failed ? 4 : 0;
}

const SIGNS = { ok: ["green", "ok"], warning: ["yellow", "warning"], failed: ["red", "failed"] } as const;

async function writeCheck(check: Check): Promise<void> {
  const [colour, word] = SIGNS[check.status];
  const sign = styleText(colour, word.padEnd(8), { stream: process.stdout });
  await writeLine(`${sign} ${check.name}: ${check.detail}`);
  if (check.remedy !== null) await writeLine(`         → ${check.remedy}`);
}

const ok = (name: string, detail: string): Check => ({ name, status: "ok", detail, remedy: null });

function nodeVersion(): Check {
  if (Number(process.versions.node.split(".")[0]) >= 24) return ok("node", process.version);
  return { name: "node", status: "failed", detail: process.version, remedy: ERRORS.unsupported_node.remedy };
}

async function home(): Promise<Check> {
  const folder = homeFolder();
  const unusable = (why: string): Check => ({
    name: "home",
    status: "failed",
    detail: `${folder}: ${why}`,
    remedy: ERRORS.home_unusable.remedy,
  });
  try {
    const found = await stat(folder);
    if (!found.isDirectory()) return unusable("it is no folder");
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return ok("home", folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") return unusable(code === "EACCES" ? "access is denied" : String(code));
  }
  for (let parent = path.dirname(folder); ; parent = path.dirname(parent)) {
    try {
      await access(parent, constants.W_OK | constants.X_OK);
      return ok("home", `${folder}, made on first use`);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" || parent === path.dirname(parent)) {
        return unusable(`it is not there and cannot be made in ${parent}`);
      }
    }
  }
}

const SAY_VERSION = "import sys; print('.'.join(map(str, sys.version_info[:3])), sys.executable)";

async function python(): Promise<Check> {
  const set = process.env.EXECUTE_CODE_PYTHON;
  const interpreter = set || "python3";
  try {
    const { stdout } = await run(interpreter, ["-I", "-c", SAY_VERSION], { timeout: PROGRAM_MS });
    const [version = "", executable = ""] = stdout.trim().split(/ (.*)/s);
    const [major = 0, minor = 0] = version.split(".").map(Number);
    if (major === 3 && minor >= 9) return ok("python", `${version} (${executable})`);
    return {
      name: "python",
      status: "failed",
      detail: `${executable} is version ${oneLine(version)}`,
      remedy: ERRORS.no_python.remedy,
    };
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return {
      name: "python",
      status: "failed",
      detail: missing ? `${interpreter} is not on PATH` : `${interpreter} does not run`,
      remedy: ERRORS.no_python.remedy,
    };
  }
}

/** Without a daemon: whether there is what it tries first. The daemon says what it found. */
async function isolation(): Promise<Check> {
  try {
    const { stdout } = await run("bwrap", ["--version"], { timeout: PROGRAM_MS });
    return ok("isolation", `${stdout.trim()} is installed; the daemon tries it when it starts`);
  } catch {
    return {
      name: "isolation",
      status: "warning",
      detail: "bubblewrap is not installed",
      remedy: "Install it for the strongest tier (Debian: apt-get install bubblewrap).",
    };
  }
}

/** Reaches the daemon as any command does, starting it, so that what hinders its start is named. */
async function daemon(): Promise<Check[]> {
  try {
    await using client = await connect({ client: "cli" });
    const health = await client.health();
    const detail = `version ${health.version}, pid ${health.pid}, up ${formatDuration(health.uptime_ms)}`;
    return [ok("daemon", detail), ...(await client.doctor())];
  } catch (error) {
    if (!(error instanceof ExecuteCodeError)) throw error;
    const socket = daemonSocket(homeFolder());
    return [
      { name: "daemon", status: "failed", detail: `${error.message} (${socket})`, remedy: error.remedy },
    ];
  }
}
