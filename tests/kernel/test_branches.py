"""Branches: a kernel forks itself into snapshots, successors and other sessions, whatever it holds."""

from __future__ import annotations

import os
import signal
import time
import unittest
from pathlib import Path

from harness import DEADLINE, Kernel, KernelTest, alive, wait_until
from test_supervisor import DETACHED

try:
    import numpy
except ImportError:
    numpy = None
try:
    import pandas
except ImportError:
    pandas = None

DRAWS = "import random; [random.random() for _ in range(4)]"
THREAD = "import threading\nstop = threading.Event()\nt = threading.Thread(target=stop.wait, name='worker-1', daemon=True); t.start()"


class BranchTest(KernelTest):
    def branch(self, role: str = "session") -> Kernel:
        return self.kernel.branch(role)

    def unsafe(self, on_unsafe: str = "refuse") -> list:
        """What a copy would lack, as (kind, variable)."""
        self.kernel.branches("session", on_unsafe=on_unsafe)
        return [(one["kind"], one["variable"]) for one in self.kernel.branched["unsafe"]]

    def assert_works(self, kernel: Kernel) -> None:
        run = kernel.run("print('out'); import sys; print('err', file=sys.stderr); 'value'")
        self.assertEqual((run.status, run.stdout, run.stderr, run.text), ("ok", "out\n", "err\n", "'value'"))


class CopiesTest(BranchTest):
    def test_of_an_empty_session(self):
        for role in ("session", "successor"):
            kernel = self.branch(role)
            self.assert_works(kernel)
            self.assertEqual(self.kernel.branched, {**self.kernel.branched, "unsafe": [], "error": None})
        self.assert_alive()

    def test_have_everything_and_are_independent(self):
        self.run_ok(
            """
            class Node:
                def __init__(self): self.next = self
            node, numbers = Node(), [1, 2]
            alias = numbers
            def total(): return sum(numbers)
            def counted():
                yield from range(10)
            counter = counted(); next(counter)
            import json as js
            """
        )
        first, second = self.kernel.branches("session", "session")
        for number, kernel in enumerate((first, second, self.kernel)):
            kernel.run(f"numbers.append({number})")
            self.assertEqual(kernel.value("numbers, alias is numbers, total()"), f"([1, 2, {number}], True, {3 + number})")
            self.assertEqual(kernel.value("node.next is node, next(counter), js.dumps(1)"), "(True, 1, '1')")
        first.run("del numbers")
        self.assertEqual(second.value("total()"), "4")
        self.assertEqual(self.kernel.value("total()"), "5")

    def test_of_copies(self):
        kernel = self.kernel
        for depth in range(6):
            kernel.run(f"path = (*globals().get('path', ()), {depth})")
            kernel = kernel.branch(("session", "successor", "snapshot")[depth % 3])
            if kernel.role == "snapshot":
                kernel = kernel.branch("successor")
        self.assertEqual(kernel.value("path"), "(0, 1, 2, 3, 4, 5)")
        self.assertEqual(self.kernel.value("path"), "(0,)")
        self.assert_works(kernel)

    def test_twenty_at_once(self):
        self.run_ok("x = 41")
        branches = self.kernel.branches(*["session"] * 20)
        self.assertEqual(len({kernel.pid for kernel in branches}), 20)
        runs = [kernel.start(f"x + {number}") for number, kernel in enumerate(branches)]
        self.assertEqual([run.wait().text for run in runs], [str(41 + number) for number in range(20)])

    def test_a_snapshot_is_gone_back_to_as_often_as_wanted(self):
        self.run_ok("x = [1]")
        snapshot = self.branch("snapshot")
        self.run_ok("x.append(2)")
        for _ in range(3):
            successor = snapshot.branch("successor")
            self.assertEqual(successor.value("x"), "[1]")
            successor.run("x.append(3)")
            self.assertEqual(successor.value("x"), "[1, 3]")
        self.assertEqual([kernel.value("x") for kernel in snapshot.branches("session", "successor")], ["[1]", "[1]"])
        self.assertEqual(self.kernel.value("x"), "[1, 2]")

    def test_outlive_each_other(self):
        self.run_ok("x = 1")
        snapshot = self.branch("snapshot")
        session = self.branch()
        self.kernel.signal(signal.SIGKILL, "tree")
        self.assertEqual(self.kernel.wait_exit()["signal"], signal.SIGKILL)
        self.assertEqual(session.value("x"), "1")
        again = snapshot.branch("successor")
        snapshot.signal(signal.SIGKILL, "tree")
        snapshot.wait_exit()
        self.assertEqual(again.value("x"), "1")
        self.assert_works(session)

    def test_end_with_their_own_channel(self):
        for role in ("session", "snapshot"):
            kernel = self.branch(role)
            kernel.socket.close()
            kernel.socket = None
            self.assertEqual(kernel.wait_exit()["code"], 0)
        self.assert_alive()

    def test_tell_how_they_ended(self):
        one, other = self.kernel.branches("session", "session")
        one.start("import os; os._exit(3)")
        self.assertEqual(one.wait_exit()["code"], 3)
        other.start("import ctypes; ctypes.string_at(0)")
        self.assertEqual(other.wait_exit()["signal"], signal.SIGSEGV)
        self.assert_alive()

    def test_tell_how_they_ended_before_the_supervisor_knew_of_them(self):
        for role in ("session", "snapshot"):
            (made,) = self.kernel.start_branches(role)
            send, held = self.box.send, []
            self.box.send = lambda frame: held.append(frame)  # noqa: B023
            try:
                self.box.pump_until(lambda: self.kernel.branched is not None, "the answer")
                self.box.pump_until(lambda: made.socket is not None, "its hello")  # noqa: B023
                made.socket.close()
                made.socket = None
                (pid,) = self.kernel.branched["pids"]
                wait_until(lambda: not Path(f"/proc/{pid}").exists(), "its end")  # noqa: B023
            finally:
                self.box.send = send
            for frame in held:
                send(frame)
            self.assertEqual(made.wait_exit()["code"], 0)
        self.assert_alive()

    def test_shut_down_runs_exit_functions_of_that_one(self):
        self.run_ok("import atexit; atexit.register(lambda: open('parent', 'w').close())")
        kernel = self.branch()
        kernel.run("atexit.register(lambda: open('branch', 'w').close())")
        kernel.send({"type": "shutdown"})
        self.assertEqual(kernel.wait_exit()["code"], 0)
        self.assertTrue((self.box.work / "branch").exists())
        self.assertFalse((self.box.work / "parent").exists())
        self.assert_alive()

    @unittest.skipIf(numpy is None, "numpy is not there")
    def test_with_numpy(self):
        self.run_ok("import numpy as np; a = np.arange(100_000.).reshape(100, -1); view = a[:2]; product = a @ a.T")
        kernel = self.branch()
        self.assertEqual(kernel.value("view.base is a or view.base is a.base, bool(np.array_equal(a @ a.T, product))"), "(True, True)")
        kernel.run("a[0, 0] = 7")
        self.assertEqual(kernel.value("float(view[0, 0])"), "7.0")
        self.assertEqual(self.kernel.value("float(view[0, 0])"), "0.0")

    @unittest.skipIf(pandas is None, "pandas is not there")
    def test_with_pandas(self):
        self.run_ok("import pandas as pd; df = pd.DataFrame({'a': [1, 2, 3], 'b': list('xyz')})")
        kernel = self.branch()
        kernel.run("df['c'] = df.a * 2")
        self.assertEqual(kernel.value("df.c.sum().item(), list(df.columns)"), "(12, ['a', 'b', 'c'])")
        self.assertEqual(self.kernel.value("list(df.columns)"), "['a', 'b']")

    def test_where_the_session_stands(self):
        self.run_ok("import os, sys; os.mkdir('there'); os.chdir('there'); os.environ['MINE'] = '1'; sys.path.insert(0, '/mine'); sys.setrecursionlimit(1234)")
        facts = "os.getcwd(), os.environ['MINE'], sys.path[0], sys.getrecursionlimit(), sys.argv, os.umask(os.umask(0o22))"
        self.assertEqual(self.branch().value(facts), self.kernel.value(facts))

    def test_a_folder_that_is_gone(self):
        self.run_ok("import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir(os.getcwd())")
        self.assert_works(self.branch())

    def test_sources_and_tracebacks(self):
        self.run_ok("def fail():\n    raise ValueError('from the parent')")
        error = self.branch().run("fail()").error
        self.assertIn("raise ValueError('from the parent')", error["traceback"])
        self.assertEqual(self.branch().value("import inspect; inspect.getsource(fail)[:10]"), "'def fail()'"[:11] + "'")

    def test_inspection(self):
        self.run_ok("x = [1, 2]")
        kernel = self.branch()
        self.assertEqual([one["name"] for one in kernel.inspect()["variables"]], ["x"])
        self.assertEqual(kernel.inspect("x")["detail"]["length"], 2)

    def test_changes_of_variables_are_told(self):
        self.run_ok("x = [1]")
        run = self.branch().run("x.append(2); y = 1")
        self.assertEqual((run.names("changed"), run.names("added")), (["x"], ["y"]))

    def test_whether_memory_changed_is_told(self):
        self.run_ok("x = [1]\ndef f(): return 1")
        self.assertEqual([self.kernel.run(code).done["changed"] for code in ("x", "1 + 1", "y = 2", "f()")], [False, False, True, True])


