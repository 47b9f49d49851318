/** A daemon that starts on a long history answers soon: to a look, and with the first execution of the session. */
import { rmSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { SqliteStore } from "../../src/adapters/sqlite/index.ts";
import { connect } from "../../src/sdk/index.ts";
import { anExecution, aRecord } from "../contracts/samples.ts";
import { temporaryFolder } from "../support/home.ts";
import { IS_LONG, quantile, scaled, tell } from "./rounds.ts";

const EXECUTIONS = scaled(400, 10_000);
const STARTS = scaled(1, 30);
const ANSWER_MS = 2_000;
const SESSION = "long";

test(`restart with ${EXECUTIONS} executions (${STARTS} times)`, {
  timeout: 180_000 + STARTS * 20_000,
}, async () => {
  const home = temporaryFolder();
  // The session is made by a daemon, its history by the store.
  const first = await connect({ home });
  await first.createSession({ name: SESSION });
  await first.stop();
  await first.close();
  await filled(path.join(home, "history.db"));
  const empty: number[] = [];
  const looked: number[] = [];
  const executed: number[] = [];
  for (let start = 0; start < STARTS; start++) {
    empty.push(await firstAnswer());
    const began = performance.now();
    const client = await connect({ home });
    const page = await client.history({ session: SESSION, limit: 50 });
    looked.push(performance.now() - began);
    expect(page.executions.length).toBe(50);
    const record = await client.execute({ session: SESSION, code: "x, y" });
    executed.push(performance.now() - began);
    expect(record.result?.text).toBe(`(${EXECUTIONS - 1}, 42)`);
    const { pid } = await client.health();
    process.kill(pid, "SIGKILL");
    await client.close();
  }
  const last = await connect({ home });
  await last.stop();
  await last.close();
  rmSync(home, { recursive: true });
  const told = (times: number[]): string =>
    `median ${quantile(times, 0.5).toFixed(0)} ms, p99 ${quantile(times, 0.99).toFixed(0)} ms`;
  tell(
    `${STARTS} starts on ${EXECUTIONS} executions: first answer ${told(looked)} (of an empty home beside it ${told(empty)}); first execution, variables brought back, ${told(executed)}`,
  );
  if (IS_LONG) expect(quantile(looked, 0.99)).toBeLessThan(ANSWER_MS);
});

/** The floor: how long the same takes without a history. */
async function firstAnswer(): Promise<number> {
  const home = temporaryFolder();
  const began = performance.now();
  const client = await connect({ home });
  await client.history({ limit: 50 });
  const took = performance.now() - began;
  await client.stop({ drainMs: 0 });
  await client.close();
  rmSync(home, { recursive: true });
  return took;
}

/** `x` is set by each execution, `y` by the first alone. */
async function filled(file: string): Promise<void> {
  await using store = new SqliteStore({ file });
  await store.start();
  const session = (await store.findSession(SESSION))!;
  const change = (name: string) => ({ name, type: "int", preview: "0", module: null });
  let parent: string | null = null;
  for (let index = 0; index < EXECUTIONS; index++) {
    const code = index === 0 ? "y = 42\nx = 0" : `x = ${index}`;
    const execution = anExecution(session, { code });
    await store.accept(execution);
    const changed = index === 0 ? [] : [change("x")];
    const added = index === 0 ? [change("x"), change("y")] : [];
    await store.finish({
      record: aRecord(execution, { parent, revision: index + 1, variables: { added, changed, deleted: [] } }),
      epoch: session.epoch,
      head: execution.id,
      timeline: [],
    });
    parent = execution.id;
  }
}
