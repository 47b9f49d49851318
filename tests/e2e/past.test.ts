/** Asking a session's past: bisect, and replay of a part of its line. */
import { describe, expect, test } from "vitest";
import type { Session } from "../../src/sdk/index.ts";
import { suiteHome } from "../support/suite.ts";

const { client } = await suiteHome();

let names = 0;

/** A session, and the ids of what it has run. */
async function line(...cells: string[]): Promise<{ session: Session; ids: string[] }> {
  const session = await client.session(`p${++names}`);
  const ids = [];
  for (const code of cells) ids.push((await session.execute(code)).id);
  return { session, ids };
}

describe("replay", () => {
  test("of nothing is refused, and makes no session", async () => {
    const { session, ids } = await line("x = 1", "x = 2", "x = 3");
    const before = await client.sessions();
    const backwards = client.replay(session.name, { from: ids[2]!, to: ids[0]! });
    await expect(backwards).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringContaining(`${ids[0]} before ${ids[2]}`),
      remedy: expect.stringContaining("--from"),
    });
    const empty = await client.createSession({ name: `p${++names}` });
    for (const [name, options, code] of [
      [empty.name, {}, "invalid_request"],
      [session.name, { executions: [] }, "invalid_request"],
      [session.name, { executions: [ids[0]!], to: ids[1]! }, "invalid_request"],
      [session.name, { executions: [ids[0]!, "exec_none"] }, "unknown_execution"],
      [session.name, { from: "exec_none" }, "unknown_execution"],
    ] as const) {
      await expect(client.replay(name, options), JSON.stringify(options)).rejects.toMatchObject({ code });
    }
    expect((await client.sessions()).length).toBe(before.length + 1);
    const replayed = await client.replay(session.name, { from: ids[1]!, to: ids[1]! });
    expect(replayed.executions).toMatchObject([{ original: ids[1], same: true }]);
    expect(replayed.session).toMatchObject({ state: "idle", running: null, revision: 1 });
  });
});

/** Cells with a number of chance in the midst of what they give. */
const CHANCE = {
  html: "class H:\n def _repr_html_(self): return f'<b>{random.random()}</b>'\n def __repr__(self): return 'H'\nH()",
  png: "class P:\n def _repr_png_(self): return random.randbytes(90_000)\n def __repr__(self): return 'P'\nP()",
  display: "ec.display(type('H', (), {'_repr_html_': lambda self: str(random.random())})())",
  stream: "print('a' * 1_500_000 + str(random.random()) + 'b' * 1_500_000)",
  stderr: "print('a' * 150_000 + str(random.random()) + 'b' * 150_000, file=__import__('sys').stderr)",
};
/** The same of one length, where the bounds leave it out. */
const CUT = {
  text: "'a' * 100_000 + f'{random.random():.12f}' + 'b' * 100_000",
  error: "raise ValueError('q' * 100_000 + f'{random.random():.12f}' + 'c' * 100_000)",
};

describe("what a replay compares", () => {
  test("is all that was kept; where something was cut, it says that nobody can tell", async () => {
    const { session, ids } = await line("import random", ...Object.values(CHANCE), ...Object.values(CUT));
    const { executions } = await client.replay(session.name, { executions: ids });
    const chance = Object.keys(CHANCE).length;
    expect(executions.map(({ same }) => same)).toEqual([true, ...Array(chance).fill(false), null, null]);
    expect(executions.at(-1)?.reason).toContain("the error");
    expect(executions.at(-2)?.reason).toContain("the result");
  });

  test("is not known of output beyond the session's bound", async () => {
    const name = `p${++names}`;
    await client.createSession({ name, grants: { outputBytes: 4_096 } });
    const session = await client.session(name);
    const { id } = await session.execute("print('a' * 5_000)");
    const { executions } = await client.replay(name, { executions: [id] });
    expect(executions).toMatchObject([{ same: null, reason: expect.stringContaining("stdout") }]);
  });

  test("is the same for what has no chance, whatever its addresses and names are", async () => {
    const html = "class H:\n def _repr_html_(self): return '<b>1</b>'\nH()";
    const png = "ec.display(type('P', (), {'_repr_png_': lambda self: bytes(90_000)})())";
    const { session, ids } = await line(
      html,
      png,
      "print('a' * 1_500_000)",
      "shown = ec.display(1, display_id=True); shown.update(2)",
      "print(object())",
      "raise ValueError('q')",
    );
    const { executions } = await client.replay(session.name, { executions: ids });
    expect(executions.map(({ same }) => same)).toEqual(ids.map(() => true));
  });
});

