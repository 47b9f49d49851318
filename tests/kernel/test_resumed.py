"""Snapshots that go on as kernels themselves, and when a snapshot can stand for its kernel."""

from __future__ import annotations

import os
import signal
import time

from harness import Kernel, KernelTest, alive, wait_until
from test_branches import DRAWS, THREAD, BranchTest
from test_supervisor import DETACHED


class ResumedTest(BranchTest):
    def resumed(self, copy: str | None = None) -> Kernel:
        """A snapshot of the kernel as it is, which goes on."""
        snapshot = self.branch("snapshot")
        snapshot.resume(copy)
        self.assertIsNone(snapshot.resumed["error"])
        return snapshot

    def faults(self) -> list:
        return [report for report in self.box.reports if report["type"] == "fault"]

    def test_is_a_kernel_with_the_memory_that_it_kept(self):
        self.run_ok("x = [1]; y = x")
        for copy in (None, "1"):
            snapshot = self.branch("snapshot")
            self.run_ok("x.append(2)")
            snapshot.resume(copy)
            self.assert_works(snapshot)
            self.assertEqual(snapshot.value("x, y is x"), "([1], True)")
            snapshot.run("x.append(3)")
            self.assertEqual(snapshot.value("x"), "[1, 3]")
            self.assertEqual(self.kernel.value("x"), "[1, 2]")
            self.run_ok("x.pop()")
        self.assert_alive()

    def test_is_copied_and_goes_on_again(self):
        self.run_ok("path = ()")
        kernel = self.kernel
        for depth in range(4):
            kernel.run(f"path = (*path, {depth})")
            kernel = kernel.branch("snapshot")
            kernel.resume((None, "1")[depth % 2])
        self.assertEqual(kernel.value("path"), "(0, 1, 2, 3)")
        self.assertEqual(kernel.branch("session").value("path"), "(0, 1, 2, 3)")
        self.assertEqual(self.kernel.value("path"), "(0,)")

    def test_has_been_copied_before(self):
        self.run_ok("x = 1")
        snapshot = self.branch("snapshot")
        before = snapshot.branch("successor")
        snapshot.resume()
        snapshot.run("x = 2")
        self.assertEqual([kernel.value("x") for kernel in (before, snapshot, self.kernel)], ["1", "2", "1"])

    def test_is_interrupted_by_its_own_name(self):
        kernel = self.resumed()
        run = kernel.start("print('on', flush=True)\nwhile True: pass")
        run.wait_output("on")
        kernel.interrupt_until_done(run)
        self.assertEqual(run.status, "interrupted")
        self.assert_works(kernel)

    def test_input_inspection_and_completion_work(self):
        self.run_ok("x = [1, 2]")
        kernel = self.resumed()
        run = kernel.start("input('? ')")
        self.box.pump_until(lambda: run.of("input"), "the question")
        kernel.reply(run.of("input")[0]["request"], "an answer")
        self.assertEqual(run.wait().text, "'an answer'")
        self.assertEqual(kernel.inspect("x")["detail"]["length"], 2)
        self.assertIn("append", kernel.complete("x.app", 5)["matches"])

    def test_goes_on_with_tasks_that_waited(self):
        self.run_ok("import asyncio\nseen = []\nasync def tick():\n    while True:\n        seen.append(1); await asyncio.sleep(0.01)\ntask = asyncio.create_task(tick())\nawait asyncio.sleep(0)")
        kernel = self.resumed()
        self.assertFalse(self.kernel.branched["still"])
        count = int(kernel.value("len(seen)"))
        wait_until(lambda: int(kernel.value("len(seen)")) > count, "another tick")

    def test_random_numbers(self):
        self.run_ok("import random; random.seed(1); own = random.Random(2)")
        code = DRAWS + ", own.random()"
        successor, first, second, again = self.resumed(), self.resumed("1"), self.resumed("2"), self.resumed("1")
        drawn = [kernel.value(code) for kernel in (self.kernel, successor, first, again, second)]
        self.assertEqual([drawn[0], drawn[2]], [drawn[1], drawn[3]])
        self.assertEqual(len(set(drawn)), 3)

    def test_a_session_draws_what_a_fork_of_its_name_would(self):
        self.run_ok("import random; random.seed(1); own = random.Random(2)")
        snapshot = self.branch("snapshot")
        (forked,) = snapshot.branches("session")
        snapshot.resume("1")
        self.assertEqual(forked.value(DRAWS), snapshot.value(DRAWS))

    def test_temporary_folders(self):
        where = "import os, tempfile; os.environ['TMPDIR'], tempfile.gettempdir()"
        here = self.kernel.value(where)
        self.assertEqual(self.resumed().value(where), here)
        self.assertNotEqual(self.resumed("1").value(where), here)

    def test_without_output_it_is_a_snapshot_still(self):
        self.run_ok("x = 1")
        for missing in ("_names", "stdout", "stderr"):
            snapshot = self.branch("snapshot")
            path = snapshot._names if missing == "_names" else getattr(snapshot, missing).path
            path.rename(f"{path}.away")
            snapshot.resume()
            self.assertIn("could not be resumed", snapshot.resumed["error"])
            self.assertEqual(snapshot.branch("successor").value("x"), "1")
            (path.parent / f"{path.name}.away").rename(path)
            snapshot.resume()
            self.assert_works(snapshot)

    def test_the_supervisor_refuses_those_that_are_no_snapshots(self):
        kernel = self.resumed()
        for name in (self.kernel.name, kernel.name, "nobody"):
            before = len(self.faults())
            self.box.send({"type": "resume", "kernel": name, "since_ms": 0})
            self.box.pump_until(lambda: len(self.faults()) > before, "the refusal")  # noqa: B023
            self.assertIn("no snapshot", self.faults()[-1]["message"])
        self.assert_works(kernel)

    def test_what_its_kernel_left_behind_since_is_not_its_own(self):
        """It is the older process of the two, and still what began before it went on is the kernel's."""
        snapshot = self.branch("snapshot")
        detached = int(self.run_ok(DETACHED).text)
        self.assertTrue(alive(detached))
        time.sleep(2 / os.sysconf("SC_CLK_TCK"))  # As exactly as the system tells when a process began.
        snapshot.resume()
        self.kernel.signal(signal.SIGKILL, "tree")
        self.kernel.wait_exit()
        wait_until(lambda: not alive(detached), "the grandchild's end")
        self.assert_works(snapshot)

    def test_what_it_starts_ends_with_it_alone(self):
        kernel = self.resumed()
        child = int(kernel.run("import subprocess; subprocess.Popen(['sleep', '600']).pid").text)
        self.kernel.signal(signal.SIGKILL, "tree")
        self.kernel.wait_exit()
        self.assertTrue(alive(child))
        kernel.signal(signal.SIGKILL, "tree")
        self.assertEqual(kernel.wait_exit()["signal"], signal.SIGKILL)
        wait_until(lambda: not alive(child), "the child's end")