class RandomnessTest(BranchTest):
    def draws(self, kernel: Kernel, code: str = DRAWS) -> str:
        run = kernel.run(code)
        self.assertEqual(run.status, "ok", run.error)
        return run.text

    def test_sessions_draw_other_numbers(self):
        self.run_ok("import random")
        kernels = [*self.kernel.branches("session", "session"), self.branch(), self.kernel]
        self.assertEqual(len({self.draws(kernel) for kernel in kernels}), 4)

    def test_a_seeded_parent_gives_the_same_branches_again(self):
        seen = []
        for _ in range(2):
            kernel = self.box.fork()
            kernel.run("import random; random.seed(5); own = random.Random(6)")
            branches = kernel.branches("session", "session")
            seen.append([self.draws(one) + one.value("own.random()") for one in branches])
            seen[-1].append(self.draws(kernel) + kernel.value("own.random()"))
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(len(set(seen[0])), 3)

    def test_a_snapshot_and_its_successors_draw_what_the_session_would_have_drawn(self):
        self.run_ok("import random; random.seed(1); own = random.Random(2); own.gauss(0, 1)")
        snapshot = self.branch("snapshot")
        code = DRAWS + ", own.gauss(0, 1), own.random()"
        expected = self.draws(self.kernel, code)
        for _ in range(2):
            self.assertEqual(self.draws(snapshot.branch("successor"), code), expected)
        self.assertNotEqual(self.draws(snapshot.branch("session"), code), expected)

    def test_the_parent_draws_on_as_if_nothing_had_happened(self):
        self.run_ok("import random; random.seed(1)")
        self.branch()
        self.assertEqual(self.draws(self.kernel), self.box.fork().value("import random; random.seed(1); [random.random() for _ in range(4)]"))

    def test_generators_that_are_variables(self):
        self.run_ok("import random; one, two = random.Random(1), random.Random(1)")
        first, second = self.kernel.branches("session", "session")
        pairs = [kernel.value("one.random(), two.random()") for kernel in (first, second, self.kernel)]
        self.assertEqual(len(set(pairs)), 3)
        # Equal generators part from each other, too.
        self.assertEqual(first.value("one.random() == two.random()"), "False")
        self.assertEqual(self.kernel.value("one.random() == two.random()"), "True")

    @unittest.skipIf(numpy is None, "numpy is not there")
    def test_numpy(self):
        make = "import numpy as np; np.random.seed(3); rng = np.random.default_rng(4); old = np.random.RandomState(5); kinds = [np.random.Generator(k(6)) for k in (np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64)]; philox = kinds[1]; sfc = kinds[2]; mt = kinds[0]"
        draw = "[float(x) for x in (np.random.random(), rng.random(), old.random_sample(), philox.random(), sfc.random(), mt.random())]"
        seen = []
        for _ in range(2):
            kernel = self.box.fork()
            kernel.run(make)
            snapshot = kernel.branch("snapshot")
            branches = kernel.branches("session", "session")
            seen.append([one.value(draw) for one in (*branches, kernel, snapshot.branch("successor"))])
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(seen[0][2], seen[0][3])
        draws = [eval(text) for text in seen[0][:3]]
        for column in zip(*draws):
            self.assertEqual(len(set(column)), 3, column)

    def test_what_session_code_has_put_in_place_of_random(self):
        for code in (
            "import random; random.getstate = None",
            "import random; random.setstate = None",
            "import random; random.seed = None",
            "import random; del random.setstate, random.Random",
            "import sys, types; sys.modules['random'] = types.ModuleType('random')",
            "import sys, types; m = sys.modules['numpy.random'] = types.ModuleType('numpy.random')",
            "import sys; sys.modules['random'] = 1",
            "import random\nclass Evil(random.Random):\n    def getstate(self): raise ZeroDivisionError\n    def seed(self, *a): pass\nevil = Evil()",
            "import random\nown = random.Random(); own.seed = None; own.getstate = None",
        ):
            with self.subTest(code):
                kernel = self.box.fork()
                self.assertEqual(kernel.run(code).status, "ok")
                for role in ("session", "successor"):
                    self.assert_works(kernel.branch(role))
                self.assert_works(kernel.branch("snapshot").branch("successor"))
                self.assert_works(kernel)

    def test_temporary_names(self):
        self.run_ok("import tempfile; tempfile.mkdtemp()")
        kernels = [*self.kernel.branches("session", "session"), self.kernel]
        names = [kernel.value("tempfile.mkdtemp()") for kernel in kernels]
        self.assertEqual(len({name.rsplit("/", 1)[1] for name in names}), 3)
        self.assertEqual(len({name.rsplit("/", 1)[0] for name in names}), 3)

    def test_temporary_folders_are_each_branchs_own(self):
        kernel = self.box.fork()
        where = "import os, tempfile; os.environ['TMPDIR'], tempfile.gettempdir()"
        outer = str(self.box.temporary)
        kernel.run(where)
        branch = kernel.branch()
        below = branch.branch()
        self.assertEqual(kernel.value(where), repr((outer, outer)))
        for one in (branch, below):
            folder, used = eval(one.value(where))
            self.assertEqual(folder, used)
            self.assertTrue(folder.startswith(outer + "/branch-"), folder)
            self.assertEqual(one.value("oct(os.stat(os.environ['TMPDIR']).st_mode)"), "'0o40700'")
        self.assertNotEqual(branch.value(where), below.value(where))
        for role in ("successor", "snapshot"):
            same = kernel.branch(role)
            same = same.branch("successor") if role == "snapshot" else same
            self.assertEqual(same.value(where), repr((outer, outer)))

    def test_uuids_and_secrets(self):
        self.run_ok("import secrets, uuid, os")
        kernels = [*self.kernel.branches("session", "successor"), self.kernel]
        for code in ("uuid.uuid4()", "secrets.token_hex(8)", "os.urandom(8)"):
            self.assertEqual(len({kernel.value(code) for kernel in kernels}), 3)


