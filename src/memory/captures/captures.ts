/**
 * Captures: the variables of sessions on the disk. Small contents go to the database with the capture, the others to
 * files before it, so that a capture which is listed is whole. What no capture needs any more is removed.
 */
import { chown, writeFile } from "node:fs/promises";
import path from "node:path";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { CaptureInfo, CaptureManifest } from "../../contract/time-travel.ts";
import type { CaptureContent, CaptureReceiver } from "../../execution/index.ts";
import { newCaptureId } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import type { SmallContent, Store, StoredCapture } from "../ports/store.ts";
import { Contents } from "./contents.ts";
import { RightOfWay } from "./right-of-way.ts";

/** Whose variables, and when. */
export interface CaptureMoment {
  readonly session_id: string;
  readonly epoch: number;
  readonly execution: string | null;
  readonly generation: number;
  readonly revision: number;
}

/** Files that are written at a time. */
const AT_A_TIME = 4;

export class Captures {
  readonly #store: Store;
  readonly #contents: Contents;
  readonly #log: Logger;
  readonly #executions = new RightOfWay();
  /** Contents that captures under way rely on, with how many do. */
  readonly #pinned = new Map<string, number>();

  constructor(store: Store, folder: string, log: Logger) {
    this.#store = store;
    this.#contents = new Contents(folder, this.#executions.shared, (message, details) =>
      log.warn({ details }, message),
    );
    this.#log = log;
  }

  async start(): Promise<void> {
    await this.#contents.start();
  }

  async close(): Promise<void> {
    await this.#contents.close();
  }

  /** An execution begins, before which captures stand back until the returned function is called. */
  standBack(): () => void {
    return this.#executions.claim();
  }

  /** Removes contents that no capture needs: those of captures that were never finished. */
  async sweep(): Promise<void> {
    for await (const digests of this.#contents.all()) await this.#removeUnneeded(digests);
  }

  async #removeUnneeded(digests: readonly string[]): Promise<void> {
    const kept = new Set(await this.#store.keptContents(digests));
    await this.#contents.remove(digests.filter((digest) => !kept.has(digest) && !this.#pinned.has(digest)));
  }

  /** Takes in the contents of one capture; `keep` or `forget` ends it. */
  incoming(): Incoming {
    return new Incoming(this.#store, this.#contents, this.#pinned);
  }

  /** Stores a capture whose contents have come in; of the session's others only the named ones stay. */
  async keep(
    moment: CaptureMoment,
    name: string | null,
    manifest: CaptureManifest,
    incoming: Incoming,
  ): Promise<StoredCapture> {
    try {
      incoming.check(manifest);
      const { session_id, epoch, execution, generation, revision } = moment;
      const capture: StoredCapture = {
        id: newCaptureId(),
        session_id,
        name,
        execution,
        generation,
        revision,
        created_at: new Date().toISOString(),
        bytes: manifest.blobs.reduce((sum, { bytes }) => sum + bytes, 0),
        new_bytes: incoming.bytes,
        manifest,
      };
      await this.#store.addCapture(epoch, capture, incoming.small);
      // What is listed needs no pins.
      incoming.forget();
      await this.#prune(capture).catch((error: unknown) => {
        this.#log.warn({ session: session_id, err: error }, "older captures were not removed");
      });
      return capture;
    } finally {
      incoming.forget();
    }
  }

  async #prune(newest: StoredCapture): Promise<void> {
    const all = await this.#store.listCaptures(newest.session_id);
    const old = all.filter(({ id, name }) => name === null && id !== newest.id).map(({ id }) => id);
    if (old.length === 0) return;
    const free = await this.#store.removeCaptures(old, [...this.#pinned.keys()]);
    await this.#contents.remove(free);
  }

  /** Newest first. */
  list(session: string): Promise<StoredCapture[]> {
    return this.#store.listCaptures(session);
  }

  /** Gives up contents that have come in and were not kept. */
  async discard(incoming: Incoming): Promise<void> {
    incoming.forget();
    await this.#removeUnneeded(incoming.files);
  }

  /**
   * Puts the contents of a manifest into a folder, each named by its digest; of those that have not been kept yet the
   * small ones are in `incoming`. What is damaged or gone is left out.
   */
  async provide(
    { blobs }: CaptureManifest,
    folder: string,
    owner: { uid: number; gid: number } | null,
    incoming: Incoming | null = null,
  ): Promise<void> {
    const digests = blobs.map(({ digest }) => digest);
    const stored = await this.#store.smallContents(digests);
    const small = new Map([...stored, ...(incoming?.small ?? [])].map((one) => [one.digest, one.data]));
    const waiting = [...new Set(digests)];
    const work = async (): Promise<void> => {
      for (let digest = waiting.pop(); digest !== undefined; digest = waiting.pop()) {
        const file = path.join(folder, digest);
        const data = small.get(digest);
        try {
          if (data === undefined) await this.#contents.take(digest, file);
          else await writeFile(file, data, { mode: 0o600 });
          if (owner !== null) await chown(file, owner.uid, owner.gid);
        } catch (error) {
          // The kernel sees that it is not there, or not what it was, and says what is lost by that.
          this.#log.warn({ digest, err: error }, "a content of a capture is damaged");
        }
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, work));
  }
}

