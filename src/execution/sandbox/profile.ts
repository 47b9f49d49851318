/**
 * From what a session asks for to what it is granted: paths are made sure of, destinations are read, and what the
 * tier of isolation cannot keep to is refused.
 */
import { constants, existsSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { Profile, ProfileOptions } from "../../contract/profile.ts";
import type { IsolationTier } from "../../contract/records.ts";
import { type Destination, formatDestination, parseDestination } from "../network/destinations.ts";
import type { Owner } from "./enclosure.ts";
import { DEFAULT_MEMORY_BYTES } from "./limits.ts";
import { within } from "./stage.ts";

export interface ProfileContext {
  readonly tier: IsolationTier;
  /** The daemon's own folders, which no session gets. */
  readonly own: readonly string[];
  /** Compiled programs that the daemon and every session run: no session may write there. */
  readonly cache: string;
  /** Who the processes are to the host; null: the daemon's user. */
  readonly owner: Owner | null;
}

/** Folders of every box that are its own, or the system's. */
const RESERVED = [
  "/proc",
  "/sys",
  "/dev",
  "/work",
  "/run/k",
  "/opt/kernel",
  "/opt/cache",
  "/opt/env",
] as const;

/** What a session is granted that asks for nothing. */
export function defaultProfile(): Profile {
  return {
    read: [],
    write: [],
    workspace: null,
    allow_net: [],
    allow_private_net: [],
    memory_bytes: DEFAULT_MEMORY_BYTES,
    cpus: null,
    processes: LIMITS.processes,
    disk_bytes: LIMITS.diskBytes,
    output_bytes: LIMITS.spoolBytes,
    wall_ms: null,
    install: true,
  };
}

/** Throws `invalid_profile`. */
export function completeProfile(options: ProfileOptions, context: ProfileContext): Profile {
  const profile = { ...defaultProfile(), ...asked(options) };
  checkTier(options, context.tier);
  const { workspace } = profile;
  const read = profile.read.map((file) => checkPath(file, "read", context));
  const write = profile.write.map((file) => checkPath(file, "write", context));
  checkNesting(read, write, context.tier);
  return {
    ...profile,
    read,
    write,
    workspace: workspace === null ? null : checkWorkspace(workspace, context),
    allow_net: profile.allow_net.map((text) => formatDestination(parseDestination(text))),
    allow_private_net: profile.allow_private_net.map((text) => formatDestination(parseDestination(text))),
  };
}

/** Without the fields that are not there. */
function asked(options: ProfileOptions): Partial<Profile> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** Where a session's network may be used. */
export function destinations(profile: Profile): Destination[] {
  return [
    ...profile.allow_net.map(parseDestination),
    ...profile.allow_private_net.map((text) => ({ ...parseDestination(text), private: true })),
  ];
}

export function usesNetwork({ allow_net, allow_private_net }: Profile): boolean {
  return allow_net.length + allow_private_net.length > 0;
}

/** Throws `invalid_profile` when what was granted is no longer what it was: a link has taken its place. */
export function checkGranted({ read, write, workspace }: Profile): void {
  for (const file of [...read, ...write, ...(workspace === null ? [] : [workspace])]) {
    if (realPath(file) !== file) throw refused(`${file} is a link now, or lies behind one.`);
  }
}

/** What a tier cannot keep to, it does not promise. */
function checkTier(options: ProfileOptions, tier: IsolationTier): void {
  if (tier === "sandbox") return;
  const network = [...(options.allow_net ?? []), ...(options.allow_private_net ?? [])];
  if (network.length > 0) {
    throw refused(
      tier === "none"
        ? "Without isolation the network cannot be limited to some destinations."
        : "The reduced tier has no network.",
      "Use the sandbox for it: install bubblewrap (Debian: apt-get install bubblewrap).",
    );
  }
  if (tier === "none" && (options.cpus !== undefined || options.processes !== undefined)) {
    throw refused("Without isolation processors and processes are not limited.", "Leave the option out.");
  }
}

/** What is granted for reading below a folder for writing is read-only where each is bound by itself. */
function checkNesting(read: readonly string[], write: readonly string[], tier: IsolationTier): void {
  for (const file of read) {
    const folder = write.find((one) => within(file, one));
    if (folder === undefined || (tier === "sandbox" && folder !== file)) continue;
    throw refused(`${file} cannot be for reading only, since ${folder} is for writing.`);
  }
}

function checkWorkspace(file: string, context: ProfileContext): string {
  const folder = checkPath(file, "write", context);
  if (!statSync(folder).isDirectory()) throw refused(`${file} is no folder.`);
  return folder;
}

function checkPath(file: string, access: "read" | "write", { own, cache, owner }: ProfileContext): string {
  if (!path.isAbsolute(file) || file.includes("\0")) {
    throw refused(`\`${file}\` is no absolute path.`, "Name it from the root: /home/me/data.");
  }
  const real = realPath(file);
  if (real === "/") throw refused("The whole machine cannot be granted.", "Name a folder in it.");
  for (const reserved of RESERVED) {
    if (within(real, reserved))
      throw refused(`${file} lies in ${reserved}, which each session has of its own.`);
    if (within(reserved, real))
      throw refused(`${file} holds ${reserved}, which each session has of its own.`, "Name folders in it.");
  }
  const kept = access === "write" && existsSync(cache) ? [...own, cache] : own;
  for (const folder of kept.map(realPath)) {
    if (within(real, folder) || within(folder, real)) {
      throw refused(`${file} is, holds, or lies in the platform's own folder.`, "Name another folder.");
    }
  }
  if (owner !== null) checkOwner(real, access, owner);
  return real;
}

/** Under a root daemon the code runs as another user, and nothing of the machine is changed for that. */
function checkOwner(file: string, access: "read" | "write", { uid, gid }: Owner): void {
  const stat = statSync(file);
  const shift = stat.uid === uid ? 6 : stat.gid === gid ? 3 : 0;
  const granted = (stat.mode >> shift) & 7;
  const needed =
    constants.R_OK | (stat.isDirectory() ? constants.X_OK : 0) | (access === "write" ? constants.W_OK : 0);
  if ((granted & needed) === needed) return;
  throw refused(
    `The user that session code runs as (${uid}) may not ${access} ${file}.`,
    `Let it: chown -R ${uid}:${gid} ${file}, or chmod -R o+${access === "write" ? "rwX" : "rX"} ${file}; or run the daemon as the user who owns it.`,
  );
}

function realPath(file: string): string {
  try {
    return realpathSync(file);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "";
    throw refused(`${file} cannot be granted: ${code === "ENOENT" ? "there is no such file" : code}.`);
  }
}

function refused(message: string, remedy?: string): ExecuteCodeError {
  return new ExecuteCodeError("invalid_profile", { message, ...(remedy === undefined ? {} : { remedy }) });
}