class OutputTest(BranchTest):
    def test_what_is_buffered_is_written_once(self):
        run = self.run_ok("import sys; print('a', end=''); sys.stdout.buffer.write(b'b'); sys.stderr.write('c'); open_file = open('f', 'w'); open_file.write('x' * 10); None")
        branches = self.kernel.branches("session", "successor")
        self.assertEqual((run.stdout, run.stderr), ("ba", "c"))
        for kernel in branches:
            run = kernel.run("print('own')")
            self.assertEqual((run.stdout, run.stderr, kernel.stdout.late), ("own\n", "", b""))
        self.assertEqual(self.kernel.run("print('parent')").stdout, "parent\n")

    def test_c_streams(self):
        self.run_ok("import ctypes; libc = ctypes.CDLL(None); libc.printf(b'from C')")
        kernel = self.branch()
        self.assertEqual(kernel.run("libc.printf(b'branch'); None").stdout, "branch")
        self.assertEqual(self.run_ok("libc.printf(b'parent'); None").stdout, "parent")

    def test_goes_to_ones_own_streams(self):
        kernel = self.branch()
        ours, theirs = self.kernel.start("import time\nfor i in range(50): print('parent', i, flush=True); time.sleep(0.002)"), kernel.start("import time\nfor i in range(50): print('branch', i, flush=True); time.sleep(0.002)")
        self.assertEqual(ours.wait().stdout, "".join(f"parent {i}\n" for i in range(50)))
        self.assertEqual(theirs.wait().stdout, "".join(f"branch {i}\n" for i in range(50)))

    def test_fresh_streams_after_something_went_on(self):
        run = self.kernel.run("import subprocess; p = subprocess.Popen('read x; echo late', shell=True, stdin=subprocess.PIPE)")
        self.assertTrue(run.done["lingering"])
        kernel = self.branch()
        # The parent's process still writes to the parent's streams, and the branch holds none of them open.
        self.assertEqual(kernel.run("print('fresh')", fresh_streams=True).stdout, "fresh\n")
        self.kernel.run("p.communicate(b'x\\n')", fresh_streams=True)
        wait_until(lambda: (self.box._pump(0.0, True), b"late" in self.kernel.left[0][0].everything)[1], "the late output")
        self.assertEqual(kernel.stdout.late, b"")

    def test_no_descriptor_is_shared_but_what_the_session_opened(self):
        held = self.run_ok("import os; r, w = os.pipe(); os.close(r); f = open('held', 'w'); [w, f.fileno()]").text
        listing = "sorted(fd for fd in map(int, os.listdir('/proc/self/fd')) if os.path.exists(f'/proc/self/fd/{fd}'))"
        inode = "{fd: os.stat(fd).st_ino for fd in map(int, os.listdir('/proc/self/fd')) if os.path.exists(f'/proc/self/fd/{fd}') and not os.readlink(f'/proc/self/fd/{fd}').startswith(('/dev/null', '/proc'))}"
        before = self.kernel.value(listing)
        kernel = self.branch()
        self.assertEqual(self.kernel.value(listing), before)
        ours, theirs = eval(self.kernel.value(inode)), eval(kernel.value(inode))
        self.assertEqual({fd for fd in ours if ours[fd] == theirs.get(fd)}, set(eval(held)))
        self.assertFalse(set(theirs.values()) & {ino for fd, ino in ours.items() if fd not in eval(held)})

    def test_a_hundred_leave_no_descriptor_behind(self):
        count = "import os; len(os.listdir('/proc/self/fd'))"
        before = self.kernel.value(count)
        for _ in range(10):
            for kernel in self.kernel.branches(*["snapshot"] * 10):
                kernel.signal(signal.SIGKILL, "tree")
                kernel.wait_exit()
        self.assertEqual(self.kernel.value(count), before)
        below = self.kernel.branch("successor")
        for _ in range(20):
            below = below.branch("successor")
        self.assertEqual(below.value(count), before)

    def test_closed_and_replaced_streams(self):
        for code in ("import os; os.close(1); os.close(2)", "import sys; sys.stdout = None", "import sys, io; sys.stdout = io.StringIO()", "import sys; sys.stdout.close()", "import os\nfor fd in range(3, 900):\n    try: os.close(fd)\n    except OSError: pass"):
            with self.subTest(code):
                kernel = self.box.fork()
                if kernel.start(code).wait().status == "ok":
                    branch = kernel.branch("successor")
                    self.assertEqual(branch.run("print('still')").stdout, kernel.run("print('still')").stdout)


