/**
 * A capture as the daemon sees it: a copy of a kernel that writes its variables down and ends. It says by its channel
 * what it has to offer, and writes what is wanted of that into a FIFO, one content after the other.
 */
import { Socket } from "node:net";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { KernelFrame } from "../../contract/frames.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { CaptureManifest } from "../../contract/time-travel.ts";
import { KernelChannel } from "./channel.ts";

export interface Content {
  /** SHA-256 of the bytes, as the capture says. */
  readonly digest: string;
  readonly bytes: number;
}

export interface CaptureReceiver {
  /** Those that are not there yet. */
  wanted(contents: readonly Content[]): Promise<Content[]>;
  /** Takes all chunks of a content; rejects when they are not what the digest says. */
  take(content: Content, chunks: AsyncIterable<Buffer>): Promise<void>;
}

export interface CaptureOptions {
  /** Names it in its box. */
  readonly name: string;
  /** Descriptor of the reading end of the FIFO, which it takes over. */
  readonly contents: number;
  readonly kill: () => void;
  readonly receiver: CaptureReceiver;
}

export class Capture {
  readonly name: string;
  readonly channel: KernelChannel;
  /** The variables that it is at work on. */
  working: readonly string[] = [];
  /** When it began with them, on the clock of `performance.now()`. */
  workingSince: number = performance.now();
  readonly #options: CaptureOptions;
  readonly #gone = Promise.withResolvers<void>();
  readonly #manifest = Promise.withResolvers<CaptureManifest>();
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  /** What was read and belongs to the next content. */
  #rest: Buffer = Buffer.alloc(0);
  #bytes = 0;
  /** Offers are served one after the other. */
  #serving: Promise<void> = Promise.resolve();
  #alive = true;

  constructor(options: CaptureOptions) {
    this.#options = options;
    this.name = options.name;
    this.channel = new KernelChannel(
      (frame) => this.#onFrame(frame),
      () => this.drop(),
    );
    this.#socket = new Socket({ fd: options.contents, readable: true, writable: false });
    this.#socket.on("error", () => this.#socket.destroy());
    this.#chunks = (this.#socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    this.#manifest.promise.catch(() => {});
  }

  /** What was captured, when all of it has been taken. Rejects when the capture ended before that. */
  get manifest(): Promise<CaptureManifest> {
    return this.#manifest.promise;
  }

  /** Resolves when its process has ended. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  connect(socket: Socket, _pid: () => number, frames: unknown[]): void {
    this.channel.connect(socket, frames);
  }

  drop(): void {
    if (this.#alive) this.#options.kill();
  }

  onExit(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.channel.close();
    // What it has sent before its end is still taken.
    void this.#serving.then(() => {
      this.#fail(
        new ExecuteCodeError("capture_failed", { message: "The capture ended before it was whole." }),
      );
      this.#socket.destroy();
      this.#gone.resolve();
    });
  }

  #onFrame(frame: KernelFrame): void {
    switch (frame.type) {
      case "capturing":
        this.working = frame.names;
        this.workingSince = performance.now();
        return;
      case "offer":
        this.#serve(() => this.#take(frame.contents));
        return;
      case "captured":
        this.#serve(async () => {
          if (frame.manifest !== null) this.#manifest.resolve(frame.manifest);
          else
            this.#fail(
              new ExecuteCodeError("capture_failed", { message: `The capture failed: ${frame.error}` }),
            );
        });
        return;
      default:
    }
  }

  #serve(step: () => Promise<void>): void {
    this.#serving = this.#serving.then(step).catch((error: unknown) => {
      this.#fail(error);
      this.drop();
    });
  }

  #fail(error: unknown): void {
    this.#manifest.reject(error);
  }

  async #take(contents: readonly Content[]): Promise<void> {
    const { receiver } = this.#options;
    this.#bytes += contents.reduce((sum, { bytes }) => sum + bytes, 0);
    if (this.#bytes > LIMITS.captureBytes) {
      throw new ExecuteCodeError("capture_failed", { message: "The capture is larger than one may be." });
    }
    const wanted = await receiver.wanted(contents);
    this.channel.send({ type: "wanted", digests: wanted.map(({ digest }) => digest) });
    for (const content of wanted) {
      await receiver.take(content, this.#read(content.bytes));
      this.workingSince = performance.now();
    }
  }

  async *#read(bytes: number): AsyncGenerator<Buffer> {
    let left = bytes;
    while (left > 0) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next();
        if (next.done === true) {
          throw new ExecuteCodeError("capture_failed", { message: "A content ended before its end." });
        }
        this.#rest = next.value;
      }
      const chunk = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(chunk.length);
      left -= chunk.length;
      yield chunk;
    }
  }
}
