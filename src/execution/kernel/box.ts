/**
 * A box: one supervisor process with its private runtime folder, and the kernels that it forks. What isolation
 * there is surrounds the box; everything inside is one trust domain.
 *
 * States: starting → ready → stopped. The supervisor's control channel is also its lifeline: when it closes, on
 * either side, everything in the box ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { chmod, chown, mkdir, rm, unlink } from "node:fs/promises";
import type { Socket } from "node:net";
import path from "node:path";
import { ExecuteCodeError } from "../../contract/errors.ts";
import {
  type BranchRequest,
  type MergeRequest,
  PROTOCOL_VERSION,
  type RestoreRequest,
  type ResumeRequest,
  type SignalTarget,
  type SupervisorCommand,
  SupervisorReport,
} from "../../contract/frames.ts";
import type { Unsafe } from "../../contract/records.ts";
import type { OnUnsafe } from "../../contract/time-travel.ts";
import { monotonicMs } from "../../platform/clock.ts";
import { newSecret, newShortId } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Shell } from "../../platform/shell.ts";
import type { Enclosed } from "../sandbox/enclosure.ts";
import { hostPids } from "../sandbox/pids.ts";
import { Capture, type CaptureReceiver } from "./capture.ts";
import type { AnswerTo, KernelChannel } from "./channel.ts";
import { FifoPool } from "./fifo-pool.ts";
import { encodeFrame, FrameReader } from "./frames.ts";
import { type FreshStreams, Kernel, type KernelExit } from "./kernel.ts";
import { Reception } from "./reception.ts";
import { Snapshot } from "./snapshot.ts";
import { openReading } from "./streams.ts";

const START_DEADLINE_MS = 15_000;
const STOP_DEADLINE_MS = 2_000;
const STDERR_KEPT = 4_096;
const SIGKILL = 9;

export interface BoxOptions {
  /** How the supervisor is started, given the box's folder. */
  readonly enclose: (folder: string) => Promise<Enclosed>;
  /** Parent of the box's runtime folder. */
  readonly runtime: string;
  /** Makes its FIFOs. */
  readonly shell: Shell;
  readonly log: Logger;
  /** The kernels' environment, given where things are inside. */
  readonly env: (enclosed: Enclosed) => Readonly<Record<string, string>>;
}

/** A process of the box that the daemon speaks to. */
interface Member {
  connect(socket: Socket, pid: () => number, frames: unknown[]): void;
  onExit(exit: Omit<KernelExit, "limit">): void;
}

/** A member that has not dialled in yet, or has. */
interface Arrival {
  readonly member: Member;
  readonly failed: (error: ExecuteCodeError) => void;
}

/** What can be forked. */
export interface Forkable {
  readonly channel: KernelChannel;
}

/** What a capture is about. */
export interface CaptureScope {
  /** These variables only; null: all. */
  readonly only?: readonly string[] | null;
  /** Not these, with the reason. */
  readonly skip?: Readonly<Record<string, string>>;
}

/** A kernel for another session, by its name among all copies of its session; null: one in its parent's place. */
export type Copy = string | null;

type BranchOrder = BranchRequest["branches"][number];

/** A kernel that is to be, with the names of its FIFOs. */
interface Prepared {
  readonly name: string;
  readonly kernel: Kernel;
  readonly files: { readonly stdout: string; readonly stderr: string; readonly interrupts: string };
}

export class Box {
  readonly id: string = newShortId();
  readonly #options: BoxOptions;
  readonly #folder: string;
  /** Everybody inside, by name. */
  readonly #members = new Map<string, Arrival>();
  readonly #reception: Reception;
  readonly #fifos: FifoPool;
  #enclosed: Enclosed | null = null;
  #child: ChildProcess | null = null;
  #control: Socket | null = null;
  #stderr = "";
  #names = 0;
  #folders = 0;
  /** The processes inside, as one look has found them just now. */
  #pids: ReadonlyMap<number, number> | null = null;
  /** Signals that the supervisor has not confirmed yet, by request. */
  readonly #signals = new Map<number, () => void>();
  #requests = 0;
  #first: Kernel | null = null;
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();