class ProcessTest(BranchTest):
    def test_each_is_a_process_of_its_own(self):
        self.run_ok("import os, threading, signal")
        kernel = self.branch()
        facts = "os.getpid(), threading.get_native_id(), os.getsid(0), os.getpgrp(), os.getppid()"
        pid, thread, session, group, parent = eval(kernel.value(facts))
        self.assertEqual({pid, thread, session, group}, {kernel.pid})
        self.assertEqual(parent, self.box.process.pid)
        self.assertEqual(self.kernel.value("os.getpid() == threading.get_native_id()"), "True")
        self.assertEqual(kernel.value("threading.main_thread() is threading.current_thread()"), "True")

    def test_no_child_is_seen_that_was_not_made(self):
        self.run_ok("import os")
        kernels = [*self.kernel.branches("session", "snapshot"), self.kernel]
        kernels[1] = kernels[1].branch("successor")
        for kernel in kernels:
            self.assertEqual(kernel.run("os.wait()").error["type"], "ChildProcessError")
            self.assertEqual(kernel.run("os.waitpid(-1, os.WNOHANG)").error["type"], "ChildProcessError")

    def test_no_child_is_seen_after_the_double_fork_either(self):
        self.run_ok(THREAD)
        kernels = [*self.kernel.branches("session", "snapshot"), self.kernel]
        kernels[1] = kernels[1].branch("successor")
        for kernel in kernels:
            self.assertEqual(kernel.run("import os; os.wait()").error["type"], "ChildProcessError")
            self.assert_works(kernel)
        self.assertEqual(self.kernel.value("t.is_alive()"), "True")
        self.assertEqual(kernels[0].value("t.is_alive(), threading.active_count(), threading.get_native_id() == os.getpid()"), "(False, 1, True)")
        self.assertEqual(int(kernels[0].value("os.getppid()")), self.box.process.pid)

    def test_with_native_threads(self):
        run = self.kernel.run("import ctypes, os; libc = ctypes.CDLL(None)\nthread = ctypes.c_ulong()\nlibc.pthread_create(ctypes.byref(thread), None, ctypes.cast(libc.pause, ctypes.c_void_p), None), len(os.listdir('/proc/self/task'))")
        self.assertEqual(run.text, "(0, 2)")
        for role in ("session", "successor"):
            kernel = self.branch(role)
            self.assertEqual(kernel.value("len(os.listdir('/proc/self/task'))"), "1")
            self.assert_works(kernel)
            self.assert_works(kernel.branch())
        self.assertEqual(self.kernel.value("len(os.listdir('/proc/self/task'))"), "2")

    def test_signals_reach_the_one_they_are_sent_to(self):
        self.run_ok("import os, signal; got = []; signal.signal(signal.SIGUSR1, lambda *_: got.append(os.getpid()))")
        kernel = self.branch()
        for one in (kernel, self.kernel):
            run = one.run("signal.raise_signal(signal.SIGUSR1); os.kill(os.getpid(), signal.SIGUSR1); signal.pthread_kill(__import__('threading').get_ident(), signal.SIGUSR1); set(got) == {os.getpid()}, len(got)")
            self.assertEqual(run.text, "(True, 3)", run.error)

    def test_locks_threads_and_pools_work(self):
        self.run_ok("import threading, queue, concurrent.futures as f; lock = threading.Lock(); rlock = threading.RLock(); rlock.acquire(); event = threading.Event()")
        for kernel in (self.branch(), self.branch("snapshot").branch("successor")):
            code = """
import sys
q = queue.Queue()
def work():
    with lock: q.put(threading.get_native_id())
ts = [threading.Thread(target=work) for _ in range(3)]
with lock:
    for t in ts: t.start()
for t in ts: t.join()
rlock.acquire(); rlock.release(); rlock.release()
with f.ThreadPoolExecutor(2) as pool: squares = list(pool.map(lambda n: n * n, range(4)))
q.qsize(), squares, threading.active_count()
"""
            self.assertEqual(kernel.run(code).text, "(3, [0, 1, 4, 9], 1)")

    def test_a_lock_that_a_thread_held_is_still_held(self):
        self.run_ok("import threading\nlock = threading.Lock(); held = threading.Event(); stop = threading.Event()\ndef hold():\n    with lock: held.set(); stop.wait()\nt = threading.Thread(target=hold, daemon=True); t.start(); held.wait(); None")
        kernel = self.branch()
        self.assertEqual(kernel.value("lock.acquire(timeout=0.05)"), "False")
        run = kernel.start("print('on', flush=True); lock.acquire()").wait_output("on")
        kernel.interrupt(run)
        self.assertEqual(run.wait().status, "interrupted")
        self.assert_works(kernel)

    def test_processes_can_be_started(self):
        self.run_ok("import subprocess, multiprocessing as mp, os\ndef double(n): return 2 * n")
        for kernel in (self.branch(), self.branch("snapshot").branch("successor")):
            self.assertEqual(kernel.run("subprocess.run(['echo', 'hello']).returncode, os.system('exit 3') >> 8").stdout, "hello\n")
            for method in ("fork", "spawn"):
                run = kernel.run(f"with mp.get_context('{method}').Pool(2) as pool: doubled = pool.map(double, range(3))\ndoubled", 60)
                self.assertEqual(run.text, "[0, 2, 4]", run.error)
            run = kernel.run("pid = os.fork()\nif pid == 0: os._exit(7)\nos.waitpid(pid, 0)[1] >> 8")
            self.assertEqual(run.text, "7")

    def test_a_child_that_falls_through_answers_nothing(self):
        kernel = self.branch()
        run = kernel.run("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\npid == 0")
        self.assertEqual(run.text, "False")
        self.assertEqual(len(run.of("done")), 1)
        self.assert_works(kernel)

    def test_processes_stay_the_parents(self):
        self.run_ok("import subprocess; p = subprocess.Popen(['sleep', '600'])")
        child = int(self.kernel.value("p.pid"))
        kernel = self.branch()
        kernel.signal(signal.SIGKILL, "tree")
        kernel.wait_exit()
        self.assertTrue(alive(child))
        self.assertEqual(self.kernel.value("repr(p.poll())"), "'None'")

    def test_interrupts_reach_the_right_one(self):
        kernels = [self.kernel, *self.kernel.branches("session", "session")]
        code = "print('on', flush=True)\nimport time\nwhile True: time.sleep(0.01)"
        runs = [kernel.start(code).wait_output("on") for kernel in kernels]
        for number in (1, 0, 2):
            kernels[number].interrupt(runs[number])
            self.assertEqual(runs[number].wait().status, "interrupted")
            self.assertEqual([bool(run.of("done")) for run in runs].count(True), {1: 1, 0: 2, 2: 3}[number])
        for kernel in kernels:
            self.assert_works(kernel)

    def test_an_interrupt_of_the_parent_is_none_of_the_branch(self):
        kernel = self.branch()
        self.kernel.name_interrupt("exec_nobody")
        self.kernel.signal(signal.SIGINT, "started")
        kernel.signal(signal.SIGINT, "kernel")
        for one in (kernel, self.kernel, kernel.branch()):
            self.assert_works(one)

    def test_usage_is_that_of_the_one(self):
        self.run_ok("held = bytearray(50_000_000)")
        kernel = self.branch()
        run = kernel.run("sum(range(10 ** 6))")
        self.assertGreater(run.done["cpu_ms"], 0)
        self.assertGreaterEqual(run.done["duration_ms"], run.done["cpu_ms"] * 0.5)
        peak = kernel.run("more = bytearray(80_000_000)").done["peak_memory_bytes"]
        # It begins with all that there was, and takes a few pages for itself.
        self.assertGreater(peak + 1_000_000, kernel.run("del more").done["peak_memory_bytes"])
        self.assertGreater(peak, self.kernel.run("1").done["peak_memory_bytes"] + 40_000_000)


