/** What is computed again after a loss and what comes from the capture are one whole: the same classes, the same objects. */
import { describe, expect, test } from "vitest";
import type { RestoreReport } from "../../src/contract/time-travel.ts";
import type { Session } from "../../src/sdk/index.ts";
import { suiteHome, value } from "../support/suite.ts";

const { client } = await suiteHome();

let names = 0;

/** Runs the cells in a session of its own, captures it after the one of this index, and restores that in a fresh kernel. */
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
  return { session, report: await client.restoreSession(name, "kept"), ids };
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

  test("that was defined anew since keeps its versions apart", async () => {
    const { session } = await restored([
      "import hashlib\nclass V:\n    n = 1\nold = V(); lock = hashlib.sha256()",
      "class V:\n    n = 2\nnew = V()",
    ]);
    expect(await value(session, "type(new) is V, V.n, old.n, type(old) is V")).toBe("(True, 2, 1, False)");
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
      reason: "it had objects in common with `a`, restored from the capture, and has its own ones now",
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
});
