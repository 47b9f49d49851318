/**
 * A folder of files that are named by the SHA-256 of their content: equal content is stored once. A file appears under
 * its name only when it is complete.
 */
import { constants } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { threadId } from "node:worker_threads";

const DIGEST = /^[0-9a-f]{64}$/;
/** Files lie in folders by the beginning of their names. */
const PREFIX = /^[0-9a-f]{2}$/;

export class ContentFolder {
  readonly #folder: string;
  readonly #suffix: string;
  #temporary = 0;

  /** `suffix` ends each file's name, after the digest. */
  constructor(folder: string, suffix = "") {
    this.#folder = folder;
    this.#suffix = suffix;
  }

  /** Makes the folder, and clears what an earlier life left unfinished. */
  async start(): Promise<void> {
    await rm(this.#incoming, { recursive: true, force: true });
    await mkdir(this.#incoming, { recursive: true, mode: 0o700 });
  }

  get #incoming(): string {
    return path.join(this.#folder, "incoming");
  }

  /** A name for a file that will be moved to its place, or be moved or removed by its owner. */
  temporaryFile(): string {
    return path.join(this.#incoming, `${process.pid}-${threadId}-${++this.#temporary}`);
  }

  /** Where content of this digest lies. */
  place(digest: string): string {
    if (!DIGEST.test(digest)) throw new Error("not a digest");
    return path.join(this.#folder, digest.slice(0, 2), `${digest}${this.#suffix}`);
  }

  /** Digests of all that is stored, a part at a time. */
  async *all(): AsyncGenerator<string[]> {
    for (const prefix of await readdir(this.#folder)) {
      if (!PREFIX.test(prefix)) continue;
      const files = await readdir(path.join(this.#folder, prefix));
      const digests = files.map((file) => path.basename(file, this.#suffix));
      yield digests.filter((digest) => DIGEST.test(digest));
    }
  }

  async remove(digests: readonly string[]): Promise<void> {
    await Promise.all(digests.map((digest) => rm(this.place(digest), { force: true })));
  }

  /** Gives a complete file its name. With `sync` the name is safe against power loss, as the owner has made the content. */
  protected async move(file: string, digest: string, sync: boolean): Promise<void> {
    const folder = path.dirname(this.place(digest));
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    await rename(file, this.place(digest));
    if (!sync) return;
    await syncFolder(folder);
    if (made !== undefined) await syncFolder(this.#folder);
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
