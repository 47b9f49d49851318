"""What variables are like in another session, and what becomes of their classes there."""

from __future__ import annotations

import sys
import unittest

from capture_support import CaptureTest

MODEL = "class Model:\n    n = {0}\n    def f(self): return {0}\n"


class LikenessTest(CaptureTest):
    def likeness(self, *cells, first: int = 1) -> dict:
        """By variable."""
        answer = self.run_step(cells=list(cells), first=first, take={"compares": True})
        return {one["name"]: one["likeness"] for one in answer["manifest"]["variables"]}

    def assertAlike(self, one: str, other: str) -> None:
        first, second = self.likeness(one), self.likeness("pass", f"\n\n{other}", first=50)
        self.assertNotIn(None, first.values())
        self.assertEqual(first, second)

    def assertUnlike(self, one: str, other: str, *names: str) -> None:
        first, second = self.likeness(one), self.likeness(other)
        self.assertEqual({name for name in first if first[name] != second[name]}, set(names))

    def test_definitions_are_alike_wherever_they_were_made(self) -> None:
        for code in (
            "def f(a, b=[1], *, c: int = 2) -> str:\n    'doc'\n    return [x + a for x in b]",
            "class A:\n    n = [1]\n    def f(self): return super().__repr__()\nclass B(A):\n    __slots__ = ('x',)\nb = B(); a = [A()]",
            "def counted():\n    n = 0\n    def step():\n        nonlocal n\n        n += 1\n        return step\n    return step\ng = counted(); g()",
            "import enum\nclass E(enum.Enum):\n    ONE = 1\n    TWO = 2\ne = E.ONE",
            "import dataclasses\n@dataclasses.dataclass\nclass D:\n    x: int\n    y: list = dataclasses.field(default_factory=list)\nd = D(1)",
            "import functools\n@functools.lru_cache\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)",
            "fs = [lambda x: x, lambda x: -x]; d = {'f': fs[1], 'g': fs[0]}",
            "def f(): return lambda: 1\nc = f.__code__",
            "s = {'one', 'two', 'three', 'four'}; f = frozenset(s); t = [s, s, {('a', 1), ('b', 2)}]",
        ):
            with self.subTest(code):
                self.assertAlike(code, code)

    def test_comments_are_nothing(self) -> None:
        self.assertAlike("def f():\n    return 1", "def f():\n    # one\n    return 1")

    def test_what_differs_in_a_definition_differs_in_what_needs_it(self) -> None:
        code = MODEL.format(1) + "m = Model(); ms = [m]; x = [1]\nclass Sub(Model): pass"
        self.assertUnlike(code, code.replace("return 1", "return 2"), "Model", "m", "ms", "Sub")
        self.assertUnlike(code, code.replace("n = 1", "n = 2"), "Model", "m", "ms", "Sub")
        self.assertUnlike(code, code.replace("Sub(Model)", "Sub"), "Sub")
        self.assertUnlike("def f(): return 1\ng = [f]; x = 1", "def f(): return 1.0\ng = [f]; x = 1", "f", "g")

    def test_of_definitions_of_one_name_each_counts_in_its_place(self) -> None:
        code = "def make(n):\n    def f(): return n\n    return f\none = make(1); two = make(2)\n"
        self.assertUnlike(code + "x = [one, two, one]", code + "x = [two, one, two]", "x")
        self.assertUnlike(code + "x = [one, two, one]", code + "x = [one, two, two]", "x")

    def test_what_was_restored_is_what_it_was(self) -> None:
        code = (
            "import dataclasses, enum, typing\n@dataclasses.dataclass(order=True)\nclass D:\n    x: int = 1\n"
            "class S:\n    __slots__ = ('x', 'y')\n    def f(self): return super().__repr__()\n"
            "class E(enum.Flag):\n    ONE = 1\n    TWO = 2\nclass N(typing.NamedTuple):\n    D: int\n"
            "d = D(); s = [S()]; e = E.ONE; n = N('D'); g = lambda D: [S for S in D]"
        )
        live = self.likeness(code)
        restored = self.run_step(restore=[], take={"compares": True})["manifest"]["variables"]
        self.assertEqual({one["name"]: one["likeness"] for one in restored}, live)

    def test_the_version_of_python_is_told_where_it_matters(self) -> None:
        found = self.likeness("def f(): return 1\nx = [1]")
        self.assertTrue(found["f"].endswith(f"@{sys.version_info[0]}.{sys.version_info[1]}"))
        self.assertNotIn("@", found["x"])

    def test_what_nests_deeply_is_compared_by_its_content(self) -> None:
        deep = "x = []\nfor _ in range(5000): x = [x, 0]"
        self.assertAlike(deep, deep)
        self.assertUnlike(deep, deep.replace("0]", "1]"), "x")


