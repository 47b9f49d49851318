/** A box and the daemon's event loop, which may come late: what a process has sent before its end counts. */
import { closeSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { IsolationTier } from "../../src/contract/records.ts";
import {
  type ExecutionSink,
  Interpreters,
  Kernels,
  type Placed,
  probeIsolation,
} from "../../src/execution/index.ts";
import { newSessionId } from "../../src/platform/ids.ts";
import { createLogger } from "../../src/platform/logger.ts";
import { temporaryFolder } from "../support/home.ts";

const home = temporaryFolder();
const nothing = {
  wanted: () => Promise.resolve([]),
  take: () => Promise.resolve(),
  release: async (fifo: number) => closeSync(fifo),
};
let kernels: Kernels;
let placed: Placed;

beforeAll(async () => {
  const { env } = process;
  const [runtime, sessions, cache] = ["run", "sessions", "cache"].map((name) => path.join(home, name));
  await Promise.all([runtime!, sessions!, cache!].map((folder) => mkdir(folder, { mode: 0o700 })));
  const interpreters = new Interpreters(env);
  const filter = path.join(runtime!, "seccomp");
  const isolation = await probeIsolation({ cache: cache!, filter, interpreters, env });
  const log = createLogger({ folder: home });
  kernels = new Kernels({
    interpreters,
    isolation,
    home,
    runtime: runtime!,
    sessions: sessions!,
    warm: 0,
    env,
    log,
  });
  const asked = IsolationTier.optional().parse(env.EXECUTE_CODE_ISOLATION);
  const tier = isolation.choose(asked);
  const needs = { python: null, isolation: tier, profile: kernels.grant(undefined, tier) };
  placed = await kernels.launch(newSessionId(), needs);
});

afterAll(async () => {
  await kernels.close();
  await rm(home, { recursive: true });
});

/** Nothing is read until then. */
function holdUp(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const silent: ExecutionSink = {
  output() {},
  display() {},
  progress() {},
  call: () => Promise.reject(new Error("nobody answers")),
  input: () => Promise.resolve(null),
  withdraw() {},
};

test("one that ended before its greeting was read has been there", async () => {
  const { kernel } = placed;
  const code =
    "class Ends:\n    def __reduce__(self):\n        import os\n        os._exit(0)\n\nends = Ends()";
  const defined = await kernel.execute({ id: "exec_1", code, env: {} }, silent);
  expect(defined).toMatchObject({ kind: "done", frame: { status: "ok" } });
  const { channel } = kernel;
  const ask = channel.ask.bind(channel);
  for (let round = 0; round < 5; round++) {
    // When the supervisor has been told of the capture: it greets, offers something, and ends, all at once.
    channel.ask = async (...question) => {
      const answer = await ask(...question);
      queueMicrotask(() => setImmediate(() => holdUp(300)));
      return answer;
    };
    const capture = await placed.capture(kernel, nothing, {});
    channel.ask = ask;
    await expect(capture.manifest).rejects.toThrow("The capture ended before it was whole.");
    await capture.gone;
  }
});