class StillnessTest(KernelTest):
    def still(self) -> bool:
        self.kernel.branch("snapshot")
        return self.kernel.branched["still"]

    def test_of_a_kernel_that_only_waits(self):
        self.assertTrue(self.still())
        self.run_ok("import json, threading\nx = [1]\nt = threading.Thread(target=print); t.start(); t.join()\nimport subprocess; subprocess.run(['true'])")
        self.assertTrue(self.still())
        self.run_ok("import signal; signal.setitimer(signal.ITIMER_REAL, 60); signal.setitimer(signal.ITIMER_REAL, 0)")
        self.assertTrue(self.still())

    def test_of_a_kernel_in_which_something_goes_on(self):
        for code, end in (
            (THREAD, "stop.set(); t.join()"),
            ("import _thread, time\nover = begun = False\ndef wait():\n    global begun\n    begun = True\n    while not over: time.sleep(0.005)\n_thread.start_new_thread(wait, ())\nwhile not begun: time.sleep(0.001)", "over = True\nwhile _thread._count(): time.sleep(0.005)"),
            ("import signal; signal.signal(signal.SIGALRM, lambda *_: None); signal.alarm(60)", "signal.alarm(0)"),
            ("import signal; signal.setitimer(signal.ITIMER_PROF, 60)", "signal.setitimer(signal.ITIMER_PROF, 0)"),
            ("import subprocess; p = subprocess.Popen(['sleep', '600'])", "p.kill(); p.wait()"),
            ("import socket; s = socket.socket()", "s.close()"),
        ):
            with self.subTest(code):
                self.run_ok(code)
                self.assertFalse(self.still())
                self.run_ok(end)
                self.assertTrue(self.still())

    def test_of_a_kernel_with_an_event_loop(self):
        self.run_ok("import asyncio; await asyncio.sleep(0)")
        self.assertFalse(self.still())
