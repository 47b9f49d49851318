/**
 * What stands around a box. Each tier is one implementation; another platform's (macOS) or a hardened one (gVisor's
 * `runsc`) is one more.
 */
import type { ResourceLimits } from "../../contract/frames.ts";
import type { IsolationTier } from "../../contract/records.ts";
import type { Interpreter } from "../languages/python/interpreter.ts";

/** A box that is about to start. */
export interface BoxPlace {
  /** The box's runtime folder on the host: the kernel listener and the FIFOs. */
  readonly folder: string;
  /** The session's work folder on the host. */
  readonly work: string;
  readonly interpreter: Interpreter;
}

/** A user of the machine that is not the daemon's. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** How the box's supervisor is started, and where it finds things. */
export interface Enclosed {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Descriptors that the process gets as 4, 5, …; the box closes the daemon's when the process runs. */
  readonly descriptors: readonly number[];
  /** The runtime folder and the work folder, as they are named inside. */
  readonly folder: string;
  readonly work: string;
  /** The folder for temporary files; null: the system's. */
  readonly temporary: string | null;
  /** What each kernel and its processes are granted; null: what the daemon is. */
  readonly limits: ResourceLimits | null;
  /** Who the processes inside are to the host; null: the daemon's own user. */
  readonly owner: Owner | null;
}

export interface Enclosure {
  readonly tier: IsolationTier;
  /** Throws `kernel_start_failed` when the box cannot be made. */
  enclose(place: BoxPlace): Promise<Enclosed>;
}
