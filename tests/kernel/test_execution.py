"""Cells: values, statements, await, compile errors, the main module."""

from __future__ import annotations

import sys
import unittest

from harness import KernelTest


class ValueTest(KernelTest):
    def test_value_of_the_last_expression(self):
        for code, text in (
            ("40 + 2", "42"),
            ("x = 1\nx", "1"),
            ("None", None),
            ("x = 5", None),
            ("x;", None),
            ("(x\n ,\n 2)", "(5, 2)"),
            ("'é;'  # comment;", "'é;'"),
            ("'é';  # comment", None),
            ("(\n  'a'\n)  ;", None),
            ("x = 7; x", "7"),
            ("", None),
            ("# nothing", None),
            ("if True:\n    1", None),
            ("[\n1,\n2]", "[1, 2]"),
        ):
            run = self.kernel.run(code)
            self.assertEqual((run.status, run.text), ("ok", text), code)
            if text is None:
                self.assertIsNone(run.done["result"])

    def test_bindings_before_a_failing_line_persist(self):
        self.run_error("a = 1\nb = 2\nraise ValueError('x')\nc = 3", "ValueError")
        self.assertEqual(self.kernel.value("a + b, 'c' in globals()"), "(3, False)")

    def test_future_imports_persist(self):
        self.run_ok("from __future__ import annotations")
        self.run_ok("def f(x: Undefined): pass")
        self.assertEqual(self.kernel.value("f.__annotations__"), "{'x': 'Undefined'}")

    def test_kernel_futures_do_not_leak_into_cells(self):
        self.run_error("def f(x: Undefined): pass\nf.__annotations__", "NameError")

    def test_main_module(self):
        self.run_ok(
            """
            import dataclasses, pickle, sys, typing, enum
            @dataclasses.dataclass
            class Point:
                x: int
                y: "Other | None" = None
            class Other: pass
            class Colour(enum.Enum):
                RED = 1
            """
        )
        self.assertEqual(self.kernel.value("__name__"), "'__main__'")
        self.assertEqual(self.kernel.value("sys.modules['__main__'].Point is Point"), "True")
        self.assertEqual(self.kernel.value("pickle.loads(pickle.dumps([Point(1), Colour.RED]))"), "[Point(x=1, y=None), <Colour.RED: 1>]")
        self.run_ok("def f(a: 'Other') -> 'Point': ...")
        self.assertEqual(self.kernel.value("typing.get_type_hints(f)['return'].__name__"), "'Point'")

    def test_source_of_older_functions(self):
        self.run_ok("def older(x):\n    # a comment\n    return x")
        self.run_ok("import inspect, linecache")
        expected = repr("def older(x):\n    # a comment\n    return x\n")
        self.assertEqual(self.kernel.value("linecache.checkcache(); inspect.getsource(older)"), expected)

    def test_modules_of_the_current_folder(self):
        (self.box.work / "helper_module.py").write_text("value = 7\n")
        self.assertEqual(self.kernel.value("import helper_module; helper_module.value"), "7")

    def test_numbers_of_a_record(self):
        run = self.run_ok("import json as j, os.path\nfrom collections import abc\ndef f():\n    import re\nsum(range(200_000))")
        done = run.done
        self.assertEqual(done["imports"], ["collections", "json", "os", "re"])
        self.assertGreater(done["duration_ms"], 0)
        self.assertGreater(done["cpu_ms"], 0)
        self.assertGreater(done["peak_memory_bytes"], 2_000_000)
        self.assertRegex(done["ast_hash"], "^[0-9a-f]{24}$")

    def test_peak_memory_is_the_executions_own(self):
        if not sys.platform.startswith("linux"):
            self.skipTest("needs Linux")
        large = self.run_ok("x = bytearray(80_000_000); del x").done["peak_memory_bytes"]
        small = self.run_ok("1").done["peak_memory_bytes"]
        self.assertGreater(large, 80_000_000)
        self.assertLess(small, large - 50_000_000)

    def test_hash_ignores_layout_and_comments(self):
        hashes = [
            self.kernel.run(code).done["ast_hash"]
            for code in ("x = [1, 2]\nx", "x=[1,\n 2]  # hello\n\n(x)", "x = [1, 3]\nx", "x = [1, 2.0]\nx", "x = [True, 2]\nx")
        ]
        self.assertEqual(hashes[0], hashes[1])
        self.assertEqual(len(set(hashes)), 4)
        # The same in every version of Python.
        self.assertEqual(self.kernel.run("def f(a, *, b=1):\n    return f'{a}' + u'x'").done["ast_hash"], "5bc6d67034a52c6bcde9add8")
        self.assertIsNone(self.kernel.run("x = 1\n" + "#" * 300_000).done["ast_hash"])