describe("an execution whose kernel ended", () => {
  test("has effects that nobody knows, and is left out of a replay", async () => {
    const session = await client.session(`p${Date.now()}`);
    await session.execute("x = 1");
    const crashed = await session.execute("import os; open('made', 'w').write('x'); os._exit(2)");
    expect(crashed).toMatchObject({ status: "crashed", effects: [{ kind: "unknown" }] });
    const { executions } = await client.replay(session.name, { executions: [crashed.id] });
    expect(executions).toMatchObject([{ original: crashed.id, execution: null }]);
    expect(executions[0]!.reason).toMatch(/its kernel ended before it could tell/);
  });
});

describe("bisect", () => {
  test("refuses bounds that come in the wrong order", async () => {
    const { session, ids } = await line("x = 1", "x = 2", "x = 3");
    for (const bounds of [{ good: ids[2]!, bad: ids[1]! }, { good: ids[2]! }]) {
      const asked = client.bisect(session.name, "x < 2", bounds);
      await expect(asked).rejects.toMatchObject({
        code: "invalid_request",
        message: expect.stringContaining(`${ids[2]} does not come before`),
      });
    }
    expect(await client.bisect(session.name, "x < 2", { good: ids[0]!, bad: ids[2]! })).toMatchObject({
      broken_by: ids[1],
    });
  });

  test("blames nothing where the end cannot be asked", async () => {
    const { session, ids } = await line("import time; x = 0", "x = 60");
    const found = await client.bisect(session.name, "time.sleep(x) is None", { timeoutMs: 1_000 });
    expect(found).toMatchObject({ broken_by: null, candidates: [] });
    expect(found.summary).toContain(`after ${ids[1]} cannot be told`);
  });
});

describe("bisect of moments that are computed again", () => {
  test("decides nothing by a variable that may not be as it was, and says why", async () => {
    const { session } = await line(
      "open('cfg', 'w').write('1')",
      "v = int(open('cfg').read())",
      ...Array.from({ length: 10 }, (_, index) => `k${index} = ${index}`),
      "open('cfg', 'w').write('-5')",
      "v",
    );
    const found = await client.bisect(session.name, "v < 0");
    expect(found).toMatchObject({ broken_by: null, candidates: [] });
    expect(found.summary).toMatch(/cannot be told.*`v`: .*file that has changed/);
  });

  test("takes chance into account, and decides by what does not depend on it", async () => {
    const { session, ids } = await line(
      "import random; a = random.random()",
      "n = 0",
      "def f(): return a",
      ...Array.from({ length: 12 }, () => "n += 1"),
    );
    const { result } = await session.execute("a");
    for (const predicate of [`a != ${result!.text}`, `f() != ${result!.text}`])
      expect(await client.bisect(session.name, predicate)).toMatchObject({ broken_by: null });
    expect(await client.bisect(session.name, "n < 4")).toMatchObject({ broken_by: ids[6] });
  });

  test("decides nothing by lost variables, also where the expression does not raise", async () => {
    const name = `p${++names}`;
    await client.createSession({ name, capture: "named", snapshots: "named" });
    const session = await client.session(name);
    const cells = ["x = 1", "x = 2; f = open('w', 'a').write('x')", "x += 1", "y = x", "x = -1", "z = 1"];
    for (const code of cells) await session.execute(code);
    const found = await client.bisect(name, "globals().get('x', 0) > 0");
    expect(found.broken_by).toBeNull();
    expect(found.candidates.length).toBeGreaterThan(1);
    expect(found.summary).toContain("`x`: lost there");
    expect(found.steps).toContainEqual(
      expect.objectContaining({ outcome: "undecided", detail: expect.stringContaining("`x`: lost there") }),
    );
  });
});

describe("a predicate that is no expression", () => {
  test.each([
    ["x >", "at its end"],
    ["x > > 1", "column 5"],
    ["x\n> > 1", "line 2, column 3"],
    ["(x", "at its end"],
  ])("%j is told with its place: %s", async (predicate, place) => {
    const { session } = await line("x = 1");
    await expect(client.bisect(session.name, predicate)).rejects.toMatchObject({
      message: expect.stringMatching(new RegExp(`^(?!.*exec_).*\\(${place}\\)`)),
    });
  });
});

describe("a search", () => {
  test("may be as long as it is allowed to be, in any script, and says when it is longer", async () => {
    const { session } = await line("x = 1");
    const longest = {
      query: "값".repeat(1_000),
      variable: "값".repeat(1_000),
      where: `type = '${"값".repeat(1_900)}'`,
    };
    expect((await client.history({ session: session.name, ...longest })).executions).toEqual([]);
    for (const query of [{ where: "rows > 1 and ".repeat(4_000) }, { query: "x".repeat(100_000) }]) {
      await expect(client.history(query)).rejects.toMatchObject({
        code: "invalid_request",
        message: expect.stringMatching(/(where|query): .*[12]000/),
      });
    }
    await expect(client.history({ query: "x".repeat(4_000_000) })).rejects.toMatchObject({
      code: "invalid_request",
      remedy: expect.stringContaining("Shorten"),
    });
  });
});