class MergeTest(CaptureTest):
    def merge(self, target: str, source: list, names: str, check: str) -> dict:
        """By name: the reports of a merge into a session of one cell."""
        skipped = "it was not asked for"
        namespace = self.run_step(cells=source, take={"compares": True})["manifest"]["variables"]
        skip = {one["name"]: skipped for one in namespace if one["name"] not in names.split()}
        self.run_step(cells=source, take={"compares": True, "skip": skip, "again": False})
        self.merged = self.run_step(cells=[target], first=500, merge=names.split(), check=check)
        self.assertTrue(self.merged["value"], check)
        return {one["name"]: one for one in self.merged["reports"]}

    def test_a_class_that_is_asked_for_replaces_the_one_of_its_name(self) -> None:
        here = MODEL.format(1) + "m = Model(); old = Model"
        check = "Model is not old and (Model().f(), m.f(), new.f()) == (2, 1, 2) and type(new) is Model"
        reports = self.merge(here, [here, MODEL.format(2) + "new = Model()"], "Model new", check)
        self.assertEqual(reports["Model"]["reason"], "objects of the class that was here keep that one")
        self.assertEqual(self.merged["differing"], [])

    def test_its_inner_classes_come_with_it_and_its_bases_do_not(self) -> None:
        here = "class Base:\n    n = 1\nclass Outer(Base):\n    class Inner:\n        n = 1\nbase = Base"
        there = here.replace("n = 1", "n = 2") + "\ni = Outer.Inner()"
        check = "Outer.Inner.n == 2 and type(i) is Outer.Inner and Outer.__mro__[1] is base and Outer.n == 1"
        self.merge(here, [there], "Outer i", check)
        self.assertEqual(self.merged["differing"], ["Base"])

    def test_a_class_under_another_name_is_asked_for_too(self) -> None:
        here = MODEL.format(1)
        self.merge(here, [here, MODEL.format(2) + "other = Model"], "other", "other().f() == 2 and Model().f() == 1")

    def test_a_class_that_is_the_same_stays(self) -> None:
        here = MODEL.format(1) + "m = Model(); old = Model"
        for source in ([here], [MODEL.format(1)]):
            reports = self.merge(here, source, "Model", "Model is old and type(m) is Model")
            self.assertIsNone(reports["Model"]["reason"])

    def test_a_class_that_only_comes_along_is_this_sessions(self) -> None:
        here = MODEL.format(1)
        reports = self.merge(here, [here, MODEL.format(2) + "m = Model()"], "m", "type(m) is Model and m.f() == 1")
        self.assertIsNone(reports["m"]["reason"])
        self.assertEqual(self.merged["differing"], ["Model"])

    def test_versions_are_told_apart_in_any_order(self) -> None:
        here = MODEL.format(0)
        source = [MODEL.format(1), "old = Model()", MODEL.format(2), "new = Model(); one = [old, new]; other = [new, old]"]
        check = "[type(x) is Model for x in {0}] == {1} and [x.f() for x in {0}] == {2}"
        for names, expression, own, values in (
            ("one", "one", [False, True], [1, 0]),
            ("other", "other", [True, False], [0, 1]),
            ("old", "[old]", [False], [1]),
            ("new", "[new]", [True], [0]),
        ):
            with self.subTest(names):
                reports = self.merge(here, source, names, check.format(expression, own, values))
                kept = None if names == "new" else "objects of an earlier Model keep a class of their own"
                self.assertEqual(reports[names]["reason"], kept)
                self.assertEqual(self.merged["differing"], [] if names == "old" else ["Model"])

    def test_an_earlier_version_that_is_this_sessions_is_that(self) -> None:
        here = MODEL.format(1)
        source = [here, "old = Model()", MODEL.format(2), "both = [Model(), old]"]
        self.merge(here, source, "both", "{type(x) for x in both} == {Model} and both[1].f() == 1")
        self.merge(here, [here, "old = Model()\ndel Model"], "old", "type(old) is Model")

    def test_members_of_an_enumeration_are_this_sessions(self) -> None:
        here = "import enum\nclass Color(enum.Enum):\n    RED = 1\n    BLUE = 2\n"
        source = [here + "    GREEN = 3\nc = Color.RED; d = {Color.BLUE: [1]}; e = [Color.GREEN]"]
        reports = self.merge(here, source, "c d e", "c is Color.RED and d == {Color.BLUE: [1]}")
        self.assertEqual(reports["e"]["reason"], "the Color of this session has no member GREEN")
        self.assertEqual(reports["e"]["outcome"], "lost")

    def test_what_a_class_needs_that_is_here_need_not_come(self) -> None:
        here = "def helper(): return 1\nclass Model:\n    h = staticmethod(helper)\nold = Model.h"
        self.merge(here, [here + "\nm = Model()"], "m", "type(m) is Model and Model.h is old")

    def test_what_functions_use_and_is_not_there_is_named(self) -> None:
        source = [
            "import math\nlimit = 1; factor = 2; here = 3; along = 4",
            "def f(x): return [min(x, limit) * along + here for _ in ()]\n"
            "class A:\n    def g(self): return lambda: factor * math.pi + self.limit\na = A()",
        ]
        reports = self.merge("here = 0", source, "f a along", "callable(f)")
        self.assertEqual(reports["f"]["reason"], "it uses limit, which this session does not have")
        self.assertEqual(reports["a"]["reason"], "it uses factor, math, which this session does not have")
        self.assertIsNone(reports["along"]["reason"])


if __name__ == "__main__":
    unittest.main()
