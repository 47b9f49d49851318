"""Variables: what changed, and a bounded look at them."""

from __future__ import annotations

import unittest

from harness import KernelTest


class ChangesTest(KernelTest):
    def test_added_changed_deleted(self):
        run = self.run_ok("x = 41\n_private = 1\n__dunder = 2\nimport os\ny = 'text'")
        self.assertEqual(run.done["variables"]["added"], [{"name": "x", "type": "int", "preview": "41"}, {"name": "y", "type": "str", "preview": "'text'"}])
        run = self.run_ok("x += 1\ndel y")
        self.assertEqual((run.names("added"), run.names("changed"), run.names("deleted")), ([], ["x"], ["y"]))
        run = self.run_ok("x = 42")
        self.assertEqual(run.names("changed"), [])
        self.assertEqual(self.run_ok("def f(): pass").names("added"), ["f"])
        self.assertEqual(self.run_ok("def f(): pass").names("changed"), ["f"])

    def test_numbers_that_hash_or_compare_alike(self):
        self.run_ok("xs, d, f, fs = [-1], {'k': -1, 'big': [0]}, 0.0, [0.0]\nclass T: pass\nt = T(); t.x = -1\nn = float('nan')")
        for code, changed in (
            ("xs[0] = -2", ["xs"]),
            ("d['k'] = -2", ["d"]),
            ("d['big'][0] = 2**61 - 1", ["d"]),
            ("t.x = -2", ["t"]),
            ("f = -f", ["f"]),
            ("fs[0] = -0.0", ["fs"]),
            ("f = -0.0; n = float('nan'); xs[0] = -2", []),
        ):
            self.assertEqual(self.run_ok(code).names("changed"), changed, code)

    def test_long_texts(self):
        self.run_ok("t = 'a' * 2_000_000; b = t.encode()")
        self.assertEqual(self.run_ok("t = t[:700_001] + 'b' + t[700_002:]").names("changed"), ["t"])
        self.assertEqual(self.run_ok("b = b[:700_001] + b'b' + b[700_002:]").names("changed"), ["b"])
        self.assertEqual(self.run_ok("len(t), t[:5], b[:5]").names("changed"), [])

    def test_changes_in_place(self):
        self.run_ok(
            """
            import collections, array
            class Thing: pass
            class Slots: __slots__ = ('a',)
            xs, d, s, q, b = [1], {}, set(), collections.deque(), bytearray(3)
            thing, dd, a = Thing(), collections.defaultdict(list), array.array('i', [1])
            nested = {'a': {'b': [1, 2]}}
            big = list(range(100_000)); grid = [[0] * 10 for _ in range(10)]; floats = [1.5]
            many = {n: n for n in range(10_000)}
            def touch(): xs.append(2)
            """
        )
        for code, changed in (
            ("xs.append(1)", "xs"),
            ("touch()", "xs"),
            ("d['k'] = 1", "d"),
            ("d['k'] = 2", "d"),
            ("s.add(1)", "s"),
            ("q.append(1)", "q"),
            ("b[0] = 1", "b"),
            ("a[0] = 7", "a"),
            ("thing.x = 1", "thing"),
            ("thing.x = [1]", "thing"),
            ("thing.x.append(2)", "thing"),
            ("dd['x'].append(1)", "dd"),
            ("nested['a']['b'][1] = 5", "nested"),
            ("big[-1] = 0", "big"),
            ("big[500] = 0", "big"),
            ("grid[9][9] = 1", "grid"),
            ("floats[0] += 1.0; floats[0] += 1.0", "floats"),
            ("many['new'] = 1", "many"),
            ("thing = Thing()", "thing"),
        ):
            run = self.run_ok(code)
            self.assertEqual(run.names("changed"), [changed], code)
        for code in ("len(xs), sum(big), thing.__dict__, nested", "1", "for _ in xs: pass", "sorted(big); print(grid)"):
            run = self.run_ok(code)
            self.assertEqual([name for name in run.names("changed")], [], code)

    def test_an_equal_part_in_the_place_of_another_is_a_change(self):
        self.run_ok(
            """
            import collections, array
            class Thing: pass
            a = [1]; d = {'x': a}; rows = [[0] * 3] * 3; deep = ({'k': [{1}]},); thing = Thing(); thing.rows = [[]]
            parts = [collections.deque([1]), {2}, bytearray(b'3'), array.array('i', [4]), collections.Counter('5')]
            same = [(1, 2), frozenset([3]), 'text', 10**50]
            """
        )
        for code, changed in (
            ("d['x'] = d['x'].copy()", "d"),
            ("rows[:] = [list(row) for row in rows]", "rows"),
            ("kept = deep[0]['k'][0]; deep[0]['k'][0] = set(kept)", "deep"),
            ("thing.rows[0] = list(thing.rows[0]) or []", "thing"),
            *[(f"kept = parts[{n}]; parts[{n}] = parts[{n}].copy() if {n} != 3 else parts[3][:]", "parts") for n in range(5)],
        ):
            self.run_ok("kept = None")
            self.assertEqual([name for name in self.run_ok(code).names("changed") if name != "kept"], [changed], code)
        self.assertEqual(self.run_ok("same[:] = [tuple([1, 2]), frozenset([3]), str(b'text', 'ascii'), 10**50]").names("changed"), [])

    def test_changes_inside_of_what_keeps_its_state_elsewhere(self):
        self.run_ok(
            """
            import functools, io, pathlib
            class Model:
                n = 0
                seen = []
                class Inner: k = 1
                def f(self): pass
            class Slots:
                __slots__ = ('a', '__b')
                def set(self, b): self.__b = b
            class Derived(Slots): pass
            class Items(list): pass
            class Table(dict): __slots__ = ()
            class Pair(tuple): pass
            def counter():
                n = 0
                def step():
                    nonlocal n
                    n += 1
                return step
            def f(x, seen=[], *, more={}): seen.append(x); more[x] = x
            def g(): pass
            s, ds, step, out, raw = Slots(), Derived(), counter(), io.StringIO(), io.BytesIO()
            items, table, pair, put = Items(), Table(), Pair([[]]), out.write
            path = pathlib.Path('a/b')
            import collections, types
            ns, od, e = types.SimpleNamespace(c=1), collections.OrderedDict(a=1, b=2), ValueError('a')
            many = [{'n': n} for n in range(100)]
            def touch(at): many[at]['n'] = -1
            """
        )
        for code, changed in (
            ("Model.n += 1", "Model"),
            ("Model.seen.append(1)", "Model"),
            ("Model.f = g", "Model"),
            ("del Model.f", "Model"),
            ("Model.Inner.k = 2", "Model"),
            ("s.a = 1", "s"),
            ("s.a = [1]", "s"),
            ("s.a.append(2)", "s"),
            ("s.set(1)", "s"),
            ("del s.a", "s"),
            ("ds.a = 1", "ds"),
            ("ds.other = 1", "ds"),
            ("step()", "step"),
            ("f(1)", "f"),
            ("f.note = 1", "f"),
            ("g.__code__ = f.__code__; g.__defaults__ = (1,)", "g"),
            ("raw.write(b'x')", "raw"),
            ("raw.seek(0)", "raw"),
            ("items.append(1)", "items"),
            ("items[0] = 2", "items"),
            ("items.name = 1", "items"),
            ("table['k'] = 1", "table"),
            ("pair[0].append(1)", "pair"),
            ("put('x')", "out"),
            ("ns.c = 2", "ns"),
            ("od.move_to_end('a')", "od"),
            ("e.args = ('b',)", "e"),
            ("touch(20)", "many"),
        ):
            self.assertEqual(self.run_ok(code).names("changed"), [changed], code)
        for code in ("import copy; copy.copy(s), str(path), hash(path), path.parts", "Model().f if False else Model()", "out.getvalue()"):
            self.assertEqual(self.run_ok(code).names("changed"), [], code)

    def test_failed_cells_report_changes_too(self):
        self.assertEqual(self.run_error("z = 1\n1/0", "ZeroDivisionError").names("added"), ["z"])

    def test_nothing_is_kept_alive(self):
        self.run_ok("import weakref\nclass Big: pass\nbig = Big(); r = weakref.ref(big)")
        self.run_ok("big")
        self.run_ok("del big")
        self.assertEqual(self.kernel.value("r() is None"), "True")

    def test_previews_run_no_code(self):
        run = self.run_ok(
            """
            import dataclasses, enum
            class Loud:
                def __repr__(self): print('ran'); return 'Loud'
                __str__ = __len__ = __hash__ = __eq__ = __iter__ = __getattr__ = __sizeof__ = __bool__ = __repr__
                def __getattribute__(self, name): print('ran'); raise ValueError
            loud = Loud(); inside = [Loud()]; keyed = {'k': Loud()}
            class LoudList(list):
                def __iter__(self): print('ran')
                __len__ = __getitem__ = __repr__ = __iter__
            listed = LoudList()
            @dataclasses.dataclass
            class Point:
                x: int
                y: object
            p = Point(1, Loud())
            class Odd: pass
            odd = Odd()
            f = lambda: 0
            nan = float('nan'); huge = 10 ** 10_000; text = 'x' * 1000; deep = [[[[[1]]]]]
            line = 'a\\nb'
            """
        )
        self.assertEqual(run.stdout, "")
        previews = {entry["name"]: entry["preview"] for entry in run.done["variables"]["added"]}
        self.assertEqual(previews["loud"], "<Loud object>")
        self.assertEqual(previews["inside"], "[<Loud object>]")
        self.assertEqual(previews["p"], "Point(x=1, y=<Loud object>)")
        self.assertEqual(previews["odd"], "<Odd object>")
        self.assertEqual(previews["Odd"], "<class Odd>")
        self.assertEqual(previews["f"], "<function <lambda>>")
        self.assertEqual(previews["huge"], "<int of 33220 bits>")
        self.assertEqual(previews["deep"], "[[[[…]]]]" if "[[[[" in previews["deep"] else previews["deep"])
        self.assertEqual(previews["line"], "'a\\nb'")
        self.assertTrue(all(len(text) <= 80 for text in previews.values()))
        self.assertEqual(self.run_ok("1").names("changed"), [])
        self.assertEqual(self.run_ok("nan, loud is None").names("changed"), [])
        self.assertEqual(self.kernel.inspect("loud")["error"], None)
        self.assertEqual(self.run_ok("len([])").stdout, "")

    def test_many_variables_are_bounded(self):
        added = self.run_ok("for n in range(1000): globals()[f'v{n}'] = n").done["variables"]["added"]
        self.assertEqual(len(added), 1001)
        self.assertEqual(len([one for one in added if one["preview"]]), 200)
        run = self.run_ok("for n in range(20_000): globals()[f'w{n}'] = n")
        self.assertEqual(len(run.done["variables"]["added"]), 10_000)


