/**
 * Restores: what is computed again and what comes from the capture are one whole, the same classes, the same objects; and
 * what has changed since the capture is not told to be as it was.
 */
import { describe, expect, test } from "vitest";
import type { RestoreReport } from "../../src/contract/time-travel.ts";
import { memoryNotes, type Session } from "../../src/sdk/index.ts";
import { suiteHome, value } from "../support/suite.ts";

const { client } = await suiteHome();

let names = 0;

/** Runs the cells in a session of its own, captures it after the one of this index, kills its kernel and restores. */
async function restored(
  cells: readonly string[],
  capturedAfter = cells.length - 1,
): Promise<{ session: Session; report: RestoreReport; ids: string[] }> {
  const name = `i${++names}`;
  await client.createSession({ name, snapshots: "named", capture: "named" });
  const session = await client.session(name);
  const ids: string[] = [];
  for (const [index, cell] of cells.entries()) {
    const record = await session.execute(cell);
    expect(record.status, record.error?.traceback).toBe("ok");
    ids.push(record.id);
    if (index === capturedAfter) await session.capture("kept");
  }
  process.kill((await session.show()).pid!, "SIGKILL");
  await expect.poll(async () => (await session.show()).state).toBe("crashed");
  return { session, report: await client.restoreSession(name), ids };
}

const told = (report: RestoreReport, name: string) => report.variables.find((one) => one.name === name);

describe("a class", () => {
  test("of the cell that runs again is the class of captured objects, as the capture has it", async () => {
    const { session, report, ids } = await restored([
      `import hashlib, enum
class Base: pass
class Model(Base):
    made = 0
    gone = True
    class Part: pass
    def __init__(self): self.lock = hashlib.sha256()
    def twice(self): return super().__repr__() and 2 * self.made
class Colour(enum.Enum): RED = 1; BLUE = 2
m = Model(); p = Model.Part(); seen = {Colour.RED: m.lock}`,
      "Model.made = 5; del Model.gone; Model.added = lambda self: self.made + 1",
      "others = [Model.__new__(Model), Model.Part(), Colour.RED, Model, Base]",
    ]);
    expect(told(report, "m")).toMatchObject({ outcome: "recomputed", executions: [ids[0]], reason: null });
    expect(told(report, "others")).toMatchObject({ outcome: "restored" });
    expect(told(report, "Model")).toMatchObject({ outcome: "restored" });
    for (const expression of [
      "type(m) is Model is type(others[0]) is others[3]",
      "type(p) is Model.Part is type(others[1])",
      "others[2] is Colour.RED and others[2] in seen and list(Colour) == [Colour.RED, Colour.BLUE]",
      "Model.__mro__ == (Model, Base, object) and others[4] is Base",
      "(m.twice(), m.added(), hasattr(Model, 'gone')) == (10, 6, False)",
    ])
      expect(await value(session, expression), expression).toBe("True");
  });

  test("of objects that the cell reads, and that come from the capture", async () => {
    const { session, report, ids } = await restored([
      "import hashlib, random\nclass Item: pass\nlock = hashlib.sha256()",
      "open('out', 'w').write('x'); items = [Item(), Item()]",
      "class Holder:\n    def __init__(self, items): self.items, self.lock, self.right = items, lock, all(isinstance(one, Item) for one in items)\nh = Holder(items)",
    ]);
    expect(report.replayed).toEqual([ids[0], ids[2]]);
    expect(await value(session, "h.right, h.items is items, h.lock is lock, type(items[0]) is Item")).toBe(
      "(True, True, True, True)",
    );
  });

  test("that has changed since the capture is the class of captured objects, too", async () => {
    const { session, report, ids } = await restored(
      ["class Model:\n    n = 0\n    def f(self): return self.n\nm = Model()", "Model.n = 5; k = Model"],
      0,
    );
    expect(told(report, "Model")).toMatchObject({ outcome: "recomputed", executions: [ids[1]] });
    expect(told(report, "m")).toMatchObject({ outcome: "restored" });
    expect(await value(session, "type(m) is Model is k, m.f()")).toBe("(True, 5)");
  });

  test("that was defined anew since keeps its versions apart", async () => {
    const { session } = await restored([
      "import hashlib\nclass V:\n    n = 1\nold = V(); lock = hashlib.sha256()",
      "class V:\n    n = 2\nnew = V()",
    ]);
    expect(await value(session, "type(new) is V, V.n, old.n, type(old) is V")).toBe("(True, 2, 1, False)");
  });

  test("that has the name of its base is not taken for it", async () => {
    const { session, report } = await restored([
      `import collections, hashlib
class P(collections.namedtuple('P', 'x y')):
    __slots__ = ()
    @property
    def total(self): return self.x + self.y
def extended(kind):
    class Made(kind):
        extra = 1
    Made.__name__, Made.__qualname__ = kind.__name__, kind.__qualname__
    return Made
@extended
class Q:
    def f(self): return 5
p, q = P(1, 2), Q()
lock = hashlib.sha256(b"x")`,
      "Q.__mro__[1].added = 7; bases = [P.__mro__[1], Q.__mro__[1]]; made = [P(3, 4), Q()]",
    ]);
    for (const name of ["P", "Q", "p", "q", "bases", "made"])
      expect(told(report, name)).toMatchObject({ outcome: "restored", reason: null });
    for (const expression of [
      "P.__mro__ == (P, bases[0], tuple, object) and Q.__mro__ == (Q, bases[1], object)",
      "(p.total, made[0].total, q.f(), q.extra, q.added) == (3, 7, 5, 1, 7)",
      "type(p) is type(made[0]) is P and type(q) is type(made[1]) is Q",
    ])
      expect(await value(session, expression), expression).toBe("True");
  });
});

