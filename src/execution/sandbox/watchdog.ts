/**
 * Watches what the system does not bound for a session as a whole: the memory of all its processes together, with
 * what it keeps in memory as files, and the files of its work folder. All boxes share one clock.
 *
 * Memory is the proportional share (PSS), in which what forks share counts once; the resident size, which is quick to
 * read, says whether a look is worth it. Files in memory count whether they are mapped or not, so of shared memory only
 * what has no name is added. Everything is read asynchronously: the daemon waits for none of it.
 */
import { readFile, stat, statfs } from "node:fs/promises";
import type { Profile } from "../../contract/profile.ts";
import type { Disk } from "./disk.ts";
import type { ProfileLimit } from "./limits.ts";
import { tree } from "./pids.ts";

export interface Watched {
  /** The box's first process, as the host knows it. */
  readonly root: number;
  readonly profile: Profile;
  /** How many sessions share the box, each with the memory of the profile. Default: one. */
  readonly shares?: () => number;
  /** The work folder and the folder of packages, on the host. */
  readonly disk: Disk;
  /** Folders in memory, as the processes inside name them; none where the box has none of its own. */
  readonly memoryFolders: readonly string[];
  /** Whether session code runs at the moment; what it left in the background is looked at less often. */
  readonly busy: () => boolean;
  /** `excess`: bytes beyond the limit. */
  readonly exceeded: (limit: ProfileLimit, excess: number) => void;
}

const TICK_MS = 250;
/** A box without a running execution is looked at every so many ticks. */
const IDLE_TICKS = 8;
/** Folders that are not full are measured at most this often, and all for a tenth of the time at most. */
const DISK_MS = 2_000;
const DISK_SHARE = 10;
/** Beyond what was there when the kernel started, so that a session whose disk is full can make room. */
const DISK_SLACK = 1024 * 1024;
/** What the system keeps for a file besides its content. */
const INODE_BYTES = 1_024;

interface Watch extends Watched {
  ticks: number;
  looking: boolean;
  /** Processor time of all processes at the last look. */
  spent: number;
  /** The next measuring of the folders, on the clock of `performance.now()`. */
  diskAt: number;
  /** What the folders may hold, given what they hold when the kernel starts. */
  readonly diskAllowed: Promise<number>;
  over: boolean;
}

export class Watchdog {
  readonly #watches = new Set<Watch>();
  #timer: NodeJS.Timeout | null = null;

