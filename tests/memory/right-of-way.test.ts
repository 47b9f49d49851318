import { expect, test } from "vitest";
import { RightOfWay, Yielding } from "../../src/memory/captures/right-of-way.ts";

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Of a worker that has worked so long already: it waits for others no longer than that. */
async function worker(executions: RightOfWay): Promise<Yielding> {
  const yielding = new Yielding(executions.shared);
  await sleep(60);
  return yielding;
}

test("a worker goes on at once while nothing runs", async () => {
  const yielding = await worker(new RightOfWay());
  let waited = true;
  void yielding.turn().then(() => {
    waited = false;
  });
  await Promise.resolve();
  expect(waited).toBe(false);
});

test("it waits for an execution that has just begun, to its end", async () => {
  const executions = new RightOfWay();
  const yielding = await worker(executions);
  const events: string[] = [];
  const [first, second] = [executions.claim(), executions.claim()];
  const turn = yielding.turn().then(() => events.push("worker"));
  first();
  await Promise.resolve();
  events.push("second ends");
  second();
  await turn;
  expect(events).toEqual(["second ends", "worker"]);
});

test("one that goes on is waited for no more", async () => {
  const executions = new RightOfWay();
  const yielding = await worker(executions);
  const over = executions.claim();
  await yielding.turn();
  over();
  await yielding.turn();
});

test("executions without end take at most half of a worker's time", async () => {
  const executions = new RightOfWay();
  const yielding = new Yielding(executions.shared);
  let going = true;
  const traffic = (async () => {
    while (going) {
      const over = executions.claim();
      await sleep(1);
      const next = executions.claim();
      over();
      await sleep(1);
      next();
    }
  })();
  let turns = 0;
  const start = performance.now();
  while (performance.now() - start < 200) {
    await yielding.turn();
    turns += 1;
    await sleep(1);
  }
  going = false;
  await traffic;
  expect(turns).toBeGreaterThan(20);
});
