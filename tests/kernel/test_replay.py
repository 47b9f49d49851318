"""Plans of replays: small histories by hand, and many by chance that are run, lost and run again for real."""

from __future__ import annotations

import builtins as _builtins
import copy
import random
import sys
import types
import unittest

from harness import PACKAGE

sys.path.insert(0, str(PACKAGE.parent))

from execute_code_kernel import analysis  # noqa: E402
from execute_code_kernel.namespace import Watch  # noqa: E402
from execute_code_kernel.replay import plan, read  # noqa: E402

HISTORIES = 500


def entry(number: int, code: str, added="", changed="", deleted="", **more) -> dict:
    facts = {"status": "ok", "replayable": True, "why_not": None, "exact": True}
    lists = {"added": added.split(), "changed": changed.split(), "deleted": deleted.split()}
    return {"id": f"exec_{number}", "code": code, **facts, **lists, **more}


def history(*cells) -> list:
    """Each cell: its code, the names it added and changed, and what else is to be said."""
    entries = []
    for number, (code, *rest) in enumerate(cells):
        more = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        entries.append(entry(number, code, *rest, **more))
    return entries


WROTE = {"replayable": False, "why_not": "it wrote out.csv"}


class PlanTest(unittest.TestCase):
    def of(self, cells: list, wanted: str, available: str = "", opaque: str = ""):
        return plan(read(history(*cells), set(opaque.split())), set(wanted.split()), set(available.split()))

    def assert_plan(self, found, executions: str, inputs: str = "", lost: str = "") -> None:
        numbers = [name.partition("_")[2] for name in found.executions]
        self.assertEqual(
            (numbers, inputs_of(found), sorted(found.lost)), (executions.split(), inputs.split(), lost.split())
        )

    def test_a_value_and_what_it_needs(self):
        cells = [("a = 1", "a"), ("b = 2", "b"), ("c = a + 1", "c")]
        self.assert_plan(self.of(cells, "c"), "0 2")
        self.assert_plan(self.of(cells, "c", "a b"), "2", "a")
        self.assert_plan(self.of(cells, "a b c"), "0 1 2")

    def test_what_else_the_executions_make(self):
        cells = [("a = 1; b = []; c = Lock()", "a b c"), ("b.append(a)", "", "b"), ("d = a", "d")]
        found = self.of(cells, "c", "a b d")
        self.assert_plan(found, "0")
        self.assertEqual(found.roots, dict.fromkeys("abc", "exec_0"))
        self.assertEqual(found.complete, {"a": ["exec_0"]})
        found = self.of([*cells, ("e = b, c", "e")], "e", "a b d")
        self.assertEqual(found.roots, {"a": "exec_0", "b": "exec_0", "e": "exec_3"})
        self.assertEqual(found.complete, {"a": ["exec_0"], "b": ["exec_0", "exec_1"]})
        found = self.of([("a = 1; b = Lock()", "a b"), ("a = 2", "", "a")], "b", "a")
        self.assertEqual((found.roots, found.complete), ({"b": "exec_0"}, {}))

    def test_what_has_changed_since_the_capture_is_changed_again_from_there(self):
        def of(cells, wanted, available="", held="", captured_at=1):
            return plan(read(history(*cells), set(), captured_at, set(held.split())), set(wanted.split()), set(available.split()))

        cells = [("x = load(); y = 1", "x y", WROTE), ("x.append(y)", "", "x"), ("z = x[0]; x.pop()", "z", "x")]
        found = of(cells, "x z", "y", "x y")
        self.assert_plan(found, "1 2", "x y")
        self.assertEqual(found.inputs, {"exec_1": ["x", "y"], "exec_2": []})
        self.assertEqual(found.by_name["x"], ["exec_1", "exec_2"])
        self.assert_plan(of(cells, "x z y", "", "x"), "", lost="x y z")
        # Bound anew, it needs no capture.
        cells = [("x = load()", "x", WROTE), ("x = [1]", "", "x"), ("x.append(2)", "", "x")]
        self.assert_plan(of(cells, "x", "", "x"), "1 2")
        # What runs again from before the capture has it as it was then, and what comes after as the capture has it.
        cells = [("x = [1]; h = sha()", "x h"), ("x.append(2)", "", "x"), ("w = x, h", "w"), ("x.append(3)", "", "x")]
        found = of(cells, "h x w", "", "x", captured_at=2)
        self.assert_plan(found, "0 2 3", "x")
        self.assertEqual(found.inputs, {"exec_0": [], "exec_2": ["x"], "exec_3": []})
        # A function changes it unseen by the text.
        cells = [("x = load()", "x", WROTE), ("def f(): x.append(1)", "f"), ("f()", "", "x")]
        self.assert_plan(of(cells, "x f", "", "x", captured_at=1), "1 2", "x")

    def test_inputs_are_bound_before_the_first_that_needs_them(self):
        cells = [("a = 1", "a"), ("b = Lock()", "b"), ("c = a, b", "c"), ("d = a, c", "d")]
        self.assertEqual(self.of(cells, "b d", "a").inputs, {"exec_1": [], "exec_2": ["a"], "exec_3": []})

    def test_a_rebinding_cuts_the_chain(self):
        cells = [("a = load()", "a", WROTE), ("a = [2]", "", "a"), ("a.append(3)", "", "a")]
        self.assert_plan(self.of(cells, "a"), "1 2")

    def test_what_may_not_have_bound_cuts_nothing(self):
        for code in (
            "if x:\n    a = 2",
            "for a in x: pass",
            "try:\n    a = 2\nexcept E: pass",
            "a = a + 1",
            "a += 1",
            "a = f()",
            "while x: a = 1",
        ):
            with self.subTest(code):
                cells = [("a = 1", "a"), ("def f(): return a", "f"), (code, "", "a")]
                self.assertIn("exec_0", self.of(cells, "a").executions)
        for code in (
            "if x:\n    a = 2\nelse:\n    a = 3",
            "with x: a = 2",
            "a = 1; a += 1",
            "import a",
            "def a(): return a",
            "class a: pass",
            "a, b = x",
        ):
            with self.subTest(code):
                cells = [("a = 1", "a"), (code, "", "a")]
                self.assertNotIn("exec_0", self.of(cells, "a").executions)

    def test_an_execution_that_failed_may_not_have_bound(self):
        cells = [("a = [1]", "a"), ("a.append(2); 1/0; a = 3", "", "a", {"status": "error"})]
        found = self.of(cells, "a")
        self.assert_plan(found, "0 1")
        self.assertEqual((found.raises, found.exact), (["exec_1"], {"a": False}))

    def test_what_was_stopped_is_not_run_again(self):
        for status in ("interrupted", "timed_out", "crashed"):
            cells = [("a = []", "a"), ("while True: a.append(1)", "", "a", {"status": status})]
            found = self.of(cells, "a")
            self.assert_plan(found, "", "", "a")
            self.assertIn("exec_1 changed it, and ", found.lost["a"])

    def test_an_input_must_be_as_it_was(self):
        cells = [("a = [1]", "a"), ("b = sum(a)", "b"), ("a.append(2)", "", "a"), ("c = sum(a)", "c")]
        self.assert_plan(self.of(cells, "b", "a"), "0 1")
        self.assert_plan(self.of(cells, "c", "a"), "3", "a")
        self.assert_plan(self.of(cells, "b c", "a"), "0 1 2 3")

    def test_an_input_that_its_execution_changes(self):
        cells = [("a = [1]", "a"), ("a.append(2); b = sum(a)", "b", "a")]
        self.assert_plan(self.of(cells, "b", "a"), "0 1")

    def test_an_input_that_another_execution_binds(self):
        cells = [("a = 1; c = [5]", "a c"), ("a = 2", "", "a"), ("d = a + c[0]", "d")]
        self.assert_plan(self.of(cells, "d", "a"), "0 1 2")
        self.assert_plan(self.of(cells, "d", "a c"), "2", "a c")

    def test_what_was_bound_again_to_the_same(self):
        cells = [("x = 1", "x"), ("x = 1; z = [x]", "z"), ("x = 2", "", "x"), ("w = x + z[0]", "w")]
        self.assert_plan(self.of(cells, "w", "x"), "1 2 3")

    def test_what_cannot_be_run_again(self):
        cells = [("a = save()", "a", WROTE), ("b = a + 1", "b"), ("c = 1", "c")]
        found = self.of(cells, "a b c")
        self.assert_plan(found, "2", "", "a b")
        self.assertEqual(found.lost["a"], "exec_0 made it, and it wrote out.csv")
        self.assertEqual(found.lost["b"], "it needs `a`, which exec_0 made, and it wrote out.csv")
        self.assert_plan(self.of(cells, "b", "a"), "1", "a")

    def test_nothing_made_it(self):
        found = self.of([("a = 1", "a"), ("del a", "", "", "a")], "a b")
        self.assertEqual(found.lost, dict.fromkeys("ab", "nothing in the history made it"))

    def test_what_was_before_the_history(self):
        found = self.of([("a.append(1)", "", "a")], "a")
        self.assertIn("not in the history", found.lost["a"])

    def test_functions_need_what_they_mention(self):
        cells = [
            ("k = 2", "k"),
            ("def g(x): return x * k", "g"),
            ("def f(x): return g(x)", "f"),
            ("k = 3", "", "k"),
            ("a = f(1)", "a"),
            ("k = 4", "", "k"),
        ]
        self.assert_plan(self.of(cells, "a"), "1 2 3 4")
        self.assert_plan(self.of(cells, "a", "f g"), "3 4", "f g")
        self.assert_plan(self.of(cells, "a", "f g k"), "3 4", "f g")

    def test_a_function_alone_needs_nothing(self):
        cells = [("k = 2", "k", WROTE), ("def f(x): return x * k", "f")]
        self.assert_plan(self.of(cells, "f"), "1")

    def test_objects_that_hold_code(self):
        for make in (
            "class C:\n    def go(self): return k\no = C()",
            "o = lambda: k",
            "def m():\n    def i(): return k\n    return i\no = m()",
            "from functools import partial\ndef f(): return k\no = partial(f)",
        ):
            with self.subTest(make):
                cells = [("k = 2", "k"), (make, "C o m f"), ("a = [o]", "a"), ("b = a[0]()", "b")]
                self.assert_plan(self.of(cells, "b"), "0 1 2 3")

    def test_functions_that_bind(self):
        cells = [("n = 0", "n"), ("def up():\n    global n\n    n += 1", "up"), ("up()", "", "n"), ("m = n", "m")]
        self.assert_plan(self.of(cells, "m"), "0 1 2 3")
        self.assert_plan(self.of(cells, "m", "n"), "3", "n")

    def test_imports(self):
        cells = [
            ("import math, os.path as p\nfrom json import dumps as d\nsave()", "d", WROTE),
            ("a = math.pi; b = d(a); c = p", "a b"),
        ]
        found = self.of(cells, "a b math d")
        self.assert_plan(found, "1")
        self.assertEqual(sorted(found.imports), ["from json import dumps as d", "import math", "import os.path as p"])
        self.assertEqual(found.by_name["math"], [])
        found = self.of([("import xml.dom",), ("import xml.sax",), ("a = xml", "a")], "a", "")
        self.assertEqual(found.imports, ["import xml.dom", "import xml.sax"])
        found = self.of([("from math import *\nsave()", "sin cos", WROTE), ("a = sin(1)", "a")], "a sin")
        self.assertEqual((found.imports, found.executions), (["from math import *"], ["exec_1"]))

    def test_imports_in_place_of_each_other(self):
        fallback = "try:\n    import fast as j\nexcept ImportError:\n    import json as j"
        found = self.of([(fallback + "\nsave()", "", WROTE), ("r = j.loads('1')", "r")], "j r")
        self.assert_plan(found, "1")
        self.assertEqual((found.imports, found.by_name["j"]), ([fallback], []))
        found = self.of([(fallback,), (fallback,), ("import json",)], "j json")
        self.assertEqual(found.imports, [fallback, "import json"])
        # Which of them it is, only the cell can tell.
        branches = "if x:\n    import json as j\nelse:\n    import pickle as j"
        self.assert_plan(self.of([("x = 1", "x"), (branches,), ("r = j", "r")], "r"), "0 1 2")
        self.assert_plan(self.of([("import json as j",), ("if 0: import pickle as j",), ("r = j", "r")], "r"), "0 1 2")
        self.assert_plan(self.of([("j = 1", "j"), ("if 0: import pickle as j",)], "j"), "0 1")
        self.assert_plan(self.of([("if 1: import json as j",), ("r = j", "r")], "r"), "1")

    def test_an_import_that_another_execution_replaces(self):
        cells = [("math = 3; b = [math]", "math b"), ("import math",), ("c = math.pi + b[0]", "c")]
        self.assert_plan(self.of(cells, "c"), "0 1 2")

    def test_what_a_capture_could_not_hold_is_changed_by_all_that_is_done_with_it(self):
        cells = [("import hashlib\nh = hashlib.sha256()", "h"), ("h.update(b'abc')",), ("n = h.name", "n")]
        self.assert_plan(self.of(cells, "h"), "0")
        self.assert_plan(self.of(cells, "h", opaque="h"), "0 1")
        cells = [("tools = {'h': make()}", "tools"), ("tools['h'].update(b'abc')",), ("fine = len(tools)", "fine")]
        self.assert_plan(self.of(cells, "tools", opaque="tools"), "0 1")

    def test_what_changed_since_a_moment(self):
        cells = [("a = [1]\n_p = []", "a"), ("b = 2", "b"), ("_p.append(1)",), ("b = 3", "", "b")]
        past = read(history(*cells))
        self.assertEqual(past.changed_since(2), {"_p", "b"})
        self.assertEqual(past.changed_since(0), {"a", "_p", "b"})
        self.assertEqual(past.changed_since(4), set())

    def test_private_names(self):
        cells = [("_p = [1]",), ("_p.append(2)",), ("_p = [3]",), ("_p.append(4)",), ("a = sum(_p)", "a")]
        self.assert_plan(self.of(cells, "a"), "2 3 4")
        self.assert_plan(self.of(cells, "_p"), "2 3")

    def test_names_that_hold_modules(self):
        cells = [("import math",), ("m = math",), ("a = m.pi", "a")]
        self.assert_plan(self.of(cells, "a"), "1 2")

    def test_what_is_used_up(self):
        cells = [
            ("it = iter(range(9))", "it"),
            ("a = next(it)", "a"),
            ("b = next(it)", "b"),
            ("def g():\n    yield 1\n    yield 2", "g"),
            ("y = g(); c = next(y)", "y c"),
            ("d = next(y)", "d"),
        ]
        self.assert_plan(self.of(cells, "b"), "0 1 2")
        self.assert_plan(self.of(cells, "b", "it"), "0 1 2")
        self.assert_plan(self.of(cells, "d"), "3 4 5")

    def test_opaque_code_reads_everything(self):
        cells = [("a = 1", "a"), ("z = save()", "z", WROTE), ("exec('b = a')", "b")]
        self.assert_plan(self.of(cells, "b"), "", "", "b")
        self.assert_plan(self.of(cells, "b", "z"), "0 2", "z")
        self.assert_plan(self.of(cells, "b", "z a"), "2", "a z")

    def test_modules_that_were_told_something(self):
        cells = [
            ("import random",),
            ("random.seed(1)",),
            ("a = random.random()", "a", {"exact": False}),
            ("import os",),
            ("os.environ['A'] = 'b'; save()", WROTE),
            ("b = os.getenv('A')", "b"),
        ]
        self.assert_plan(self.of(cells, "a"), "1 2")
        found = self.of(cells, "b")
        self.assert_plan(found, "5")
        self.assertEqual(found.exact, {"b": False})

    def test_the_current_folder(self):
        cells = [("import os; os.chdir('data')",), ("a = open('x').read()", "a")]
        self.assert_plan(self.of(cells, "a"), "0 1")

    def test_magics(self):
        cells = [
            ("n = 2", "n"),
            ("%time a = n + 1", "a"),
            ("b = !echo {a}", "b", {"replayable": False, "why_not": "it started a process: echo"}),
            ("%cd x",),
            ("c = a", "c"),
        ]
        self.assert_plan(self.of(cells, "a"), "0 1")
        self.assert_plan(self.of(cells, "b c"), "0 1 3 4", "", "b")

    def test_scopes(self):
        for code in (
            "b = [a for a in range(3)]",
            "b = (lambda a: a)(1)",
            "def f(a): return a\nb = f(1)",
            "def f():\n    a = 1\n    return a\nb = f()",
            "for a in range(3): b = a",
            "b = {a: a for a in (1, 2)}",
            "with open('x') as a: b = a",
            "try: b = 1\nexcept E as a: b = a",
            "def f(*a, **k): return a, k\nb = f()",
            "import a\nb = a",
        ):
            with self.subTest(code):
                cells = [("a = 1", "a", WROTE), (code, "b")]
                self.assertEqual(self.of(cells, "b").lost, {})
        for code in (
            "b = [i for i in a]",
            "b = [j for i in range(2) for j in range(a)]",
            "b = (lambda x=a: x)()",
            "b = f'{a}'",
            "b = x if a else y",
            "class B(a): pass\nb = B",
            "@a\ndef b(): pass",
            "b = lambda: 1\nb.x = a",
            "b = 1\nb += a",
            "c[a] = b = 1",
        ):
            with self.subTest(code):
                cells = [("a = 1", "a", WROTE), (code, "b")]
                self.assertIn("b", self.of(cells, "b").lost)

    def test_odd_cells(self):
        cells = [("a = (", {"status": "error"}), ("",), ("\ufeffa = 1", "a"), ("a = 1\x00", {"status": "error"})]
        self.assert_plan(self.of(cells, "a"), "2")

    def test_what_was_deleted_before_it_was_named(self):
        cells = [("max = 3; c = [1]", "max c"), ["del max", "", "", "max", {}], ("d = max(c)", "d")]
        self.assert_plan(self.of(cells, "d"), "0 1 2")
        self.assert_plan(self.of(cells, "d", "c"), "2", "c")
        cells[1][-1].update(WROTE)
        self.assert_plan(self.of(cells, "d"), "", "", "d")

    def test_deep_cells(self):
        nested = "lambda: " * 60 + "a"
        cells = [("a = 1", "a"), (f"f = {nested}", "f"), ("b = f", "b"), ("c = " + "+".join(["a"] * 5000), "c")]
        self.assert_plan(self.of(cells, "b"), "0 1 2")
        self.assertIn("exec_0", self.of(cells, "c").executions)

    def test_names_that_are_there(self):
        cells = [("import math as m, os; _p = 1; a = b = 2", "a b"), ("del b; import json", "", "", "b", {})]
        self.assertEqual(set(read(history(*cells)).variables), {"m", "os", "_p", "a", "json"})

    def test_patterns(self):
        if sys.version_info < (3, 10):
            self.skipTest("no match statement")
        cells = [
            ("a = [1, 2]", "a"),
            (
                "match a:\n    case [x, *rest] if rest: b = x\n    case {'k': y, **z}: b = y\n    case _ as w: b = w",
                "b x rest",
            ),
            ("c = rest", "c"),
        ]
        self.assert_plan(self.of(cells, "c"), "0 1 2")

    def test_a_long_history(self):
        cells = [("n = 0", "n")] + [("n = n + 1", "", "n")] * 1500
        self.assertEqual(len(self.of(cells, "n").executions), 1501)


