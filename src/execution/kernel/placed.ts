/**
 * Kernels in their boxes. A box holds a session's kernel, its live snapshots, and the kernels of the sessions that were
 * forked from it: one trust domain. The box ends with the last session that lives in it.
 */

import type { MergedFrame, MergeRequest, RestoredFrame, RestoreRequest } from "../../contract/frames.ts";
import type { Profile } from "../../contract/profile.ts";
import type { Unsafe } from "../../contract/records.ts";
import type { OnUnsafe } from "../../contract/time-travel.ts";
import type { Disk } from "../sandbox/disk.ts";
import { limitExceeded, type ProfileLimit } from "../sandbox/limits.ts";
import { costOf, memoryOf, type Watchdog } from "../sandbox/watchdog.ts";
import type { Box, CaptureScope, Copy, Forkable } from "./box.ts";
import type { Capture, CaptureReceiver } from "./capture.ts";
import type { Kernel } from "./kernel.ts";
import type { Snapshot } from "./snapshot.ts";

export interface HouseOptions {
  readonly box: Box;
  readonly profile: Profile;
  readonly watchdog: Watchdog;
  /** What it has on the disk, and the folders in memory that its processes have. It is measured until the box ends. */
  readonly disk: Disk;
  readonly memoryFolders: readonly string[];
  readonly onExceeded: (limit: ProfileLimit) => void;
}

/** Who lives in a box, and what they may use together. */
class House {
  readonly box: Box;
  readonly kernels = new Set<Kernel>();
  readonly snapshots = new Set<Snapshot>();
  readonly captures = new Set<Capture>();
  readonly #options: HouseOptions;
  #unwatch: () => void = () => {};
  #ended = false;

  constructor(options: HouseOptions) {
    this.#options = options;
    this.box = options.box;
    this.#watch();
    void this.box.ended.then(() => {
      this.#ended = true;
      this.#unwatch();
      options.disk.close();
    });
  }

  #watch(): void {
    if (this.#ended) return;
    const { watchdog, disk, memoryFolders } = this.#options;
    this.#unwatch = watchdog.watch({
      root: this.box.pid,
      profile: this.#options.profile,
      // What sessions may use each, their box may use in all.
      shares: () => Math.max(1, this.kernels.size),
      disk,
      memoryFolders: [...memoryFolders],
      busy: () => [...this.kernels].some((kernel) => kernel.busy),
      exceeded: (limit, excess) => void this.#exceeded(limit, excess),
    });
  }

  /**
   * For memory captures are given up first, and snapshots where that is enough; else the kernel that has most of it, and
   * one that runs before the others: its session goes on from a snapshot.
   */
  async #exceeded(limit: ProfileLimit, excess: number): Promise<void> {
    this.#options.onExceeded(limit);
    const dispensable = this.captures.size > 0 ? this.captures : this.snapshots;
    const isEnough = async (): Promise<boolean> =>
      dispensable === this.captures || (await this.#costOfSnapshots()) >= excess;
    if (limit === "memory" && dispensable.size > 0 && (await isEnough())) {
      for (const one of dispensable) one.drop();
      await Promise.all([...dispensable].map(({ gone }) => gone));
    } else {
      const offender = await this.#largest();
      offender?.killFor(limitExceeded(limit, this.#options.profile));
      await offender?.gone;
    }
    if (this.kernels.size > 0) this.#watch();
  }

  #costOfSnapshots(): Promise<number> {
    return costOf(
      [...this.snapshots].map(({ pid }) => pid),
      [...this.kernels].map(({ pid }) => pid),
    );
  }

  async #largest(): Promise<Kernel | undefined> {
    const busy = [...this.kernels].filter((kernel) => kernel.busy);
    const candidates = busy.length > 0 ? busy : [...this.kernels];
    if (candidates.length < 2) return candidates[0];
    const sized = await Promise.all(
      candidates.map(async (kernel) => ({ kernel, bytes: await memoryOf(kernel.pid) })),
    );
    return sized.toSorted((one, other) => other.bytes - one.bytes)[0]?.kernel;
  }

  add(kernel: Kernel): Placed {
    this.kernels.add(kernel);
    return new Placed(this, kernel);
  }

  /** Ends a kernel; with the last of them, everything. */
  async leave(kernel: Kernel): Promise<void> {
    this.kernels.delete(kernel);
    if (this.kernels.size === 0) {
      await this.box.stop();
      return;
    }
    kernel.kill();
    await kernel.gone;
  }
}