describe("a function", () => {
  test("with what it encloses, as the capture has it", async () => {
    const { session, report } = await restored([
      `import hashlib, functools
def counter():
    n = 0
    def step():
        nonlocal n
        n += 1
        return n
    return step
step = counter()
def traced(f):
    @functools.wraps(f)
    def wrapper(*a): return f(*a)
    return wrapper
@traced
def work(x, y=1): return x + y
held = {"step": step, "work": work, "lock": hashlib.sha256()}`,
      "step(); step(); work.note = 'kept'",
    ]);
    expect(told(report, "held")).toMatchObject({ outcome: "recomputed" });
    expect(
      await value(session, "held['step'] is step, held['work'] is work, step(), work.note, work(1)"),
    ).toBe("(True, True, 3, 'kept', 2)");
  });
});

describe("data", () => {
  test("that both have come from the cells that ran again, when these make all of it", async () => {
    const { session, report, ids } = await restored([
      "import hashlib\na = []; b = [a, hashlib.sha256()]; c = {'a': a}; d = [1]",
      "a.append(1)",
    ]);
    expect(told(report, "a")).toMatchObject({
      outcome: "recomputed",
      executions: [ids[0], ids[1]],
      reason: null,
    });
    expect(told(report, "c")).toMatchObject({ outcome: "recomputed" });
    expect(told(report, "d")).toMatchObject({ outcome: "restored" });
    expect(await value(session, "b[0] is a is c['a'], a, d")).toBe("(True, [1], [1])");
  });

  test("that they do not make is told to be two", async () => {
    const { session, report } = await restored([
      "import hashlib\na = []; b = [a, hashlib.sha256()]; q = [hashlib.sha256()]",
      "open('out', 'w').write('x'); c = [a]",
    ]);
    expect(told(report, "a")).toMatchObject({ outcome: "restored" });
    expect(told(report, "c")).toMatchObject({ outcome: "restored" });
    expect(told(report, "q")).toMatchObject({ outcome: "recomputed", reason: null });
    expect(told(report, "b")).toMatchObject({
      outcome: "recomputed",
      reason: "it had objects in common with `a`, which come from the capture, and has its own ones now",
    });
    expect(await value(session, "c[0] is a, b[0] is a, b[0] == a")).toBe("(True, False, True)");
  });

  test("of arrays in one memory", async () => {
    const { session } = await restored([
      "import hashlib\nbuffer = bytearray(10); v = [memoryview(buffer), hashlib.sha256()]",
    ]);
    await session.execute("v[0][0] = 7");
    expect(await value(session, "buffer[0]")).toBe("7");
  });

  test("that is referred to weakly is that of who holds it", async () => {
    const { session, report } = await restored([
      `import weakref, hashlib
class A:
    def m(self): return self
a, b, c, d, e = [A() for _ in range(5)]
lock = hashlib.sha256()
p, m, f = weakref.proxy(a), weakref.WeakMethod(b.m), weakref.finalize(c, len, [])
held = [weakref.WeakValueDictionary(d=d), weakref.ref(e), lock]`,
    ]);
    for (const name of ["a", "b", "c", "d", "e"])
      expect(told(report, name)).toMatchObject({ outcome: "recomputed", reason: null });
    await session.execute("p.z = 3");
    expect(await value(session, "a.z, m()() is b, f.peek()[0] is c, held[0]['d'] is d, held[1]() is e")).toBe(
      "(3, True, True, True, True)",
    );
  });

  test("that is referred to weakly, and that they do not make, is told to be two", async () => {
    const { report } = await restored([
      "import weakref\nclass A: pass\na = A(); p = weakref.proxy(a)",
      "open('out', 'w').write('x'); a.y = 1",
    ]);
    expect(told(report, "a")).toMatchObject({ outcome: "restored" });
    expect(told(report, "p")!.reason).toMatch(/^it had objects in common with `a`/);
  });
});