  private constructor(options: BoxOptions) {
    this.#options = options;
    this.#folder = path.join(options.runtime, this.id);
    this.#fifos = new FifoPool(this.#folder, options.shell, (...files) => this.#giveAway(...files));
    this.#reception = new Reception((error) =>
      options.log.warn({ box: this.id, err: error }, "a connection to the kernel listener was refused"),
    );
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
    if (child.pid === undefined) {
      // Where there are no descriptors left, it has no pipes, either.
      const [cause] = (await once(child, "error")) as [Error];
      throw new ExecuteCodeError("kernel_start_failed", { message: `${command}: ${cause.message}` });
    }
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
    const first = this.startKernel();
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
    const address = path.join(this.#folder, "kernel.sock");
    await this.#reception.listen(address);
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

  #filesInside({ stdout, stderr, interrupts }: Prepared["files"]): Prepared["files"] {
    return {
      stdout: this.#inside(stdout),
      stderr: this.#inside(stderr),
      interrupts: this.#inside(interrupts),
    };
  }

  /** A process inside, as the host knows it: looked for when it is asked for. */
  #hostPid(inner: number): () => number {
    const shared = this.#enclosed?.folder === this.#folder;
    const root = this.#child?.pid;
    let found: number | null = null;
    return () => {
      found ??= shared || root === undefined ? inner : (this.#look(root).get(inner) ?? null);
      return found ?? inner;
    };
  }

