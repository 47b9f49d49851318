import { afterAll, beforeAll, expect, test } from "vitest";
import { type TestHome, testHome } from "../support/home.ts";

let at: TestHome;
beforeAll(async () => {
  at = await testHome();
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});

test("offsets are those of JavaScript's strings", async () => {
  const session = await at.client.session("offsets");
  await session.execute("값 = 'x'");
  const code = "'😀' + 값.upp; '😀'";
  const end = code.indexOf(";");
  const found = await session.complete(code, end);
  expect(found).toMatchObject({ matches: ["upper"], start: end - 3, end, status: "complete" });
  expect(await session.complete(code)).toMatchObject({ matches: [], status: "complete" });
});

test("a session that has run nothing gets its kernel on request only; one with a past has it back", async () => {
  await (await at.client.session("past")).execute("known = 1");
  await at.client.createSession({ name: "nothing" });
  await at.client.stop({ drainMs: 0 });
  expect(await at.client.complete("nothing", "x = (")).toMatchObject({ status: null });
  expect((await at.client.showSession("nothing")).pid).toBeNull();
  expect(await at.client.complete("nothing", "x = (", null, { start: true })).toMatchObject({
    status: "incomplete",
  });
  expect((await at.client.complete("past", "know", 4)).matches).toEqual(["known"]);
});

test("a busy session is waited for, and then told", async () => {
  const session = await at.client.session("busy");
  const running = session.execute("import time; time.sleep(0.3)");
  await session.execute("1", { timeoutMs: 0 });
  expect(await session.complete("def f():")).toMatchObject({ status: "incomplete", indent: "    " });
  await running;
  const long = await session.execute("time.sleep(60)", { timeoutMs: 0 });
  await expect(session.complete("x")).rejects.toMatchObject({ code: "session_busy" });
  await at.client.interrupt(long.id);
  await expect(at.client.complete("missing", "x")).rejects.toMatchObject({ code: "unknown_session" });
});