describe("a variable from the capture that was used since", () => {
  const MAKE = `import io, functools
class Model:
    n = 0
    seen = []
class Slots:
    __slots__ = ("a",)
class Items(list): pass
def counter():
    n = [0]
    def step(): n[0] += 1
    return step
def f(x, seen=[]): seen.append(x)
def g(): pass
big = [{"n": n} for n in range(10_000)]
small = [{"n": n} for n in range(10)]
s, step, out, items = Slots(), counter(), io.StringIO(), Items()
s.a = 1
plain = 5
open("out", "w").write("x")`;

  const CHANGES = [
    ["s.a = 2", "s", "s.a == 2"],
    ["out.write('x')", "out", "out.getvalue() == 'x'"],
    ["items.append(1)", "items", "items == [1] and type(items) is Items"],
    ["Model.n = 1", "Model", "Model.n == 1"],
    ["Model.seen.append(1)", "Model", "Model.seen == [1]"],
    ["step()", "step", "step.__closure__[0].cell_contents == [1]"],
    ["f(1)", "f", "f.__defaults__ == ([1],)"],
    ["f.note = 1", "f", "f.note == 1"],
  ] as const;
  const others = (report: RestoreReport, name: string) => {
    for (const { name: other, outcome, reason } of report.variables)
      if (other !== name) expect([other, outcome, reason]).toEqual([other, "restored", null]);
  };

  test.each(CHANGES)("is changed again by %s", async (code, name, expected) => {
    const { session, report, ids } = await restored([MAKE, code], 0);
    expect(report.replayed).toEqual([ids[1]]);
    expect(told(report, name)).toMatchObject({ outcome: "recomputed", executions: [ids[1]], reason: null });
    others(report, name);
    expect(await value(session, expected)).toBe("True");
  });

  test.each(CHANGES)("and was changed by %s, which also wrote a file", async (code, name) => {
    const { session, report, ids } = await restored(
      [MAKE, `${code}; open('out', 'w').write('y') and None`],
      0,
    );
    expect(report.replayed).toEqual([]);
    const why = `${ids[1]} changed it, and it wrote out`;
    const isDefinition = ["Model", "step", "f"].includes(name);
    // A function or a class is better had as it was than not at all.
    expect(told(report, name)).toMatchObject(
      isDefinition
        ? {
            outcome: "restored",
            reason: `${ids[1]} changed it after the capture, and that is not in it: ${why}`,
          }
        : { outcome: "lost", reason: why },
    );
    others(report, name);
    expect(await value(session, `'${name}' in globals()`)).toBe(isDefinition ? "True" : "False");
  });

  test("is changed again with what refers to it, and what is needed for that", async () => {
    const { session, report, ids } = await restored(
      [
        "x = [1]; y = {'x': x}; z = [0]; open('out', 'w').write('x') and None",
        "k = len(x)",
        "x.append(k + 1); w = [x]",
        "def grow(): x.append(w); z[0] += 1",
        "grow(); k = 7",
      ],
      1,
    );
    expect(report.replayed).toEqual([ids[2], ids[3], ids[4]]);
    expect(report.variables.every(({ outcome, reason }) => outcome !== "lost" && reason === null)).toBe(true);
    expect(await value(session, "x[:2], x[2] is w, w[0] is x, y['x'] is x, z, k")).toBe(
      "([1, 2], True, True, True, [1], 7)",
    );
  });

  test("a definition that was made anew since is not what it was", async () => {
    const { session, report, ids } = await restored(
      [MAKE, "open('out', 'w').write('y')\nclass Model: pass"],
      0,
    );
    expect(told(report, "Model")).toMatchObject({
      outcome: "lost",
      reason: `${ids[1]} made it, and it wrote out`,
    });
    expect(await value(session, "'Model' in globals()")).toBe("False");
  });

  test("is changed by a function that the cell calls, beyond a brief look", async () => {
    const { session, report, ids } = await restored(
      [
        "orders = {i: {'id': i, 'status': 'new'} for i in range(60)}\ndef ship(i): orders[i]['status'] = 'shipped'",
        "ship(55)",
        "orders[60] = {'id': 60, 'status': 'new'}",
        "shipped = [i for i, o in orders.items() if o['status'] == 'shipped']",
      ],
      0,
    );
    expect(report.replayed).toEqual([ids[1], ids[2], ids[3]]);
    expect(await value(session, "shipped")).toBe("[55]");
  });

  test("passes its doubt on to what comes of it", async () => {
    const { report, ids } = await restored(
      ["big = [{'n': i} for i in range(10_000)]", "big[5_000]['n'] = -1", "lo = min(d['n'] for d in big)"],
      0,
    );
    const doubt = `${ids[2]} used it after the capture; a change where no look reaches is not in it`;
    expect(told(report, "big")).toMatchObject({ outcome: "restored", reason: doubt });
    expect(told(report, "lo")).toMatchObject({
      outcome: "recomputed",
      reason: `it comes of \`big\`, of which it is said: ${doubt}`,
    });
  });

  test("that the replay itself changes says so", async () => {
    const { report } = await restored(
      [
        "import functools\nseen = []\n@functools.cache\ndef load(k): seen.append(k); return {'k': k}\na = load('x')",
        "b = load('x'); b['extra'] = 1",
      ],
      0,
    );
    expect(told(report, "seen")).toMatchObject({
      outcome: "restored",
      reason: "executions that were run again have changed it, which they had not before",
    });
    expect(told(report, "b")!.reason).toMatch(/^it comes of `load`, of which it is said: its cache is empty/);
  });

  test("needs a module that is found by the paths as they were", async () => {
    const { session, report } = await restored(
      [
        "import sys, os\nos.makedirs('p1'); open('p1/cfgx.py', 'w').write('V = 1') and None",
        "sys.path.insert(0, 'p1')",
        "import cfgx\ng = cfgx.V",
      ],
      1,
    );
    expect(told(report, "g")).toMatchObject({ outcome: "recomputed" });
    expect(await value(session, "g, cfgx.V")).toBe("(1, 1)");
  });

  test("is held by the session only", async () => {
    const { session } = await restored(
      ["import hashlib, weakref\nclass A: pass\na, b, k, h = A(), A(), [], hashlib.sha256()", "k.append(b)"],
      0,
    );
    await session.execute(
      "import gc; gc.disable(); refs = [weakref.ref(a), weakref.ref(b)]; k.clear(); del a, b",
    );
    expect(await value(session, "[one() for one in refs]")).toBe("[None, None]");
  });

  test("has no finalizer run a second time", async () => {
    const { session } = await restored(
      [
        "class Writer:\n    def __init__(self, path): self.path = path\n    def __del__(self): open(self.path, 'a').write('x')",
        "w = Writer('out.txt'); n = 1",
        "del w",
      ],
      0,
    );
    expect(await value(session, "import gc; gc.collect(); n, open('out.txt').read()")).toBe("(1, 'x')");
  });

  test("is not lost when it never was", async () => {
    const { report } = await restored(
      ["import hashlib\nh = hashlib.sha256()\nif not h: never = 1", "x = 1\nif not x: nor_this = [h]"],
      0,
    );
    expect(report.variables.map(({ name, outcome }) => `${name}: ${outcome}`).toSorted()).toEqual([
      "h: recomputed",
      "hashlib: restored",
      "x: recomputed",
    ]);
  });

  test("says so when no look reaches all of it", async () => {
    const { report, ids } = await restored([MAKE, "big[5_000]['n'] = -1", "len(small), g(), plain, s.a"], 0);
    const doubt = `${ids[1]} used it after the capture; a change where no look reaches is not in it`;
    expect(told(report, "big")).toMatchObject({ outcome: "restored", reason: doubt });
    for (const name of ["small", "g", "plain", "s", "Model"])
      expect(told(report, name)).toMatchObject({ outcome: "restored", reason: null });
  });
});

describe("a variable that was deleted since the capture", () => {
  test("is no part of the restore, though others were made with it", async () => {
    const { session, report } = await restored(["a = [1]; t = []", "t.append(a[0]); del a"], 0);
    expect(report.variables.map(({ name, outcome }) => [name, outcome])).toEqual([["t", "recomputed"]]);
    expect(await value(session, "t, 'a' in globals()")).toBe("([1], False)");
  });
});

describe("what is not as it was", () => {
  test("is told with the execution that finds it so, by every face", async () => {
    const { session, report } = await restored([
      "class A:\n    def __init__(self): self.x, self.cache = 1, [2]\n    def __getstate__(self): return {'x': self.x}\na = A(); b = 1",
    ]);
    const reason = told(report, "a")?.reason;
    expect(reason).toContain("cache");
    const record = await session.execute("a.x");
    expect(record.restore).toMatchObject({ altered: [{ name: "a", outcome: "restored", reason }], lost: [] });
    expect(memoryNotes(record)).toContain(`Perhaps not as it was: a (${reason}).`);
    expect(await client.execution(record.id)).toMatchObject({ restore: record.restore });
  });
});
