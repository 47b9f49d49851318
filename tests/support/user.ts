/** A daemon of an unprivileged user, for tests that run as root: most machines run it so. */
import { spawn, spawnSync } from "node:child_process";
import { chownSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Readable } from "node:stream";
import { connect } from "../../src/sdk/index.ts";
import { daemonProgram } from "../../src/sdk/launch.ts";
import { type TestHome, temporaryFolder } from "./home.ts";

/** A user that nothing else is: not the one whom a root daemon's sessions belong to, either. */
const USER = 61_998;
const BECOME = [`--reuid=${USER}`, `--regid=${USER}`, "--clear-groups"];
/** Not below the home of root. */
const PYTHON = "/usr/bin/python3";

/** Why there can be no such daemon here; null when there can. */
export function noUserDaemon(): string | null {
  if (process.getuid?.() !== 0) return "the tests run as an ordinary user already";
  const tried = (...command: string[]) => spawnSync("setpriv", [...BECOME, ...command]).status === 0;
  if (!tried("true")) return "there is no setpriv";
  if (!tried(PYTHON, "-I", "-c", "")) return `${PYTHON} is not there for other users`;
  if (!tried("test", "-r", daemonProgram())) return "the program lies where other users cannot read it";
  if (!tried(process.execPath, "--version")) return "Node.js lies where other users cannot run it";
  return null;
}

/** Shared by all daemons of a run, since compiling takes long; removed with the run's end. */
export function userCache(): string {
  return path.join(tmpdir(), `${process.env.EXECUTE_CODE_TEST_RUN ?? "ec-test-"}cache`);
}

export async function userHome(env: NodeJS.ProcessEnv = {}): Promise<TestHome> {
  const folder = temporaryFolder();
  const [home, user, cache] = [path.join(folder, "platform"), path.join(folder, "user"), userCache()];
  for (const each of [folder, home, user, cache]) {
    mkdirSync(each, { recursive: true, mode: 0o700 });
    chownSync(each, USER, USER);
  }
  const program = [process.execPath, daemonProgram(), "--home", home, "--ready-fd", "3"];
  const child = spawn("setpriv", [...BECOME, ...program], {
    cwd: "/",
    detached: true,
    env: {
      PATH: "/usr/bin:/bin",
      HOME: user,
      XDG_CACHE_HOME: cache,
      NODE_COMPILE_CACHE: path.join(cache, "node"),
      EXECUTE_CODE_PYTHON: PYTHON,
      EXECUTE_CODE_WARM: "1",
      ...env,
    },
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const report = await new Promise<string>((resolve) => {
    let text = "";
    (child.stdio[3] as Readable).setEncoding("utf8").on("data", (more: string) => {
      text += more;
      if (text.includes("\n")) resolve(text);
    });
    child.once("exit", (code) => resolve(text || `it ended with status ${code}`));
  });
  if (!report.startsWith('{"ready":true')) throw new Error(`the user's daemon did not start: ${report}`);
  const client = await connect({ home, start: false });
  return {
    home,
    client,
    async [Symbol.asyncDispose]() {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      await client.stop({ drainMs: 0 });
      await client.close();
      await gone;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
