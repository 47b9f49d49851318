/**
 * What a session's code may see, reach and use: chosen when the session is created, stored with it, and shown with it.
 * What of it can be kept to is the isolation tier's: a session for which it cannot is refused.
 */
import { z } from "zod";
import { LIMITS } from "./limits.ts";

const MIB = 1024 ** 2;
const hostPath = z.string().min(1).max(4_096);
const paths = z.array(hostPath).max(64);

/** As it is asked for; what is left out has its default. */
export const ProfileOptions = z
  .strictObject({
    /** Files and folders of the machine that the session may read, where they are. */
    read: paths,
    /** Files and folders of the machine that the session may read and write, where they are. */
    write: paths,
    /** A folder of the machine as the session's work folder. Default: a new one of its own. */
    workspace: hostPath,
    /** Where the network may be used, each `host:port`; nowhere else. Default: nowhere. */
    allow_net: z.array(z.string().min(1).max(300)).max(256),
    /** The same, for hosts with private addresses: the machine itself, and those of its local networks. */
    allow_private_net: z.array(z.string().min(1).max(300)).max(256),
    /** Memory of all the session's processes together, and of what they keep in `/tmp` and `/dev/shm`. */
    memory_bytes: z
      .int()
      .min(64 * MIB)
      .max(2 ** 50),
    /** How many processors its processes use at a time. Default: all. */
    cpus: z.int().min(1).max(4_096),
    /** Processes and threads. */
    processes: z.int().min(8).max(4_194_304),
    /** All files of the work folder together. */
    disk_bytes: z
      .int()
      .min(MIB)
      .max(2 ** 50),
    /** What is kept of each output stream of an execution. */
    output_bytes: z.int().min(1_024).max(LIMITS.spoolBytes),
    /** The longest that one execution may run, milliseconds; null: as long as it takes. */
    wall_ms: z.int().min(1).max(LIMITS.longestMs).nullable(),
    /** Whether its code may install packages (`ec.install`). */
    install: z.boolean(),
  })
  .partial();
export type ProfileOptions = z.infer<typeof ProfileOptions>;

const GIB = 1024 ** 3;

/** As it holds for a session, with absolute paths. The defaults are those of sessions that were stored without one. */
export const Profile = z.object({
  read: z.array(z.string()).default([]),
  write: z.array(z.string()).default([]),
  workspace: z.string().nullable().default(null),
  allow_net: z.array(z.string()).default([]),
  allow_private_net: z.array(z.string()).default([]),
  memory_bytes: z.int().default(8 * GIB),
  cpus: z.int().nullable().default(null),
  processes: z.int().default(LIMITS.processes),
  disk_bytes: z.int().default(LIMITS.diskBytes),
  output_bytes: z.int().default(LIMITS.spoolBytes),
  wall_ms: z.int().nullable().default(null),
  install: z.boolean().default(true),
});
export type Profile = z.infer<typeof Profile>;
