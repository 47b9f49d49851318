/**
 * A capture as the daemon sees it: a copy of a kernel that writes its variables down and ends. It says by its channel
 * what it has to offer, and writes what is wanted of that into a FIFO, one content after the other.
 */
import type { Socket } from "node:net";
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
  /**
   * Takes a content, which comes next by the FIFO with this descriptor; rejects when it is not what the digest says,
   * and then takes no other. Called for others before it has ended.
   */
  take(content: Content, fifo: number): Promise<void>;
  /** Closes the FIFO. Never rejects. */
  release(fifo: number): Promise<void>;
}

export interface CaptureOptions {
  /** Names it in its box. */
  readonly name: string;
  /** Descriptor of the reading end of the FIFO, which the receiver takes over. */
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
  #bytes = 0;
  /** Offers are served one after the other. */
  #serving: Promise<void> = Promise.resolve();
  #alive = true;
  #failed = false;

  constructor(options: CaptureOptions) {
    this.#options = options;
    this.name = options.name;
    this.channel = new KernelChannel(
      (frame) => this.#onFrame(frame),
      () => this.drop(),
    );
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
    void this.#serving.then(async () => {
      this.#fail(
        new ExecuteCodeError("capture_failed", { message: "The capture ended before it was whole." }),
      );
      await this.#options.receiver.release(this.#options.contents);
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
    const serve = (): Promise<void> => (this.#failed ? Promise.resolve() : step());
    this.#serving = this.#serving.then(serve).catch((error: unknown) => {
      this.#fail(error);
      this.drop();
    });
  }

  #fail(error: unknown): void {
    this.#failed = true;
    this.#manifest.reject(error);
  }

  async #take(contents: readonly Content[]): Promise<void> {
    const { receiver, contents: fifo } = this.#options;
    this.#bytes += contents.reduce((sum, { bytes }) => sum + bytes, 0);
    if (this.#bytes > LIMITS.captureBytes) {
      throw new ExecuteCodeError("capture_failed", { message: "The capture is larger than one may be." });
    }
    const wanted = await receiver.wanted(contents);
    this.channel.send({ type: "wanted", digests: wanted.map(({ digest }) => digest) });
    const take = async (content: Content): Promise<void> => {
      await receiver.take(content, fifo);
      this.workingSince = performance.now();
    };
    await Promise.all(wanted.map(take));
  }
}
