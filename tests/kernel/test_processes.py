"""Processes that session code makes: forks, multiprocessing, what pickles."""

from __future__ import annotations

import unittest

from harness import KernelTest

WORK = """
import dataclasses, multiprocessing, concurrent.futures
FACTOR = 10
@dataclasses.dataclass
class Box:
    n: int
def work(n):
    return Box(n * FACTOR)
"""


class ForkTest(KernelTest):
    def test_a_child_that_falls_through_does_not_answer(self):
        run = self.run_ok(
            """
            import os
            print('before')
            pid = os.fork()
            print('child' if pid == 0 else 'parent')
            if pid: _, status = os.waitpid(pid, 0)
            """
        )
        self.assertEqual(sorted(run.stdout.split()), ["before", "child", "parent"])
        self.assertEqual(len(run.of("done")), 1)
        self.assertEqual(self.kernel.value("os.WEXITSTATUS(status)"), "0")
        self.assert_alive()

    def test_how_a_forked_child_ends(self):
        for code, status in (("raise ValueError('in the child')", 1), ("raise SystemExit(7)", 7), ("raise SystemExit", 0)):
            run = self.run_ok(f"import os\nif (pid := os.fork()) == 0:\n    {code}\nos.WEXITSTATUS(os.waitpid(pid, 0)[1])")
            self.assertEqual(run.text, str(status))
        run = self.run_ok("if (pid := os.fork()) == 0: raise ValueError('in the child')\nos.waitpid(pid, 0);")
        self.assertIn("ValueError: in the child", run.stderr)

    def test_pending_text_is_not_printed_twice(self):
        run = self.run_ok(
            """
            import os
            for n in range(2000): print(n)
            print('unfinished', end='')
            pid = os.fork()
            if pid: os.waitpid(pid, 0)
            print('!')
            """
        )
        self.assertEqual(run.stdout.count("unfinished"), 1)
        self.assertEqual(run.stdout.count("1999\n"), 1)
        self.assertEqual(run.stdout.count("!"), 2)

    def test_a_forked_child_cannot_speak_for_the_session(self):
        run = self.run_ok(
            """
            import os
            pid = os.fork()
            if pid == 0:
                display('from the child')
                ec.progress(1, 2)
                try:
                    ec.history()
                except RuntimeError as error:
                    print(error)
                os._exit(0)
            os.waitpid(pid, 0);
            """
        )
        self.assertEqual([frame["type"] for frame in run.frames], ["done"])
        self.assertIn("from the child", run.stdout)
        self.assertIn("cannot ask", run.stdout)

    def test_random_numbers_differ_between_kernels(self):
        code = "import random, uuid; random.random(), uuid.uuid4()"
        self.assertNotEqual(self.kernel.value(code), self.box.fork().value(code))

    def test_no_zombies_and_no_leaks(self):
        count = "len(os.listdir('/proc/self/fd'))"
        self.run_ok("import os, subprocess")
        before = self.kernel.value(count)
        for _ in range(20):
            self.run_ok("subprocess.run(['true']); display(1); 1")
            self.kernel.inspect()
        self.assertEqual(self.kernel.value(count), before)

    def test_output_of_children(self):
        run = self.run_ok("import subprocess\nsubprocess.run('echo out; echo err >&2', shell=True);")
        self.assertEqual((run.stdout, run.stderr), ("out\n", "err\n"))


class MultiprocessingTest(KernelTest):
    def check(self, method: str) -> None:
        self.run_ok(WORK)
        run = self.kernel.run(
            f"with multiprocessing.get_context({method!r}).Pool(2) as pool: found = pool.map(work, range(3))\nfound", 30
        )
        self.assertEqual(run.text, "[Box(n=0), Box(n=10), Box(n=20)]", (run.error, run.stderr))

    def test_fork(self):
        self.check("fork")

    def test_spawn(self):
        self.check("spawn")

    def test_forkserver(self):
        self.check("forkserver")

    def test_executor(self):
        self.run_ok(WORK)
        run = self.run_ok("with concurrent.futures.ProcessPoolExecutor(2) as pool: found = list(pool.map(work, range(3)))\nfound")
        self.assertEqual(run.text, "[Box(n=0), Box(n=10), Box(n=20)]", run.stderr)

    def test_spawned_processes_see_the_newest_definitions(self):
        self.run_ok(WORK)
        self.run_ok("raise_here = open('/nowhere') if False else 0\nasync def other(): pass\nawait other()")
        self.run_ok("def work(n): return (n, FACTOR)\nFACTOR = 3; x = 1")
        run = self.kernel.run("with multiprocessing.get_context('spawn').Pool(1) as pool: found = pool.map(work, [5])\nfound", 30)
        self.assertEqual(run.text, "[(5, 3)]", (run.error, run.stderr))

    def test_output_of_a_spawned_process(self):
        self.run_ok("import multiprocessing\ndef say(): print('spawned')")
        run = self.kernel.run("p = multiprocessing.get_context('spawn').Process(target=say); p.start(); p.join(); p.exitcode", 30)
        self.assertEqual((run.text, run.stdout), ("0", "spawned\n"), run.stderr)


if __name__ == "__main__":
    unittest.main()