class OrphansTest(BranchTest):
    def test_beside_a_snapshot_belong_to_their_kernel(self):
        snapshot = self.branch("snapshot")
        detached = int(self.run_ok(DETACHED).text)
        self.branch("snapshot")
        snapshot.signal(signal.SIGKILL, "tree")
        snapshot.wait_exit()
        self.assertTrue(alive(detached))
        self.kernel.running.began -= 1
        self.kernel.signal(signal.SIGKILL, "leftover")
        wait_until(lambda: not alive(detached), "the end of what it left behind")
        self.assert_alive()

    def test_from_before_a_branch_belong_to_the_parent(self):
        detached = int(self.run_ok(DETACHED).text)
        started = int(Path(f"/proc/{detached}/stat").read_text().rpartition(")")[2].split()[19])
        # The machine tells beginnings in ticks.
        wait_until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") > started + 2, "the next tick")
        session = self.branch()
        session.signal(signal.SIGKILL, "tree")
        session.wait_exit()
        self.assertTrue(alive(detached))
        beside = self.branch()
        self.kernel.signal(signal.SIGKILL, "tree")
        self.kernel.wait_exit()
        wait_until(lambda: not alive(detached), "the orphan's end")
        self.assert_works(beside)

    def test_of_unknown_origin_are_spared(self):
        session = self.branch()
        detached = int(session.run(DETACHED).text)
        self.kernel.signal(signal.SIGKILL, "tree")
        self.kernel.wait_exit()
        self.assertTrue(alive(detached))
        session.signal(signal.SIGKILL, "tree")
        wait_until(lambda: not alive(detached), "the orphan's end")


class AdoptionTest(BranchTest):
    def adopt(self, pid: int) -> dict:
        name = f"adopted-{len(self.box.reports)}"
        self.box.send({"type": "adopt", "kernel": name, "pid": pid, "paused": False})
        self.box.kernels[name] = Kernel(self.box, name, "/", {})
        told = lambda: [r for r in self.box.reports if r["type"] in ("fault", "exited") and r["kernel"] == name]  # noqa: E731
        self.box.pump_until(told, "the supervisor's answer")
        return told()[0]

    def test_of_a_process_that_is_no_branch_is_refused(self):
        child = int(self.run_ok("import subprocess; p = subprocess.Popen(['sleep', '600']); p.pid").text)
        # Nobody's child of the supervisor: as good as ended.
        for pid in (child, os.getpid(), 1, 0, -1, 2**40):
            report = self.adopt(pid)
            self.assertEqual((report["type"], report.get("code"), report.get("signal")), ("exited", None, None), pid)
        for pid in (self.kernel.pid, self.branch().pid):
            self.assertEqual(self.adopt(pid)["type"], "fault", pid)
        self.assertTrue(alive(child))
        self.assert_alive()

    def test_twice_under_a_name_is_refused(self):
        session = self.branch()
        before = len([r for r in self.box.reports if r["type"] == "fault"])
        self.box.send({"type": "adopt", "kernel": session.name, "pid": session.pid, "paused": False})
        self.box.pump_until(lambda: len([r for r in self.box.reports if r["type"] == "fault"]) > before, "a fault")
        self.assert_works(session)

    def test_a_refused_name_ends_nobody(self):
        name = f"adopted-{len(self.box.reports)}"
        self.adopt(self.kernel.pid)
        self.box.send({"type": "signal", "kernel": name, "signal": 9, "target": "tree", "since_ms": 0, "request": 10**9})
        self.box.pump_until(lambda: any(r.get("request") == 10**9 for r in self.box.reports), "the answer to the signal")
        self.assert_alive()