/** Contents of a capture that is being made. */
export class Incoming implements CaptureReceiver {
  readonly small: SmallContent[] = [];
  /** Digests of those that went to files. */
  readonly files: string[] = [];
  /** Of those that were not there before. */
  bytes = 0;
  readonly #store: Store;
  readonly #contents: Contents;
  readonly #pinned: Map<string, number>;
  readonly #here = new Set<string>();

  constructor(store: Store, contents: Contents, pinned: Map<string, number>) {
    this.#store = store;
    this.#contents = contents;
    this.#pinned = pinned;
  }

  async wanted(contents: readonly CaptureContent[]): Promise<CaptureContent[]> {
    // First, so that they are not removed between the question and the answer.
    for (const { digest } of contents) {
      if (this.#here.has(digest)) continue;
      this.#here.add(digest);
      this.#pinned.set(digest, (this.#pinned.get(digest) ?? 0) + 1);
    }
    const kept = new Set(await this.#store.keptContents(contents.map(({ digest }) => digest)));
    return contents.filter(({ digest }) => !kept.has(digest));
  }

  async take({ digest, bytes }: CaptureContent, fifo: number): Promise<void> {
    this.bytes += bytes;
    if (bytes > LIMITS.smallContentBytes) {
      await this.#contents.put(fifo, digest, bytes);
      this.files.push(digest);
    } else this.small.push({ digest, data: await this.#contents.read(fifo, digest, bytes) });
  }

  release(fifo: number): Promise<void> {
    return this.#contents.release(fifo);
  }

  /** Throws `capture_failed` when the manifest names what has not come. */
  check({ blobs }: CaptureManifest): void {
    for (const { digest } of blobs) {
      if (this.#here.has(digest)) continue;
      throw new ExecuteCodeError("capture_failed", {
        message: `The content with the digest ${digest} has not come.`,
      });
    }
  }

  forget(): void {
    for (const digest of this.#here) {
      const others = (this.#pinned.get(digest) ?? 1) - 1;
      if (others > 0) this.#pinned.set(digest, others);
      else this.#pinned.delete(digest);
    }
    this.#here.clear();
  }
}

export function captureInfo(capture: StoredCapture, session: string): CaptureInfo {
  const { id, name, execution, generation, revision, created_at, bytes, new_bytes, manifest } = capture;
  const variables = manifest.variables.map((one) => ({
    name: one.name,
    type: one.type,
    status: one.status,
    bytes: one.bytes,
    reason: one.reason,
  }));
  return { id, name, session, execution, generation, revision, created_at, bytes, new_bytes, variables };
}
