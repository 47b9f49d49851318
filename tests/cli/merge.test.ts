/** `session diff|merge` and `history replay`, as a user calls them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TestHome, testHome } from "../support/home.ts";
import { execute, type Outcome } from "./program.ts";

let at: TestHome;
beforeAll(async () => {
  at = await testHome();
  const enumeration = "import enum\nclass Color(enum.Enum):\n    RED = 1\n";
  await at.client.execute({ session: "here", code: `${enumeration}def f(): return 1\nx = 1` });
  await at.client.fork("here", { names: ["there"] });
  const code = `${enumeration}    BLUE = 2\ndef f(): return 2\ny = [Color.BLUE]\ng = (i for i in [])`;
  await at.client.execute({ session: "there", code });
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});

const call = (...args: string[]): Promise<Outcome> => execute(at.home, args);

describe("session diff and merge", () => {
  test("tell what differs, what came, and what did not", async () => {
    const compared = await call("session", "diff", "here", "there");
    expect(compared.stdout).toMatch(/^ +VARIABLE +here +there\n~ +Color .*\n~ +f .*\n- +g .*\n- +y .*$/m);
    const merged = await call("session", "merge", "here", "there", "f");
    expect(merged).toMatchObject({ status: 0, stdout: expect.stringMatching(/f +merged/) });
    const failed = await call("session", "merge", "here", "there", "y");
    expect(failed).toMatchObject({ status: 1, stdout: expect.stringContaining("has no member BLUE") });
    const refused = await call("session", "merge", "here", "there", "g");
    expect(refused).toMatchObject({ status: 2, stdout: "" });
    expect(refused.stderr).toMatch(/`g` cannot be copied: cannot pickle 'generator' object\n.*session here/);
  });
});

describe("history replay", () => {
  test("of nothing is an error", async () => {
    const { id: to } = await at.client.execute({ session: "line", code: "x = 1" });
    const { id: from } = await at.client.execute({ session: "line", code: "x = 2" });
    const backwards = await call("history", "replay", "--session", "line", "--from", from, "--to", to);
    expect(backwards).toMatchObject({ status: 2, stdout: "" });
    expect(backwards.stderr).toContain("Exchange --from and --to");
  });

  test("of ids is of the session that they are of, open or closed", async () => {
    const { id } = await at.client.execute({ session: "ended", code: "x = 1" });
    await at.client.closeSession("ended");
    const replayed = await call("history", "replay", id);
    expect(replayed).toMatchObject({ status: 0, stdout: expect.stringMatching(/ok +yes/) });
    expect(replayed.stderr).toContain("They ran in the session ended.1.");
  });
});