  /** Until the returned function is called, or a limit was exceeded. Begins before session code runs. */
  watch(watched: Watched): () => void {
    const watch: Watch = {
      ...watched,
      ticks: 0,
      looking: false,
      spent: -1,
      diskAt: 0,
      diskAllowed: watched.disk
        .held()
        .then((used) =>
          used <= watched.profile.disk_bytes ? watched.profile.disk_bytes : used + DISK_SLACK,
        ),
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
    const spent = await sum(pids, processorTicks);
    // What has done nothing since has changed nothing.
    if (!watch.busy() && spent === watch.spent) return;
    watch.spent = spent;
    const memory = await memoryExcess(watch, pids);
    const disk = memory > 0 ? 0 : await diskExcess(watch, pids);
    if ((memory <= 0 && disk <= 0) || watch.over) return;
    watch.over = true;
    this.#watches.delete(watch);
    if (memory > 0) watch.exceeded("memory", memory);
    else watch.exceeded("disk", disk);
  }
}

/** Bytes beyond the bound; 0 or less when there are none. */
async function memoryExcess(
  { profile, shares, memoryFolders }: Watch,
  pids: readonly number[],
): Promise<number> {
  const bound = profile.memory_bytes * (shares?.() ?? 1);
  const kept = await inMemory(pids, memoryFolders);
  const resident = await sum(pids, residentBytes);
  if (resident + kept <= bound) return 0;
  return (await sum(pids, proportionalBytes)) + kept - bound;
}

async function diskExcess(watch: Watch, pids: readonly number[]): Promise<number> {
  const began = performance.now();
  if (began < watch.diskAt) return 0;
  const used = await watch.disk.bytes(pids);
  const took = performance.now() - began;
  const pause = used > watch.profile.disk_bytes ? TICK_MS : DISK_MS;
  watch.diskAt = performance.now() + Math.max(pause, took * DISK_SHARE);
  return used - (await watch.diskAllowed);
}

async function sum<Pid>(pids: readonly Pid[], measure: (pid: Pid) => Promise<number>): Promise<number> {
  const all = await Promise.all(pids.map(measure));
  return all.reduce((total, one) => total + one, 0);
}

/** `pid (name) state …`: user and system time are fields 14 and 15; a name may contain spaces and parentheses. */
async function processorTicks(pid: number): Promise<number> {
  const stat = await readProcess(pid, "stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readProcess(pid, "status");
  return kilobytes(status, "RssAnon") + kilobytes(status, "RssShmem");
}

/** What a process of the host takes, with its share of what it has in common with others; 0 when it is gone. */
export async function memoryOf(pid: number | null): Promise<number> {
  return pid === null ? 0 : proportionalBytes(pid);
}

/**
 * What is in memory only because snapshots hold it: all shares together are all pages that anybody has, without those
 * that the kernels have themselves.
 */
export async function costOf(
  snapshots: readonly (number | null)[],
  kernels: readonly (number | null)[],
): Promise<number> {
  const [shares, own] = await Promise.all([
    sum([...kernels, ...snapshots], memoryOf),
    sum(kernels, residentMemoryOf),
  ]);
  return shares - own;
}

/** What a process of the host has in memory, shared or not; 0 when it is gone. */
async function residentMemoryOf(pid: number | null): Promise<number> {
  return pid === null ? 0 : residentBytes(pid);
}

/** What a process of the host has for itself alone; 0 when it is gone. */
export async function privateMemoryOf(pid: number | null): Promise<number> {
  if (pid === null) return 0;
  const rollup = await readProcess(pid, "smaps_rollup");
  return kilobytes(rollup, "Private_Clean") + kilobytes(rollup, "Private_Dirty");
}

/** A process that hides its memory from us counts with all of it. */
async function proportionalBytes(pid: number): Promise<number> {
  const rollup = await readProcess(pid, "smaps_rollup");
  if (rollup === "") return residentBytes(pid);
  const shared = kilobytes(rollup, "Pss_Shmem") === 0 ? 0 : await namelessBytes(pid);
  return kilobytes(rollup, "Pss_Anon") + shared;
}

/** The share in memory that processes share and that is no file. */
async function namelessBytes(pid: number): Promise<number> {
  const maps = (await readProcess(pid, "smaps")).split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const nameless = maps.filter((map) => /^.* \/dev\/zero \(deleted\)$/m.test(map));
  return nameless.reduce((total, map) => total + kilobytes(map, "Pss"), 0);
}

/** A field of what /proc tells, in bytes. */
function kilobytes(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
}

/** Bytes of files in memory: what the first process that lets us look sees. */
async function inMemory(pids: readonly number[], folders: readonly string[]): Promise<number> {
  if (folders.length === 0) return 0;
  const outside = await stat("/");
  for (const pid of pids.toReversed()) {
    try {
      const { dev, ino } = await stat(`/proc/${pid}/root/`);
      // What stands around the box has the machine's own folders, which are on the disk.
      if (dev === outside.dev && ino === outside.ino) continue;
      const all = await Promise.all(folders.map((folder) => statfs(`/proc/${pid}/root${folder}`)));
      return all.reduce(
        (total, { blocks, bfree, bsize, files, ffree }) =>
          total + (blocks - bfree) * bsize + (files - ffree) * INODE_BYTES,
        0,
      );
    } catch {
      // It has ended, or is not to be looked at: another one is.
    }
  }
  return 0;
}

/** Empty when it has ended, or may not be looked at. */
function readProcess(pid: number, name: string): Promise<string> {
  return readFile(`/proc/${pid}/${name}`, "utf8").catch(() => "");
}
