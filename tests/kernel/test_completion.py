"""Names at a place of some code, and whether the code is a whole cell."""

from __future__ import annotations

import sys

from harness import KernelTest

COMPLETE = [
    "",
    "x = 1",
    "# only a comment",
    "x = (1 +\n2)",
    "'''a\nb'''",
    "def f():\n    return 1\n",
    "for x in y:\n    pass\n\n",
    "if x: pass\n",
    "if 1:\n    x\nelse:\n    y\n",
    "@deco\ndef f(): pass\n",
    "x = 1 \\\n    + 2",
    "await f()",
    "%time x = 1",
    "!ls",
    "x?",
    "%%time\nx = 1\n",
    "%%bash\necho hi\n",
    "%%time\nfor x in y:\n    pass\n",
    "pip install numpy",
    "x = 1;",
    "class A:\n    x = 1\n\n    def f(self):\n        return 1\n",
    "f'{x}'",
    "if 1:\n    x\ny = 2",
]
INCOMPLETE = [
    ("def f():", "    "),
    ("def f():\n    return 1", ""),
    ("def f():\n    x = 1", "    "),
    ("if x: pass", ""),
    ("x = (1 +", "    "),
    ("x = [1,\n     2,", "     "),
    ("'''abc", ""),
    ("f'''{x", ""),
    ("x = \\", ""),
    ("try:\n    x\n", "    "),
    ("@deco", ""),
    ("class A:\n    def f(self):", "        "),
    ("class A:\n\tdef f(self):", "\t\t"),
    ("if x:  # why", "    "),
    ("for a in b:\n    if a:\n        continue", "    "),
    ("%%time", ""),
    ("%%time\nfor x in y:", "    "),
    ("%%time\nx = (\n", ""),
    ("%%bash\nfor x in 1 2; do", ""),
    ("%time x\nfor i in y:", "    "),
    ("for i in y:\n    %time x", "    "),
    ("with a as b:", "    "),
    ("x = {\n'a': 1,", ""),
    ("async def f():\n    await g()", "    "),
]
INVALID = [
    "foo(]",
    "x = $",
    "'abc",
    "x = 1 +",
    "else:",
    "foo(a b",
    "  x",
    "if 1:\n  x\n y",
    "(1))",
    "x = '\0'",
    "a = '\ud800'; (",
]

VALUES = """
import sys, types, json
class Plain:
    \"\"\"It has it all.\"\"\"
    shared = 'text'
    def __init__(self, first, *, second=2):
        self.own = [1]
        self._hidden = 1
    def method(self, argument, other=None): pass
    @property
    def trap(self):
        ran.append('property')
        return 'x'
    def __getattr__(self, name):
        ran.append(name)
        raise AttributeError(name)
    def __dir__(self):
        ran.append('dir')
        return []
    def __eq__(self, other):
        ran.append('eq')
        return False
    __hash__ = None
class Slotted:
    __slots__ = ('inner', 'empty')
    def __init__(self):
        self.inner = {'a': 1}
ran = []
plain = Plain(1)
slotted = Slotted()
record = {'alpha': 1, 'alphabet': 2, 3: 4, "it's": 5}
lookalike = type('L', (dict,), {'__iter__': lambda self: ran.append('iter')})()
def function(left, right=1, *, only=2): pass
"""


