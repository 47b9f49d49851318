"""Errors: tracebacks with the cell's own lines, bounded, and nothing kept alive."""

from __future__ import annotations

import sys
import unittest

from harness import KernelTest


class ErrorTest(KernelTest):
    def test_lines_of_older_cells(self):
        older = self.run_ok("def divide(a, b):\n    return a / b")
        run = self.run_error("x = 1\ny = divide(x, 0)", "ZeroDivisionError")
        self.assertIn("    return a / b", run.error["traceback"])
        self.assertIn("    y = divide(x, 0)", run.error["traceback"])
        self.assertNotIn("execute_code_kernel", run.error["traceback"])
        self.assertTrue(run.error["traceback"].endswith("ZeroDivisionError: division by zero"))
        self.assertEqual((run.error["line"], run.error["message"]), (2, "division by zero"))
        self.assertEqual(
            run.error["frames"],
            [
                {"source": run.id, "function": "<module>", "line": 2, "text": "y = divide(x, 0)"},
                {"source": older.id, "function": "divide", "line": 2, "text": "return a / b"},
            ],
        )
        if sys.version_info >= (3, 11):
            self.assertEqual(run.error["column"], 5)
        else:
            self.assertIsNone(run.error["column"])

    @unittest.skipIf(sys.version_info < (3, 11), "columns came with 3.11")
    def test_columns_count_characters(self):
        self.assertEqual(self.run_error("s = 'é€'; (1 + (1 / 0))", "ZeroDivisionError").error["column"], 17)

    def test_frames_of_files_and_libraries(self):
        (self.box.work / "own_module.py").write_text("import json\ndef parse(t):\n    return json.loads(t)\n")
        run = self.run_error("import own_module\nown_module.parse('{')", "JSONDecodeError")
        self.assertEqual([frame["function"] for frame in run.error["frames"]], ["<module>", "parse"])
        self.assertTrue(run.error["frames"][1]["source"].endswith("own_module.py"))
        self.assertEqual(run.error["line"], 2)

    def test_chained_exceptions(self):
        run = self.run_error("try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e", "KeyError")
        self.assertIn("direct cause", run.error["traceback"])
        self.assertIn("ZeroDivisionError", run.error["traceback"])
        self.assertEqual(run.error["message"], "'k'")

    @unittest.skipIf(sys.version_info < (3, 11), "groups came with 3.11")
    def test_exception_groups(self):
        run = self.run_error("raise ExceptionGroup('several', [ValueError('a'), TypeError('b')])", "ExceptionGroup")
        for part in ("several", "ValueError: a", "TypeError: b"):
            self.assertIn(part, run.error["traceback"])
        self.assertNotIn("execute_code_kernel", run.error["traceback"])

    def test_long_errors_are_bounded(self):
        run = self.run_error("def f(n): return f(n + 1)\nf(0)", "RecursionError")
        self.assertLess(len(run.error["traceback"]), 5_000)
        self.assertLessEqual(len(run.error["frames"]), 50)
        self.assertEqual(run.error["frames"][0]["function"], "<module>")
        names = "\n".join(f"def f{n}(): return f{(n + 1) % 100}()" for n in range(100))
        run = self.run_error(names + "\nf0()", "RecursionError")
        self.assertLess(len(run.error["traceback"]), 21_000)
        self.assertIn("left out", run.error["traceback"])
        run = self.run_error("raise ValueError('x' * 50_000_000)", "ValueError")
        self.assertLess(len(run.error["traceback"]) + len(run.error["message"]), 30_000)
        run = self.run_error("e = None\nfor n in range(5000):\n    new = ValueError(n); new.__cause__ = e; e = new\nraise e", "ValueError")
        self.assertLess(len(run.error["traceback"]), 21_000)

    def test_exceptions_whose_text_cannot_be_made(self):
        run = self.run_error("class Bad(Exception):\n    def __str__(self): raise TypeError('no')\nraise Bad", "Bad")
        self.assertIn("TypeError", run.error["message"])
        self.run_error("class Worse(Exception):\n    def __str__(self): raise SystemExit\nraise Worse", "Worse")
        self.run_error("class Odd(Exception):\n    def __str__(self): return 5\nraise Odd", "Odd")
        self.assert_alive()

    def test_names_that_lie(self):
        run = self.kernel.run("class M(type):\n    __name__ = property(lambda c: 1/0)\nclass E(Exception, metaclass=M): pass\nraise E('x')")
        self.assertEqual((run.status, run.error["type"]), ("error", "E"))

    def test_the_last_error_is_known_but_its_locals_are_not_kept(self):
        self.run_ok("import weakref, sys\nclass Big: pass\nrefs = []")
        self.run_error("def f():\n    big = Big(); refs.append(weakref.ref(big)); 1/0\nf()", "ZeroDivisionError")
        self.assertEqual(self.kernel.value("refs[0](), sys.last_type.__name__, type(sys.last_value).__name__"), "(None, 'ZeroDivisionError', 'ZeroDivisionError')")
        self.run_error("def g():\n    big = Big(); refs.append(weakref.ref(big))\n    try: f()\n    finally: raise KeyError\ng()", "KeyError")
        self.assertEqual(self.kernel.value("[r() for r in refs]"), "[None, None, None]")

    def test_errors_in_several_cells_blame_the_right_one(self):
        self.run_ok("def late(): raise ValueError('late')")
        run = self.run_error("\n\n\nlate()", "ValueError")
        self.assertEqual(run.error["line"], 4)
        self.assertIn("late()", run.error["traceback"])

    def test_cells_that_define_nothing_are_forgotten_after_a_thousand_more(self):
        self.run_ok("def kept(): raise KeyError\nimport linecache")
        passing = self.run_ok("error = None\ntry: 1 / 0\nexcept ZeroDivisionError as e: error = e")
        shown = "import traceback; ''.join(traceback.format_exception(type(error), error, error.__traceback__))"
        self.assertIn("1 / 0", self.kernel.value(shown))
        for number in range(1_005):
            self.kernel.start(f"x = {number}").wait(output=False)
        self.assertNotIn("1 / 0", self.kernel.value(shown))
        self.assertLess(int(self.kernel.value("len([name for name in linecache.cache if name.startswith('<exec_')])")), 1_010)
        self.assertIn("raise KeyError", self.run_error("kept()", "KeyError").error["traceback"])
        self.assertEqual(passing.status, "ok")

    def test_linecache_may_be_cleared(self):
        self.run_ok("def older(): 1/0")
        self.run_ok("import linecache; linecache.clearcache()")
        self.assertIn("def older(): 1/0", self.run_error("older()", "ZeroDivisionError").error["traceback"])


if __name__ == "__main__":
    unittest.main()
