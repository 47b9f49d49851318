/** Attacks from inside a session, and what must come of them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import type { Client } from "../../src/sdk/index.ts";
import { type TestHome, testHome } from "../support/home.ts";

export interface Arena {
  readonly home: string;
  readonly client: Client;
}

interface Attack {
  /** What is tried. */
  readonly name: string;
  /** Code whose last expression tells what came of it; a name of an OSError's errno, as a rule. */
  readonly code: string | ((arena: Arena) => string);
  /** The text of that value. */
  readonly ends: string | RegExp;
}

/** Gives the errno's name of an OSError, or what the call returned. */
const PRELUDE = `
import errno, os, sys
def outcome(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
`;

let attacks = 0;

/** A daemon for a suite of attacks. The suite fails where sessions are not in a sandbox: nothing would be proved. */
export function arena(): () => Arena {
  let home: TestHome;
  beforeAll(async () => {
    home = await testHome();
    const check = (await home.client.doctor()).find((one) => one.name === "isolation");
    if ((await home.client.health()).isolation !== "sandbox") {
      throw new Error(`the abuse suite needs the sandbox: ${check?.detail} → ${check?.remedy}`);
    }
  });
  afterAll(async () => {
    await home[Symbol.asyncDispose]();
    console.log(`${attacks} attacks ran`);
  });
  return () => home;
}

/** Runs each attack in a session of its own kind of trouble, and checks that the session lives on. */
export function attack(at: () => Arena, list: readonly Attack[]): void {
  test.each(list)("$name", async ({ name, code, ends }) => {
    const { client } = at();
    const session = name.replace(/[^a-z0-9]+/gi, "-").slice(0, 60);
    const text = typeof code === "string" ? code : code(at());
    const record = await client.execute({ session, code: `${PRELUDE}\n${text}`, timeoutMs: 60_000 });
    attacks += 1;
    expect(record.isolation).toBe("sandbox");
    const said = record.result?.text ?? endOf(record);
    if (typeof ends === "string") expect(said).toBe(ends);
    else expect(said).toMatch(ends);
    expect((await client.execute({ session, code: "'alive'" })).result?.text).toBe("'alive'");
  });
}

function endOf(record: ExecutionRecord): string {
  return record.error === null ? record.status : `${record.error.type}: ${record.error.message}`;
}

/** Counts an attack that a test makes by itself. */
export function counted(): void {
  attacks += 1;
}
