/**
 * What a root daemon does so that an unprivileged user can start a box: that user cannot reach the folders of root, so
 * they are bound first, by root and in a mount namespace of the box's own, to where that user can. The machine's own
 * mounts stay as they are.
 */
import { statSync } from "node:fs";
import path from "node:path";
import type { Owner } from "./enclosure.ts";

/** A file or folder of the host, and where it appears. */
export interface Bind {
  readonly source: string;
  readonly target: string;
  readonly writable: boolean;
}

/** What the scripts below need. */
export const STAGE_TOOLS = ["unshare", "mount", "setpriv"] as const;

/** In the box's mount namespace a folder in memory takes its place. */
const STAGE_FOLDER = "/dev/shm";

function stagePlace(index: number): string {
  return path.join(STAGE_FOLDER, String(index));
}

/** The same binds, from where the stage has them. */
export function staged(binds: readonly Bind[]): Bind[] {
  return binds.map((bind, index) => ({ ...bind, source: stagePlace(index) }));
}

/** Makes the stage: a table of mounts, then the pairs of paths that it has, until `--`. One program mounts them all. */
const MAKE_STAGE = `set -e
mount -t tmpfs -o mode=755,size=1m,nodev,nosuid stage "$0"
printf '%s' "$1" > "$0/table"
shift
folders=
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then folders="$folders $2"; else : > "$2"; fi
  shift 2
done
shift
[ -z "$folders" ] || mkdir $folders
mount --all --fstab "$0/table"`;

/** The table, and the pairs of paths, as arguments of the script above. */
function stageArguments(sources: readonly string[]): string[] {
  const places = sources.map((_, index) => stagePlace(index));
  const table = sources.map((source, index) => `${tableField(source)} ${places[index]} none bind 0 0\n`);
  return [table.join(""), ...sources.flatMap((source, index) => [source, places[index]!]), "--"];
}

/** As fstab(5) writes a path: white space and backslashes as octal numbers. */
function tableField(file: string): string {
  return file.replaceAll(/[ \t\n\r\\]/g, (sign) => `\\${sign.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

/** The command that makes the stage and becomes the unprivileged user; what that user runs follows. */
export function stage(binds: readonly Bind[], owner: Owner): string[] {
  return [
    inOwnNamespace(`${MAKE_STAGE}\nexec "$@"`),
    stageArguments(binds.map(({ source }) => source)),
    become(owner),
  ].flat();
}

/**
 * Covers folders with empty ones, until `--`; then puts what is on the stage to the paths that follow, until `--`, and
 * gives the box a `/dev/shm` of its own.
 */
const COVER = `${MAKE_STAGE}
while [ "$1" != -- ]; do mount -t tmpfs -o mode=755,size=1m,nodev,nosuid cover "$1"; shift; done
shift
number=0
while [ "$1" != -- ]; do
  place="$0/$number"
  if [ -d "$place" ]; then mkdir -p "$1"; else mkdir -p "$(dirname "$1")"; : > "$1"; fi
  mount --bind "$place" "$1"
  number=$((number + 1))
  shift
done
shift
mount -t tmpfs -o mode=1777,size="$1",nodev,nosuid shm "$0"
shift
exec "$@"`;

/**
 * The command that becomes the unprivileged user, for whom these paths are where they were, and all else in the
 * folders that only root can enter is gone; what that user runs follows.
 */
export function uncover(paths: readonly string[], sharedMemoryBytes: number, owner: Owner): string[] {
  const hidden = paths.filter((file) => coverOf(file) !== null);
  const covers = [...new Set(hidden.map((file) => coverOf(file)!))];
  return [
    inOwnNamespace(COVER),
    stageArguments(hidden),
    [...covers, "--", ...hidden, "--", String(sharedMemoryBytes)],
    become(owner),
  ].flat();
}

/** The outermost folder on the way to a path that only its owner can enter. */
function coverOf(file: string): string | null {
  const parts = path.resolve(file).split(path.sep).slice(1, -1);
  for (let count = 1; count <= parts.length; count++) {
    const folder = path.sep + parts.slice(0, count).join(path.sep);
    if ((statSync(folder).mode & 0o001) === 0) return folder;
  }
  return null;
}

function inOwnNamespace(script: string): string[] {
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, STAGE_FOLDER];
}

function become({ uid, gid }: Owner): string[] {
  return ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"];
}

/** Whether a path is the folder or lies below it. */
export function within(file: string, folder: string): boolean {
  const relative = path.relative(folder, file);
  return relative !== ".." && !relative.startsWith("../") && !path.isAbsolute(relative);
}