class CompletionTest(KernelTest):
    def ask(self, code: str, cursor: int | None = None) -> dict:
        return self.kernel.complete(code, cursor)

    def matches(self, code: str) -> list:
        """What may stand at the end of the code; each as the whole code would be."""
        answer = self.ask(code, len(code))
        self.assertEqual(answer["end"], len(code))
        return [code[: answer["start"]] + match for match in answer["matches"]]

    def test_whole_cells(self):
        for code in COMPLETE:
            with self.subTest(code):
                self.assertEqual(self.ask(code)["status"], "complete")

    def test_cells_to_be_continued(self):
        for code, indent in INCOMPLETE:
            with self.subTest(code):
                answer = self.ask(code)
                self.assertEqual((answer["status"], answer["indent"]), ("incomplete", indent))

    def test_what_nothing_makes_code(self):
        for code in INVALID:
            with self.subTest(code):
                self.assertEqual(self.ask(code)["status"], "invalid")

    def test_match_statements(self):
        status = "incomplete" if sys.version_info >= (3, 10) else "invalid"
        self.assertEqual(self.ask("match x:\n    case 1:")["status"], status)

    def test_future_imports_of_earlier_cells_hold(self):
        self.run_ok("from __future__ import annotations")
        self.assertEqual(self.ask("def f(x: y): pass\n")["status"], "complete")

    def test_nothing_is_run(self):
        self.run_ok("x = 1")
        self.ask("x = 2; import this", 5)
        self.assertEqual(self.kernel.value("x"), "1")
        self.assertEqual(self.kernel.value("import sys; 'this' in sys.modules"), "False")

    def test_names(self):
        self.run_ok("mine = 1; _private = 2")
        self.assertEqual(self.matches("x = min"), ["x = min", "x = mine"])
        self.assertIn("lambda", self.matches("lam"))
        self.assertIn("_private", self.matches("_pri"))
        self.assertNotIn("_private", self.matches(""))
        self.assertEqual(self.matches("later_defined = 1\nlater_"), ["later_defined = 1\nlater_defined"])

    def test_attributes(self):
        self.run_ok(VALUES)
        for code, expected in {
            "plain.": {"plain.shared", "plain.own", "plain.method", "plain.trap"},
            "plain.own.app": {"plain.own.append"},
            "plain.shared.upp": {"plain.shared.upper"},
            "Plain.me": {"Plain.method"},
            "slotted.inner.key": {"slotted.inner.keys"},
            "json.dec": {"json.decoder"},
            "json.decoder.JSONDecoder.dec": {"json.decoder.JSONDecoder.decode"},
            "'a b'.isal": {"'a b'.isalnum", "'a b'.isalpha"},
            "x = [plain . me": {"x = [plain . method"},
            "f'{plain.me": {"f'{plain.method"},
            "plain.__ini": {"plain.__init__"},
            "str.upp": {"str.upper"},
        }.items():
            with self.subTest(code):
                found = self.matches(code)
                self.assertLessEqual(expected, set(found))
        for code in ("plain.trap.", "plain.missing.", "nothing.", "f().app", "1.re", "# plain.", "x[0].app", "slotted.empty."):
            with self.subTest(code):
                self.assertEqual(self.matches(code), [])
        self.assertNotIn("plain._hidden", self.matches("plain."))
        self.assertEqual(self.kernel.value("ran"), "[]")

    def test_keys(self):
        self.run_ok(VALUES)
        self.assertEqual(self.matches("record['al"), ["record['alpha", "record['alphabet"])
        self.assertEqual(self.matches('print(record["'), ['print(record["alpha', 'print(record["alphabet'])
        self.assertEqual(self.matches("lookalike['"), [])
        self.assertEqual(self.kernel.value("ran"), "[]")

    def test_arguments(self):
        self.run_ok(VALUES)
        self.assertEqual(self.matches("function(ri"), ["function(right="])
        self.assertEqual(self.matches("function(1, on"), ["function(1, only="])
        self.assertEqual(self.matches("Plain(sec"), ["Plain(second="])
        self.assertEqual(self.matches("plain.method(1, oth"), ["plain.method(1, other="])
        self.assertNotIn("function(right=right=", self.matches("function(right=ri"))

    def test_modules(self):
        self.assertIn("import json", self.matches("import js"))
        self.assertIn("import os, xml", self.matches("import os, xm"))
        self.assertIn("from xml.etree", self.matches("from xml.et"))
        self.assertIn("from json import loads", self.matches("from json import lo"))
        self.assertIn("from xml.etree import ElementTree", self.matches("from xml.etree import El"))
        self.assertEqual(self.kernel.value("import sys; 'xml' in sys.modules"), "False")

    def test_files(self):
        self.run_ok("import os; os.makedirs('data/deep'); open('data/one.csv', 'w').close(); open('.dot', 'w').close()")
        self.assertEqual(self.matches("open('da"), ["open('data/"])
        self.assertEqual(self.matches("open('data/"), ["open('data/deep/", "open('data/one.csv"])
        self.assertEqual(self.matches("open('.d"), ["open('.dot"])
        self.assertEqual(self.matches("open('nowhere/"), [])

    def test_magics(self):
        self.assertIn("%timeit", self.matches("%tim"))
        self.assertIn("%%bash", self.matches("%%ba"))

    def test_cursor_inside_and_beyond(self):
        self.run_ok("값 = 'x'")
        answer = self.ask("값.upp + 1", 5)
        self.assertEqual((answer["matches"], answer["start"], answer["end"]), (["upper"], 2, 5))
        self.assertEqual(self.ask("값.upp", 1000)["end"], 5)

    def test_broken_surroundings(self):
        self.run_ok("import builtins, ast, codeop; del builtins.sorted; codeop.CommandCompiler = None; x = {}")
        self.assertEqual(self.matches("x.po"), ["x.pop", "x.popitem"])
        self.assertEqual(self.ask("def f():")["status"], "invalid")
        self.assertEqual(self.kernel.value("1 + 1"), "2")

    def test_odd_keys_of_the_namespace(self):
        self.run_ok(VALUES + "\nglobals()[7] = 1\nclass K(str):\n    def startswith(self, *a): ran.append('key')\nglobals()[K('kk')] = 1")
        self.matches("k")
        self.assertEqual(self.kernel.value("ran"), "[]")

    def test_large(self):
        names = ", ".join(f"name_{number}" for number in range(2000))
        self.run_ok(f"class Many: pass\nmany = Many()\nfor name in '{names}'.split(', '): setattr(many, name, 1)")
        self.assertEqual(len(self.matches("many.name")), 500)
        self.assertEqual(self.ask("x = 1\n" * 20_000 + "(")["status"], "incomplete")


if __name__ == "__main__":
    import unittest

    unittest.main()
