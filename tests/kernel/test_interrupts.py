"""Interrupts: they reach running code wherever it is, and nothing else."""

from __future__ import annotations

import os
import signal
import unittest
from pathlib import Path

from harness import Deadline, KernelTest, descendants, wait_until

SAY = "print('on', flush=True)\n"


class InterruptTest(KernelTest):
    def settle(self) -> None:
        """Returns when every signal that was asked for has been taken by an idle kernel."""
        self.kernel.inspect()

    def interrupted(self, code: str, ready: str = "on"):
        run = self.kernel.start(code).wait_output(ready)
        self.kernel.interrupt()
        run.wait()
        self.assertEqual(run.status, "interrupted", run.error)
        self.assertEqual(run.error["type"], "KeyboardInterrupt")
        self.assertNotIn("execute_code_kernel", run.error["traceback"])
        self.assert_alive()
        return run

    def test_in_sleep(self):
        run = self.interrupted("import time\n" + SAY + "while True: time.sleep(600)")
        self.assertIn(run.error["line"], (2, 3))

    def test_in_a_loop(self):
        self.interrupted(SAY + "while True: pass")

    def test_in_a_c_loop(self):
        self.interrupted(SAY + "for _ in iter(int, 1): sum(range(1000))")

    def test_in_a_wait_for_a_process(self):
        self.interrupted(SAY + "import subprocess; subprocess.run(['sleep', '600'])")

    def test_in_a_wait_for_a_lock(self):
        self.interrupted(SAY + "import threading; l = threading.Lock(); l.acquire(); l.acquire()")

    def test_in_a_repr(self):
        self.interrupted("class Slow:\n    def __repr__(self):\n        print('on', flush=True)\n        while True: pass\nSlow()")

    def test_in_the_text_of_an_exception(self):
        code = "class Slow(Exception):\n    def __str__(self):\n        print('on', flush=True)\n        while True: pass\nraise Slow"
        run = self.kernel.start(code).wait_output("on")
        # The standard library asks more than once, and takes an interrupt for an answer.
        self.kernel.interrupt_until_done(run)
        self.assertEqual((run.status, run.error["type"]), ("error", "Slow"))
        # The last interrupt may still be on its way, and would be the next cell's.
        self.settle()
        self.assert_alive()

    def test_in_await(self):
        code = """
import asyncio
cleaned = []
async def wait():
    try:
        print('on', flush=True)
        await asyncio.sleep(600)
    finally:
        cleaned.append(1)
await wait()
"""
        self.interrupted(code)
        self.assertEqual(self.kernel.value("cleaned, await asyncio.sleep(0, 'next')"), "([1], 'next')")

    def test_in_gather(self):
        self.interrupted("import asyncio\n" + SAY + "await asyncio.gather(asyncio.sleep(600), asyncio.sleep(600))")

    def test_in_a_loop_of_awaited_code(self):
        self.interrupted("async def f():\n    print('on', flush=True)\n    while True: pass\nawait f()")

    def test_background_tasks_survive_an_interrupt(self):
        self.run_ok(
            """
            import asyncio
            async def count():
                global n
                n = 0
                while True:
                    n += 1
                    await asyncio.sleep(0.001)
            task = asyncio.ensure_future(count()); await asyncio.sleep(0)
            """
        )
        self.interrupted(SAY + "await asyncio.sleep(600)")
        self.assertEqual(self.kernel.value("before = n; await asyncio.sleep(0.05); n > before, task.done()"), "(True, False)")

    def test_in_output_nobody_reads(self):
        # Without a pump the pipe fills, and the code hangs in a write.
        run = self.kernel.start("import sys\nprint('on', flush=True)\nwhile True: sys.stderr.write('x' * 65536)")
        run.wait_output("on")
        self.kernel.interrupt()
        run.wait()
        self.assertEqual(run.status, "interrupted")

    def test_an_interrupt_can_be_handled(self):
        code = "import time\ntry:\n    print('on', flush=True)\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    x = 'handled'\nx"
        run = self.kernel.start(code).wait_output("on")
        self.kernel.interrupt()
        self.assertEqual((run.wait().status, run.text), ("ok", "'handled'"))

    def test_a_second_interrupt_reaches_code_that_swallowed_the_first(self):
        code = (
            "import time\ntry:\n    print('on', flush=True)\n    time.sleep(600)\nexcept BaseException:\n    print('again', flush=True)\n    time.sleep(600)"
        )
        run = self.kernel.start(code).wait_output("on")
        self.kernel.interrupt()
        run.wait_output("again")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")

    def test_an_idle_kernel_ignores_it(self):
        for _ in range(20):
            self.kernel.interrupt()
        self.settle()
        self.assert_alive()
        self.kernel.interrupt()
        self.settle()
        self.assert_alive()

    def test_none_is_lost_at_the_start_and_none_hits_the_next_cell(self):
        for _ in range(30):
            run = self.kernel.start("while True: pass")
            self.kernel.interrupt()
            self.assertEqual(run.wait().status, "interrupted")
            self.assert_alive()

    def test_at_the_end_of_a_cell(self):
        for _ in range(50):
            run = self.kernel.start("x = 1")
            self.kernel.interrupt()
            self.assertIn(run.wait().status, ("ok", "interrupted"))
        self.settle()
        self.assert_alive()

    def test_raised_by_code_is_an_error(self):
        self.run_error("raise KeyboardInterrupt('mine')", "KeyboardInterrupt")

    def test_a_handler_of_the_session(self):
        self.run_ok("import signal, time\ncaught = []\nsignal.signal(signal.SIGINT, lambda *_: caught.append(1))")
        self.kernel.interrupt()
        self.settle()
        self.assert_alive()
        self.assertEqual(self.kernel.value("caught"), "[]")
        run = self.kernel.start(SAY + "while not caught: time.sleep(0.01)\ncaught").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().text, "[1]")
        self.run_ok("signal.signal(signal.SIGINT, signal.default_int_handler)")
        self.kernel.interrupt()
        self.settle()
        self.assert_alive()
        run = self.kernel.start(SAY + "time.sleep(600)").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().error["type"], "KeyboardInterrupt")

    def test_handlers_of_other_signals_run_in_cells_only(self):
        self.run_ok("import signal, time\ndef ring(*_): raise TimeoutError('rang')\nsignal.signal(signal.SIGUSR1, ring)")
        os.kill(self.kernel.pid, signal.SIGUSR1)
        self.run_error("time.sleep(0.1)", "TimeoutError")
        run = self.kernel.start(SAY + "time.sleep(600)").wait_output("on")
        os.kill(self.kernel.pid, signal.SIGUSR1)
        self.assertEqual(run.wait().error["type"], "TimeoutError")
        self.assert_alive()

    def test_an_idle_kernel_can_be_terminated(self):
        self.kernel.signal(signal.SIGTERM)
        self.assertEqual(self.kernel.wait_exit()["signal"], signal.SIGTERM)

    def test_one_that_comes_too_late_hits_nothing(self):
        for _ in range(20):
            early = self.run_ok("1")
            run = self.kernel.start(SAY + "import time; time.sleep(0.02); 'whole'").wait_output("on")
            self.kernel.interrupt(early)
            self.assertEqual(run.wait().text, "'whole'")

    def test_one_that_comes_too_early_waits_for_its_execution(self):
        run = self.kernel.start("import time; time.sleep(0.05)\n")
        self.kernel.name_interrupt("exec_later")
        self.kernel.signal(signal.SIGINT)
        self.assertEqual(run.wait().status, "ok")
        self.kernel.send({"type": "execute", "id": "exec_later", "code": "1", "env": {}, "streams": None})
        done = lambda: [f for f in self.kernel.frames if f["type"] == "done" and f["id"] == "exec_later"]  # noqa: E731
        self.box.pump_until(done, "the end")
        self.assertEqual(done()[0]["status"], "interrupted")
        self.assert_alive()

    def test_reaches_what_the_execution_started(self):
        self.run_ok("import subprocess, time, os\nearlier = subprocess.Popen(['sleep', '600'])\ntime.sleep(0.05)")
        run = self.kernel.start("mine = subprocess.Popen(['sleep', '600'])\n" + SAY + "time.sleep(600)").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        self.assertEqual(self.kernel.value("mine.wait(), earlier.poll()"), "(-2, None)")

    def run_until_child(self, count: int) -> None:
        wait_until(lambda: len(descendants(self.kernel.pid)) >= count, "children")

    def test_in_a_wait_of_c_code_for_a_shell(self):
        # system() makes its caller deaf to interrupts while it waits: the daemon sends them again.
        run = self.kernel.start(SAY + "import os, time; os.system('exec sleep 600'); time.sleep(600)").wait_output("on")
        self.run_until_child(1)
        self.kernel.interrupt()
        wait_until(lambda: not descendants(self.kernel.pid), "the end of the child")
        self.kernel.interrupt_again()
        self.assertEqual(run.wait().status, "interrupted")
        self.assert_alive()

    def test_sent_again_it_counts_once(self):
        code = "import time\ntry: print('on', flush=True); time.sleep(600)\nexcept KeyboardInterrupt: print('caught', flush=True)\ntime.sleep(0.05); 'cleaned up'"
        run = self.kernel.start(code).wait_output("on")
        self.kernel.interrupt()
        run.wait_output("caught")
        self.kernel.interrupt_again()
        self.assertEqual(run.wait().text, "'cleaned up'")

    def test_what_is_left_of_an_execution_can_be_killed(self):
        self.run_ok("import subprocess, time, os\nearlier = subprocess.Popen(['sleep', '600'])\ntime.sleep(0.05)")
        self.run_ok(
            "os.system('setsid sleep 601 & nohup sleep 602 >/dev/null 2>&1 &')\n"
            "mine = subprocess.Popen(['sleep', '603'], start_new_session=True)"
        )
        self.kernel.signal(signal.SIGKILL, "leftover")
        self.assertEqual(self.kernel.value("mine.wait(), earlier.poll()"), "(-9, None)")
        names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(self.box.process.pid)]
        self.assertFalse([name for name in names if b"601" in name or b"602" in name])

    def test_comes_before_the_end_of_a_child(self):
        self.run_ok("import subprocess")
        for _ in range(10):
            run = self.kernel.start("p = subprocess.Popen(['sleep', '600'])\n" + SAY + "p.wait()").wait_output("on")
            self.kernel.interrupt()
            self.assertEqual(run.wait().status, "interrupted")
            self.assert_alive()

    def test_in_an_inspection(self):
        self.run_ok(
            """
            import sys, types
            fake = types.ModuleType('numpy')
            class ndarray:
                @property
                def shape(self):
                    while trapped: pass
                    return ()
            ndarray.__module__ = 'numpy'
            fake.ndarray = ndarray
            sys.modules['numpy'] = fake
            import os, threading, time
            trapped, kept = [], [ndarray()]
            def arm():
                while not os.path.exists('arm'): time.sleep(0.005)
                trapped.append(1); print('armed', flush=True)
            threading.Thread(target=arm).start()
            """
        )
        (self.box.work / "arm").touch()
        self.box.pump_until(lambda: b"armed" in self.kernel.stdout.everything, "the trap")
        self.kernel.send({"type": "inspect", "request": "look", "name": "kept", "depth": 2})
        found = lambda: [f for f in self.kernel.frames if f["type"] == "inspected"]  # noqa: E731
        for number in range(1, 100):
            if found():
                break
            self.kernel.name_interrupt("look", number)
            self.kernel.signal(signal.SIGINT)
            try:
                self.box.pump_until(found, "the inspection", 0.2)
            except Deadline:
                pass
        self.assertIn("took too long", str(found()[0]["error"]))
        self.run_ok("trapped.clear()")
        self.assert_alive()


if __name__ == "__main__":
    unittest.main()
