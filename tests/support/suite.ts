/** What all tests of a file share. */
import { afterAll, expect } from "vitest";
import type { Session } from "../../src/sdk/index.ts";
import { type TestHome, testHome } from "./home.ts";

/** A home on its own daemon, until the file's last test has ended. */
export async function suiteHome(): Promise<TestHome> {
  const home = await testHome();
  afterAll(() => home[Symbol.asyncDispose]());
  return home;
}

/** What an expression is in a session; fails when it raises. */
export async function value(session: Session, expression: string): Promise<string | null> {
  const record = await session.execute(expression);
  expect(record.status, record.error?.traceback).toBe("ok");
  return record.result?.text ?? null;
}
