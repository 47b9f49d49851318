/**
 * What stands around a box. Each tier is one implementation; another platform's (macOS) or a hardened one (gVisor's
 * `runsc`) is one more.
 */
import type { ResourceLimits } from "../../contract/frames.ts";
import type { Profile } from "../../contract/profile.ts";
import type { IsolationTier } from "../../contract/records.ts";
import type { Interpreter } from "../languages/python/interpreter.ts";

/** A box that is about to start. */
export interface BoxPlace {
  /** The box's runtime folder on the host: the kernel listener and the FIFOs. */
  readonly folder: string;
  /** The session's work folder on the host. */
  readonly work: string;
  /** The folder of the session's own packages on the host. */
  readonly packages: string;
  readonly interpreter: Interpreter;
  readonly profile: Profile;
  /** Name of the proxy's socket in the runtime folder; null: the box has no network. */
  readonly proxy: string | null;
}

/** A box for installing packages that is about to start. */
export interface InstallPlace extends Pick<BoxPlace, "folder" | "packages" | "interpreter" | "profile"> {
  /** Name of the proxy's socket in the runtime folder. */
  readonly proxy: string;
  /** Further files of the host that the installer reads, where they are. */
  readonly read: readonly string[];
}

/** Name of the proxy's socket in a box's folder. */
export const PROXY_SOCKET = "proxy.sock";
/** Name of the folder for an installer's temporary files, in its runtime folder: packages are too large for memory. */
export const INSTALL_TEMPORARY = "tmp";

/** What the installer is told, given where things are inside; see python/execute_code_kernel/installer.py. */
export type Specify = (inside: {
  readonly packages: string;
  /** The proxy's socket; null where the network is used as it is. */
  readonly proxy: string | null;
  readonly limits: ResourceLimits | null;
}) => string;

/** How a program is started that is no supervisor. */
export type EnclosedProgram = Pick<Enclosed, "command" | "args" | "env" | "descriptors">;

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
  /** The runtime folder, the work folder and the folder of packages, as they are named inside. */
  readonly folder: string;
  readonly work: string;
  readonly packages: string;
  /** The folder for temporary files; null: the system's. */
  readonly temporary: string | null;
  /** What each kernel and its processes are granted; null: what the daemon is. */
  readonly limits: ResourceLimits | null;
  /** Who the processes inside are to the host; null: the daemon's own user. */
  readonly owner: Owner | null;
}

export interface Enclosure {
  readonly tier: IsolationTier;
  /** Who the processes inside are to the host; null: the daemon's own user. */
  readonly owner: Owner | null;
  /** Throws `kernel_start_failed` when the box cannot be made. */
  enclose(place: BoxPlace): Promise<Enclosed>;
  /** Throws `install_failed` where the tier has no network. */
  encloseInstaller(place: InstallPlace, specify: Specify): Promise<EnclosedProgram>;
}
