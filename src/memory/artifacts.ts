/** Content too large or too binary for a record. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { ContentFolder } from "./content-folder.ts";
import { storageError } from "./storage-error.ts";

export interface StoredContent {
  readonly sha256: string;
  readonly bytes: number;
}

export class Artifacts extends ContentFolder {
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
        await this.move(file, sha256, sync);
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
      await this.move(file, sha256, sync);
    } catch (error) {
      throw storageError(error);
    }
  }
}
