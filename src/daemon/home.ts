/** The home folder: made private, checked, and owned by one daemon at a time. */
import { chmodSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { ExecuteCodeError } from "../contract/errors.ts";
import type { Paths } from "../platform/paths.ts";
import { VERSION } from "../platform/version.ts";

const SQLITE_BUSY = 5;
const Owner = z.object({ pid: z.int() });

/** Makes every folder of the home, for this user alone. Throws `home_unusable`. */
export function prepareHome(paths: Paths): void {
  const folders = [
    paths.home,
    path.dirname(paths.socket),
    path.dirname(paths.runtime),
    paths.artifacts,
    paths.sessions,
    paths.logs,
  ];
  try {
    for (const folder of new Set(folders)) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const found = lstatSync(folder);
      if (!found.isDirectory()) throw new Error(`${folder} is no folder`);
      if (found.uid !== process.getuid!()) throw new Error(`${folder} belongs to another user`);
      if ((found.mode & 0o077) !== 0) chmodSync(folder, 0o700);
    }
  } catch (cause) {
    throw new ExecuteCodeError("home_unusable", {
      message: `EXECUTE_CODE_HOME ${paths.home} cannot be used: ${(cause as Error).message}.`,
      cause,
    });
  }
}

/**
 * Owns the home until it is released or the process ends, however it ends: an exclusive lock of the operating
 * system, taken through SQLite, since Node.js has no file locks of its own.
 */
export class HomeLock {
  readonly #database: DatabaseSync;
  readonly #paths: Paths;

  private constructor(database: DatabaseSync, paths: Paths) {
    this.#database = database;
    this.#paths = paths;
  }

  /** Throws `home_in_use`, naming the owner, or `home_unusable`. */
  static acquire(paths: Paths): HomeLock {
    let database: DatabaseSync | null = null;
    try {
      database = new DatabaseSync(paths.lock);
      database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    } catch (cause) {
      database?.close();
      if ((cause as { errcode?: number }).errcode === SQLITE_BUSY) {
        const pid = ownerPid(paths);
        throw new ExecuteCodeError("home_in_use", {
          message: `Another daemon${pid === null ? "" : ` (pid ${pid})`} owns ${paths.home}.`,
          ...(pid === null ? {} : { details: { pid } }),
        });
      }
      throw new ExecuteCodeError("home_unusable", {
        message: `EXECUTE_CODE_HOME ${paths.home} cannot be used: ${(cause as Error).message}.`,
        cause,
      });
    }
    const lock = new HomeLock(database, paths);
    const owner = { pid: process.pid, version: VERSION, started_at: new Date().toISOString() };
    writeFileSync(paths.owner, `${JSON.stringify(owner)}\n`, { mode: 0o600 });
    return lock;
  }

  release(): void {
    rmSync(this.#paths.owner, { force: true });
    this.#database.close();
  }
}

function ownerPid(paths: Paths): number | null {
  try {
    return Owner.parse(JSON.parse(readFileSync(paths.owner, "utf8"))).pid;
  } catch {
    // The owner has not written it yet, or has removed it: the lock alone decides.
    return null;
  }
}
