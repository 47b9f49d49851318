/** Variables of two sessions: compared, and brought from one into the other. */
import { describe, expect, test } from "vitest";
import type { Session } from "../../src/sdk/index.ts";
import { suiteHome, value } from "../support/suite.ts";

const { client } = await suiteHome();

const model = (n: number): string => `class Model:\n    n = ${n}\n    def f(self): return ${n}\n`;

let names = 0;
const newName = (): string => `m${++names}`;

/** A session that has run this, and a fork of it. */
async function branches(code: string): Promise<[Session, Session]> {
  const here = await client.session(newName());
  await here.execute(code);
  const [there] = await here.fork(1);
  return [here, there!];
}

async function statuses(here: Session, there: Session): Promise<Record<string, string>> {
  const { variables } = await client.diff(here.name, there.name);
  return Object.fromEntries(variables.map(({ name, status }) => [name, status]));
}

describe("a merged class", () => {
  test("that is asked for replaces the one of its name; else objects become of that one", async () => {
    const [here, there] = await branches(`${model(1)}m = Model()\nold = Model`);
    await there.execute(`${model(2)}new = Model()`);
    const along = await here.merge(there, ["new"]);
    expect(along).toMatchObject({ classes: ["Model"], variables: [{ outcome: "merged", reason: null }] });
    expect(await value(here, "type(new) is Model is old, new.f()")).toBe("(True, 1)");
    const asked = await here.merge(there, ["Model", "new"]);
    expect(asked).toMatchObject({
      classes: [],
      variables: [{ reason: "objects of the class that was here keep that one" }, { reason: null }],
    });
    expect(await value(here, "type(new) is Model, Model is old, new.f(), m.f()")).toBe("(True, False, 2, 1)");
    expect(await here.merge(there, ["Model"])).toMatchObject({ variables: [{ reason: null }] });
    expect(await value(here, "type(new) is Model")).toBe("True");
  });

  test("of an earlier version stays beside the one of its name", async () => {
    const [here, there] = await branches("x = 1");
    await here.execute(model(0));
    for (const code of [model(1), "old = Model()", model(2), "both = [old, Model()]"])
      await there.execute(code);
    const { variables, classes } = await here.merge(there, ["both"]);
    expect(variables[0]).toMatchObject({ reason: "objects of an earlier Model keep a class of their own" });
    expect(classes).toEqual(["Model"]);
    expect(await value(here, "[type(x) is Model for x in both], [x.f() for x in both]")).toBe(
      "([False, True], [1, 0])",
    );
  });

  test("that both have changed is a conflict as any variable", async () => {
    const [here, there] = await branches(model(1));
    await here.execute(model(2));
    await there.execute(model(3));
    await expect(here.merge(there, ["Model"])).rejects.toMatchObject({ code: "merge_conflict" });
    await here.merge(there, ["Model"], { onConflict: "keep" });
    expect(await value(here, "Model().f()")).toBe("2");
    await here.merge(there, ["Model"], { onConflict: "replace" });
    expect(await value(here, "Model().f()")).toBe("3");
  });
});

describe("a variable that ends the process which copies it", () => {
  const bomb = "import os\nclass Bomb:\n    def __reduce__(self): return os._exit, (9,)\n";

  test("is unknown in a comparison, refused by a merge and skipped by a capture; the others are not", async () => {
    const [here, there] = await branches(`${bomb}b = Bomb(); big = bytes(range(256)) * 4000; x = 1`);
    await there.execute("x = 2; y = big + b'!'");
    expect(await statuses(here, there)).toMatchObject({
      b: "unknown",
      big: "same",
      x: "changed",
      y: "only_there",
    });
    await expect(here.merge(there, ["b", "y"], { onConflict: "replace" })).rejects.toMatchObject({
      code: "invalid_request",
      message: "`b` cannot be copied: its capture took too long, or ended the process",
    });
    expect(await here.merge(there, ["x", "y"])).toMatchObject({
      variables: [{ outcome: "merged" }, { outcome: "merged" }],
    });
    expect(await value(here, "x, y == big + b'!'")).toBe("(2, True)");
    const { variables } = await client.capture(here.name);
    const skipped = variables.filter(({ status }) => status === "skipped");
    expect(skipped).toMatchObject([{ name: "b", reason: expect.stringContaining("ended the process") }]);
  });
});

