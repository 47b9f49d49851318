/** A daemon whose calls of the operating system fail on order, see faults.c. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type Client, connect } from "../../../src/sdk/index.ts";
import { temporaryFolder } from "../../support/home.ts";

const SOURCE = fileURLToPath(new URL("./faults.c", import.meta.url));
const CONTROL_BYTES = 65_536;
const ORDER_AT = 64;

export const ENOSPC = 28;
export const EIO = 5;
export const EMFILE = 24;

export interface Order {
  readonly op: "write" | "read" | "open" | "sync" | "rename" | "unlink" | "truncate" | "mkdir";
  /** A part of the file's name. */
  readonly path?: string;
  /** A part of what is written or read. */
  readonly data?: string;
  /** Which of the calls that fit. */
  readonly nth?: number;
  /** Or the number of an error. */
  readonly action: "kill-before" | "kill-after" | number;
}

/** Why there can be no such daemon here; null when there can. */
export function noFaults(): string | null {
  if (process.platform !== "linux") return "only on Linux";
  if (spawnSync("cc", ["--version"]).status !== 0) return "there is no C compiler";
  return null;
}

export class Faults {
  readonly folder: string;
  readonly home: string;
  readonly trace: string;
  readonly #library: string;
  readonly #control: number;
  readonly #env: NodeJS.ProcessEnv;
  #orders = 0;

  /** `env`: additions to the daemon's environment. */
  constructor(env: NodeJS.ProcessEnv = {}) {
    this.#env = env;
    this.folder = temporaryFolder();
    this.home = path.join(this.folder, "home");
    this.trace = path.join(this.folder, "trace");
    this.#library = path.join(this.folder, "faults.so");
    const built = spawnSync("cc", ["-O1", "-shared", "-fPIC", "-o", this.#library, SOURCE, "-lpthread"], {
      encoding: "utf8",
    });
    if (built.status !== 0) throw new Error(built.stderr);
    this.#control = openSync(path.join(this.folder, "control"), "w+", 0o600);
    writeSync(this.#control, Buffer.alloc(CONTROL_BYTES));
  }

  /** A client whose daemon obeys; with `traced` it writes down what becomes of its files. */
  connect({ traced = false } = {}): Promise<Client> {
    return connect({
      home: this.home,
      env: {
        ...process.env,
        EXECUTE_CODE_WARM: "1",
        ...this.#env,
        LD_PRELOAD: this.#library,
        FAULTS_CONTROL: path.join(this.folder, "control"),
        ...(traced ? { FAULTS_TRACE: this.trace, FAULTS_ROOT: this.home } : {}),
      },
    });
  }

  arm({ op, path: file = "*", data = "*", nth = 1, action }: Order): void {
    this.#write(`${[op, file, data, nth, action].join("\t")}\0`);
  }

  disarm(): void {
    this.#write("\0");
  }

  #write(order: string): void {
    writeSync(this.#control, order, ORDER_AT);
    const head = Buffer.alloc(12);
    this.#orders += 2;
    head.writeUInt32LE(this.#orders);
    writeSync(this.#control, head, 0, 12, 0);
  }

  /** Whether the order has been carried out. */
  get fired(): boolean {
    const head = Buffer.alloc(4);
    readSync(this.#control, head, 0, 4, 8);
    return head.readUInt32LE() === 1;
  }

  remove(): void {
    closeSync(this.#control);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
