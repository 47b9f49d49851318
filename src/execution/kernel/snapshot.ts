/** A live snapshot as the daemon sees it: a paused copy of a kernel, which can only be forked and ended. */
import type { Socket } from "node:net";
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

  /** Resolves when its process has ended. */
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

  onExit(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.channel.close();
    this.#gone.resolve();
  }
}
