/** Where everything lies below a home. */
import path from "node:path";
import { daemonSocket, SOCKET_PATH_BYTES, shortFolder } from "../contract/location.ts";

/** What a box puts below the runtime folder is at most this long: `/<box>/kernel.sock`. */
const RUNTIME_ROOM = 28;

export interface Paths {
  readonly home: string;
  readonly socket: string;
  /** Short-lived files of running boxes: listeners and FIFOs. */
  readonly runtime: string;
  readonly database: string;
  readonly artifacts: string;
  readonly captures: string;
  readonly sessions: string;
  readonly logs: string;
  /** The token of the API on loopback. */
  readonly token: string;
  readonly lock: string;
  /** Who owns the home now: pid, version, start. */
  readonly owner: string;
}

export function pathsOf(home: string): Paths {
  const runtime = path.join(home, "run");
  const runtimeFits = Buffer.byteLength(runtime) + RUNTIME_ROOM <= SOCKET_PATH_BYTES;
  return {
    home,
    socket: daemonSocket(home),
    runtime: runtimeFits ? runtime : path.join(shortFolder(home), "run"),
    database: path.join(home, "history.db"),
    artifacts: path.join(home, "artifacts"),
    captures: path.join(home, "captures"),
    sessions: path.join(home, "sessions"),
    logs: path.join(home, "logs"),
    token: path.join(home, "http-token"),
    lock: path.join(home, "owner.lock"),
    owner: path.join(home, "daemon.json"),
  };
}