describe("a merge", () => {
  test("of members of an enumeration gives the session's own", async () => {
    const [here, there] = await branches("import enum\nclass Color(enum.Enum):\n    RED = 1");
    await there.execute("c = [Color.RED]");
    expect((await here.merge(there, ["c"])).variables).toMatchObject([{ outcome: "merged" }]);
    expect(await value(here, "c[0] is Color.RED")).toBe("True");
  });

  test("may be done again, as long as the session has not changed what came", async () => {
    const [here, there] = await branches("x = 1");
    const stranger = await client.session(newName());
    await stranger.execute("y = 1");
    for (const n of [2, 3]) {
      await there.execute(`x = ${n}`);
      await stranger.execute(`y = ${n}`);
      await here.merge(there, ["x"]);
      await here.merge(stranger, ["y"]);
      expect(await value(here, "x, y")).toBe(`(${n}, ${n})`);
    }
    await here.execute("x = 0");
    await expect(here.merge(there, ["x"])).rejects.toMatchObject({ code: "merge_conflict" });
    const { revision } = await here.show();
    expect(await here.merge(there, ["x"], { onConflict: "keep" })).toMatchObject({
      variables: [{ name: "x", outcome: "kept" }],
      session: { revision },
    });
  });

  test("is a conflict also where no record shows what the target has changed", async () => {
    const made =
      "x = list(range(10_000))\nrows = [[n] for n in range(5_000)]\npart = rows[4_000]\nit = iter([1, 2, 3])\nz = [0]";
    for (const [change, name] of [
      ["x[5_000] = 'mine'", "x"],
      ["part.append('mine')", "rows"],
      ["next(it)", "it"],
    ] as const) {
      const [here, there] = await branches(made);
      const { variables } = await here.execute(change);
      expect(variables.changed.filter((one) => one.name === name)).toEqual([]);
      await there.execute("x[0] = 'theirs'; rows[0] = 'theirs'; it = iter([5]); z.append(1)");
      await expect(here.merge(there, ["x", "rows", "it"]), change).rejects.toMatchObject({
        code: "merge_conflict",
        details: { conflicts: [{ name, reason: expect.stringContaining("since the fork") }] },
      });
      expect(await here.merge(there, ["z"])).toMatchObject({ conflicts: [] });
    }
  });

  test("is none for what was only looked at, also when the moment of the fork has to be restored", async () => {
    const [here, there] = await branches("x = list(range(10_000))\nm = len");
    await there.execute("x[0] = 'theirs'");
    for (let n = 0; n < 10; n++) await here.execute(`k${n} = x[${n}]`);
    for (let n = 0; n < 10; n++) await there.execute(`k${n} = 0`);
    expect(await here.merge(there, ["x"])).toMatchObject({ conflicts: [] });
    expect(await value(here, "x[0]")).toBe("'theirs'");
  });

  test("has no conflict about what is the same in both, and one about what is gone", async () => {
    const [here, there] = await branches("x = y = z = 1");
    for (const session of [here, there]) await session.execute("x = [2]");
    await here.execute("del y; z = 3");
    expect(await here.merge(there, ["x"])).toMatchObject({ conflicts: [] });
    await expect(here.merge(there, ["x", "y", "z"])).rejects.toMatchObject({
      message: expect.stringMatching(
        /^y: exec_\w+ of \w+ has deleted it; z: exec_\w+ of \w+ has changed it$/,
      ),
    });
  });

  test("takes no private name or module for unchanged that is another one", async () => {
    const [here, there] = await branches("_x = 1; _y = 1; import json as m");
    await there.execute("_y = 2");
    await here.execute("_x = 2; import math as m");
    for (const name of ["_x", "_y", "m"]) {
      await expect(here.merge(there, [name]), name).rejects.toMatchObject({ code: "merge_conflict" });
    }
    await here.merge(there, ["_x", "m"], { onConflict: "replace" });
    expect(await value(here, "_x, m.__name__")).toBe("(1, 'json')");
    await here.merge(there, ["_x", "m"]);
    const stranger = await client.session(newName());
    await stranger.execute("_x = 5; z = 1");
    await expect(here.merge(stranger, ["_x"])).rejects.toMatchObject({ code: "merge_conflict" });
    await here.merge(stranger, ["z"]);
  });

  test("of what is not there says so before anything else", async () => {
    const [here, there] = await branches("x = 1");
    await here.execute("y = 1");
    const asked = here.merge(there, ["x", "y"]);
    await expect(asked).rejects.toMatchObject({
      code: "unknown_variable",
      message: expect.stringContaining("`y`"),
    });
    const empty = await client.createSession({ name: newName() });
    expect(await client.merge(empty.name, here.name, ["x"])).toMatchObject({ conflicts: [] });
  });

  test("of what cannot be copied names it, and changes nothing", async () => {
    const [here, there] = await branches("x = 1");
    await there.execute("x = 2\ng = (i for i in [])");
    await expect(here.merge(there, ["x", "g"])).rejects.toMatchObject({
      code: "invalid_request",
      message: "`g` cannot be copied: cannot pickle 'generator' object",
      remedy: expect.stringContaining(here.name),
      retryable: false,
    });
    expect(await value(here, "x")).toBe("1");
  });

  test("is told of by a restore from before it, for names that no list has, too", async () => {
    const here = await client.createSession({ name: newName(), capture: "named" });
    await client.execute({
      session: here.name,
      code: "_x = [1]\nfor i in range(1000): globals()[f'v{i:03}'] = i\nw = [1]",
    });
    const { sessions } = await client.fork(here.name, { names: [newName()] });
    await client.execute({ session: sessions[0]!.name, code: "_x.append(2); w.append(2)" });
    await client.capture(here.name);
    await client.merge(here.name, sessions[0]!.name, ["_x", "w"], { onConflict: "replace" });
    process.kill((await client.showSession(here.name)).pid!, "SIGKILL");
    await expect.poll(async () => (await client.showSession(here.name)).state).toBe("crashed");
    const { variables } = await client.restoreSession(here.name);
    expect(
      variables
        .filter(({ outcome }) => outcome === "lost")
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["_x", "w"]);
  });

  test("is not run again by a replay", async () => {
    const [here, there] = await branches("x = 1");
    await there.execute("y = 2");
    await here.merge(there, ["y"]);
    const { executions } = await client.replay(here.name, { effects: true });
    expect(executions).toMatchObject([
      { same: true },
      { execution: null, reason: expect.stringContaining("merged") },
    ]);
  });
});

