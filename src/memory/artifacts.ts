/**
 * Content too large or too binary for a record, by its SHA-256: equal content is stored once. A file appears under
 * its name only when it is complete.
 */
import { createHash } from "node:crypto";
import { constants, existsSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import path from "node:path";
import { storageError } from "./storage-error.ts";

export interface StoredContent {
  readonly sha256: string;
  readonly bytes: number;
}

export class Artifacts {
  readonly #folder: string;
  #temporary = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the folder, and clears what an earlier life left unfinished. */
  async start(): Promise<void> {
    await rm(this.#incoming, { recursive: true, force: true });
    await mkdir(this.#incoming, { recursive: true, mode: 0o700 });
  }

  get #incoming(): string {
    return path.join(this.#folder, "incoming");
  }

  /** A name for a file that will become an artifact by `adopt`, or be moved or removed by its owner. */
  temporaryFile(): string {
    return path.join(this.#incoming, `${process.pid}-${++this.#temporary}`);
  }

  /** Where content of this digest lies. */
  place(sha256: string): string {
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Error("not a digest");
    return path.join(this.#folder, sha256.slice(0, 2), sha256);
  }

  /** Stores the content; with `sync` it is safe against power loss when this resolves. Throws storage errors. */
  async put(content: Buffer, sync: boolean): Promise<StoredContent> {
    const sha256 = createHash("sha256").update(content).digest("hex");
    if (!existsSync(this.place(sha256))) {
      const file = this.temporaryFile();
      try {
        const handle = await open(file, "wx", 0o600);
        try {
          await handle.writeFile(content);
          if (sync) await handle.datasync();
        } finally {
          await handle.close();
        }
        await this.#move(file, sha256, sync);
      } catch (error) {
        await rm(file, { force: true });
        throw storageError(error);
      }
    }
    return { sha256, bytes: content.length };
  }

  /** Makes a complete file, forced to disk by its owner, the artifact of this digest. May be repeated. */
  async adopt(file: string, sha256: string, sync: boolean): Promise<void> {
    if (!existsSync(file) && existsSync(this.place(sha256))) return;
    try {
      await this.#move(file, sha256, sync);
    } catch (error) {
      throw storageError(error);
    }
  }

  async #move(file: string, sha256: string, sync: boolean): Promise<void> {
    const place = this.place(sha256);
    await mkdir(path.dirname(place), { recursive: true, mode: 0o700 });
    await rename(file, place);
    if (sync) await syncFolder(path.dirname(place));
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