class TasksTest(BranchTest):
    def test_go_on_in_both(self):
        self.run_ok(
            """
            import asyncio
            ticks = []
            async def tick():
                while True:
                    ticks.append(len(ticks)); await asyncio.sleep(0.001)
            task = asyncio.ensure_future(tick())
            await asyncio.sleep(0.01)
            """
        )
        kernel = self.branch()
        self.assertEqual([one["kind"] for one in self.kernel.branched["unsafe"]], [])
        for one in (kernel, self.kernel):
            run = one.run("n = len(ticks); await asyncio.sleep(0.05); len(ticks) > n, task.done(), ticks == list(range(len(ticks)))")
            self.assertEqual(run.text, "(True, False, True)", run.error)
        kernel.run("task.cancel()")
        self.assertEqual(kernel.value("await asyncio.sleep(0.01); task.cancelled()"), "True")
        self.assertEqual(self.kernel.value("await asyncio.sleep(0.01); task.cancelled()"), "False")

    def test_selectors_do_not_share_their_wakes(self):
        # An event loop's epoll descriptor would be one for both.
        self.run_ok(
            """
            import asyncio, os, socket
            ours, theirs = socket.socketpair()
            ours.setblocking(False); theirs.setblocking(False)
            got = []
            async def read():
                loop = asyncio.get_running_loop()
                while True: got.append(await loop.sock_recv(ours, 10))
            task = asyncio.ensure_future(read())
            await asyncio.sleep(0.01)
            """
        )
        kernel = self.branch()
        kernel.run("task.cancel(); await asyncio.sleep(0.01); ours.close(); theirs.close()")
        run = self.run_ok("theirs.send(b'x'); await asyncio.sleep(0.1); got")
        self.assertEqual(run.text, "[b'x']")
        run = kernel.run("reader, writer = socket.socketpair(); reader.setblocking(False)\nwriter.send(b'y'); await asyncio.get_running_loop().sock_recv(reader, 1)")
        self.assertEqual(run.text, "b'y'", run.error)

    def test_threads_of_the_loop_work(self):
        self.run_ok("import asyncio, time\nawait asyncio.get_running_loop().run_in_executor(None, time.sleep, 0)")
        kernel = self.branch()
        for one in (kernel, self.kernel):
            run = one.start("await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, lambda: 5), 5)").wait()
            self.assertEqual(run.text, "5", run.error)

    def test_subprocesses_of_the_loop_work(self):
        self.run_ok("import asyncio\nasync def echo():\n    p = await asyncio.create_subprocess_exec('echo', 'hi', stdout=asyncio.subprocess.PIPE)\n    return (await p.communicate())[0]\nawait echo()")
        kernel = self.branch()
        for one in (kernel, self.kernel):
            run = one.run("await asyncio.wait_for(echo(), 10)")
            self.assertEqual(run.text, "b'hi\\n'", run.error)

    def test_a_snapshot_runs_none(self):
        self.run_ok("import asyncio, os\nasync def mark():\n    await asyncio.sleep(0.05); open(f'mark-{os.getpid()}', 'w').close()\ntask = asyncio.ensure_future(mark()); await asyncio.sleep(0)")
        snapshot = self.branch("snapshot")
        wait_until(lambda: (self.box.work / f"mark-{self.kernel.pid}").exists(), "the parent's task")
        successor = snapshot.branch("successor")
        wait_until(lambda: (self.box.work / f"mark-{successor.pid}").exists(), "the successor's task")
        self.assertFalse((self.box.work / f"mark-{snapshot.pid}").exists())


