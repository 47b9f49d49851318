"""Pipes and sockets of session code in copies: who only waits holds none, and both ends of a pipe are each copy's own."""

from __future__ import annotations

import unittest

from test_branches import BranchTest

CLOSES = (
    ("import os; r, w = os.pipe(); n = os.write(w, b'abc')", "os.close(w); os.read(r, 9), os.read(r, 9)", "(b'abc', b'')"),
    ("import socket; a, b = socket.socketpair()", "a.close(); b.recv(1)", "b''"),
    ("import multiprocessing as m; a, b = m.Pipe(False)", "b.close(); a.poll(5)", "True"),
    ("import subprocess; p = subprocess.Popen(['tr', 'a', 'b'], stdin=-1, stdout=-1)", "p.communicate(b'aa')[0]", "b'bb'"),
    ("import subprocess; p = subprocess.Popen(['cat'], stdin=-1)", "p.stdin.close(); p.wait(5)", "0"),
    ("import subprocess; p = subprocess.Popen(['yes'], stdout=-1)", "p.stdout.close(); p.wait(5)", "-13"),
    (
        "import os, subprocess; os.mkfifo('fifo'); p = subprocess.Popen(['cat', 'fifo'], stdout=-1); f = open('fifo', 'w')",
        "n = f.write('hi'); f.close(); p.communicate()[0]",
        "b'hi'",
    ),
    (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); place = s.getsockname()",
        "s.close(); s = socket.create_server(place); s.close(); s.fileno()",
        "-1",
    ),
    (
        "import asyncio\nasync def serve(): return await asyncio.start_server(lambda r, w: None, '127.0.0.1', port)\n"
        "port = 0; s = await serve(); port = s.sockets[0].getsockname()[1]",
        "s.close(); await s.wait_closed(); s = await serve(); s.close(); s.is_serving()",
        "False",
    ),
)


class WaitingTest(BranchTest):
    def test_what_the_session_closes_is_closed_though_there_are_snapshots(self):
        for opens, closes, expected in CLOSES:
            with self.subTest(opens):
                self.run_ok(opens)
                self.kernel.branches("snapshot", "snapshot", on_unsafe="warn")
                self.assertEqual(self.run_ok(closes).text, expected)

    def test_to_who_goes_on_they_lead_nowhere_and_nobody_takes_their_numbers(self):
        self.run_ok("import os, socket; s = socket.create_server(('127.0.0.1', 0)); r, w = os.pipe(); os.close(r)")
        snapshot = self.kernel.branches("snapshot", on_unsafe="warn")[0]
        snapshot.resume()
        for code in ("s.accept()", "os.write(w, b'x')"):
            run = snapshot.run(code)
            self.assertIn("[Errno 9]", run.error["message"])
        self.assertEqual(snapshot.value("os.open('/dev/null', 0) not in (s.fileno(), w)"), "True")
        self.assert_works(snapshot)

    def test_event_loops_of_who_goes_on_work(self):
        self.run_ok("import asyncio\nasync def f(): return await asyncio.to_thread(sum, [1, 2])\nawait f()")
        for copy in (None, "1"):
            snapshot = self.kernel.branches("snapshot", on_unsafe="warn")[0]
            snapshot.resume(copy)
            self.assertEqual(snapshot.value("await f()"), "3")


class PipesTest(BranchTest):
    def test_of_which_both_ends_are_here_are_each_copys_own(self):
        self.run_ok("import os; r, w = os.pipe(); os.set_blocking(r, False); os.write(w, b'abcd'); again = os.dup(r)")
        snapshot = self.branch("snapshot")
        fork = self.branch()
        self.assertEqual(self.kernel.value("os.read(r, 9), os.write(w, b'own')"), "(b'abcd', 3)")
        snapshot.resume()
        for copy in (fork, snapshot):
            self.assertEqual(copy.value("os.read(r, 2), os.read(again, 9), os.get_blocking(r)"), "(b'ab', b'cd', False)")
            self.assertEqual(copy.value("n = os.write(w, b'x'); os.close(w); os.read(r, 9), os.read(r, 9)"), "(b'x', b'')")
        self.assertEqual(self.kernel.value("os.read(again, 9)"), "b'own'")

    def test_with_more_in_them_than_usual(self):
        self.run_ok("import fcntl, os; r, w = os.pipe(); size = fcntl.fcntl(w, 1031, 1 << 18); n = os.write(w, b'x' * 200_000)")
        copy = self.branch()
        self.assertEqual(copy.value("sum([len(os.read(r, 65536)) for _ in range(4)])"), "200000")
        self.assertEqual(self.kernel.value("len(os.read(r, 1))"), "1")

    def test_take_no_descriptors_of_the_parent(self):
        self.run_ok("import os; r, w = os.pipe(); fds = sorted(os.listdir('/proc/self/fd'))")
        self.kernel.branches("snapshot", "session", "successor")
        self.branch("capture").wait_exit()
        self.assertEqual(self.kernel.value("sorted(os.listdir('/proc/self/fd')) == fds"), "True")


if __name__ == "__main__":
    unittest.main()
