/**
 * The files of a session's workspace, for those who use the session.
 *
 * The session's code is hostile and runs at the same time: at any instant it can put a link to the host's files in
 * place of a folder or a file, and the daemon, which may be root, would follow it. So nothing is looked at first and
 * opened by its path later. A path is walked name by name, each from the opened folder before it and none that is a
 * link; what is told of, read or replaced is an opened file, or one name in an opened folder. Node has no `openat`: on
 * Linux `/proc/self/fd/N/name` does the same, and elsewhere all of this is refused.
 */
import { constants, type Stats } from "node:fs";
import { chown, type FileHandle, lstat, mkdir, open, opendir, rename, stat, unlink } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import type { WorkspaceEntry, WorkspaceListing } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { SessionInfo } from "../../contract/records.ts";
import { newSecret } from "../../platform/ids.ts";
import type { Content } from "../executions/history.ts";
import { storageError } from "../storage-error.ts";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
/** Linux's, which Node does not name: to go through a folder, whether or not it may be read. */
const O_PATH = 0o10000000;
const WAY = O_PATH | O_DIRECTORY | O_NOFOLLOW;
/** Not blocking: neither a FIFO nor a lease that the session's code holds on a file keeps the daemon waiting. */
const FILE = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
const NEW_FILE = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;

const NAME_BYTES = 255;
const READ_BYTES = 256 * 1024;
/** Entries of a listing that are looked at together. */
const BATCH = 64;
/** The furthest instant that a Date can tell, milliseconds from 1970. */
const FURTHEST_MS = 8_640_000_000_000_000;

/** Names a file that is not there yet, in a folder of the daemon's own that is cleared at its start. */
export type Staging = () => string;

/** Where a workspace is. */
interface Root {
  /** A folder that no session's code can move or replace. */
  readonly base: string;
  /** The way from there, which session code may be able to change. */
  readonly names: readonly string[];
}

/**
 * Where a session's files are: in its own folder; or in a folder of the user's, by its real path, which may lie in
 * another one that session code writes to.
 */
export function workspaceRoot({ workspace, profile }: Pick<SessionInfo, "workspace" | "profile">): Root {
  if (profile.workspace === null) return { base: workspace, names: [] };
  return { base: "/", names: workspace.split("/").filter((name) => name !== "") };
}

/** A folder of the workspace, opened. */
interface Opened {
  readonly folder: FileHandle;
  /** Who new files and folders are given to; null: the daemon's user, whose they are. */
  readonly owner: Owner | null;
}

type Owner = Pick<Stats, "uid" | "gid">;

/** Makes a session's own folder where no kernel has made it yet, for the user of its kernels; null: the daemon's. */
export async function makeWorkspace(folder: string, owner: Owner | null): Promise<void> {
  try {
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    if (made !== undefined && owner !== null) await chown(folder, owner.uid, owner.gid);
  } catch (error) {
    throw refusal(error, "");
  }
}

/**
 * What a folder of the workspace holds; a workspace that is not there yet holds nothing. Of a folder with more entries
 * than the bound some are told, which need not be the first by name. Throws `invalid_path` or `unknown_file`.
 */
export async function listWorkspace(root: Root, at: string): Promise<WorkspaceListing> {
  const relative = at === "." || at === "./" ? "" : at.replace(/(?<=[^/])\/$/, "");
  const names = relative === "" ? [] : namesOf(relative);
  let opened: Opened;
  try {
    opened = await openFolder(root, names, false);
  } catch (error) {
    if (names.length > 0 || (error as Partial<ExecuteCodeError>).code !== "unknown_file") throw error;
    return { path: "", entries: [], truncated: false };
  }
  try {
    return { path: relative, ...(await entriesOf(opened.folder, relative)) };
  } catch (error) {
    throw refusal(error, relative);
  } finally {
    await opened.folder.close();
  }
}

/**
 * A file's content, as much as it has now. Who takes it reads the stream to its end or destroys it. Throws
 * `invalid_path` or `unknown_file`, and `session_busy` while the session's code holds a lease on the file.
 */
export async function openWorkspaceFile(root: Root, at: string): Promise<Content> {
  const names = namesOf(at);
  const { folder } = await openFolder(root, names.slice(0, -1), false);
  let file: FileHandle | null = null;
  try {
    file = await open(within(folder, names.at(-1)!), FILE);
    const found = await file.stat();
    if (!found.isFile()) throw invalid(at, found.isDirectory() ? "is a folder" : "is no regular file");
    if (!Number.isSafeInteger(found.size)) throw invalid(at, "is larger than can be told");
    const stream = await streamOf(file, found.size);
    return { mime: "application/octet-stream", bytes: found.size, source: { stream }, attachment: true };
  } catch (error) {
    await file?.close();
    throw refusal(error, at);
  } finally {
    await folder.close();
  }
}