class UnsafeTest(BranchTest):
    def assert_unsafe(self, code: str, *found: tuple) -> None:
        self.run_ok(code)
        self.assertEqual(self.unsafe("refuse"), list(found))
        self.assertEqual((self.kernel.branched["pids"], self.kernel.branched["error"]["code"]), ([], "unsafe_fork"))
        for _, variable in found:
            if variable is not None:
                self.assertIn(f"`{variable}`", self.kernel.branched["error"]["message"])
        self.assertEqual(self.unsafe("warn"), list(found))
        self.assertIsNone(self.kernel.branched["error"])
        self.assertEqual(len(self.kernel.branched["pids"]), 1)
        self.assert_alive()

    def test_a_thread_in_a_list(self):
        self.assert_unsafe(THREAD + "\nworkers = [t]; del t", ("thread", "workers"))
        self.assertIn("worker-1", self.kernel.branched["unsafe"][0]["what"])

    def test_a_thread_that_no_variable_holds(self):
        self.assert_unsafe("import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()", ("thread", None))

    def test_a_socket_in_an_attribute(self):
        self.assert_unsafe("import socket\nclass Holder: pass\nholder = Holder(); holder.inner = socket.create_server(('127.0.0.1', 0))", ("socket", "holder"))
        self.assertIn("listening at 127.0.0.1:", self.kernel.branched["unsafe"][0]["what"])

    def test_a_connection(self):
        self.assert_unsafe("import socket; server = socket.create_server(('127.0.0.1', 0)); client = socket.create_connection(server.getsockname()); peer = server.accept()[0]; server.close()", ("socket", "client"), ("socket", "peer"))

    def test_an_http_client(self):
        self.assert_unsafe(
            """
            import http.client, socket
            server = socket.create_server(('127.0.0.1', 0))
            client = http.client.HTTPConnection('127.0.0.1', server.getsockname()[1]); client.connect()
            server.close(); del server
            """,
            ("socket", "client"),
        )

    def test_a_process(self):
        self.assert_unsafe("import subprocess; jobs = {'sleep': subprocess.Popen(['sleep', '600'])}", ("process", "jobs"))
        self.assert_alive()

    def test_a_pool_of_processes(self):
        self.run_ok("import multiprocessing as mp; pool = mp.get_context('fork').Pool(2)")
        found = self.unsafe()
        self.assertEqual({kind for kind, _ in found}, {"thread", "process"})
        self.assertIn(("process", "pool"), found)

    def test_a_pool_of_threads(self):
        self.assert_unsafe("from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1); pool.submit(int).result()", ("thread", "pool"))

    def test_what_is_safe(self):
        self.run_ok(
            """
            import asyncio, os, queue, socket, sqlite3, subprocess, threading
            pair, lock, q = socket.socketpair(), threading.Lock(), queue.Queue()
            database = sqlite3.connect(':memory:'); file = open('held', 'w'); pipe = os.pipe()
            done = threading.Thread(target=int); done.start(); done.join()
            ended = subprocess.run(['true']); closed = socket.socket(); closed.close()
            waited = subprocess.Popen(['true']); waited.wait()
            task = asyncio.ensure_future(asyncio.sleep(600)); await asyncio.sleep(0)
            """
        )
        self.assertEqual(self.unsafe("refuse"), [])

    def test_many_are_bounded(self):
        self.run_ok("import threading\nstop = threading.Event()\nts = [threading.Thread(target=stop.wait, name='t' * 10_000, daemon=True) for _ in range(200)]\nfor t in ts: t.start()")
        self.assertEqual(len(self.unsafe()), 50)
        self.assertTrue(all(len(one["what"]) <= 500 for one in self.kernel.branched["unsafe"]))
        self.run_ok("stop.set()\nfor t in ts: t.join()")
        self.assertEqual(self.unsafe(), [])

    def test_no_code_of_the_variables_is_run(self):
        self.run_ok(
            """
            ran = []
            def trap(self, *_): ran.append(1); raise ZeroDivisionError
            class Evil(list):
                __class__ = property(trap)
                __getattr__ = __getattribute__ = __iter__ = __len__ = __eq__ = __hash__ = __bool__ = __repr__ = trap
            class Pid:
                pid = property(trap); _ident = property(trap)
            evil, pid = Evil([1]), Pid()
            deep = []
            for _ in range(10_000): deep = [deep]
            wide = [[n] for n in range(100_000)]
            cyclic = {}; cyclic['self'] = cyclic
            import threading; stop = threading.Event(); t = threading.Thread(target=stop.wait, daemon=True); t.start()
            """
        )
        self.assertEqual(self.unsafe("warn"), [("thread", "t")])
        self.assertEqual(self.kernel.value("ran"), "[]")

    def test_what_session_code_has_put_in_place(self):
        for code in (
            "import threading; threading._active = None",
            "import threading; threading._active['x'] = object()",
            "import threading; threading._active[1] = threading.Thread(); threading._active[1]._name = 5",
            "import sys; sys.modules['threading'] = 3",
            "import socket; socket.socket = None",
            "globals()[5] = 1",
            "import os; os.listdir = os.readlink = None",
            "import builtins; del builtins.open, builtins.int, builtins.map",
        ):
            with self.subTest(code):
                kernel = self.box.fork()
                self.assertEqual(kernel.run(code).status, "ok")
                self.assertEqual(len(kernel.branches("session", on_unsafe="warn")), 1, kernel.branched)
                self.assertIn("1", kernel.run("1").text)

    def test_a_refusal_costs_nothing(self):
        self.run_ok(THREAD)
        fds = self.kernel.value("import os; len(os.listdir('/proc/self/fd'))")
        for _ in range(5):
            self.assertEqual(self.unsafe("refuse"), [("thread", "t")])
        self.assertEqual(self.kernel.value("len(os.listdir('/proc/self/fd'))"), fds)
        self.run_ok("stop.set(); t.join()")
        self.assertEqual(self.unsafe("refuse"), [])


