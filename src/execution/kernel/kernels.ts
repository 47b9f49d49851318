/**
 * Where sessions get their kernels from. A few boxes are kept warm: each with its kernel forked, dialled in, and
 * standing in a session folder of its own, so that a new session starts at once. A session that exists already, or
 * that names an interpreter, takes the cold path.
 */
import { chown, mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { cacheFolder } from "../../contract/location.ts";
import type { Profile, ProfileOptions } from "../../contract/profile.ts";
import { IsolationTier } from "../../contract/records.ts";
import { newSessionId } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import { Shell } from "../../platform/shell.ts";
import type { Interpreters } from "../languages/python/interpreter.ts";
import { kernelEnvironment } from "../languages/python/launch.ts";
import type { NetworkProxy } from "../network/proxy.ts";
import { Disk } from "../sandbox/disk.ts";
import { type Enclosure, PROXY_SOCKET } from "../sandbox/enclosure.ts";
import type { Isolation } from "../sandbox/isolation.ts";
import {
  checkGranted,
  completeProfile,
  defaultProfile,
  destinations,
  usesNetwork,
} from "../sandbox/profile.ts";
import { Watchdog } from "../sandbox/watchdog.ts";
import { Box } from "./box.ts";
import { Placed } from "./placed.ts";

/** A kernel that waits for its session. */
export interface Warm {
  readonly placed: Placed;
  /** The id that the new session must take: the kernel stands in its folder. */
  readonly sessionId: string;
}

/** What a session's kernels are to be. */
export interface Needs {
  /** The interpreter; null: the default one. */
  readonly python: string | null;
  readonly isolation: IsolationTier;
  readonly profile: Profile;
}

export interface KernelsOptions {
  readonly interpreters: Interpreters;
  readonly isolation: Isolation;
  /** The daemon's own folder. */
  readonly home: string;
  readonly runtime: string;
  /** Parent of the sessions' folders. */
  readonly sessions: string;
  /** How many boxes are kept warm. */
  readonly warm: number;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
}

/** The pool fills up again when a burst of new sessions is over, not in competition with their first executions. */
const REFILL_DELAY_MS = 25;
/** After a failed attempt to warm a box. */
const RETRY_DELAY_MS = 5_000;

export class Kernels {
  readonly #options: KernelsOptions;
  readonly #warm: Warm[] = [];
  readonly #boxes = new Set<Box>();
  readonly #watchdog = new Watchdog();
  readonly #shell = new Shell();
  /** What a session is granted that asks for nothing. */
  readonly #granted = defaultProfile();
  #filling: Promise<void> | null = null;
  /** A new session that takes the box which is being warmed. */
  #waiting: ((warm: Warm | null) => void) | null = null;
  /** Ids of warm kernels, and of those that are being made. */
  readonly #reserved = new Set<string>();
  #refill: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: KernelsOptions) {
    this.#options = options;
  }

  get isolation(): Isolation {
    return this.#options.isolation;
  }

  /** The tier of the warm kernels: what the daemon's user prefers, else the strongest there is. */
  get #pooled(): IsolationTier | null {
    const preferred = IsolationTier.safeParse(this.#options.env.EXECUTE_CODE_ISOLATION);
    return preferred.success ? preferred.data : this.isolation.strongest;
  }

  get warm(): number {
    return this.#warm.length;
  }

  /** True for the id that a warm kernel stands ready to take. */
  reserved(sessionId: string): boolean {
    return this.#reserved.has(sessionId);
  }

  /** Begins to fill the pool; a failure is logged and tried again. */
  start(): void {
    this.#scheduleRefill(0);
  }

  /** The work folder of sessions that have this one's folder: a folder of the user's, or their own. */
  workspace(folder: string, { workspace }: Profile): string {
    return workspace ?? path.join(this.#folder(folder), "work");
  }

  /** The folder of the packages that were installed for sessions that have this one's folder. */
  packages(folder: string): string {
    return path.join(this.#folder(folder), "env");
  }

  #folder(sessionId: string): string {
    return path.join(this.#options.sessions, sessionId);
  }

  /** What a session of this tier is granted that asks for these things. Throws `invalid_profile`. */
  grant(options: ProfileOptions | undefined, tier: IsolationTier): Profile {
    if (options === undefined) return this.#granted;
    const { home, runtime, env } = this.#options;
    const { owner } = this.isolation.enclosure(tier);
    const own = [home, path.dirname(runtime)];
    return completeProfile(options, { tier, own, cache: cacheFolder(env), owner });
  }

  /**
   * A warm kernel of the default interpreter, the strongest tier and the default profile: one that is ready, or the one that is being made
   * ready. Null when others wait for that already, or the pool is empty, when the cold path is quicker; and for
   * other needs.
   */
  async take({ python, isolation, profile }: Needs): Promise<Warm | null> {
    if (python !== null || isolation !== this.#pooled || profile !== this.#granted) return null;
    let warm = this.#warm.shift();
    while (warm !== undefined && !warm.placed.kernel.alive) warm = this.#warm.shift();
    if (warm === undefined && this.#filling !== null && this.#waiting === null) {
      return new Promise((resolve) => {
        this.#waiting = resolve;
      });
    }
    this.#scheduleRefill(REFILL_DELAY_MS);
    return warm ?? null;
  }

  /** Throws `no_python` when a session with this interpreter could not run. */
  async check(python: string | null): Promise<void> {
    await this.#options.interpreters.find(python ?? undefined);
  }

  /**
   * A kernel in the folder of this session. Throws `no_python`, `no_isolation`, `invalid_profile` when what was
   * granted is not what it was, or `kernel_start_failed`.
   */
  async launch(sessionId: string, { python, isolation: tier, profile }: Needs): Promise<Placed> {
    const { interpreters, isolation, runtime, env, log } = this.#options;
    const enclosure = isolation.enclosure(tier);
    checkGranted(profile);
    const interpreter = await interpreters.find(python ?? undefined);
    const work = this.workspace(sessionId, profile);
    const packages = this.packages(sessionId);
    const folders = [work, packages];
    const made = await Promise.all(folders.map((folder) => mkdir(folder, { recursive: true, mode: 0o700 })));
    let network: NetworkProxy | null = null;
    const disk = new Disk(
      folders,
      made.every((first) => first !== undefined),
    );
    const box = await Box.start({
      enclose: async (folder) => {
        network = await this.#openNetwork(path.join(folder, PROXY_SOCKET), profile, enclosure);
        const proxy = network === null ? null : PROXY_SOCKET;
        const enclosed = await enclosure.enclose({ folder, work, packages, interpreter, profile, proxy });
        // Where temporary files are not in memory, they are on the disk.
        if (tier === "reduced" && enclosed.temporary !== null) disk.add(enclosed.temporary);
        return enclosed;
      },
      runtime,
      shell: this.#shell,
      log,
      env: (enclosed) => kernelEnvironment(env, interpreter, enclosed, profile, tier !== "none"),
    }).catch(async (error: unknown) => {
      disk.close();
      await network?.stop();
      throw error;
    });
    this.#boxes.add(box);
    await disk.measured();
    const placed = Placed.first({
      box,
      profile,
      watchdog: this.#watchdog,
      disk,
      memoryFolders: memoryFolders(tier, enclosure),
      onExceeded: (limit) => log.warn({ session: sessionId, limit }, "a session exceeded a limit"),
    });
    void box.ended.then(async () => {
      this.#boxes.delete(box);
      await network?.stop();
    });
    if (this.#closed) await box.stop();
    return placed;
  }

  /** The session's way to the network; null when it is granted none. */
  async #openNetwork(socket: string, profile: Profile, { owner }: Enclosure): Promise<NetworkProxy | null> {
    if (!usesNetwork(profile)) return null;
    // Loaded for those sessions only that use it.
    const { NetworkProxy } = await import("../network/proxy.ts");
    const proxy = await NetworkProxy.start({
      socket,
      allowed: destinations(profile),
      log: this.#options.log,
    });
    if (owner !== null) await chown(socket, owner.uid, owner.gid);
    return proxy;
  }

  #scheduleRefill(delay: number): void {
    if (this.#closed || this.#refill !== null || this.#warm.length >= this.#options.warm) return;
    if (this.#pooled === null) return;
    this.#refill = setTimeout(() => {
      this.#refill = null;
      this.#filling ??= this.#fill().finally(() => {
        this.#filling = null;
        this.#handOver(null);
      });
    }, delay);
    this.#refill.unref();
  }

  async #fill(): Promise<void> {
    while (!this.#closed && (this.#warm.length < this.#options.warm || this.#waiting !== null)) {
      const sessionId = newSessionId();
      const needs = { python: null, isolation: this.#pooled!, profile: this.#granted };
      this.#reserved.add(sessionId);
      try {
        const warm = { placed: await this.launch(sessionId, needs), sessionId };
        if (this.#waiting === null) this.#warm.push(warm);
        else this.#handOver(warm);
      } catch (error) {
        this.#options.log.warn({ err: error }, "no warm kernel");
        await rm(this.#folder(sessionId), { recursive: true, force: true });
        this.#handOver(null);
        this.#scheduleRefill(RETRY_DELAY_MS);
        return;
      }
    }
  }

  #handOver(warm: Warm | null): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.(warm);
  }

  /** Ends every box, warm and in use. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#refill !== null) clearTimeout(this.#refill);
    await this.#filling;
    await Promise.all([...this.#boxes].map((box) => box.stop()));
    this.#shell.close();
    await Promise.all(
      this.#warm.map(({ sessionId }) => rm(this.#folder(sessionId), { recursive: true, force: true })),
    );
  }
}

/** Folders in memory that a box has for itself. */
function memoryFolders(tier: IsolationTier, { owner }: Enclosure): string[] {
  if (tier === "sandbox") return ["/tmp", "/dev/shm"];
  return tier === "reduced" && owner !== null ? ["/dev/shm"] : [];
}