describe("a comparison", () => {
  test("tells of definitions that differ, and of what needs them", async () => {
    const [here, there] = await branches(
      `${model(1)}def g(): return 1\ndef h(): return 1\nm = Model()\nx = 1`,
    );
    await there.execute(`def g(): return 2\ndef h(): return 1\n${model(2)}\nm = Model()`);
    expect(await statuses(here, there)).toEqual({
      Model: "changed",
      g: "changed",
      h: "same",
      m: "changed",
      x: "same",
    });
  });

  test("is of contents, also between strangers", async () => {
    const code = `${model(1)}m = [Model()]\ns = {'one', 'two', 'three'}\nf = lambda: s`;
    const here = await client.session(newName());
    const there = await client.session(newName());
    await here.execute(code);
    await there.execute("pass");
    await there.execute(`# The same.\n${code}`);
    expect(await statuses(here, there)).toEqual({ Model: "same", m: "same", s: "same", f: "same" });
  });

  test("is of each variable, whatever else holds a part of it", async () => {
    const [here, there] = await branches(
      `${model(1)}b = Model()\nb.m = [1]\nrows = [[1], [2]]\npair = rows[:]\ndef held(): return rows`,
    );
    await there.execute("bm = b.m\nfirst = rows[0]\nalso = [rows, b, held]");
    const same = { Model: "same", b: "same", rows: "same", pair: "same", held: "same" };
    const fresh = { bm: "only_there", first: "only_there", also: "only_there" };
    expect(await statuses(here, there)).toEqual({ ...same, ...fresh });
    await there.execute("first.append(3)");
    const changed = { rows: "changed", pair: "changed" };
    expect(await statuses(here, there)).toEqual({ ...same, ...fresh, ...changed });
    await here.execute("first = rows[0]\nfirst.append(3)\nrows = rows");
    expect(await statuses(here, there)).toEqual({ ...same, ...fresh, first: "same" });
    expect(await here.merge(there, ["first", "bm"])).toMatchObject({ conflicts: [] });
  });

  test("knows more variables than are listed", async () => {
    const [here, there] = await branches("for i in range(1100): globals()[f'v{i:04}'] = [i]");
    await there.execute("v1099.append(1)\naa = 1\nzz = 1\nimport math\n_private = 1");
    const found = Object.entries(await statuses(here, there)).filter(([, status]) => status !== "same");
    expect(Object.fromEntries(found)).toEqual({ v1099: "changed", aa: "only_there", zz: "only_there" });
  });
});
