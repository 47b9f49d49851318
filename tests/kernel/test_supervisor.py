"""The supervisor: forks, signals, reaps, and ends everything with its lifeline."""

from __future__ import annotations

import os
import signal
import unittest
from pathlib import Path

from harness import Box, KernelTest, alive, descendants, wait_until

# A process of its own session whose parent is gone: what `nohup setsid … &` leaves behind.
DETACHED = """
import os, sys, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    pid = os.fork()
    if pid:
        os._exit(0)
    os.write(w, str(os.getpid()).encode())
    os.close(w)
    time.sleep(600)
    os._exit(0)
os.close(w)
detached = int(os.read(r, 100))
os.wait()
detached
"""


class SupervisorTest(KernelTest):
    def test_reports_itself(self):
        ready = self.box.ready
        self.assertEqual(ready["protocol"], 1)
        self.assertEqual(ready["pid"], self.box.process.pid)
        self.assertEqual(ready["python"]["implementation"], "cpython")
        self.assertRegex(ready["python"]["version"], r"^3\.\d+\.\d+$")

    def test_starts_from_its_folder_too(self):
        with Box(as_folder=True) as box:
            kernel = box.fork()
            self.assertEqual(kernel.value("1 + 1"), "2")
            path = kernel.value("import sys; '\\n'.join(sys.path)")
            self.assertNotIn("execute_code_kernel", path)

    def test_kernel_has_the_environment_folder_and_session_it_was_given(self):
        kernel = self.box.fork(env={"GREETING": "it's \"quoted\"\nand long"}, cwd="/")
        self.assertEqual(kernel.value("import os; os.environ['GREETING']"), repr("it's \"quoted\"\nand long"))
        self.assertEqual(kernel.value("os.getcwd()"), "'/'")
        self.assertEqual(kernel.value("os.getsid(0) == os.getpid()"), "True")
        self.assertEqual(kernel.value("'LC_ALL' in os.environ, os.environ['MPLBACKEND']"), "(False, 'Agg')")
        self.assertEqual(kernel.value("sorted(map(int, os.listdir('/proc/self/fd')))[:3]"), "[0, 1, 2]")
        self.assertEqual(kernel.value("all(fd > 900 for fd in map(int, os.listdir('/proc/self/fd')) if fd > 3)"), "True")
        self.assertEqual(kernel.value("import signal; signal.getsignal(signal.SIGTERM) is signal.SIG_DFL"), "True")
        self.assertEqual(kernel.run("import subprocess; subprocess.run(['sleep', '0']).returncode").text, "0")

    def test_children_inherit_nothing_of_the_kernel(self):
        listing = self.run_ok("import subprocess; print(subprocess.run(['ls', '/proc/self/fd'], capture_output=True, text=True, close_fds=False).stdout)")
        self.assertEqual([fd for fd in map(int, listing.stdout.split()) if fd > 3], [])

    def test_reports_how_a_kernel_ended(self):
        self.kernel.start("import os; os._exit(3)")
        report = self.kernel.wait_exit()
        self.assertEqual((report["code"], report["signal"]), (3, None))
        self.assertGreater(report["peak_memory_bytes"], 1_000_000)
        self.assertGreaterEqual(report["cpu_ms"], 0)

    def test_reports_the_signal_that_ended_a_kernel(self):
        self.kernel.start("import ctypes; ctypes.string_at(0)")
        report = self.kernel.wait_exit()
        self.assertEqual((report["code"], report["signal"]), (None, signal.SIGSEGV))

    def test_shutdown_runs_exit_functions(self):
        self.run_ok("import atexit; atexit.register(lambda: open('left', 'w').write('bye'))")
        self.kernel.send({"type": "shutdown"})
        self.assertEqual(self.kernel.wait_exit()["code"], 0)
        self.assertEqual((self.box.work / "left").read_text(), "bye")

    def test_a_kernel_ends_with_its_channel(self):
        self.kernel.socket.close()
        self.kernel.socket = None
        self.assertEqual(self.kernel.wait_exit()["code"], 0)

    def test_faults_name_what_was_wrong(self):
        self.box.send({"type": "signal", "kernel": "nobody", "signal": 2, "target": "kernel", "since_ms": 0, "request": 0})
        self.box.send({"type": "dance"})
        faults = lambda: [report for report in self.box.reports if report["type"] == "fault"]  # noqa: E731
        self.box.pump_until(lambda: len(faults()) == 2, "two faults")
        first, second = faults()
        self.assertEqual((first["type"], first["kernel"]), ("fault", "nobody"))
        self.assertEqual((second["type"], second["kernel"]), ("fault", None))

    def test_a_kernel_without_reader_or_listener_ends(self):
        for change in ({"stdout": "/nowhere"}, {"listener": "/nowhere"}, {"cwd": "/nowhere"}):
            kernel = self.box.start_fork(**change)
            self.assertEqual(kernel.wait_exit()["code"], 70, change)
        self.assertEqual(self.box.complaints.count("The kernel could not start"), 3)

    def test_kernel_signal_alone_spares_its_children(self):
        child = int(self.run_ok("import subprocess; subprocess.Popen(['sleep', '600']).pid").text)
        self.kernel.signal(signal.SIGKILL)
        self.assertEqual(self.kernel.wait_exit()["signal"], signal.SIGKILL)
        self.assertTrue(alive(child))
        self.kernel.signal(signal.SIGKILL, "tree")
        wait_until(lambda: not alive(child), "the child's end")

    def test_tree_signal_reaches_detached_grandchildren(self):
        detached = int(self.run_ok(DETACHED).text)
        self.assertTrue(alive(detached))
        self.kernel.signal(signal.SIGKILL, "tree")
        self.kernel.wait_exit()
        wait_until(lambda: not alive(detached), "the grandchild's end")

    def test_tree_signal_spares_other_kernels(self):
        other = self.box.fork()
        child = int(other.run("import subprocess; subprocess.Popen(['sleep', '600']).pid").text)
        self.kernel.signal(signal.SIGKILL, "tree")
        self.kernel.wait_exit()
        self.assertTrue(alive(child))
        self.assertEqual(other.value("1"), "1")
        other.signal(signal.SIGKILL, "tree")
        other.wait_exit()

    def test_tree_signal_ends_many_stubborn_processes(self):
        run = self.run_ok(
            """
            import os, signal, time
            for _ in range(20):
                if os.fork() == 0:
                    os.setsid()
                    if os.fork():
                        os._exit(0)
                    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                    time.sleep(600)
                    os._exit(0)
            for _ in range(20):
                os.wait()
            """
        )
        self.assertEqual(run.status, "ok")
        self.kernel.signal(signal.SIGKILL, "tree")
        self.kernel.wait_exit()
        wait_until(lambda: not descendants(self.box.process.pid), "nobody is left")

    def test_orphans_are_reaped(self):
        pid = int(self.run_ok("import subprocess; subprocess.run('sleep 0 & echo $!', shell=True, capture_output=True, text=True).stdout").text.strip("'\\n"))
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the orphan is reaped")

    def test_user_processes_cannot_read_the_supervisor(self):
        if os.getuid() == 0:
            self.skipTest("root reads everything")
        self.run_error(f"open('/proc/{self.box.process.pid}/environ').read()", "PermissionError")

    def test_terminal_signals_leave_the_supervisor(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            os.kill(self.box.process.pid, number)
        self.assert_alive()


class LifelineTest(unittest.TestCase):
    def test_everything_ends_with_the_control_channel(self):
        box = Box().__enter__()
        kernel = box.fork()
        detached = int(kernel.run(DETACHED).text)
        box.close()
        self.assertEqual(box.process.returncode, 0)
        self.assertFalse(alive(detached))
        self.assertFalse(alive(kernel.pid))

    def test_everything_ends_with_stop(self):
        with Box() as box:
            kernel = box.fork()
            detached = int(kernel.run(DETACHED).text)
            box.send({"type": "stop"})
            box.process.wait(10)
            self.assertEqual(box.process.returncode, 0)
            self.assertFalse(alive(detached))
            self.assertFalse(alive(kernel.pid))

    def test_a_busy_kernel_ends_with_a_killed_supervisor(self):
        box = Box().__enter__()
        kernel = box.fork()
        kernel.start("print('on', flush=True)\nwhile True: pass").wait_output("on")
        box.process.kill()
        wait_until(lambda: not alive(kernel.pid), "the kernel's end")
        box.close()

    def test_garbage_on_the_control_channel_ends_the_box(self):
        box = Box().__enter__()
        box._control.sendall(b"\xff\xff\xff\xff garbage")
        self.assertEqual(box.process.wait(10), 1)
        box.close()


if __name__ == "__main__":
    unittest.main()