class HostileTypesTest(KernelTest):
    def test_metaclasses_are_not_asked(self):
        run = self.run_ok(
            """
            asked = []
            class Meta(type):
                def __hash__(cls): asked.append('hash'); return 1
                def __eq__(cls, other): asked.append('eq'); return True
            class A(metaclass=Meta): pass
            class B(metaclass=Meta): pass
            a, items, keyed = A(), [A(), 1], {'k': A()}
            del asked[:]
            """
        )
        self.assertEqual(run.status, "ok")
        run = self.run_ok("a = B(); items.append(B()); keyed['l'] = B()")
        self.assertEqual(run.names("changed"), ["a", "items", "keyed"])
        self.assertEqual(self.kernel.value("asked"), "[]")


class InspectTest(KernelTest):
    def test_summary(self):
        self.run_ok("b = [1, 2]\na = 'x'\n_hidden = 1\nimport os")
        answer = self.kernel.inspect()
        self.assertEqual((answer["error"], answer["detail"]), (None, None))
        self.assertEqual([variable["name"] for variable in answer["variables"]], ["a", "b"])
        b = answer["variables"][1]
        size = b.pop("bytes")
        self.assertGreater(size, 0)
        self.assertEqual(b, {"name": "b", "type": "list", "module": "builtins", "shape": None, "dtype": None, "length": 2, "preview": "[1, 2]"})

    def test_detail(self):
        self.run_ok("d = {'k': [1, (2,)], 3: None}\nclass Thing:\n    'A thing.'\n    def __init__(self): self.x = 1\n\n\nt = Thing()\n@staticmethod\ndef other(): pass\ndef f(a):\n    'Doc.'\n    return a\n")
        detail = self.kernel.inspect("d", 2)["detail"]
        self.assertEqual([child["name"] for child in detail["children"]], ["'k'", "3"])
        self.assertEqual([child["preview"] for child in detail["children"][0]["children"]], ["1", "(2,)"])
        self.assertEqual(detail["children"][0]["children"][1]["omitted"], 1)
        detail = self.kernel.inspect("t")["detail"]
        self.assertEqual((detail["type"], detail["module"], detail["children"][0]["name"]), ("Thing", "__main__", "x"))
        self.assertEqual(self.kernel.inspect("f")["detail"]["source"], "def f(a):\n    'Doc.'\n    return a\n")
        self.assertEqual(self.kernel.inspect("f")["detail"]["doc"], "Doc.")
        self.assertEqual(self.kernel.inspect("Thing")["detail"]["source"], "class Thing:\n    'A thing.'\n    def __init__(self): self.x = 1\n")
        self.assertEqual(self.kernel.inspect("d", 0)["detail"]["omitted"], 2)

    def test_numbers_beyond_javascript(self):
        self.run_ok("a = range(2**62); b = range(10**30); c = 10**400")
        lengths = [variable["length"] for variable in self.kernel.inspect()["variables"]]
        self.assertEqual(lengths, [2**53 - 1, None, None])

    def test_unknown_names(self):
        answer = self.kernel.inspect("nothing")
        self.assertEqual((answer["variables"], answer["detail"]), (None, None))
        self.assertEqual(answer["error"], {"code": "unknown_variable", "message": "There is no variable `nothing`."})

    def test_bounds(self):
        self.run_ok("big = list(range(1_000_000)); wide = {n: {m: m for m in range(100)} for n in range(100)}; loop = []; loop.append(loop)\nclass A: pass\nx = A(); x.x = x; long_key = {'k' * 10_000: 1}")
        detail = self.kernel.inspect("big", 3)["detail"]
        self.assertEqual((len(detail["children"]), detail["omitted"], detail["length"]), (50, 999_950, 1_000_000))
        self.assertLess(len(str(self.kernel.inspect("wide", 5))), 400_000)
        self.assertEqual(self.kernel.inspect("loop", 5)["detail"]["children"][0]["children"], [])
        self.assertEqual(self.kernel.inspect("x", 5)["error"], None)
        self.assertLess(len(self.kernel.inspect("long_key")["detail"]["children"][0]["name"]), 81)

    def test_hostile_objects(self):
        self.run_ok(
            """
            import time
            class Meta(type):
                __name__ = property(lambda c: 1/0)
                def __instancecheck__(cls, other): time.sleep(600)
                __mro__ = __dict__ = __module__ = property(lambda c: 1/0)
            class Hostile(metaclass=Meta):
                __slots__ = ('a',)
                __class__ = property(lambda s: 1/0)
                __dict__ = property(lambda s: 1/0)
                shape = property(lambda s: 1/0)
                def __len__(self): time.sleep(600)
                __getattribute__ = __sizeof__ = __repr__ = __eq__ = __hash__ = __len__
            h = Hostile(); hs = [h, {1: h}]
            """
        )
        for name in ("h", "hs", "Hostile"):
            self.assertIsNone(self.kernel.inspect(name, 5)["error"], name)
        self.kernel.inspect()
        self.assert_alive()


if __name__ == "__main__":
    unittest.main()