/**
 * Puts a file into the workspace, whole or not at all: missing folders are made, and whatever has the name is
 * replaced, unless it is a folder. New files and folders belong to the owner of the workspace, which must be there.
 * Throws `invalid_path`, `file_too_large`, storage errors, and what the content throws.
 */
export async function storeWorkspaceFile(
  root: Root,
  at: string,
  content: AsyncIterable<Uint8Array>,
  staging: Staging,
): Promise<WorkspaceEntry> {
  const names = namesOf(at);
  const { folder, owner } = await openFolder(root, names.slice(0, -1), true);
  try {
    const place = await placeFor(folder, staging);
    const file = await open(place, NEW_FILE, 0o644);
    try {
      if (owner !== null) await file.chown(owner.uid, owner.gid);
      await file.writeFile(bounded(content));
      await file.datasync();
      await rename(place, within(folder, names.at(-1)!));
      return entryOf(at, await file.stat());
    } catch (error) {
      // It may be gone, or a thing of the session's, where the session's code can reach it.
      await unlink(place).catch(() => {});
      throw error;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw refusal(error, at);
  } finally {
    await folder.close();
  }
}

/** The names of a path from the workspace. Throws `invalid_path`, saying what is wrong with it. */
function namesOf(at: string): string[] {
  if (!at.isWellFormed()) throw invalid(at, "is not well-formed Unicode");
  if (at.includes("\0")) throw invalid(at, "has a NUL in it");
  if (Buffer.byteLength(at) > LIMITS.workspacePathBytes) {
    throw invalid(at, `is longer than ${LIMITS.workspacePathBytes} bytes`);
  }
  if (at.startsWith("/")) throw invalid(at, "is absolute");
  const names = at.split("/");
  for (const name of names) {
    if (name === "") throw invalid(at, "has an empty name in it");
    if (name === "." || name === "..") throw invalid(at, `has \`${name}\` in it`);
    if (Buffer.byteLength(name) > NAME_BYTES)
      throw invalid(at, `has a name of more than ${NAME_BYTES} bytes`);
  }
  return names;
}

/** An opened folder, or one name in it, as a path that leads nowhere else. */
function within(folder: FileHandle, name?: string | Buffer): Buffer {
  const place = Buffer.from(`/proc/self/fd/${folder.fd}`);
  return name === undefined ? place : Buffer.concat([place, Buffer.from("/"), Buffer.from(name)]);
}

/** Walks to a folder; with `make` those that are missing are made. Throws `invalid_path` or `unknown_file`. */
async function openFolder(root: Root, names: readonly string[], make: boolean): Promise<Opened> {
  if (process.platform !== "linux") {
    throw new ExecuteCodeError("invalid_request", {
      message: "The files of a workspace can be listed, read and written safely on Linux only.",
      remedy: "Use the folder itself: `execute-code session show NAME` tells where it is.",
    });
  }
  let walked = "";
  let folder: FileHandle | null = null;
  try {
    folder = await open(root.base, WAY);
    for (const name of root.names) folder = await move(folder, await open(within(folder, name), WAY));
    const owner = foreign(await folder.stat());
    for (const name of names) {
      walked = walked === "" ? name : `${walked}/${name}`;
      folder = await move(folder, await enter({ folder, owner }, name, make));
    }
    return { folder, owner };
  } catch (error) {
    await folder?.close();
    throw refusal(error, walked);
  }
}

async function move(from: FileHandle, to: FileHandle): Promise<FileHandle> {
  await from.close();
  return to;
}

/** Goes into a folder; with `make` it is made when it is missing. */
async function enter(parent: Opened, name: string, make: boolean): Promise<FileHandle> {
  const place = within(parent.folder, name);
  try {
    return await open(place, WAY);
  } catch (error) {
    if (!make || (error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  try {
    await mkdir(place, parent.owner === null ? 0o755 : UNGIVEN);
  } catch (error) {
    // Somebody else has made it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  if (parent.owner === null) return await open(place, WAY);
  const folder = await open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    await give(folder, parent.owner);
    return folder;
  } catch (error) {
    await folder.close();
    throw error;
  }
}

/** The mode of a folder that root has made a moment ago: no folder of somebody's has it. */
const UNGIVEN = 0o1000;

/** Gives away a folder that was just made. The session's code may have put another one in its place: that stays. */
async function give(folder: FileHandle, owner: Owner): Promise<void> {
  const { uid, mode } = await folder.stat();
  if (uid !== 0 || (mode & 0o1777) !== UNGIVEN) return;
  await folder.chown(owner.uid, owner.gid);
  await folder.chmod(0o755);
}

/**
 * Where a file comes into being that will be moved into the folder: out of the session's reach, where that is on the
 * same file system; else in the folder, where the session's code can spoil it, as it can when it has its name.
 */
async function placeFor(folder: FileHandle, staging: Staging): Promise<string | Buffer> {
  const place = staging();
  const [there, here] = await Promise.all([stat(path.dirname(place)), folder.stat()]);
  return there.dev === here.dev ? place : within(folder, `.upload-${newSecret()}`);
}

/** The owner of the workspace, where that is not the daemon's user and the daemon may give things away. */
function foreign(workspace: Stats): Owner | null {
  const own = process.geteuid!();
  return own === 0 && workspace.uid !== own ? { uid: workspace.uid, gid: workspace.gid } : null;
}

async function* bounded(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.length;
    if (bytes > LIMITS.uploadBytes) throw new ExecuteCodeError("file_too_large");
    yield chunk;
  }
}

/** The first bytes of a file, as many as said; fewer, when it has become shorter. Owns the file. */
async function streamOf(file: FileHandle, bytes: number): Promise<Readable> {
  if (bytes > 0) return file.createReadStream({ start: 0, end: bytes - 1, highWaterMark: READ_BYTES });
  await file.close();
  return Readable.from([]);
}

async function entriesOf(
  folder: FileHandle,
  relative: string,
): Promise<Pick<WorkspaceListing, "entries" | "truncated">> {
  const names: Buffer[] = [];
  let truncated = false;
  // Latin-1 keeps the bytes of names that are no UTF-8.
  for await (const { name } of await opendir(within(folder), { encoding: "latin1", bufferSize: BATCH })) {
    truncated = names.length === LIMITS.workspaceEntries;
    if (truncated) break;
    names.push(Buffer.from(name, "latin1"));
  }
  names.sort((a, b) => a.compare(b));
  const entries: WorkspaceEntry[] = [];
  for (let from = 0; from < names.length; from += BATCH) {
    const batch = names.slice(from, from + BATCH).map(async (name) => {
      const found = await lstat(within(folder, name)).catch(gone);
      const text = name.toString("utf8");
      return found === null ? [] : [entryOf(relative === "" ? text : `${relative}/${text}`, found)];
    });
    entries.push(...(await Promise.all(batch)).flat());
  }
  return { entries, truncated };
}

/** What was removed meanwhile is no entry. */
function gone(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

/** The session's code sets times and sizes beyond what can be told: they are told as the furthest. */
function entryOf(at: string, found: Stats): WorkspaceEntry {
  const modified = Math.max(-FURTHEST_MS, Math.min(FURTHEST_MS, Math.trunc(found.mtimeMs) || 0));
  return {
    path: at,
    type: typeOf(found),
    bytes: found.isFile() ? Math.min(found.size, Number.MAX_SAFE_INTEGER) : 0,
    modified_at: new Date(modified).toISOString(),
  };
}

function typeOf(found: Stats): WorkspaceEntry["type"] {
  if (found.isFile()) return "file";
  if (found.isDirectory()) return "folder";
  return found.isSymbolicLink() ? "link" : "other";
}

/** A failure of the file system, as what it means for the place in the workspace; all else as it is. */
function refusal(error: unknown, at: string): unknown {
  switch ((error as NodeJS.ErrnoException | null)?.code) {
    case "ENOENT":
      return new ExecuteCodeError("unknown_file", {
        message: at === "" ? "The workspace is not there." : `There is no ${quoted(at)} in the workspace.`,
        cause: error,
      });
    case "ENOTDIR":
      return invalid(at, "is a file or a link, or leads through one", error);
    case "ELOOP":
      return invalid(at, "is a link", error);
    case "EISDIR":
      return invalid(at, "is a folder", error);
    case "ENXIO":
    case "ENODEV":
      return invalid(at, "is no regular file", error);
    case "ENAMETOOLONG":
      return invalid(at, "has a name that is too long for its file system", error);
    case "EACCES":
    case "EPERM":
      return invalid(at, "cannot be used with the permissions that the session's code has given it", error);
    case "EAGAIN":
      return new ExecuteCodeError("session_busy", {
        message: `The session's code holds ${quoted(at)} at the moment.`,
        remedy: "Try again, or let the session's code give up its lease on the file.",
        cause: error,
      });
    case "ENOSPC":
    case "EDQUOT":
      return new ExecuteCodeError("storage_full", {
        message: "The disk is full: the file was not stored.",
        cause: error,
      });
    case "EXDEV":
      return new ExecuteCodeError("storage_failed", { message: (error as Error).message, cause: error });
    default:
      return storageError(error);
  }
}

function invalid(at: string, what: string, cause?: unknown): ExecuteCodeError {
  return new ExecuteCodeError("invalid_path", { message: `${quoted(at)} ${what}.`, cause });
}

/** A path in a message: bounded, and without what a terminal would obey. */
function quoted(at: string): string {
  if (at === "") return "The workspace";
  const shown = at.length > 120 ? `${at.slice(0, 120)}…` : at;
  return `\`${JSON.stringify(shown).slice(1, -1)}\``;
}
