"""What happens before a session's first cell: memory is laid out, and cells are rehearsed."""

from __future__ import annotations

import gc
import subprocess
import sys
import unittest

from harness import PACKAGE, KernelTest

REHEARSED = """
import gc, linecache, sys
print([name for name in globals() if name[:2] != '__'])
print([name for name in linecache.cache if 'rehearsal' in name])
print('rehearsed' in globals(), sys.stdout is sys.__stdout__, gc.isenabled())
"""
FILL = """
import sys
sys.path.insert(0, sys.argv[1])
from execute_code_kernel import layout
print(all([layout._fill(size) for size in range(layout._SMALLEST, layout._LARGEST + 1, layout._STEP)]))
layout.fill_holes()
objects = layout._objects(96, 40)
print(sum([other - one == 96 for one, other in zip(map(id, objects), map(id, objects[1:]))]) > 35)
"""


class RehearsalTest(KernelTest):
    def test_leaves_nothing(self):
        run = self.run_ok(REHEARSED)
        self.assertEqual(run.stdout.splitlines(), ["['gc', 'linecache', 'sys']", "[]", "False True True"])
        self.assertEqual(run.done["variables"], {"added": [], "changed": [], "deleted": []})

    def test_the_first_cell_is_like_any_other(self):
        first = self.run_ok("rehearsed = 1")
        self.assertEqual([one["name"] for one in first.done["variables"]["added"]], ["rehearsed"])
        self.assertEqual(first.done["effects"], [])
        self.assertFalse(first.done["lingering"])
        self.assertEqual((first.stdout, first.stderr), ("", ""))

    def test_what_the_kernel_is_made_of_is_no_garbage_to_look_through(self):
        found = self.kernel.value("import gc; [type(o).__name__ for o in gc.get_objects() if type(o).__name__ == 'Kernel']")
        self.assertEqual(found, "[]")


class LayoutTest(unittest.TestCase):
    def fill(self, **environment) -> list:
        ran = subprocess.run(
            [sys.executable, "-c", FILL, str(PACKAGE.parent)], capture_output=True, text=True, timeout=30, env=environment
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout.split()

    def test_holes_of_every_size_are_filled(self):
        self.assertEqual(self.fill(), ["True", "True"])

    def test_another_allocator_is_left_alone(self):
        self.assertEqual(self.fill(PYTHONMALLOC="malloc")[0], "False")

    def test_modules_on_the_way_are_there_and_nothing_waits_to_be_imported(self):
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import execute_code_kernel.__main__ as main\n"
            "sys.path_importer_cache.clear()\n"
            "main._import_main(None)\n"
            "from execute_code_kernel import layout\n"
            "print(main.CachingLoader.ready, all(['execute_code_kernel.' + name in sys.modules for name in layout._ON_THE_WAY]))"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code, str(PACKAGE.parent)], capture_output=True, text=True, timeout=30
        )
        self.assertEqual(ran.stdout.strip(), "{} True", ran.stderr)


class RandomTest(unittest.TestCase):
    def test_generators_lie_in_memory_as_they_are_looked_into(self):
        from execute_code_kernel import clocks

        self.assertEqual(clocks._LOOKED_INTO, sys.implementation.name == "cpython")

    def test_a_generator_that_is_replaced_is_looked_at_anew(self):
        import random

        from execute_code_kernel import clocks

        before, own = clocks._state_of_random(), random._inst
        try:
            random._inst = random.Random(5)
            other = clocks._state_of_random()
            self.assertNotEqual(other, before)
            random._inst.random()
            self.assertNotEqual(clocks._state_of_random(), other)
            random._inst = object()
            self.assertIsNone(clocks._state_of_random())
        finally:
            random._inst = own
        gc.collect()
        self.assertEqual(clocks._state_of_random(), before)


if __name__ == "__main__":
    unittest.main()