/** A session's kernel, and what can be made of it. */
export class Placed {
  readonly kernel: Kernel;
  readonly #house: House;

  constructor(house: House, kernel: Kernel) {
    this.#house = house;
    this.kernel = kernel;
  }

  /** Moves a kernel into a box that has just been started. */
  static first(options: HouseOptions): Placed {
    return new House(options).add(options.box.kernel);
  }

  /** A paused copy. Throws `unsafe_fork`, `fork_failed` or `kernel_gone`. */
  async takeSnapshot(onUnsafe: OnUnsafe): Promise<{ snapshot: Snapshot; unsafe: Unsafe[] }> {
    const { box, snapshots } = this.#house;
    const taken = await box.takeSnapshot(this.kernel, onUnsafe);
    snapshots.add(taken.snapshot);
    void taken.snapshot.gone.then(() => snapshots.delete(taken.snapshot));
    return taken;
  }

  /** Kernels for other sessions, one for each copy's name, forked from this one or a snapshot. Throws as `takeSnapshot`. */
  async fork(
    from: Forkable,
    copies: readonly string[],
    onUnsafe: OnUnsafe,
  ): Promise<{ placed: Placed[]; unsafe: Unsafe[] }> {
    const { kernels, unsafe } = await this.#house.box.forkKernels(from, copies, onUnsafe);
    return { placed: kernels.map((kernel) => this.#house.add(kernel)), unsafe };
  }

  /**
   * A kernel in place of this one, or beside it for another session (`copy`): a snapshot goes on as that, and is one
   * no more. This one is the caller's to close. `meanwhile`: see `Box.resume`. Throws `fork_failed`, when it is a snapshot
   * still, or `kernel_gone`.
   */
  async resume(snapshot: Snapshot, copy: Copy, meanwhile: () => void = () => {}): Promise<Placed> {
    // What is still to end with this kernel's last execution is told from its successor by being there before.
    if (copy === null) await this.kernel.signalled();
    return this.#house.add(await this.#house.box.resume(snapshot, copy, meanwhile));
  }

  /** A fresh kernel beside this one. Throws `kernel_start_failed`. */
  async another(): Promise<Placed> {
    return this.#house.add(await this.#house.box.startKernel());
  }

  /** A copy of this kernel, or of a snapshot, to look at its memory and be closed. Throws as `takeSnapshot`. */
  async visit(from: Forkable): Promise<Placed> {
    const { kernels } = await this.#house.box.forkKernels(from, [null], "warn");
    return this.#house.add(kernels[0]!);
  }

  /** Begins to write the variables down, as this kernel or a snapshot has them. Throws as `takeSnapshot`. */
  async capture(from: Forkable, receiver: CaptureReceiver, scope: CaptureScope): Promise<Capture> {
    const { box, captures } = this.#house;
    const capture = await box.capture(from, receiver, scope);
    captures.add(capture);
    void capture.gone.then(() => captures.delete(capture));
    return capture;
  }

  /**
   * Makes a fresh kernel's variables what they were. `provide` puts the contents into a folder, each named by its
   * digest. Throws `kernel_gone`, and what `provide` throws.
   */
  restore(
    request: Omit<RestoreRequest, "type" | "request" | "folder">,
    provide: (folder: string) => Promise<void>,
  ): Promise<RestoredFrame> {
    return this.#house.box.tell<RestoreRequest>(this.kernel, { type: "restore", ...request }, provide);
  }

  /** Brings variables in that were written down elsewhere. `provide` as for `restore`. Throws as that. */
  merge(
    request: Omit<MergeRequest, "type" | "request" | "folder">,
    provide: (folder: string) => Promise<void>,
  ): Promise<MergedFrame> {
    return this.#house.box.tell<MergeRequest>(this.kernel, { type: "merge", ...request }, provide);
  }

  /** Ends the kernel and everything that it started. */
  close(): Promise<void> {
    return this.#house.leave(this.kernel);
  }
}
