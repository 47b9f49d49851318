/**
 * Many executions with snapshots and captures as they are by default: the memory of the daemon and of the session's
 * processes stays, no descriptor is left open, no process is left behind.
 */
import { expect, test, vi } from "vitest";
import { testHome } from "../support/home.ts";
import { descendants, descriptors, residentMemory } from "./processes.ts";
import { IS_LONG, scaled, tell } from "./rounds.ts";

const EXECUTIONS = scaled(300, 20_000);
const SAMPLES = 10;
const GROWTH = 0.1;
/** Sockets and FIFOs of a capture or snapshot that is under way at that moment. */
const UNDER_WAY = 12;
const SESSIONS = ["a", "b"];

interface Sample {
  readonly daemon: number;
  readonly kernels: number;
  readonly descriptors: number;
  readonly processes: number;
}

test(`${EXECUTIONS} executions`, { timeout: 120_000 + EXECUTIONS * 100 }, async () => {
  await using home = await testHome();
  const { client } = home;
  const { pid } = await client.health();
  for (const session of SESSIONS) {
    await client.execute({ session, code: "x = [0] * 100_000\nimport random" });
  }
  const sample = async (): Promise<Sample> => {
    // At rest: each capture is over when one more finds nothing to do.
    for (const session of SESSIONS) await client.capture(session);
    // Who has just ended is not collected in the same instant.
    const below = await vi.waitFor(
      () => {
        const all = descendants(pid);
        expect(all.filter(({ state }) => state === "Z")).toEqual([]);
        return all;
      },
      { timeout: 2_000 },
    );
    const kernels = await Promise.all(SESSIONS.map(async (name) => (await client.showSession(name)).pid!));
    return {
      daemon: residentMemory(pid),
      kernels: kernels.reduce((sum, kernel) => sum + residentMemory(kernel), 0),
      descriptors: descriptors(pid),
      processes: below.length,
    };
  };
  const samples: Sample[] = [];
  const step = Math.ceil(EXECUTIONS / SAMPLES);
  for (let number = 0; number < EXECUTIONS; number++) {
    const session = SESSIONS[number % SESSIONS.length]!;
    const code = `x[${number} % len(x)] = random.random(); print(${number})`;
    const { status } = await client.execute({
      session,
      code,
      durability: number % 5 === 0 ? "full" : "relaxed",
    });
    expect(status).toBe("ok");
    if ((number + 1) % step === 0) samples.push(await sample());
  }
  // The first samples are of a daemon that is still warming up.
  const before = samples[Math.floor(samples.length / 5)]!;
  const after = samples.at(-1)!;
  const grown = (of: "daemon" | "kernels"): number => after[of] / before[of] - 1;
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  tell(
    `${EXECUTIONS} executions: daemon ${after.daemon >> 20} MiB (${percent(grown("daemon"))}), kernels ${after.kernels >> 20} MiB (${percent(grown("kernels"))}), descriptors ${before.descriptors} to ${after.descriptors}, processes ${before.processes} to ${after.processes}, 0 zombies`,
  );
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + UNDER_WAY);
  expect(after.processes).toBeLessThanOrEqual(before.processes + UNDER_WAY);
  if (IS_LONG) expect(grown("daemon")).toBeLessThan(GROWTH);
  if (IS_LONG) expect(grown("kernels")).toBeLessThan(GROWTH);
});
