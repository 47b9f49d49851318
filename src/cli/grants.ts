/** The options of the command line that say what a new session's code may see, reach and use. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { type Grants, parseBytes, parseDuration } from "../sdk/index.ts";

/** The flags as they were given. */
export interface GrantFlags {
  read?: string[];
  write?: string[];
  workspace?: string;
  allowNet?: string[];
  allowPrivateNet?: string[];
  memory?: number;
  cpus?: number;
  processes?: number;
  disk?: number;
  output?: number;
  wall?: number;
  /** False with --no-install, and true without. */
  install?: boolean;
}

export function grantsOf(flags: GrantFlags): Grants {
  const { read, write, workspace, allowNet, allowPrivateNet, memory, cpus, processes, disk, output, wall } =
    flags;
  return {
    read,
    write,
    workspace,
    allowNet,
    allowPrivateNet,
    memoryBytes: memory,
    cpus,
    processes,
    diskBytes: disk,
    outputBytes: output,
    wallMs: wall,
    install: flags.install === false ? false : undefined,
  };
}

/** Adds the options to a command, under a heading of their own in its help. */
export function addGrantOptions(command: Command): Command {
  const add = (
    flags: string,
    description: string,
    parse?: (text: string, earlier: never) => unknown,
  ): void => {
    const option = new Option(flags, description).helpGroup("What a new session is granted:");
    command.addOption(parse === undefined ? option : option.argParser(parse as never));
  };
  add("--read <path>", "a file or folder that it may read, where it is; may be repeated", gather);
  add("--write <path>", "the same, to read and write", gather);
  add("--workspace <folder>", "its work folder, such as `.` (default: a new one of its own)");
  add("--allow-net <host:port,…>", "where it may use the network (default: nowhere)", gatherList);
  add("--allow-private-net <host:port,…>", "the same, for this machine and its local networks", gatherList);
  add(
    "--memory <size>",
    "memory of all its processes together (default: half of the machine's, at most 8GiB)",
    size,
  );
  add("--cpus <n>", "processors that it uses at a time (default: all)", count(1));
  add("--processes <n>", "processes and threads (default: 512)", count(8));
  add("--disk <size>", "all files of its work folder together (default: 10GiB)", size);
  add("--output <size>", "what is kept of each output stream of an execution (default: 256MiB)", size);
  add("--wall <duration>", "the longest that one execution may run (default: as long as it takes)", wall);
  add("--no-install", "its code may install no packages");
  return command;
}

function gather(text: string, earlier: string[] = []): string[] {
  return [...earlier, text];
}

function gatherList(text: string, earlier: string[] = []): string[] {
  return [...earlier, ...text.split(",").map((one) => one.trim())];
}

function size(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === null) throw new InvalidArgumentError("Give a size such as 512MiB, 2GiB or 100MB.");
  return bytes;
}

function wall(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === null || milliseconds < 1)
    throw new InvalidArgumentError("Give a duration such as 30s or 10m.");
  return milliseconds;
}

function count(least: number): (text: string) => number {
  return (text) => {
    if (!/^\d{1,9}$/.test(text) || Number(text) < least) {
      throw new InvalidArgumentError(`Give a whole number of at least ${least}.`);
    }
    return Number(text);
  };
}
