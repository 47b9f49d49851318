"""Snapshots that wait: what they do, hold and take before anybody asks for them."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import unittest
from pathlib import Path

from harness import alive, wait_until
from test_branches import THREAD, BranchTest

HOOK = "import os; os.register_at_fork(after_in_child=lambda: os.write(log, b'x'))"
LINUX = sys.platform == "linux"


def private_kilobytes(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Private_\w+:\s+(\d+) kB", rollup, re.MULTILINE)))


def opened(pid: int) -> set:
    folder = f"/proc/{pid}/fd"
    return {os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}


class PauseTest(BranchTest):
    def pause(self):
        """A snapshot that has come to its wait; beside threads that takes a moment. Gives its process, too."""
        snapshot = self.branch("snapshot")
        (pid,) = self.kernel.branched["pids"]
        wait_until(lambda: os.getsid(pid) == pid, "its own process session")
        time.sleep(0.05)
        return snapshot, pid

    def test_functions_of_session_code_are_called_when_it_goes_on(self):
        log = Path(self.run_ok("import tempfile; log, path = tempfile.mkstemp(); path").text[1:-1])
        self.addCleanup(log.unlink)
        self.run_ok(HOOK)
        snapshot = self.branch("snapshot")
        self.assertEqual(log.read_text(), "")
        snapshot.resume()
        self.assert_works(snapshot)
        self.assertEqual(log.read_text(), "x")

    def test_signals_that_came_meanwhile_are_forgotten(self):
        self.run_ok("import signal; signal.signal(signal.SIGUSR1, lambda *_: heard.append(1)); heard = []")
        for extra in ("", THREAD):
            if extra:
                self.run_ok(extra)
            snapshot, pid = self.pause()
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
                os.kill(pid, number)
            time.sleep(0.05)
            self.assertTrue(alive(pid))
            snapshot.resume()
            self.assertEqual(snapshot.value("heard"), "[]")
            self.assert_works(snapshot)

    @unittest.skipUnless(LINUX, "/proc")
    def test_it_holds_nothing_of_its_kernel(self):
        self.kernel.run("print(1)")
        kernel = opened(self.kernel.pid)
        for extra in ("", THREAD):
            if extra:
                self.run_ok(extra)
            snapshot = opened(self.pause()[1])
            pipes = {str(path) for path in (self.kernel.stdout.path, self.kernel.stderr.path)}
            self.assertTrue(pipes <= kernel)
            self.assertFalse(pipes & snapshot)
            sockets = {name for name in snapshot if name.startswith("socket:")}
            self.assertFalse(sockets & kernel)
            self.assertEqual(len(sockets), 1)

    @unittest.skipUnless(LINUX, "/proc")
    def test_it_takes_less_memory_than_when_it_goes_on(self):
        self.run_ok("x = 1")
        snapshot, pid = self.pause()
        waiting = private_kilobytes(pid)
        snapshot.resume()
        self.assertLess(waiting, private_kilobytes(pid))

    def test_a_limit_of_descriptors_lowered_since(self):
        self.run_ok("import resource; limits = resource.getrlimit(resource.RLIMIT_NOFILE)")
        self.run_ok("resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))")
        self.kernel.start_branches("snapshot")
        self.box.pump_until(lambda: self.kernel.branched, "the answer")
        self.assertEqual(self.kernel.branched["error"]["code"], "fork_failed")
        self.run_ok("resource.setrlimit(resource.RLIMIT_NOFILE, limits)")
        self.assert_works(self.branch("snapshot").branch("successor"))


if __name__ == "__main__":
    unittest.main()
