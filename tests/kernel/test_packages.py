"""Packages that are installed while the session runs: by `ec.install`, and by what notebooks write for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness import KernelTest


class PackagesTest(KernelTest):
    def asked(self, code: str):
        """Runs code to its request for packages."""
        run = self.kernel.start(code)
        self.box.pump_until(lambda: run.of("call"), "the call")
        return run, run.of("call")[0]

    def test_a_function_of_the_session(self):
        run, call = self.asked("ec.install('six', 'idna>=3', upgrade=True)")
        self.assertEqual(call["method"], "install")
        self.assertEqual(call["params"], {"packages": ["six", "idna>=3"], "upgrade": True})
        self.kernel.reply(call["request"], [{"name": "six", "version": "1.17.0"}])
        self.assertEqual(run.wait().text, "['six 1.17.0']")

    def test_a_failure(self):
        run, call = self.asked("ec.install('no-such')")
        self.kernel.reply(call["request"], None, "There is none.")
        self.assertEqual((run.wait().error["type"], run.error["message"]), ("RuntimeError", "There is none."))
        self.run_error("ec.install()", "TypeError")

    def test_pip_in_a_notebook(self):
        for code, packages, upgrade in (
            ("%pip install six", ["six"], False),
            ("!pip install -q --user six 'idna>=3'", ["six", "idna>=3"], False),
            ("%pip install -U six", ["six"], True),
            ("!python -m pip install --upgrade six", ["six"], True),
        ):
            with self.subTest(code):
                run, call = self.asked(code)
                self.assertEqual(call["params"], {"packages": packages, "upgrade": upgrade})
                self.kernel.reply(call["request"], [{"name": "six", "version": "1.17.0"}])
                self.assertEqual(run.wait().stdout, "" if "-q" in code else "Installed six 1.17.0.\n")

    def test_what_only_pip_knows_is_left_to_it(self):
        for code in ("%pip install --no-index ./none", "!pip install -r none.txt", "!pip install six && true"):
            with self.subTest(code):
                self.assertEqual(self.kernel.run(code).of("call"), [])

    def test_what_is_installed_is_imported_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder, "lib")
            kernel = self.box.fork(env={"PYTHONPATH": str(site)})
            self.assertEqual(kernel.run("import ec_fresh").error["type"], "ModuleNotFoundError")
            # Not even its folder was there.
            site.mkdir()
            (site / "ec_fresh.py").write_text("value = 1")
            self.assertEqual(kernel.value("import ec_fresh; ec_fresh.value"), "1")
            (site / "shadowed.pth").write_text(str(Path(folder, "more")))
            Path(folder, "more").mkdir()
            Path(folder, "more", "ec_more.py").write_text("value = 2")
            run = kernel.start("ec.install('more'); import ec_more; ec_more.value")
            self.box.pump_until(lambda: run.of("call"), "the call")
            kernel.reply(run.of("call")[0]["request"], [])
            self.assertEqual(run.wait().text, "2")