NAMES, LISTS, FUNCTIONS, OBJECTS = list("abcd"), list("uvw"), ["f", "g", "h"], ["p", "q"]


START = """import math
a, b, c = 3, 5, 7
u, v = [1], [2]
def f(x=0): return x + a
def g(x=0): return f(x) * 2
class T:
    def __init__(self): self.x = b
    def go(self): self.x += c; return self.x
p = T()
it = iter(range(9)); y = (i + a for i in range(9)); _r = []"""
FIRST = [START], ["import math"] + "a = 3|b = 5|c = 7|u = [1]|v = [2]|def f(x=0): return x + a|q = p = 1".split("|"), []


class Chance:
    """Makes little cells by chance, whose names exist as a rule."""

    def __init__(self, seed: int) -> None:
        self.choice = random.Random(seed)

    def cell(self, namespace: dict) -> str:
        return "\n".join([self.statement(namespace) for _ in range(self.choice.choice((1, 1, 2, 3)))])

    def statement(self, namespace: dict) -> str:
        pick = self.choice.choice
        number = pick(range(10))

        def some(names):
            there = [name for name in names if name in namespace]
            return pick(there if there and pick(range(20)) else names)

        n, m, k, u, v = some(NAMES), some(NAMES), pick(NAMES), some(LISTS), pick(LISTS)
        f, g, o = some(FUNCTIONS), pick(FUNCTIONS), some(OBJECTS)
        return pick(
            (
                f"{k} = {number}",
                f"{k} = {number}",
                f"{k} = {n} + {number}",
                f"{k} = {n} - {m}",
                f"{n} += {m}",
                f"{v} = [{number}]",
                f"{v} = [{n}, {m}]",
                f"{v} = {u}",
                f"{v} = [{u}, {n}]",
                f"{u}.append({n})",
                f"{u}.append({number})",
                f"{u}[0] = {n}",
                f"{u} += [{n}]",
                f"{k} = len({u})",
                f"def {g}(x=0): return x + {m}",
                f"def {g}(x=0): return {f}(x) + {number} if callable({f}) else x",
                f"def {g}(x=0):\n    {u}.append(x)\n    return len({u})",
                f"def {g}(x=0):\n    global {k}\n    {k} = x + {m}\n    return {m}",
                f"def {g}(x=0):\n    def inner(): return x + {m}\n    return inner()",
                f"{g} = lambda x=0: x * 2 + {n}",
                f"{k} = {f}({n})",
                f"{k} = {f}()",
                f"{f}({number})",
                f"if {n} > {number}: {k} = {m}",
                f"if {n} > {number}:\n    {k} = 1\nelse:\n    {k} = {m}",
                f"for i in range(3): {n} += i",
                f"for {k} in range({number} % 3): pass",
                f"{k} = sum([x + {n} for x in range(3)])",
                f"{n}, {k} = {m}, {n}",
                f"{k} = max(({n}, {m}))",
                f"class {some(OBJECTS)}_type:\n    def __init__(self): self.x = {n}\n    def go(self): self.x += {m}; return self.x",
                f"class T:\n    y = {n}\n    def __init__(self): self.x = {m}\n    def go(self):\n        self.x += {m}\n        return self.x\n{pick(OBJECTS)} = T()",
                f"{k} = {o}.go()",
                f"{o}.x = {n}",
                f"{k} = {o}.x",
                f"{o}.z = {u}",
                f"_r = [{n}]",
                f"_r.append({m})",
                f"{k} = sum(_r)",
                f"it = iter(range({n}, {n} + 50))",
                f"{k} = next(it)",
                f"y = ({n} + x for x in range(40))",
                f"{k} = next(y)",
                f"import math as {k}x\n{k} = {k}x.floor({n} / 2)",
                f"{k} = int(math.sqrt(abs({n})))",
                "import math",
                f"try:\n    {k} = {n} // {m}\nexcept ZeroDivisionError:\n    {v} = [{n}]",
                f"{k} = 100 // {n}",
                f"del {n}" if pick(range(3)) == 0 else f"{k} = {number}",
                f"print(({k} := {n}), end='')" if number < 3 else f"{k} = {n}",
                f"exec('{k} = {n} + 1')" if number < 2 else f"{k} = {m}",
                f"globals()['{k}'] = {n}" if number < 1 else f"{v} = list({u})",
            )
        )