class AwaitTest(KernelTest):
    def test_top_level_await(self):
        self.run_ok("import asyncio")
        self.assertEqual(self.kernel.value("await asyncio.sleep(0.001, 'done')"), "'done'")
        self.run_ok(
            """
            class Both:
                async def __aenter__(self): return 5
                async def __aexit__(self, *_): pass
            async def numbers():
                for n in range(3): yield n
            async with Both() as five:
                pass
            found = []
            async for n in numbers():
                found.append(n)
            """
        )
        self.assertEqual(self.kernel.value("five, found, [n async for n in numbers()]"), "(5, [0, 1, 2], [0, 1, 2])")
        self.assertEqual(self.kernel.run("await asyncio.sleep(0, 3);").text, None)

    def test_loop_and_tasks_live_on(self):
        self.run_ok(
            """
            import asyncio
            async def work():
                await asyncio.sleep(0.01)
                return "worked"
            task = asyncio.ensure_future(work()); first = asyncio.get_running_loop(); await asyncio.sleep(0)
            """
        )
        self.assertEqual(self.kernel.value("await task, asyncio.get_running_loop() is first"), "('worked', True)")

    def test_asyncio_run_in_a_plain_cell(self):
        self.run_ok("import asyncio\nasync def f(): return 4")
        self.assertEqual(self.kernel.value("asyncio.run(f())"), "4")
        self.assertEqual(self.kernel.value("await f()"), "4")
        self.assertEqual(self.kernel.value("asyncio.run(f())"), "4")

    def test_context_variables_persist(self):
        self.run_ok("import contextvars\nv = contextvars.ContextVar('v', default=0)\nasync def f(): pass\nv.set(1);")
        self.assertEqual(self.kernel.value("await f(); v.get()"), "1")
        self.run_ok("await f(); v.set(2);")
        self.assertEqual(self.kernel.value("v.get()"), "2")

    def test_errors_in_awaited_code(self):
        run = self.run_error("import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    1/0\nawait f()", "ZeroDivisionError")
        self.assertEqual([frame["line"] for frame in run.error["frames"]], [5, 4])
        self.assertEqual(run.error["line"], 4)

    def test_exceptions_nobody_awaits_surface(self):
        self.run_ok("import asyncio, gc\nasync def f(): raise ValueError('lost')\nt = asyncio.ensure_future(f()); await asyncio.sleep(0.01)")
        run = self.run_ok("del t; gc.collect(); await asyncio.sleep(0)")
        self.assertIn("lost", run.stderr)


class CompileErrorTest(KernelTest):
    def test_syntax_errors_name_line_and_column(self):
        run = self.run_error("x = 1\ny = = 2", "SyntaxError")
        self.assertEqual((run.error["line"], run.error["column"]), (2, 5))
        self.assertIn("y = = 2", run.error["traceback"])
        self.assertIn("^", run.error["traceback"])
        self.assertEqual(run.error["frames"], [])
        self.assertNotIn("execute_code_kernel", run.error["traceback"])

    def test_indentation_and_late_compiler_errors(self):
        self.run_error("def f():\nx", "IndentationError")
        run = self.run_error("x = 1\nreturn 3", "SyntaxError")
        self.assertEqual(run.error["line"], 2)
        self.assertEqual(self.kernel.run("'x' in globals()").text, "False")

    def test_syntax_error_of_compiled_text_is_not_the_cells(self):
        run = self.run_error("x = 1\nexec('a b')", "SyntaxError")
        self.assertEqual(run.error["line"], 2)

    def test_what_the_compiler_refuses(self):
        for code in ("x = 1\0", "'\ud800'.x y", "x" + "(" * 3000 + ")" * 3000, "-" * 50_000 + "1", "x = " + "[" * 150 + "]" * 150):
            run = self.kernel.run(code)
            self.assertEqual(run.status, "error", code[:20]) if "[" not in code else None
        self.assert_alive()

    def test_deep_but_legal_code(self):
        self.kernel.run("+".join(["1"] * 5_000))
        self.assert_alive()


if __name__ == "__main__":
    unittest.main()
