/** What a new session's code may see, reach and use, as callers name it. */
import path from "node:path";
import type { ProfileOptions } from "../contract/profile.ts";

export interface Grants {
  /** Files and folders of this machine that it may read, where they are. */
  readonly read?: readonly string[] | undefined;
  /** The same, to read and write. */
  readonly write?: readonly string[] | undefined;
  /** A folder of this machine as its work folder. Default: a new one of its own. */
  readonly workspace?: string | undefined;
  /** Where it may use the network, each `host:port`. Default: nowhere. */
  readonly allowNet?: readonly string[] | undefined;
  /** The same, for hosts whose addresses are private. */
  readonly allowPrivateNet?: readonly string[] | undefined;
  /** Memory of all its processes together, bytes. Default: half of the machine's, at most 8 GiB. */
  readonly memoryBytes?: number | undefined;
  /** Processors at a time. Default: all. */
  readonly cpus?: number | undefined;
  /** Processes and threads. Default 512. */
  readonly processes?: number | undefined;
  /** All files of its work folder together, bytes. Default 10 GiB. */
  readonly diskBytes?: number | undefined;
  /** What is kept of each output stream of an execution, bytes. Default 256 MiB. */
  readonly outputBytes?: number | undefined;
  /** The longest that one execution may run, milliseconds. Default: as long as it takes. */
  readonly wallMs?: number | undefined;
  /** Whether its code may install packages (`ec.install`). Default true. */
  readonly install?: boolean | undefined;
}

/** As the API takes it; undefined when nothing is asked for. Paths are meant relative to this process. */
export function profileOptions(grants: Grants): ProfileOptions | undefined {
  const absolute = (files: readonly string[] | undefined) => files?.map((file) => path.resolve(file));
  const options = {
    read: absolute(grants.read),
    write: absolute(grants.write),
    workspace: grants.workspace === undefined ? undefined : path.resolve(grants.workspace),
    allow_net: grants.allowNet?.slice(),
    allow_private_net: grants.allowPrivateNet?.slice(),
    memory_bytes: grants.memoryBytes,
    cpus: grants.cpus,
    processes: grants.processes,
    disk_bytes: grants.diskBytes,
    output_bytes: grants.outputBytes,
    wall_ms: grants.wallMs,
    install: grants.install,
  };
  const asked = Object.entries(options).filter(([, value]) => value !== undefined);
  return asked.length === 0 ? undefined : Object.fromEntries(asked);
}
