/** `daemon run`: the one place where the command line reaches the daemon's program. */
import { pathToFileURL } from "node:url";
import { homeFolder } from "../contract/location.ts";
import { daemonProgram } from "../sdk/index.ts";

interface DaemonProgram {
  /** Resolves with the exit status when the daemon has stopped. */
  main(args: string[]): Promise<number>;
}

/** The daemon runs in this process until a signal or `daemon stop` ends it; its log goes to stderr. */
export async function runDaemon(flags: { http?: string }): Promise<number> {
  const program = (await import(pathToFileURL(daemonProgram()).href)) as DaemonProgram;
  const http = flags.http === undefined ? [] : ["--http", flags.http];
  return await program.main(["--home", homeFolder(), ...http]);
}
