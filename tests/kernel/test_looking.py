"""Whether a cell only looked: what counts as having changed the session's memory."""

from __future__ import annotations

import unittest

from harness import KernelTest

MADE = """
import csv, decimal, itertools, math, random, collections
from decimal import Decimal
x, rows, word, table, tags, pair = 3, [[1], [2]], 'word', {'a': [1]}, {1, 2}, (1, 'b')
large = list(range(5000))
def f(): return 1
class Plain: pass
class Counts:
    n = 0
    def __repr__(self): Counts.n += 1; return 'Counts'
    def __eq__(self, other): Counts.n += 1; return True
    @property
    def next(self): Counts.n += 1; return Counts.n
    def __getattr__(self, name): Counts.n += 1; return name
    def __getitem__(self, key): Counts.n += 1; return key
    def __bool__(self): Counts.n += 1; return True
    def __add__(self, other): Counts.n += 1; return 1
    def __format__(self, spec): Counts.n += 1; return ''
    def __hash__(self): Counts.n += 1; return 1
c, held = Counts(), [Counts()]
class Meta(type):
    def __repr__(cls): Counts.n += 1; return 'Meta'
class Made(metaclass=Meta): pass
class Words(str):
    def __str__(self): Counts.n += 1; return 'w'
words = Words('w')
numbers, fresh = (n for n in range(9)), itertools.count()
file = open('lines', 'w+'); file.write('a\\nb\\n'); file.seek(0); reader = csv.reader(file)
"""
LOOKS = (
    *("", "pass", "1", "x", "rows", "rows[0]", "word + 'x'", "x > 2 and not x < 1", "table['a'][0]", "1 in tags", "pair[-1:]"),
    *("f", "Plain", "math", "math.pi", "rows.append", "[x, f, {'a': rows}]", "f'{x:>{x}} {f}'", "'%s' % x", "nothing", "x.nothing"),
    *("print(x, rows, sep='|', end='')", "len(rows)", "sorted(tags, reverse=True)", "word.upper().strip", "table.get('a')"),
    *("print(f'{x}')", "type(c)", "id(numbers)", "sum([1, x])", "'a, b'.split(',')", "rows.index([2])", "list(table.items())", "1 / 0"),
)
ACTS = (
    *("5 in numbers", "3 in fresh", "numbers", "'a\\n' in file", "c", "c == 1", "c.next", "c.other", "c[0]", "not c", "c + 1"),
    *("f'{c}'", "{c: 1}", "{c}", "held", "held == [1]", "'%s' % c", "Made", "words", "print(words)", "print(c)", "len(c)", "f()"),
    *("rows.append(1)", "word.join(numbers)", "sorted(rows, key=f)", "x = 1", "next(numbers)", "random.random()", "large", "Decimal(1) / 3"),
    *("import os", "print(x, file=file)", "[n for n in rows]", "(lambda: 1)()", "*rows, 1", "str(c)", "max(numbers)", "x if c else 1"),
)


class LookingTest(KernelTest):
    def changed(self, code: str) -> bool:
        return self.kernel.run(code).done["changed"]

    def test_cells_that_only_look(self):
        self.run_ok(MADE)
        for code in LOOKS:
            with self.subTest(code):
                self.assertFalse(self.changed(code))

    def test_cells_that_may_do_something(self):
        self.run_ok(MADE)
        for code in ACTS:
            with self.subTest(code):
                self.assertTrue(self.changed(code))

    def test_names_of_builtins_that_are_the_sessions_own(self):
        self.run_ok("x, log = [1], []\ndef len(_): log.append(1)\nimport builtins; builtins.sorted = lambda _: log.append(1)")
        for code in ("len(x)", "sorted(x)"):
            self.assertTrue(self.changed(code))

    def test_tracers_of_the_session(self):
        self.run_ok("import sys\ndef tracer(*_): pass\nsys.settrace(tracer)")
        self.assertTrue(self.changed("1"))
        self.run_ok("sys.settrace(None)")
        self.assertFalse(self.changed("1"))


if __name__ == "__main__":
    unittest.main()