class HostileTest(BranchTest):
    def assert_forks(self, code: str, roles: tuple = ("session", "successor", "snapshot")) -> None:
        """It forks whatever this code has done, and all go on."""
        kernel = self.box.fork()
        run = kernel.run(code)
        self.assertEqual(run.status, "ok", run.error)
        self.assertEqual(kernel.run("6 * 7").text, "42")
        for role in roles:
            made = kernel.branches(role)
            self.assertEqual(len(made), 1, kernel.branched)
            branch = made[0].branch("successor") if role == "snapshot" else made[0]
            self.assertEqual(branch.run("6 * 7").text, "42", role)
            self.assertEqual(kernel.run("6 * 7").text, "42", role)

    def test_broken_modules_and_builtins(self):
        for code in (
            "import os\nfor name in ('setsid', 'getpid', 'fork', 'makedirs', 'close', 'open', 'environ', 'path', '_exit', 'listdir'): setattr(os, name, None)",
            "import tempfile; tempfile.tempdir = 5; tempfile.gettempdir = None",
            "import sys; sys.modules['tempfile'] = 5",
            "import builtins; builtins.__import__ = None",
            "import sys; sys.meta_path.clear(); sys.path.clear(); sys.path_hooks.clear(); sys.path_importer_cache.clear()",
            "import sys\nfor name in list(sys.modules):\n    if 'execute_code_kernel' in name or name in ('os', 'random', 'hashlib', 'ctypes', 'warnings', 'threading', 'signal'): del sys.modules[name]",
            "import sys\nclass Finder:\n    def find_spec(self, *_): raise ZeroDivisionError\nsys.meta_path.insert(0, Finder())",
            "import builtins\nfor name in ('len', 'list', 'int', 'type', 'print', 'getattr', 'isinstance', 'sorted', 'range', 'map', 'open', 'OSError', 'Exception'): delattr(builtins, name)",
            "import ctypes; ctypes.CDLL = ctypes.PyDLL = ctypes.c_long = ctypes.c_ulong = ctypes.pythonapi = None",
            "import warnings; warnings.catch_warnings = warnings.simplefilter = None",
            "import hashlib; hashlib.sha256 = None; import random",
            "import signal; signal.signal = signal.pthread_sigmask = None",
            "import sys; sys.setprofile(lambda *_: None)",
            "import sys; sys.settrace(lambda *_: None)",
            "import gc; gc.disable(); gc.set_threshold(1)",
            "import os; os.environ.clear()",
            "import os; os.environ['TMPDIR'] = '/nowhere/\\udcff'",
            "import os; os.environb[b'TMPDIR'] = b'relative'",
            "import os; os.environ['TMPDIR'] = '/dev/null'",
            "import os; os.umask(0o777)",
            "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
            "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
            "import sys; sys.addaudithook(lambda event, _: 1 / 0 if event in ('os.fork', 'os.setsid', 'ctypes.dlsym', 'import') else None)",
            "import warnings; warnings.simplefilter('error')",
            "import sys; sys.setswitchinterval(100)",
            "globals().clear()",
        ):
            with self.subTest(code):
                self.assert_forks(code)

    def test_the_same_beside_a_thread(self):
        for code in (
            "import os\nfor name in ('setsid', 'getpid', 'fork', 'makedirs', 'close', 'open', 'environ', '_exit', 'listdir', 'pipe', 'read', 'waitpid'): setattr(os, name, None)",
            "import warnings; warnings.catch_warnings = warnings.simplefilter = None",
            "import warnings; warnings.simplefilter('error')",
            "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        ):
            with self.subTest(code):
                self.assert_forks(f"{THREAD}\n{code}")

    def test_hooks_of_forks_that_raise_or_print(self):
        for code in ("1 / 0", "print('hook', flush=True)", "raise SystemExit(3)", "raise KeyboardInterrupt", "raise MemoryError"):
            for place in ("before", "after_in_parent", "after_in_child"):
                for threads in ("", THREAD + "\n"):
                    with self.subTest(code=code, place=place, threads=bool(threads)):
                        self.assert_forks(f"{threads}import os\ndef hook(): {code}\nos.register_at_fork({place}=hook); None")

    def test_hooks_of_forks_that_exit(self):
        for place in ("before", "after_in_parent"):
            with self.subTest(place):
                kernel = self.box.fork()
                kernel.run(f"import os; os.register_at_fork({place}=lambda: os._exit(5)); None")
                kernel.start_branches("session")
                self.assertEqual(kernel.wait_exit()["code"], 5)
        kernel = self.box.fork()
        kernel.run("import os; os.register_at_fork(after_in_child=lambda: os._exit(5)); None")
        (branch,) = kernel.start_branches("session")
        self.assertIn(branch.wait_exit()["code"], (5, None))
        self.assertEqual(kernel.run("1").text, "1")

    def test_hooks_of_forks_that_hang_beside_a_thread(self):
        kernel = self.box.fork()
        kernel.run(THREAD + "\nimport os, time; x = 1; os.register_at_fork(after_in_child=lambda: time.sleep(600)); None")
        kernel.start_branches("session")
        kernel.box.pump_until(lambda: kernel.branched is not None, "the answer", 2 * DEADLINE)
        self.assertEqual(kernel.branched["error"]["code"], "fork_failed")
        self.assertEqual(kernel.value("x, t.is_alive()"), "(1, True)")

    def test_finalizers(self):
        self.assert_forks(
            """
import gc, os
class Evil:
    def __init__(self): self.me = self
    def __del__(self): print('gone', flush=True); raise ZeroDivisionError
for _ in range(100): Evil()
evil = Evil(); gc.set_threshold(1)
"""
        )

    def test_exit_functions_are_not_run_by_a_fork(self):
        self.assert_forks("import atexit, os; atexit.register(lambda: open('exited', 'w').close())")
        kernel = self.box.fork()
        kernel.run("import atexit; atexit.register(lambda: open('exited', 'w').close())")
        for role in ("session", "snapshot"):
            branch = kernel.branch(role)
            branch.signal(signal.SIGKILL, "tree")
            branch.wait_exit()
        self.assertFalse((self.box.work / "exited").exists())

    def test_a_branch_that_cannot_begin_ends_and_nothing_is_lost(self):
        self.run_ok("x = 1")
        made = self.kernel.start_branches("session")
        os.unlink(made[0].stdout.path)
        self.box.pump_until(lambda: self.kernel.branched is not None, "the answer")
        # It may have opened its FIFO before.
        self.box.pump_until(lambda: made[0].socket is not None or made[0].exited is not None, "its hello or its end")
        self.assertEqual(self.kernel.value("x"), "1")

    def test_a_subreaper_of_the_sessions_own(self):
        kernel = self.box.fork()
        kernel.run("import ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); x = 1")
        self.assertEqual(kernel.branch().value("x"), "1")
        self.assertEqual(kernel.run("import os; os.wait()").error["type"], "ChildProcessError")

    def test_at_the_limit_of_processes(self):
        if os.getuid() == 0:
            self.skipTest("root has no such limit")
        kernel = self.box.fork()
        kernel.run("import resource, os; x = 1; resource.setrlimit(resource.RLIMIT_NPROC, (1, resource.getrlimit(resource.RLIMIT_NPROC)[1]))")
        self.assertEqual(kernel.branches("session"), [])
        self.assertEqual(kernel.branched["error"]["code"], "fork_failed")
        self.assertEqual(kernel.value("x"), "1")

    def test_out_of_memory(self):
        kernel = self.box.fork()
        kernel.run("import resource; x = 1; resource.setrlimit(resource.RLIMIT_DATA, (1, resource.getrlimit(resource.RLIMIT_DATA)[1]))")
        kernel.start_branches("session")
        kernel.box.pump_until(lambda: kernel.branched is not None, "the answer")
        kernel.run("resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))")
        self.assertEqual(kernel.value("x"), "1")
        self.assertEqual(kernel.branch().value("x"), "1")

    def test_no_descriptors_left(self):
        kernel = self.box.fork()
        kernel.run("import resource, os; x = 1; soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\nheld = []\ntry:\n    while True: held.append(os.open('/dev/null', os.O_RDONLY))\nexcept OSError: pass")
        kernel.start_branches("session")
        kernel.box.pump_until(lambda: kernel.branched is not None, "the answer")
        for branch in kernel._branching[: len(kernel.branched["pids"])]:
            kernel.box.pump_until(lambda: branch.socket is not None or branch.exited is not None, "the branch")  # noqa: B023
        kernel.run("for fd in held: os.close(fd)")
        self.assertEqual(kernel.value("x"), "1")
        self.assertEqual(kernel.branch().value("x"), "1")


if __name__ == "__main__":
    unittest.main()
