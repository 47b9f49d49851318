/**
 * A box: one supervisor process with its private runtime folder, and the kernels that it forks. What isolation
 * there is surrounds the box; everything inside is one trust domain.
 *
 * States: starting → ready → stopped. The supervisor's control channel is also its lifeline: when it closes, on
 * either side, everything in the box ends.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { closeSync, rmSync } from "node:fs";
import { chmod, chown, mkdir, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import path from "node:path";
import { promisify } from "node:util";
import { ExecuteCodeError } from "../../contract/errors.ts";
import {
  HelloFrame,
  PROTOCOL_VERSION,
  type SignalTarget,
  type SupervisorCommand,
  SupervisorReport,
} from "../../contract/frames.ts";
import { newSecret, newShortId } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Enclosed } from "../sandbox/enclosure.ts";
import { hostPid } from "../sandbox/pids.ts";
import { encodeFrame, FrameReader } from "./frames.ts";
import { type FreshStreams, Kernel, type KernelExit } from "./kernel.ts";
import { openReading } from "./streams.ts";

const START_DEADLINE_MS = 15_000;
const STOP_DEADLINE_MS = 2_000;
const STDERR_KEPT = 4_096;
/** Connections to a box's listener at a time: session code can dial it, too. */
const CONNECTIONS = 64;
/** What a connection may send before it has said who it is. */
const HELLO_BYTES = 64 * 1024;

export interface BoxOptions {
  /** How the supervisor is started, given the box's folder. */
  readonly enclose: (folder: string) => Promise<Enclosed>;
  /** Parent of the box's runtime folder. */
  readonly runtime: string;
  readonly log: Logger;
  /** The kernels' environment, given where things are inside. */
  readonly env: (enclosed: Enclosed) => Readonly<Record<string, string>>;
}

interface Branch {
  readonly kernel: Kernel;
  readonly greeted: (socket: Socket, pid: number, rest: unknown[]) => void;
  readonly failed: (error: ExecuteCodeError) => void;
}

export class Box {
  readonly id: string = newShortId();
  readonly #options: BoxOptions;
  readonly #folder: string;
  readonly #branches = new Map<string, Branch>();
  /** Kernels that have not dialled in yet, by nonce. */
  readonly #expected = new Map<string, Branch>();
  #enclosed: Enclosed | null = null;
  #child: ChildProcess | null = null;
  #control: Socket | null = null;
  #listener: Server | null = null;
  #stderr = "";
  #kernels = 0;
  #streams = 0;
  /** Signals that the supervisor has not confirmed yet, by request. */
  readonly #signals = new Map<number, () => void>();
  #requests = 0;
  #first: Kernel | null = null;
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();

  private constructor(options: BoxOptions) {
    this.#options = options;
    this.#folder = path.join(options.runtime, this.id);
  }

  /** Throws `kernel_start_failed` with what the interpreter said. */
  static async start(options: BoxOptions): Promise<Box> {
    const box = new Box(options);
    try {
      await box.#start();
      return box;
    } catch (error) {
      await box.stop();
      throw error;
    }
  }

