/** A live snapshot as the daemon sees it: a paused copy of a kernel, which can be forked, resumed and ended. */
import type { Socket } from "node:net";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { KernelChannel } from "./channel.ts";

export interface SnapshotOptions {
  /** Names it in its box. */
  readonly name: string;
  readonly kill: () => void;
}

export class Snapshot {
  readonly name: string;
  readonly channel: KernelChannel;
  readonly #kill: () => void;
  readonly #gone = Promise.withResolvers<void>();
  #pid: (() => number) | null = null;
  #alive = true;
  /** Nothing went on in the kernel when it was taken: until the next request the kernel stays what this is. */
  still = false;

  constructor({ name, kill }: SnapshotOptions) {
    this.name = name;
    this.#kill = kill;
    this.channel = new KernelChannel(
      () => {},
      () => this.drop(),
    );
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** As the host knows it. */
  get pid(): number | null {
    return this.#pid?.() ?? null;
  }

  /** Resolves when its process has ended, or goes on as a kernel. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  connect(socket: Socket, pid: () => number, frames: unknown[]): void {
    this.#pid = pid;
    this.channel.connect(socket, frames);
  }

  /** Ends it, with its memory. */
  drop(): void {
    if (this.#alive) this.#kill();
  }

  /**
   * The process goes on as a kernel and is a snapshot no more: its connection, and its number as the host knows it.
   * Throws `kernel_gone`.
   */
  release(): { socket: Socket; pid: () => number } {
    const pid = this.#pid;
    if (pid === null) throw new ExecuteCodeError("kernel_gone");
    const socket = this.channel.release();
    this.onExit();
    return { socket, pid };
  }

  onExit(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.channel.close();
    this.#gone.resolve();
  }
}
