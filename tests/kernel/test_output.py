"""Output: order, bytes, floods, promptness, redirections, closed descriptors."""

from __future__ import annotations

import os
import time
import unittest

from harness import KernelTest


class OutputTest(KernelTest):
    def test_text_and_bytes(self):
        run = self.run_ok("import sys\nprint('é\\u20ac\\ud800\\0')\nsys.stdout.buffer.write(b'\\xff\\xfe\\n')\nprint('after')\nsys.stderr.write('err');")
        self.assertEqual(run.stdout_bytes, "é€\\ud800\0\n".encode() + b"\xff\xfe\nafter\n")
        self.assertEqual(run.stderr, "err")

    def test_properties_of_the_streams(self):
        self.run_ok("import sys, io")
        for stream, fd in (("sys.stdout", 1), ("sys.stderr", 2)):
            text = self.kernel.value(
                f"{stream}.fileno(), {stream}.isatty(), {stream}.encoding, {stream}.name, {stream}.closed, {stream}.writable()"
            )
            self.assertEqual(text, f"({fd}, False, 'utf-8', '<{stream[4:]}>', False, True)")
        self.assertEqual(self.kernel.value("isinstance(sys.stdout, io.TextIOBase), sys.__stdout__ is sys.stdout"), "(True, True)")
        self.assertEqual(self.kernel.value("sys.stdin.read()"), "''")

    def test_order_with_subprocesses_and_c(self):
        run = self.run_ok(
            """
            import os, subprocess, ctypes
            libc = ctypes.CDLL(None)
            print('one')
            os.system('echo two')
            libc.puts(b'three')
            print('four')
            subprocess.run(['echo', 'five'])
            os.write(1, b'six\\n')
            libc.printf(b'seven');
            """
        )
        self.assertEqual(run.stdout, "one\ntwo\nthree\nfour\nfive\nsix\nseven")

    def test_order_with_subprocesses_in_a_flood(self):
        run = self.run_ok("import os\nfor n in range(3000): print(n)\nos.system('echo done')\nprint('last')")
        self.assertEqual(run.stdout, "".join(f"{n}\n" for n in range(3000)) + "done\nlast\n")

    def test_a_million_prints(self):
        run = self.run_ok("for n in range(1_000_000): print(n)")
        lines = run.stdout_bytes.splitlines()
        self.assertEqual((len(lines), lines[0], lines[-1]), (1_000_000, b"0", b"999999"))

    def test_a_large_line_and_a_flood_of_stderr(self):
        run = self.run_ok("import sys\nprint('x' * 20_000_000)\nfor _ in range(20_000): print('e', file=sys.stderr)")
        self.assertEqual(len(run.stdout_bytes), 20_000_001)
        self.assertEqual(len(run.stderr_bytes), 40_000)

    def test_lines_are_visible_while_the_cell_runs(self):
        run = self.kernel.start("import time\nprint('soon')\ntime.sleep(600)").wait_output("soon")
        self.kernel.interrupt()
        run.wait()

    def test_the_rest_of_a_flood_is_visible_while_the_cell_runs(self):
        run = self.kernel.start("import time\nfor n in range(5000): print(n)\nprint('rest', end='')\ntime.sleep(600)")
        begin = time.monotonic()
        run.wait_output("4999\nrest")
        self.assertLess(time.monotonic() - begin, 2)
        self.kernel.interrupt()
        run.wait()

    def test_a_flood_ends(self):
        code = """
            import time
            for n in range(5000): print(n)
            time.sleep(0.35)
            print('calm')
            time.sleep(600)
        """
        run = self.kernel.start("import time\nexec('''" + code.replace("            ", "") + "''')").wait_output("calm")
        self.kernel.interrupt()
        run.wait()

    def test_unfinished_lines_come_at_the_end(self):
        self.assertEqual(self.run_ok("print('a', end=''); print('b', end='\\r'); print('c', end='')").stdout, "ab\rc")

    def test_threads(self):
        run = self.run_ok(
            """
            import threading
            def say(name):
                for n in range(2000): print(name * 20)
            threads = [threading.Thread(target=say, args=(c,)) for c in 'abc']
            for t in threads: t.start()
            for t in threads: t.join()
            """
        )
        lines = run.stdout.splitlines()
        self.assertEqual(len(lines), 6000)
        self.assertEqual("".join(lines).count("a"), 40_000)

    def test_late_output(self):
        os.mkfifo(self.box.work / "gate")
        # Opened for both, it waits for nobody.
        gate = os.open(self.box.work / "gate", os.O_RDWR)
        self.addCleanup(os.close, gate)
        run = self.run_ok(
            """
            import subprocess, threading
            go = threading.Event()
            def late():
                go.wait()
                print('of a thread')
            threading.Thread(target=late, daemon=True).start()
            child = subprocess.Popen('read x < gate; echo of a child; echo and its stderr >&2', shell=True)
            print('now')
            """
        )
        self.assertEqual((run.stdout, self.kernel.stdout.late), ("now\n", b""))
        os.write(gate, b"go\n")
        self.box.pump_until(lambda: self.kernel.stdout.late and self.kernel.stderr.late, "late output")
        self.assertEqual((self.kernel.stdout.late, self.kernel.stderr.late), (b"of a child\n", b"and its stderr\n"))
        self.run_ok("go.set()")
        self.box.pump_until(lambda: b"of a thread\n" in self.kernel.stdout.everything, "the thread's output")
        self.assert_alive()

    def test_what_nobody_has_read_is_counted(self):
        self.assertEqual(self.kernel.start("pass").wait(output=False).done["unread"], {"stdout": 0, "stderr": 0})
        run = self.kernel.start("import sys; print('é'); sys.stderr.write('!');").wait(output=False)
        self.assertEqual(run.done["unread"], {"stdout": 3, "stderr": 1})
        self.assertEqual((run.stdout, run.stderr), ("é\n", "!"))
        self.assertEqual(self.kernel.start("").wait(output=False).done["unread"], {"stdout": 0, "stderr": 0})
        run = self.kernel.start("for n in range(20_000): print(n)\nprint('end', end='')").wait(output=False)
        self.assertEqual(run.done["unread"], {"stdout": 108_893, "stderr": 0})
        self.assertEqual(run.stdout_bytes[-12:], b"98\n19999\nend")

    def test_what_imitates_a_frame_is_text(self):
        self.assertEqual(self.run_ok("print('{\"type\": \"done\"}')").stdout, '{"type": "done"}\n')


