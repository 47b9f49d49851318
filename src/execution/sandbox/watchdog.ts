/**
 * Watches what the system does not bound for a session as a whole: the memory of all its processes together, with
 * what it keeps in memory as files, and the files of its work folder. All boxes share one clock.
 *
 * Memory is the proportional share (PSS), in which what forks share counts once; the resident size, which is quick to
 * read, says whether a look is worth it. Everything is read asynchronously: the daemon waits for none of it.
 */
import { execFile } from "node:child_process";
import { readdir, readFile, readlink, stat, statfs } from "node:fs/promises";
import { promisify } from "node:util";
import type { Profile } from "../../contract/profile.ts";
import type { ProfileLimit } from "./limits.ts";
import { tree } from "./pids.ts";

export interface Watched {
  /** The box's first process, as the host knows it. */
  readonly root: number;
  readonly profile: Profile;
  /** The work folder and the folder of packages, on the host. */
  readonly folders: readonly string[];
  /** Folders in memory, as the processes inside name them; none where the box has none of its own. */
  readonly memoryFolders: readonly string[];
  /** Whether session code runs at the moment; what it left in the background is looked at less often. */
  readonly busy: () => boolean;
  readonly exceeded: (limit: ProfileLimit) => void;
}

const TICK_MS = 250;
/** A box without a running execution is looked at every so many ticks. */
const IDLE_TICKS = 8;
/** Folders are measured at most this often, and for a tenth of the time at most. */
const DISK_MS = 2_000;
const DISK_SHARE = 10;
const DISK_DEADLINE_MS = 60_000;
/** Beyond what was there when the kernel started, so that a session whose disk is full can make room. */
const DISK_SLACK = 16 * 1024 * 1024;
const PAGE_BYTES = 4_096;

interface Watch extends Watched {
  ticks: number;
  looking: boolean;
  /** The next measuring of the folders, on the clock of `performance.now()`. */
  diskAt: number;
  /** What the folders may hold; null until they were measured first. */
  diskAllowed: number | null;
  over: boolean;
}

export class Watchdog {
  readonly #watches = new Set<Watch>();
  #timer: NodeJS.Timeout | null = null;

  /** Until the returned function is called, or a limit was exceeded. */
  watch(watched: Watched): () => void {
    const watch: Watch = {
      ...watched,
      ticks: 0,
      looking: false,
      diskAt: 0,
      diskAllowed: null,
      over: false,
    };
    this.#watches.add(watch);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref();
    return () => {
      watch.over = true;
      this.#watches.delete(watch);
      if (this.#watches.size > 0 || this.#timer === null) return;
      clearInterval(this.#timer);
      this.#timer = null;
    };
  }

  #tick(): void {
    for (const watch of this.#watches) {
      watch.ticks += 1;
      if (watch.looking || (!watch.busy() && watch.ticks % IDLE_TICKS !== 0)) continue;
      watch.looking = true;
      void this.#look(watch).finally(() => {
        watch.looking = false;
      });
    }
  }

  async #look(watch: Watch): Promise<void> {
    const pids = await tree(watch.root);
    const limit = (await memoryExceeded(watch, pids)) ?? (await diskExceeded(watch, pids));
    if (limit === null || watch.over) return;
    watch.over = true;
    this.#watches.delete(watch);
    watch.exceeded(limit);
  }
}

async function memoryExceeded(
  { profile, memoryFolders }: Watch,
  pids: readonly number[],
): Promise<"memory" | null> {
  const bound = profile.memory_bytes;
  const kept = await inMemory(pids, memoryFolders);
  const resident = await sum(pids, residentBytes);
  if (resident + kept <= bound) return null;
  return (await sum(pids, proportionalBytes)) + kept > bound ? "memory" : null;
}

async function diskExceeded(watch: Watch, pids: readonly number[]): Promise<"disk" | null> {
  const began = performance.now();
  if (began < watch.diskAt) return null;
  const used = (await folderBytes(watch.folders)) + (await deletedBytes(pids, watch.folders));
  const took = performance.now() - began;
  watch.diskAt = performance.now() + Math.max(DISK_MS, took * DISK_SHARE);
  watch.diskAllowed ??= Math.max(watch.profile.disk_bytes, used + DISK_SLACK);
  return used > watch.diskAllowed ? "disk" : null;
}

async function sum(pids: readonly number[], measure: (pid: number) => Promise<number>): Promise<number> {
  const all = await Promise.all(pids.map(measure));
  return all.reduce((total, one) => total + one, 0);
}

/** Without the memory that is shared with other processes, which `inMemory` counts. */
async function residentBytes(pid: number): Promise<number> {
  const [, resident, shared] = (await readProcess(pid, "statm")).split(" ").map(Number);
  return Math.max((resident ?? 0) - (shared ?? 0), 0) * PAGE_BYTES;
}

/** A process that hides its memory from us counts with all of it. */
async function proportionalBytes(pid: number): Promise<number> {
  const rollup = await readProcess(pid, "smaps_rollup");
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1] ?? 0) * 1024;
  return rollup === "" ? residentBytes(pid) : field("Pss_Anon") || field("Pss");
}

/** Bytes of files in memory: what the first process that lets us look sees. */
async function inMemory(pids: readonly number[], folders: readonly string[]): Promise<number> {
  if (folders.length === 0) return 0;
  for (const pid of pids.toReversed()) {
    try {
      const all = await Promise.all(folders.map((folder) => statfs(`/proc/${pid}/root${folder}`)));
      return all.reduce((total, { blocks, bfree, bsize }) => total + (blocks - bfree) * bsize, 0);
    } catch {
      // It has ended, or is not to be looked at: another one is.
    }
  }
  return 0;
}

/** What the folders hold on the disk, by `du`, which follows no links and knows paths of any length. */
async function folderBytes(folders: readonly string[]): Promise<number> {
  const options = { timeout: DISK_DEADLINE_MS, maxBuffer: 1024 * 1024 };
  const sizes = await Promise.all(
    folders.map(async (folder) => {
      const found = await promisify(execFile)("du", ["-s", "-x", "-B1", "--", folder], options).catch(
        // Files that vanish meanwhile make it complain, and it still tells the sum.
        (error: { stdout?: string }) => ({ stdout: error.stdout ?? "" }),
      );
      return Number.parseInt(found.stdout, 10) || 0;
    }),
  );
  return sizes.reduce((total, one) => total + one, 0);
}

/** Files of the folders' file systems that have no name any more and are still open. */
async function deletedBytes(pids: readonly number[], folders: readonly string[]): Promise<number> {
  const devices = new Set(await Promise.all(folders.map(async (folder) => (await stat(folder)).dev)));
  const sizes = new Map<string, number>();
  for (const pid of pids) {
    const folder = `/proc/${pid}/fd`;
    for (const name of await readdir(folder).catch(() => [])) {
      const link = await readlink(`${folder}/${name}`).catch(() => "");
      if (!link.startsWith("/") || !link.endsWith(" (deleted)")) continue;
      const file = await stat(`${folder}/${name}`).catch(() => null);
      if (file?.isFile() === true && devices.has(file.dev))
        sizes.set(`${file.dev}:${file.ino}`, file.blocks * 512);
    }
  }
  return [...sizes.values()].reduce((total, one) => total + one, 0);
}

/** Empty when it has ended, or may not be looked at. */
function readProcess(pid: number, name: string): Promise<string> {
  return readFile(`/proc/${pid}/${name}`, "utf8").catch(() => "");
}
