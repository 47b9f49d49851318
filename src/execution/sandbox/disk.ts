/** What a session's folders hold on the disk. */
import { readdir, readlink, stat } from "node:fs/promises";
import { Shell } from "../../platform/shell.ts";

const DEADLINE_SECONDS = 60;
/** How long a start waits to know what was there before it. */
const PATIENCE_MS = 500;
/** Folders whose measuring takes less have few files. */
const MANY_FILES_MS = 100;
/** What the system keeps for a file besides its content. */
const INODE_BYTES = 1_024;

export class Disk {
  readonly #folders: string[];
  /** Its own: session code may make its folders take long to measure. */
  readonly #shell = new Shell();
  #before: Promise<number> | null;

  /** Begins to measure the folders, unless they have just been made. */
  constructor(folders: readonly string[], made = false) {
    this.#folders = [...folders];
    this.#before = made ? Promise.resolve(0) : this.#used();
  }

  /** Another folder, which is empty yet. */
  add(folder: string): void {
    this.#folders.push(folder);
  }

  /** Resolves when it is known what the folders hold, or that takes long. What is run before that is let through. */
  async measured(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, PATIENCE_MS);
    await Promise.race([this.#before, late.promise]);
    clearTimeout(timer);
  }

  /** What they held at first; measured anew after the first call. */
  held(): Promise<number> {
    const before = this.#before ?? this.#used();
    this.#before = null;
    return before;
  }

  /** Bytes, with those of files that these processes have open and that have no name any more. */
  async bytes(pids: readonly number[]): Promise<number> {
    return (await this.#used()) + (await deletedBytes(pids, this.#folders));
  }

  async #used(): Promise<number> {
    let total = 0;
    for (const folder of this.#folders) {
      const began = performance.now();
      total += await this.#usage("-B1", folder);
      // So quick a look has not met many files.
      if (performance.now() - began < MANY_FILES_MS) continue;
      total += (await this.#usage("--inodes", folder)) * INODE_BYTES;
    }
    return total;
  }

  /**
   * By `du`, which follows no links and knows paths of any length. It complains of files that vanish meanwhile, or that
   * may not be looked at; the sum comes all the same.
   */
  async #usage(unit: "-B1" | "--inodes", folder: string): Promise<number> {
    const command = ["timeout", `${DEADLINE_SECONDS}`, "du", "-s", "-x", unit, "--", folder];
    try {
      const { line, status } = await this.#shell.run(command, "drop");
      const seen = Number.parseInt(line, 10) || 0;
      if (status === 0) return seen;
      // Session code may bar its own folders to their owner: root of a namespace enters them, where there are such.
      const whole = await this.#shell.run(["unshare", "--map-root-user", ...command], "drop");
      return Math.max(seen, Number.parseInt(whole.line, 10) || 0);
    } catch {
      return 0; // There is no shell to be had, or nobody wants to know any more: the next look may have more luck.
    }
  }

  /** Measures no more. */
  close(): void {
    this.#shell.close();
  }
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
