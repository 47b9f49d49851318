"""Code that breaks what it can reach: the kernel needs none of it."""

from __future__ import annotations

import unittest

from harness import KernelTest


class HostileTest(KernelTest):
    def test_broken_builtins(self):
        self.run_ok("import builtins as b\nfor name in ['len', 'isinstance', 'open', 'repr', 'getattr', 'type', 'str', 'list', 'map', 'print', 'eval', 'compile', 'hasattr', 'min', 'max', 'sorted', 'enumerate', 'zip', 'any', 'tuple', 'frozenset', 'super', 'memoryview', 'bytes']:\n    delattr(b, name)")
        run = self.kernel.run("x = [1]\n{'a': x}")
        self.assertEqual((run.status, run.text, run.names("added")), ("ok", "{'a': [1]}", ["x"]))
        run = self.kernel.run("1/0")
        self.assertEqual((run.status, run.error["type"], run.error["message"]), ("error", "ZeroDivisionError", "division by zero"))
        self.assertIsNone(self.kernel.inspect("x")["error"])

    def test_shadowed_builtins(self):
        self.run_ok("len = isinstance = print = repr = getattr = open = type = str = 5")
        self.assertEqual(self.kernel.value("len"), "5")

    def test_broken_modules(self):
        self.run_ok(
            """
            import os, json, time, socket, sys, io, signal, select, traceback, linecache, ast, struct, resource, _thread, fcntl, gc
            for module in (os, json, json.encoder, json.decoder, time, socket, io, signal, select, traceback, linecache, ast, resource, fcntl):
                for name in list(vars(module)):
                    if not name.startswith('__'):
                        setattr(module, name, None)
            """
        )
        run = self.kernel.run("x = 1\nx")
        self.assertEqual((run.status, run.text), ("ok", "1"))
        run = self.kernel.run("def f(): g()\nf()")
        self.assertEqual((run.status, run.error["type"]), ("error", "NameError"))
        self.kernel.inspect("x")
        self.kernel.inspect()

    def test_emptied_sys(self):
        self.run_ok("import sys\nsys.modules.clear()\nsys.path.clear()\nsys.meta_path.clear()")
        self.assertEqual(self.kernel.run("1").text, "1")
        self.assertEqual(self.kernel.run("1/0").status, "error")

    def test_cleared_namespace(self):
        self.run_ok("x = 1\ny = 2")
        run = self.run_ok("globals().clear()")
        self.assertEqual(run.names("deleted"), ["x", "y"])
        self.assertEqual(self.kernel.value("len([1])"), "1")
        self.run_ok("globals()[3] = 4; globals()[None] = 5")
        self.assertEqual(self.kernel.value("1"), "1")

    def test_low_recursion_limit(self):
        self.kernel.run("import sys\nsys.setrecursionlimit(60)")
        self.run_error("def f(): f()\nf()", "RecursionError")
        self.assert_alive()

    def test_trace_functions(self):
        self.kernel.run("import sys\ndef trace(*_): raise ValueError('traced')\nsys.settrace(trace)\nsys.setprofile(lambda *_: None)")
        self.kernel.run("def f(): pass\nf()")
        self.kernel.run("sys.settrace(None); sys.setprofile(None)")
        self.kernel.run("sys.settrace(None); sys.setprofile(None)")
        self.assert_alive()

    def test_ways_to_leave(self):
        for code in ("import sys; sys.exit(3)", "quit()", "exit('bye')", "raise SystemExit"):
            run = self.run_error(code, "SystemExit")
        self.assertEqual(run.error["message"], "")
        self.run_error("raise GeneratorExit", "GeneratorExit")
        self.run_error("class Odd(BaseException): pass\nraise Odd", "Odd")
        self.assert_alive()

    def test_memory_error(self):
        self.run_error("x = bytearray(1 << 62)", "MemoryError")
        self.assert_alive()

    def test_ways_of_the_c_stack(self):
        self.kernel.run("x = []\nfor _ in range(100_000): x = [x]\nrepr(x)")
        self.kernel.run("x")
        self.assert_alive()
        self.kernel.run("x = {}\nfor _ in range(100_000): x = {1: x}")
        self.assert_alive()
        self.kernel.inspect("x", depth=5)

    def test_replaced_main(self):
        self.run_ok("import sys, types\nsys.modules['__main__'] = types.ModuleType('__main__')\nx = 1")
        self.assertEqual(self.kernel.value("x"), "1")
        self.run_ok("__builtins__ = {}")
        self.kernel.run("1")
        self.kernel.run("del __builtins__")
        self.assertEqual(self.kernel.value("abs(-1)"), "1")


if __name__ == "__main__":
    unittest.main()
