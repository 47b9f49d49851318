"""Modules that session code writes, imports and edits."""

from __future__ import annotations

import unittest

from harness import KernelTest


class ModulesTest(KernelTest):
    def test_a_module_is_imported_as_soon_as_it_is_written(self):
        for number in range(20):
            self.run_ok(f"open('fresh{number}.py', 'w').write('x = {number}')\nimport fresh{number}")
        self.assertEqual(self.kernel.value("fresh19.x"), "19")

    def test_an_edit_of_the_same_length_in_the_same_second_is_seen(self):
        self.run_ok("open('edited.py', 'w').write('x = 1')\nimport edited, importlib")
        for number in range(2, 9):
            run = self.run_ok(f"open('edited.py', 'w').write('x = {number}')\nimportlib.reload(edited).x")
            self.assertEqual(run.text, str(number))

    def test_packages_and_other_folders(self):
        self.run_ok(
            """
            import os, sys
            os.makedirs('pkg/sub'); open('pkg/__init__.py', 'w').close()
            open('pkg/sub/__init__.py', 'w').write('from . import leaf')
            open('pkg/sub/leaf.py', 'w').write('y = __name__')
            import pkg.sub
            os.makedirs('elsewhere'); open('elsewhere/there.py', 'w').write('z = 3')
            sys.path.append('elsewhere')
            import there
            """
        )
        self.assertEqual(self.kernel.value("pkg.sub.leaf.y, there.z"), "('pkg.sub.leaf', 3)")
        self.assertEqual(self.kernel.value("os.path.exists('__pycache__'), os.path.exists('pkg/__pycache__')"), "(False, False)")

    def test_the_changed_folder_is_imported_from(self):
        self.run_ok("import os; os.mkdir('inner'); open('inner/deep.py', 'w').write('w = 4'); os.chdir('inner'); import deep")
        self.assertEqual(self.kernel.value("deep.w"), "4")

    def test_an_error_in_a_module_shows_its_line(self):
        self.run_ok("open('broken.py', 'w').write('def f():\\n    return 1 / 0\\n')\nimport broken")
        run = self.run_error("broken.f()", "ZeroDivisionError")
        self.assertIn("return 1 / 0", run.error["traceback"])

    def test_what_is_installed_below_keeps_its_compiled_form(self):
        self.run_ok(
            """
            import os, sys
            os.makedirs('venv/site-packages'); open('venv/site-packages/lib.py', 'w').write('v = 5')
            sys.path.append(os.path.abspath('venv/site-packages')); sys.dont_write_bytecode = False
            import lib
            """
        )
        self.assertEqual(self.kernel.value("os.path.exists('venv/site-packages/__pycache__')"), "True")


if __name__ == "__main__":
    unittest.main()
