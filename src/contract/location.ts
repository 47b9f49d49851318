/** The address at which clients find the daemon of a home. Both sides compute the same one. */
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import path from "node:path";

/** Unix socket paths end at 108 bytes, the terminating zero included. */
export const SOCKET_PATH_BYTES = 107;

/** EXECUTE_CODE_HOME, or the state folder of the platform's conventions; for root a folder of the system's. */
export function homeFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.EXECUTE_CODE_HOME) return path.resolve(env.EXECUTE_CODE_HOME);
  if (process.getuid!() === 0) return "/var/lib/execute-code";
  if (env.XDG_STATE_HOME) return path.join(env.XDG_STATE_HOME, "execute-code");
  return path.join(homedir(), ".local", "state", "execute-code");
}

/** Compiled modules of Node.js and Python, so that the second start is quick: private to the user, of every home. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return path.join(env.XDG_CACHE_HOME ?? path.join(homedir(), ".cache"), "execute-code");
}

/** A private folder with a short path, for the sockets of a home whose own path is too long for them. */
export function shortFolder(home: string): string {
  const name = createHash("sha256").update(home).digest("hex").slice(0, 10);
  return path.join("/tmp", `execute-code-${process.getuid!()}-${name}`);
}

/** The daemon's socket. */
export function daemonSocket(home: string): string {
  const own = path.join(home, "daemon.sock");
  return Buffer.byteLength(own) <= SOCKET_PATH_BYTES ? own : path.join(shortFolder(home), "daemon.sock");
}