  /** Resolves when the supervisor is gone and with it everything it held. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Its first process, as the host knows it. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("the box has not started");
    return pid;
  }

  /** The kernel that the box was started with. */
  get kernel(): Kernel {
    if (this.#first === null) throw new Error("the box has not started");
    return this.#first;
  }

  async #start(): Promise<void> {
    await mkdir(this.#folder, { mode: 0o700 });
    const enclosed = await this.#options.enclose(this.#folder);
    this.#enclosed = enclosed;
    await this.#giveAway(this.#folder);
    await this.#listen();
    const { command, args, env, descriptors } = enclosed;
    const child = spawn(command, args, {
      cwd: "/",
      env: { ...env },
      stdio: ["ignore", "ignore", "pipe", "pipe", ...descriptors],
      detached: true,
    });
    for (const descriptor of descriptors) closeSync(descriptor);
    this.#child = child;
    child.stderr!.on("data", (text: Buffer) => {
      this.#stderr = (this.#stderr + text.toString("utf8")).slice(-STDERR_KEPT);
    });
    const gone = new Promise<never>((_, reject) => {
      child.once("error", (cause) => {
        this.#onSupervisorEnd();
        reject(
          new ExecuteCodeError("kernel_start_failed", {
            message: `${command}: ${cause.message}`,
          }),
        );
      });
      child.once("exit", (code, signal) => {
        this.#onSupervisorEnd();
        reject(this.#startFailure(`the supervisor ended (${signal ?? `exit status ${code}`})`));
      });
    });
    gone.catch(() => {});
    const control = child.stdio[3] as Socket;
    this.#control = control;
    const reader = new FrameReader();
    control.on("error", (error) => this.#options.log.debug({ box: this.id, err: error }, "control channel"));
    control.on("data", (chunk: Buffer) => {
      for (const frame of reader.push(chunk)) this.#onReport(SupervisorReport.parse(frame));
    });
    // The command waits in the channel until the supervisor is there to read it.
    const first = this.fork();
    const started = Promise.all([this.#ready.promise, first]);
    await withDeadline(Promise.race([started, gone]), START_DEADLINE_MS, () =>
      this.#startFailure("the supervisor did not report in time"),
    );
    this.#first = await first;
  }

  #startFailure(what: string): ExecuteCodeError {
    const said = this.#stderr.trim();
    return new ExecuteCodeError("kernel_start_failed", {
      message: `The kernel did not start: ${what}${said === "" ? "." : `: ${said.split("\n").slice(-3).join(" | ")}`}`,
    });
  }

  async #listen(): Promise<void> {
    const listener = createServer((socket) => this.#onDial(socket));
    listener.maxConnections = CONNECTIONS;
    this.#listener = listener;
    const address = path.join(this.#folder, "kernel.sock");
    await new Promise<void>((resolve, reject) => {
      listener.once("error", reject);
      listener.listen(address, resolve);
    });
    await chmod(address, 0o600);
    await this.#giveAway(address);
  }

  /** Lets the processes inside use what the daemon has made for them. */
  async #giveAway(...files: string[]): Promise<void> {
    const owner = this.#enclosed?.owner ?? null;
    if (owner !== null) await Promise.all(files.map((file) => chown(file, owner.uid, owner.gid)));
  }

  /** A file of the runtime folder, as it is named inside. */
  #inside(file: string): string {
    return path.join(this.#enclosed?.folder ?? this.#folder, path.basename(file));
  }

  /** A connection is nobody until it has named a nonce that is expected; that nonce serves once. */
  #onDial(socket: Socket): void {
    const reader = new FrameReader();
    const timer = setTimeout(() => socket.destroy(), START_DEADLINE_MS);
    socket.once("error", () => socket.destroy());
    socket.once("close", () => clearTimeout(timer));
    let received = 0;
    const onData = (chunk: Buffer): void => {
      try {
        received += chunk.length;
        const [first, ...rest] = reader.push(chunk);
        if (first === undefined) {
          if (received > HELLO_BYTES) throw new Error("it does not say who it is");
          return;
        }
        const hello = HelloFrame.parse(first);
        const branch = this.#expected.get(hello.nonce);
        if (branch === undefined) throw new Error("unknown nonce");
        this.#expected.delete(hello.nonce);
        clearTimeout(timer);
        socket.off("data", onData);
        branch.greeted(socket, this.#hostPid(hello.pid), rest);
      } catch (error) {
        this.#options.log.warn(
          { box: this.id, err: error },
          "a connection to the kernel listener was refused",
        );
        socket.destroy();
      }
    };
    socket.on("data", onData);
  }

  /** A process inside, as the host knows it. */
  #hostPid(inner: number): number {
    const shared = this.#enclosed?.folder === this.#folder;
    const root = this.#child?.pid;
    return shared || root === undefined ? inner : (hostPid(root, inner) ?? inner);
  }

  /** Forks a kernel and waits until it has dialled in. Throws `kernel_start_failed`. */
  async fork(): Promise<Kernel> {
    const enclosed = this.#enclosed!;
    const name = `k${++this.#kernels}`;
    const nonce = newSecret();
    const stdout = path.join(this.#folder, `${name}.out`);
    const stderr = path.join(this.#folder, `${name}.err`);
    const interrupts = path.join(this.#folder, `${name}.int`);
    await this.#makeFifos(stdout, stderr, interrupts);
    const kernel = new Kernel({
      output: [openReading(stdout), openReading(stderr)],
      interrupts,
      signal: (signal, target, sinceMs) => this.#signal(name, signal, target, sinceMs),
      freshStreams: () => this.#freshStreams(name),
    });
    const dialled = new Promise<void>((resolve, reject) => {
      const branch: Branch = {
        kernel,
        greeted: (socket, pid, rest) => {
          kernel.connect(socket, pid, rest);
          resolve();
        },
        failed: reject,
      };
      this.#branches.set(name, branch);
      this.#expected.set(nonce, branch);
    });
    dialled.catch(() => {});
    this.#send({
      type: "fork",
      kernel: name,
      nonce,
      listener: this.#inside("kernel.sock"),
      stdout: this.#inside(stdout),
      stderr: this.#inside(stderr),
      interrupts: this.#inside(interrupts),
      cwd: enclosed.work,
      env: this.#options.env(enclosed),
      limits: enclosed.limits,
    });
    try {
      await withDeadline(dialled, START_DEADLINE_MS, () => this.#startFailure("the kernel did not dial in"));
    } catch (error) {
      this.#expected.delete(nonce);
      this.#onExited(name, { code: null, signal: null, peak_memory_bytes: 0 });
      throw error;
    }
    // Both ends are open by now, and nobody else needs the names.
    await Promise.all([stdout, stderr, interrupts].map((file) => rm(file, { force: true })));
    return kernel;
  }

  async #makeFifos(...files: string[]): Promise<void> {
    await promisify(execFile)("mkfifo", ["-m", "600", ...files]);
    await this.#giveAway(...files);
  }

  /** FIFOs for the next execution of a kernel, opened for reading. */
  async #freshStreams(kernel: string): Promise<FreshStreams> {
    this.#streams += 1;
    const stdout = path.join(this.#folder, `${kernel}.${this.#streams}.out`);
    const stderr = path.join(this.#folder, `${kernel}.${this.#streams}.err`);
    await this.#makeFifos(stdout, stderr);
    const first = openReading(stdout);
    try {
      return {
        stdout: this.#inside(stdout),
        stderr: this.#inside(stderr),
        fds: [first, openReading(stderr)],
        forget: () => {
          for (const file of [stdout, stderr]) rmSync(file, { force: true });
        },
      };
    } catch (error) {
      closeSync(first);
      throw error;
    }
  }

  /** Resolves when the supervisor has sent the signal, or is gone. */
  #signal(kernel: string, signal: number, target: SignalTarget, sinceMs: number): Promise<void> {
    if (this.#control?.writable !== true) return Promise.resolve();
    this.#requests += 1;
    const request = this.#requests;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#signals.set(request, resolve);
    this.#send({ type: "signal", kernel, signal, target, since_ms: sinceMs, request });
    return promise;
  }

  #send(command: SupervisorCommand): void {
    if (this.#control?.writable === true) this.#control.write(encodeFrame(command));
  }

  #onReport(report: SupervisorReport): void {
    switch (report.type) {
      case "ready":
        if (report.protocol !== PROTOCOL_VERSION) {
          this.#options.log.error({ box: this.id, protocol: report.protocol }, "unexpected kernel protocol");
          this.#control?.destroy();
          return;
        }
        this.#ready.resolve();
        return;
      case "forked":
        return;
      case "signalled":
        this.#signals.get(report.request)?.();
        this.#signals.delete(report.request);
        return;
      case "exited":
        this.#onExited(report.kernel, report);
        return;
      case "fault": {
        this.#options.log.warn({ box: this.id, report }, "supervisor fault");
        const branch = report.kernel === null ? undefined : this.#branches.get(report.kernel);
        branch?.failed(new ExecuteCodeError("kernel_start_failed", { message: report.message }));
        return;
      }
    }
  }

  #onExited(name: string, exit: Omit<KernelExit, "limit">): void {
    const branch = this.#branches.get(name);
    if (branch === undefined) return;
    this.#branches.delete(name);
    branch.failed(this.#startFailure(`the kernel ended (${exit.signal ?? `exit status ${exit.code}`})`));
    branch.kernel.onExit(exit);
  }

  #onSupervisorEnd(): void {
    for (const name of this.#branches.keys()) {
      this.#onExited(name, { code: null, signal: null, peak_memory_bytes: 0 });
    }
    for (const confirm of this.#signals.values()) confirm();
    this.#signals.clear();
    this.#listener?.close();
    rm(this.#folder, { recursive: true, force: true }).then(
      () => this.#ended.resolve(),
      () => this.#ended.resolve(),
    );
  }

  /** Ends everything in the box; resolves when it is gone. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === null) {
      this.#onSupervisorEnd();
      return this.ended;
    }
    if (child.exitCode === null && child.signalCode === null) {
      this.#send({ type: "stop" });
      this.#control?.end();
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_DEADLINE_MS);
      await this.ended;
      clearTimeout(timer);
      return;
    }
    return this.ended;
  }
}

function withDeadline<T>(work: Promise<T>, ms: number, error: () => Error): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(error()), ms);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}