  /** One look serves all who ask in the same turn: a hundred branches are told of at once. */
  #look(root: number): ReadonlyMap<number, number> {
    if (this.#pids === null) {
      this.#pids = hostPids(root);
      setImmediate(() => {
        this.#pids = null;
      });
    }
    return this.#pids;
  }

  /** Forks a kernel from the supervisor and waits until it has dialled in. Throws `kernel_start_failed`. */
  async startKernel(): Promise<Kernel> {
    const enclosed = this.#enclosed!;
    const [prepared] = await this.#prepareKernels([this.#nextName()]);
    const { name, kernel, files } = prepared!;
    const nonce = newSecret();
    const dialled = this.#expect(name, nonce, kernel);
    this.#send({
      type: "fork",
      kernel: name,
      nonce,
      listener: this.#inside("kernel.sock"),
      ...this.#filesInside(files),
      cwd: enclosed.work,
      env: this.#options.env(enclosed),
      limits: enclosed.limits,
    });
    await this.#arrived([{ name, nonce, dialled }]);
    await forget([prepared!]);
    return kernel;
  }

  /**
   * Forks a kernel, or a snapshot, into kernels that go on beside it. Throws `unsafe_fork`, `fork_failed` or
   * `kernel_gone`; then there is none of them.
   */
  async forkKernels(
    from: Forkable,
    copies: readonly Copy[],
    onUnsafe: OnUnsafe,
  ): Promise<{ kernels: Kernel[]; unsafe: Unsafe[] }> {
    const prepared = await this.#prepareKernels(copies.map(() => this.#nextName()));
    const branches = prepared.map(({ name, kernel, files }, index) => ({
      member: kernel,
      order: {
        kernel: name,
        ...roleOf(copies[index]!),
        ...this.#filesInside(files),
        only: null,
        skip: {},
      },
    }));
    try {
      const { unsafe } = await this.#branch(from, onUnsafe, branches);
      return { kernels: prepared.map(({ kernel }) => kernel), unsafe };
    } finally {
      void forget(prepared);
    }
  }

  /** A paused copy of a kernel. Throws `unsafe_fork`, `fork_failed` or `kernel_gone`. */
  async takeSnapshot(from: Forkable, onUnsafe: OnUnsafe): Promise<{ snapshot: Snapshot; unsafe: Unsafe[] }> {
    const name = this.#nextName();
    const kill = (): void => void this.#signal(name, SIGKILL, "tree", 0);
    const snapshot = new Snapshot({ name, kill });
    const order = {
      kernel: name,
      role: "snapshot" as const,
      copy: null,
      stdout: null,
      stderr: null,
      interrupts: null,
      only: null,
      skip: {},
    };
    const { unsafe, still } = await this.#branch(from, onUnsafe, [{ member: snapshot, order }]);
    snapshot.still = still;
    return { snapshot, unsafe };
  }

  /**
   * A snapshot itself goes on as a kernel, which takes no fork and no time for its memory. Throws `fork_failed`, when
   * it is a snapshot still, or `kernel_gone`. `meanwhile` is called when it has been asked, first of all: until it is
   * ready nobody has anything to do.
   */
  async resume(snapshot: Snapshot, copy: Copy, meanwhile: () => void): Promise<Kernel> {
    const { name, channel } = snapshot;
    const prepared = await this.#prepareKernels([name]);
    const [{ kernel, files }] = prepared as [Prepared];
    const since = monotonicMs();
    try {
      const request: ResumeRequest = {
        type: "resume",
        request: channel.nextRequest(),
        kernel: name,
        ...roleOf(copy),
        ...this.#filesInside(files),
      };
      const answer = channel.ask(request, START_DEADLINE_MS);
      meanwhile();
      // Whoever is told of the new kernel is told its number, which takes a look.
      void snapshot.pid;
      const { error } = await answer;
      if (error !== null) throw new ExecuteCodeError("fork_failed", { message: error });
      const { socket, pid } = snapshot.release();
      this.#members.set(name, { member: kernel, failed: () => {} });
      this.#send({ type: "resume", kernel: name, since_ms: since });
      kernel.connect(socket, pid, []);
      return kernel;
    } catch (error) {
      if (!snapshot.alive) kernel.kill();
      kernel.onExit({ code: null, signal: null, peak_memory_bytes: 0 });
      throw error;
    } finally {
      void forget(prepared);
    }
  }

  /** A copy of a kernel that writes its variables down. Throws `fork_failed` or `kernel_gone`. */
  async capture(
    from: Forkable,
    receiver: CaptureReceiver,
    { only = null, skip = {} }: CaptureScope,
  ): Promise<Capture> {
    const name = this.#nextName();
    const [contents] = (await this.#fifos.take(1)) as [string];
    const kill = (): void => void this.#signal(name, SIGKILL, "tree", 0);
    const capture = new Capture({ name, contents: openReading(contents), kill, receiver });
    const order = {
      kernel: name,
      role: "capture" as const,
      copy: null,
      stdout: this.#inside(contents),
      stderr: null,
      interrupts: null,
      only: only === null ? null : [...only],
      skip: { ...skip },
    };
    void capture.gone.then(() => removeAll([contents]));
    await this.#branch(from, "warn", [{ member: capture, order }]);
    return capture;
  }

  /** See `Placed.restore` and `Placed.merge`. */
  async tell<Q extends RestoreRequest | MergeRequest>(
    kernel: Kernel,
    request: Omit<Q, "request" | "folder">,
    provide: (folder: string) => Promise<void>,
  ): Promise<AnswerTo<Q>> {
    const name = `contents-${++this.#folders}`;
    const folder = path.join(this.#folder, name);
    await mkdir(folder, { mode: 0o700 });
    try {
      await this.#giveAway(folder);
      await provide(folder);
      const { channel } = kernel;
      const where = { request: channel.nextRequest(), folder: this.#inside(folder) };
      return await channel.ask({ ...request, ...where } as Q);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #branch(
    from: Forkable,
    onUnsafe: OnUnsafe,
    branches: ReadonlyArray<{ member: Member; order: Omit<BranchOrder, "nonce"> }>,
  ): Promise<{ unsafe: Unsafe[]; still: boolean }> {
    const arrivals = branches.map(({ member, order }) => {
      const nonce = newSecret();
      return {
        order: { ...order, nonce },
        nonce,
        name: order.kernel,
        dialled: this.#expect(order.kernel, nonce, member),
      };
    });
    const request: BranchRequest = {
      type: "branch",
      request: from.channel.nextRequest(),
      listener: this.#inside("kernel.sock"),
      on_unsafe: onUnsafe,
      branches: arrivals.map(({ order }) => order),
    };
    // Functions of session code are called around a fork: who hangs in one is of no use any more.
    const answer = await from.channel.ask(request, START_DEADLINE_MS).catch((error: unknown) => {
      for (const { name, nonce } of arrivals) this.#giveUp(name, nonce);
      throw error;
    });
    // Who has been made is the supervisor's, whatever became of the others.
    for (const [index, pid] of answer.pids.slice(0, arrivals.length).entries()) {
      const { name, order } = arrivals[index]!;
      this.#send({ type: "adopt", kernel: name, pid, paused: order.role === "snapshot" });
    }
    if (answer.error !== null) {
      for (const { name, nonce } of arrivals) this.#giveUp(name, nonce);
      throw new ExecuteCodeError(answer.error.code, {
        message: answer.error.message,
        details: { unsafe: answer.unsafe },
      });
    }
    await this.#arrived(arrivals).catch((cause: Error) => {
      throw new ExecuteCodeError("fork_failed", { message: cause.message, cause });
    });
    return { unsafe: answer.unsafe, still: answer.still };
  }

  /** Somebody of this name will dial in with this nonce; resolves when that has happened. */
  #expect(name: string, nonce: string, member: Member): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const arrival: Arrival = { member, failed: reject };
    this.#members.set(name, arrival);
    this.#reception.expect(nonce, (socket, pid, frames) => {
      member.connect(socket, this.#hostPid(pid), frames);
      resolve();
    });
    promise.catch(() => {});
    return promise;
  }

  async #arrived(
    arrivals: ReadonlyArray<{ name: string; nonce: string; dialled: Promise<void> }>,
  ): Promise<void> {
    try {
      await withDeadline(Promise.all(arrivals.map(({ dialled }) => dialled)), START_DEADLINE_MS, () =>
        this.#startFailure("the kernel did not dial in"),
      );
    } catch (error) {
      for (const { name, nonce } of arrivals) this.#giveUp(name, nonce);
      throw error;
    }
  }

  /** Nobody waits for this one any more; should it live, it ends. */
  #giveUp(name: string, nonce: string): void {
    this.#reception.forget(nonce);
    void this.#signal(name, SIGKILL, "tree", 0);
    this.#onExited(name, { code: null, signal: null, peak_memory_bytes: 0 });
  }

  #nextName(): string {
    this.#names += 1;
    return `k${this.#names}`;
  }

  async #prepareKernels(names: readonly string[]): Promise<Prepared[]> {
    const files = await this.#fifos.take(3 * names.length);
    return names.map((name, index) => {
      const [stdout, stderr, interrupts] = files.slice(3 * index, 3 * index + 3) as [string, string, string];
      const kernel = new Kernel({
        name,
        output: openPair(stdout, stderr),
        interrupts,
        signal: (signal, target, sinceMs) => this.#signal(name, signal, target, sinceMs),
        freshStreams: () => this.#freshStreams(),
      });
      return { name, kernel, files: { stdout, stderr, interrupts } };
    });
  }

  /** FIFOs for the next execution of a kernel, opened for reading. */
  async #freshStreams(): Promise<FreshStreams> {
    const [stdout, stderr] = (await this.#fifos.take(2)) as [string, string];
    return {
      stdout: this.#inside(stdout),
      stderr: this.#inside(stderr),
      fds: openPair(stdout, stderr),
      forget: () => {
        void removeAll([stdout, stderr]);
      },
    };
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
        void hearOut().then(() => this.#onExited(report.kernel, report));
        return;
      case "fault": {
        this.#options.log.warn({ box: this.id, report }, "supervisor fault");
        const arrival = report.kernel === null ? undefined : this.#members.get(report.kernel);
        arrival?.failed(new ExecuteCodeError("kernel_start_failed", { message: report.message }));
        return;
      }
    }
  }

  #onExited(name: string, exit: Omit<KernelExit, "limit">): void {
    const arrival = this.#members.get(name);
    if (arrival === undefined) return;
    this.#members.delete(name);
    arrival.failed(this.#startFailure(`the kernel ended (${exit.signal ?? `exit status ${exit.code}`})`));
    arrival.member.onExit(exit);
  }

  #onSupervisorEnd(): void {
    for (const name of this.#members.keys()) {
      this.#onExited(name, { code: null, signal: null, peak_memory_bytes: 0 });
    }
    for (const confirm of this.#signals.values()) confirm();
    this.#signals.clear();
    this.#reception.close();
    this.#fifos.close();
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

function roleOf(copy: Copy): { role: "successor" | "session"; copy: string | null } {
  return { role: copy === null ? "successor" : "session", copy };
}

/** The reading ends of two FIFOs. */
function openPair(stdout: string, stderr: string): [number, number] {
  const first = openReading(stdout);
  try {
    return [first, openReading(stderr)];
  } catch (error) {
    closeSync(first);
    throw error;
  }
}

/**
 * What a process has sent before its end may wait for us beside the news of that: its connection in the listener's
 * queue, its greeting in the connection, other frames behind that. Each takes a turn of the event loop, however late
 * that comes.
 */
async function hearOut(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Both ends are open by now, or never will be: nobody needs the names. */
async function forget(prepared: readonly Prepared[]): Promise<void> {
  const files = prepared.flatMap(({ files: { stdout, stderr, interrupts } }) => [stdout, stderr, interrupts]);
  await removeAll(files);
}

/** Files of the runtime folder, which may be gone with it; after what is under way just now. */
async function removeAll(files: readonly string[]): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await Promise.allSettled(files.map((file) => unlink(file)));
}

function withDeadline<T>(work: Promise<T>, ms: number, error: () => Error): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(error()), ms);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}