class ChanceTest(unittest.TestCase):
    """Histories run for real. Whatever a plan promises must come out as it was."""

    def test_histories_with_a_capture_in_the_middle(self):
        begun = 0
        for seed in range(HISTORIES):
            found, past, captured_at = self.one(seed, captures=True)
            changed = {name for entry in past[captured_at:] for name in entry["changed"]}
            begun += len(changed & set(inputs_of(found)) & found.by_name.keys())
        self.assertGreater(begun, HISTORIES / 4)

    def test_histories(self):
        recomputed = lost = shorter = inputs = complete = 0
        for seed in range(HISTORIES):
            found, past, _ = self.one(seed)
            recomputed += len(found.by_name)
            lost += len(found.lost)
            inputs += len(inputs_of(found))
            shorter += len(found.executions) < len(past)
            complete += len(found.complete)
        # The histories try what they shall.
        self.assertGreater(recomputed, HISTORIES)
        self.assertGreater(lost, HISTORIES / 4)
        self.assertGreater(inputs, HISTORIES / 4)
        self.assertGreater(complete, HISTORIES / 4)
        self.assertGreater(shorter, HISTORIES / 2)

    def one(self, seed: int, captures: bool = False):
        chance = Chance(seed)
        choice = chance.choice
        namespace = {"__name__": "__main__", "__builtins__": {**vars(_builtins), "print": lambda *_, **__: None}}
        watch = Watch(namespace)
        past = []
        first = FIRST[seed % 3]
        cells = len(first) + choice.choice((4, 8, 12))
        captured_at = choice.randrange(len(first) or 1, cells) if captures else cells
        held: dict = {}
        for number in range(cells):
            if number == captured_at:
                held = copy.deepcopy({name: value for name, value in namespace.items() if is_data(value)})
                held = {name: value for name, value in held.items() if type(value) is list or choice.random() < 0.8}
            code = first[number] if number < len(first) else chance.cell(namespace)
            compiled = compile(code, f"<exec_{number}>", "exec")
            status = "ok"
            try:
                exec(compiled, namespace)
            except Exception:
                status = "error"
            changes = watch.changes(analysis.mentioned_names([compiled]))
            lists = {kind: [item["name"] for item in changes[kind]] for kind in ("added", "changed")}
            replayable = choice.random() > 0.12
            past.append(
                entry(number, code, status=status, replayable=replayable, why_not=None if replayable else "it wrote x")
            )
            past[-1].update(lists, deleted=changes["deleted"])
        final = {name: value for name, value in namespace.items() if not name.startswith("__")}
        available = {
            name for name, value in final.items() if name[0] != "_" and is_data(value) and choice.random() < 0.5
        } | {name for name, value in final.items() if isinstance(value, types.FunctionType) and choice.random() < 0.5}
        known = read(past, frozenset(), captured_at, held)
        if captures:
            stale = {name for item in past[captured_at:] for kind in ("added", "changed", "deleted") for name in item[kind]}
            available = (held.keys() & final.keys()) - stale - known.changed_since(captured_at)
        wanted = {name for name in final if name not in available}
        found = plan(known, wanted, available)
        self.assertEqual(set(found.by_name) | set(found.lost), wanted)
        self.assertLessEqual(set(inputs_of(found)), held.keys() if captures else available)
        again = {"__name__": "__main__", "__builtins__": namespace["__builtins__"]}
        data = held or copy.deepcopy({name: final[name] for name in inputs_of(found) if is_data(final[name])})
        for statement in found.imports:
            exec(statement, again)
        by_id = {item["id"]: item for item in past}
        self.assertFalse(found.exact.keys() ^ found.by_name.keys())
        told = [f"seed {seed}, captured at {captured_at}, available {sorted(available)}, lost {found.lost}, inputs {found.inputs}"]
        told += [
            f"# {item['id']} {item['status']} {item['replayable']} {'*' * (item['id'] in found.executions)}\n{item['code']}"
            for item in past
        ]
        told = "\n".join(told)
        for name in found.executions:
            self.assertTrue(by_id[name]["replayable"])
            for bound in found.inputs[name]:
                again[bound] = data[bound] if bound in data else in_namespace(final[bound], again)
            status = "ok"
            try:
                exec(compile(by_id[name]["code"], f"<{name}>", "exec"), again)
            except Exception:
                status = "error"
            self.assertEqual(status, by_id[name]["status"], f"{name}\n{told}")
        for name in [*found.by_name, *found.complete]:
            self.assertIn(name, again, told)
            self.assertEqual(seen(again[name]), seen(final[name]), f"{name}\n{told}")
        return found, past, captured_at


def inputs_of(found) -> list:
    return sorted([name for names in found.inputs.values() for name in names])


def in_namespace(function: types.FunctionType, namespace: dict) -> types.FunctionType:
    code, name, defaults, closure = function.__code__, function.__name__, function.__defaults__, function.__closure__
    return types.FunctionType(code, namespace, name, defaults, closure)


def is_data(value) -> bool:
    return isinstance(value, (int, list))


def seen(value, depth: int = 0):
    """A value in a form that can be compared across namespaces."""
    if isinstance(value, (int, float, str)) or value is None:
        return value
    if depth > 6:
        return "…"
    if isinstance(value, list):
        return [seen(part, depth + 1) for part in value]
    if isinstance(value, types.FunctionType):
        return "function", value.__code__.co_code, value.__code__.co_names
    if isinstance(value, type):
        return "class", value.__name__
    if isinstance(value, types.ModuleType):
        return "module", value.__name__
    if isinstance(value, types.GeneratorType):
        return "generator"
    if type(value).__name__ == "range_iterator":
        return list(copy.copy(value))
    return type(value).__name__, {name: seen(part, depth + 1) for name, part in vars(value).items()}


if __name__ == "__main__":
    unittest.main()