class BrokenStreamsTest(KernelTest):
    def test_closed_descriptors(self):
        self.run_ok("import os\nos.close(1)\nos.close(2)")
        self.assert_alive()
        self.assertEqual(self.run_ok("os.system('echo sub; echo err >&2')").stderr, "err\n")

    def test_closed_descriptors_taken_by_a_file(self):
        self.run_ok("import os\nos.close(1)\nf = open('taken', 'w'); f.fileno()")
        self.assert_alive()

    def test_all_descriptors_closed_but_the_kernels_own(self):
        self.run_ok("import os\nos.closerange(0, 900)")
        self.assert_alive()

    def test_the_kernels_own_openings_closed(self):
        own = "import os, stat\nfor fd in range(900, 1100):\n    try:\n        if stat.S_ISFIFO(os.fstat(fd).st_mode): os.close(fd)\n    except OSError: pass\n"
        run = self.kernel.start(own + "print('printed')").wait(output=False)
        self.assertEqual((run.done["unread"], run.stdout), ({"stdout": 8, "stderr": 0}, "printed\n"))
        self.assert_alive()
        # Without any opening left there is no way back, nor a count.
        run = self.run_ok(own + "os.dup2(os.open(os.devnull, os.O_WRONLY), 1)")
        self.assertEqual(run.done["unread"], {"stdout": 1, "stderr": 0})
        self.assertEqual(self.run_ok("import sys; print('nowhere'); print('there', file=sys.stderr)").stderr, "there\n")

    def test_redirected_descriptors(self):
        self.run_ok("import os\nos.dup2(os.open(os.devnull, os.O_WRONLY), 1)\nprint('nowhere')")
        self.assert_alive()

    def test_a_non_blocking_descriptor(self):
        run = self.run_ok("import os\nos.set_blocking(1, False)\nfor _ in range(300): print('x' * 10_000)")
        self.assertEqual(len(run.stdout_bytes), 300 * 10_001)
        self.assert_alive()

    def test_closed_streams(self):
        run = self.run_ok("import sys\nprint('a')\nsys.stdout.close()\nsys.stderr.close()\nprint('b')")
        self.assertEqual(run.stdout, "a\nb\n")
        self.assert_alive()

    def test_replaced_deleted_and_detached_streams(self):
        for code in (
            "import sys, io\nsys.stdout = sys.stderr = io.StringIO()",
            "import sys\nsys.stdout = None",
            "import sys\ndel sys.stdout, sys.stderr",
            "import sys\nsys.stdout.detach()",
            "import sys\nsys.stdout.buffer.detach()",
            "import sys\nsys.stdout = sys.stderr = 5",
            "import sys\nsys.stdout.reconfigure(line_buffering=False, encoding='utf-16', errors='strict')",
        ):
            self.assertEqual(self.kernel.run(code).status, "ok", code)
            if "utf-16" not in code:
                self.assert_alive()

    def test_a_redirection_lasts_as_long_as_its_cell(self):
        run = self.run_ok("import sys, io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as held: print('held')\nprint('free')")
        self.assertEqual(run.stdout, "free\n")
        self.run_ok("sys.stdout = held\nprint('more')")
        self.assertEqual(self.run_ok("print('free'); held.getvalue()").stdout, "free\n")

    def test_logging_handlers_keep_working(self):
        self.run_ok("import logging\nlogging.basicConfig(level='INFO', format='%(message)s'); import os; os.close(2)")
        self.assertEqual(self.run_ok("logging.info('logged')").stderr, "logged\n")

    def test_warnings_show_the_cells_line(self):
        run = self.run_ok("import warnings\nwarnings.warn('careful')")
        self.assertIn("UserWarning: careful", run.stderr)
        self.assertIn("warnings.warn('careful')", run.stderr)


if __name__ == "__main__":
    unittest.main()
