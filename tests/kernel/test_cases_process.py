"""Processes of session code: forks wherever they happen, multiprocessing, subprocesses, and nothing left over."""

from __future__ import annotations

import os
import sys
import unittest
from pathlib import Path

from harness import Deadline, KernelTest, alive, descendants, wait_until


class ForkTest(KernelTest):
    """A child that falls through, from wherever it was forked, never answers and never takes a request."""

    def assert_one_answer(self, run) -> None:
        # What a second kernel would send, it sends by the time this one has answered more.
        for number in range(3):
            self.assertEqual(self.kernel.run(f"import os; os.getpid(), {number}").text, f"({self.kernel.pid}, {number})")
        self.assertEqual(len([f for f in self.kernel.frames if f["type"] == "done" and f["id"] == run.id]), 1)
        self.assert_alive()

    FORK = "pid = os.fork()\n{0}if pid: os.waitpid(pid, 0)\n"

    def test_in_the_cell(self):
        for code in (
            "{fork}",
            "def f():\n    def g():\n        {fork_in_f}        return pid\n    return g()\nf()",
            "for _ in range(3):\n    {fork_in}",
            "with open('/dev/null') as f:\n    {fork_in}",
            "try: 1/0\nexcept ZeroDivisionError:\n    {fork_in}",
            "try:\n    {fork_in}finally: x = 1",
            "class A:\n    {fork_in}",
            "exec('''{fork}''')",
            "def g():\n    {fork_in}    yield pid\nlist(g())",
            "[os.waitpid(p, 0) if p else 0 for p in [os.fork()]]",
            "os.waitpid(p, 0) if (p := os.fork()) else 'value'",
            "pid, fd = os.forkpty()\nif pid: os.waitpid(pid, 0); os.close(fd)",
            "import pty\npid, fd = pty.fork()\nif pid: os.waitpid(pid, 0); os.close(fd)",
            "import ctypes\npid = ctypes.CDLL(None).fork()\nif pid: os.waitpid(pid, 0)",
            "a = os.fork(); b = os.fork()\ntry:\n    while True: os.wait()\nexcept ChildProcessError: pass",
        ):
            code = code.format(fork=self.FORK.format(""), fork_in=self.FORK.format("    "), fork_in_f=self.FORK.format("        "))
            run = self.run_ok("import os\n" + code)
            self.assert_one_answer(run)

    def test_with_an_error(self):
        for code, status in (
            ("1/0", 1),
            ("raise SystemExit(3)", 3),
            ("raise SystemExit", 0),
            ("raise SystemExit('why')", 1),
            ("raise SystemExit(True)", 1),
            ("raise SystemExit(256 + 7)", 7),
            ("raise KeyboardInterrupt", 1),
            ("class E(BaseException): pass\n    raise E", 1),
            ("os._exit(9)", 9),
            ("import sys; sys.exit(4)", 4),
            ("os.execvp('sh', ['sh', '-c', 'exit 5'])", 5),
        ):
            run = self.run_ok(f"import os\npid = os.fork()\nif pid == 0:\n    {code}\nos.waitpid(pid, 0)[1] >> 8")
            self.assertEqual(run.text, str(status), code)
            self.assert_one_answer(run)

    def test_in_the_parent_alone(self):
        self.kernel.start("import os\nif os.fork(): os._exit(5)\nprint('the child goes on')")
        self.assertEqual(self.kernel.wait_exit()["code"], 5)

    def test_in_threads_and_workers(self):
        self.run_ok("import _thread, os, threading, warnings\nwarnings.simplefilter('ignore')\ndone = threading.Event()\ndef f():\n    pid = os.fork()\n    if pid: os.waitpid(pid, 0)\n    return pid != 0")
        for code in (
            "t = threading.Thread(target=f); t.start(); t.join()",
            "t = threading.Thread(target=f, daemon=True); t.start(); t.join()",
            "_thread.start_new_thread(lambda: (f(), done.set()), ()); done.wait()",
        ):
            self.assert_one_answer(self.run_ok(code))
        # A worker's copy waits for work in the child: it has to be ended.
        run = self.run_ok("import asyncio, signal\nif pid := await asyncio.to_thread(os.fork): os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)")
        self.assert_one_answer(run)

    def test_in_tasks_of_the_cell(self):
        self.run_ok("import asyncio, os\nasync def f():\n    pid = os.fork()\n    if pid: os.waitpid(pid, 0)\n    await asyncio.sleep(0)\n    return pid != 0")
        for code in ("await f()", "await asyncio.ensure_future(f())", "await asyncio.gather(f(), f())", "asyncio.run(f())", "asyncio.get_running_loop().call_soon(os.fork); await asyncio.sleep(0.01)"):
            self.assert_one_answer(self.run_ok(code))

    def test_in_a_task_between_cells(self):
        for _ in range(6):
            self.kernel = self.box.fork()
            run = self.run_ok(
                """
                import asyncio, os
                async def f():
                    await asyncio.sleep(0.005)
                    for _ in range(4):
                        if os.fork() == 0: break
                    print('forked', flush=True)
                task = asyncio.ensure_future(f()); await asyncio.sleep(0)
                """
            )
            self.box.pump_until(lambda: self.kernel.stdout.everything.count(b"forked") == 5, "all of them")
            self.assert_one_answer(run)
            wait_until(lambda: not [pid for pid in descendants(self.kernel.pid) if alive(pid)], "the children's end")

    def test_in_callbacks_of_the_cells_values(self):
        fork = "        pid = os.fork()\n        if pid: os.waitpid(pid, 0)\n"
        self.run_ok("import os, sys, gc, weakref, signal")
        for code in (
            f"class R:\n    def __repr__(self):\n{fork}        return 'R'\nR()",
            f"class R:\n    def _repr_html_(self):\n{fork}        return '<b>'\nR()",
            f"class R:\n    def __repr__(self):\n{fork}        return 'R'\ndisplay(R())",
            f"class D:\n    def __del__(self):\n{fork}d = D()\ndel d",
            f"class D:\n    def __del__(self):\n{fork}sys.stdout = D()",
            f"class W:\n    def write(self, text): pass\n    def flush(self):\n{fork}sys.stdout = W()",
            f"class S:\n    def __call__(self, *_):\n{fork}signal.signal(signal.SIGUSR1, S()); os.kill(os.getpid(), signal.SIGUSR1)",
            f"class C:\n    def __call__(self, *_):\n        gc.callbacks.clear()\n{fork}gc.callbacks.append(C()); gc.collect();",
            f"class T:\n    def __call__(self, *_):\n        sys.setprofile(None)\n{fork}sys.setprofile(T()); len([])",
            f"class T:\n    def __call__(self, *_):\n        sys.settrace(None)\n{fork}sys.settrace(T()); (lambda: 1)();",
            f"class M(type):\n    def __new__(*a):\n{fork}        return type.__new__(*a)\nclass A(metaclass=M): pass",
        ):
            self.assert_one_answer(self.run_ok(code))

    def test_in_callbacks_of_an_error(self):
        fork = "        pid = os.fork()\n        if pid: os.waitpid(pid, 0)\n"
        self.run_ok("import os")
        for code in (
            f"class E(Exception):\n    def __str__(self):\n{fork}        return 'text'\nraise E",
            f"class E(Exception):\n    def __del__(self):\n{fork}raise E",
            f"class D:\n    def __del__(self):\n{fork}def f():\n    d = D(); 1/0\nf()",
            f"class E(Exception):\n    @property\n    def __traceback__(self):\n{fork}        return None\nraise E",
        ):
            run = self.kernel.run(code)
            self.assertEqual(run.status, "error")
            self.assert_one_answer(run)

    def test_in_the_next_error(self):
        # What the error before this one kept is let go while this one is described.
        self.run_ok("import os\nclass D:\n    def __del__(self):\n        pid = os.fork()\n        if pid: os.waitpid(pid, 0)\nclass E(Exception): pass")
        self.run_error("e = E(); e.d = D()\nraise e", "E")
        self.run_ok("e = None")
        run = self.run_error("1/0", "ZeroDivisionError")
        self.assert_one_answer(run)

    def test_children_that_outlive_their_cell(self):
        run = self.run_ok(
            """
            import os
            r, w = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(w); os.read(r, 1)
                print('much later')
            os.close(r)
            """
        )
        self.assertTrue(run.done["lingering"])
        self.assert_one_answer(run)
        self.run_ok("os.close(w); os.waitpid(pid, 0)")
        self.assertIn(b"much later\n", self.kernel.stdout.everything)
        self.assert_one_answer(run)

    def test_what_children_may_use(self):
        run = self.run_ok(
            """
            import os, sys, threading, subprocess, random, asyncio, logging, tempfile, json
            pid = os.fork()
            if pid == 0:
                print('text'); sys.stderr.write('error\\n')
                subprocess.run(['echo', 'process'])
                t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()
                asyncio.run(asyncio.sleep(0)); print('loop')
                display('shown'); ec.progress(1, 2)
                tempfile.mkstemp(); json.dumps([1])
                if os.fork() == 0: print('grandchild')
                else: os.wait(); print('last')
            if pid: os.waitpid(pid, 0)
            """
        )
        self.assertEqual(run.stdout.split("\n")[:-1], ["text", "process", "thread", "loop", "'shown'", "grandchild", "last"])
        self.assertEqual((run.stderr, [f["type"] for f in run.frames]), ("error\n", ["done"]))

    def test_pending_text_is_written_once(self):
        for start in ("print('pending', end='')", "sys.stdout.write('pending')", "sys.stderr.write('pending')", "sys.stdout.buffer.write(b'pending')", "ctypes.CDLL(None).printf(b'pending')", "for n in range(5000): print(n)\nprint('pending', end='')"):
            run = self.run_ok(f"import ctypes, os, sys\n{start}\npid = os.fork()\nif pid: os.waitpid(pid, 0)")
            self.assertEqual((run.stdout + run.stderr).count("pending"), 1, start)

    def test_a_childs_exit_text(self):
        run = self.run_ok("import os, sys\npid = os.fork()\nif pid == 0: sys.exit('the reason')\nos.waitpid(pid, 0);")
        self.assertEqual(run.stderr, "the reason\n")

    def test_random_numbers_and_names_differ(self):
        run = self.run_ok(
            """
            import os, random, secrets, tempfile, uuid
            random.random()
            r, w = os.pipe()
            def draw(): return repr([random.random(), uuid.uuid4(), uuid.uuid1(), secrets.token_hex(4), tempfile.mktemp(), os.urandom(4)])
            for _ in range(2):
                if os.fork() == 0:
                    os.write(w, (draw() + '\\n').encode()); os._exit(0)
                os.wait()
            mine = draw(); os.close(w)
            with open(r) as f: lines = [mine, *f.read().splitlines()]
            len(lines), [len(set(column)) for column in zip(*[l.split(', ') for l in lines])]
            """
        )
        self.assertEqual(run.text, "(3, [3, 3, 3, 3, 3, 3])")

    def test_locks_and_threads_around_a_fork(self):
        run = self.run_ok(
            """
            import logging, os, threading, warnings
            warnings.simplefilter('ignore')
            stop = threading.Event()
            log = logging.getLogger('busy'); log.addHandler(logging.NullHandler())
            def busy():
                while not stop.is_set(): log.error('x'); print('', end='')
            threads = [threading.Thread(target=busy) for _ in range(3)]
            for t in threads: t.start()
            statuses = []
            for _ in range(10):
                pid = os.fork()
                if pid == 0:
                    print('child'); log.error('child'); os._exit(0)
                statuses.append(os.waitpid(pid, 0)[1])
            stop.set()
            for t in threads: t.join()
            statuses
            """
        )
        self.assertEqual(run.text, str([0] * 10))
        self.assertEqual(run.stdout.count("child\n"), 10)


class SubprocessTest(KernelTest):
    def test_what_runs_before_exec(self):
        self.run_ok("import os, subprocess, sys")
        self.assertEqual(self.run_ok("subprocess.run(['true'], preexec_fn=lambda: print('before', flush=True)).returncode").stdout, "before\n")
        self.run_error("subprocess.run(['true'], preexec_fn=lambda: 1/0)", "SubprocessError")
        self.run_error("subprocess.run(['true'], preexec_fn=sys.exit)", "SubprocessError")
        self.assertEqual(self.run_ok("subprocess.run(['true'], preexec_fn=lambda: os._exit(4)).returncode").text, "4")
        self.run_error("subprocess.run(['/no/such/program'])", "FileNotFoundError")
        self.assert_alive()

    def test_pipes(self):
        for code, text in (
            ("subprocess.run(['cat'], input='é', capture_output=True, text=True).stdout", "'é'"),
            ("subprocess.check_output('echo a | tr a b', shell=True)", "b'b\\n'"),
            ("len(subprocess.run(['head', '-c', '3000000', '/dev/zero'], capture_output=True).stdout)", "3000000"),
            ("p = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE); p.communicate(b'x' * 200_000)[0] == b'x' * 200_000", "True"),
            ("a = subprocess.Popen(['echo', 'hi'], stdout=subprocess.PIPE); b = subprocess.Popen(['cat'], stdin=a.stdout, stdout=subprocess.PIPE); a.stdout.close(); b.communicate()[0], a.wait()", "(b'hi\\n', 0)"),
            ("subprocess.run(['sh', '-c', 'echo out; echo err >&2; exit 3'], capture_output=True)", "CompletedProcess(args=['sh', '-c', 'echo out; echo err >&2; exit 3'], returncode=3, stdout=b'out\\n', stderr=b'err\\n')"),
            ("subprocess.getoutput('echo got')", "'got'"),
            ("os.popen('echo popen').read()", "'popen\\n'"),
            ("(await (await asyncio.create_subprocess_shell('cat', stdin=-1, stdout=-1)).communicate(b'async'))[0]", "b'async'"),
            ("subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True).stdout", "'42\\n'"),
            ("subprocess.run([sys.executable, '-m', 'json.tool'], input='{}', capture_output=True, text=True).stdout", "'{}\\n'"),
        ):
            self.assertEqual(self.run_ok("import asyncio, os, subprocess, sys\n" + code).text, text, code)

    def test_children_of_one_cell_and_the_next(self):
        self.run_ok("import subprocess\np = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)")
        self.assertEqual(self.run_ok("p.stdin.write('between'); p.stdin.close(); p.stdout.read(), p.wait()").text, "('between', 0)")

    def test_ended_children_become_no_zombies_for_long(self):
        self.run_ok("import os, subprocess\nps = [subprocess.Popen(['true']) for _ in range(5)]")
        self.assertEqual(self.kernel.value("[p.wait() for p in ps]"), "[0, 0, 0, 0, 0]")
        self.run_ok("del ps\nfor _ in range(5): subprocess.run(['true'])\nos.system('true'); os.popen('true').close()")
        self.assertFalse(descendants(self.kernel.pid))

    def test_orphans_are_collected(self):
        pid = int(self.run_ok("import subprocess; int(subprocess.check_output('sleep 0.01 >/dev/null & echo $!', shell=True))").text)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the orphan is collected")

    def test_ways_to_ignore_the_end_of_children(self):
        self.run_ok("import signal, subprocess\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)")
        self.assertEqual(self.run_ok("subprocess.run(['true']).returncode").text, "0")
        self.assert_alive()
        self.run_ok("rang = []\nsignal.signal(signal.SIGCHLD, lambda *_: rang.append(1))\nsubprocess.run(['true'])")
        self.assertEqual(self.kernel.value("len(rang) > 0"), "True")
        self.assert_alive()

    def test_process_groups_and_sessions(self):
        self.assertEqual(self.kernel.value("import os; os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()"), "(True, True)")
        self.run_error("os.setsid()", "PermissionError")
        run = self.run_ok("import os, signal\nr, w = os.pipe()\nif (pid := os.fork()) == 0:\n    os.setpgid(0, 0); os.write(w, b'x'); signal.pause()\nos.read(r, 1); os.killpg(pid, signal.SIGTERM); os.waitpid(pid, 0)[1]")
        self.assertEqual(run.text, "15")
        self.assert_alive()


class LeakTest(KernelTest):
    """200 cells of all kinds leave no descriptors, processes, threads or memory behind."""

    # 3.12: SIGSEGV; 3.13: BufferError in the threads. `sys._current_frames()` at each cell's end damages threads that run.
    def test_threads_that_compute_beside_cells(self):
        self.run_ok(
            """
            import io, sys, threading
            stop = threading.Event()
            sys.setswitchinterval(1e-5)
            def dump():
                buffer = io.BytesIO(); buffer.write(b'x' * 50)
                return buffer.getbuffer()
            def send(view):
                n = len(view)
                return bytes(view[:n])
            def work(kept):
                kept.append(send(dump())); del kept[:-3]
            def busy():
                kept = []
                while not stop.is_set(): work(kept)
            threads = [threading.Thread(target=busy) for _ in range(4)]
            for t in threads: t.start()
            """
        )
        for _ in range(150):
            self.assertIsNotNone(self.kernel.socket)
            run = self.kernel.start("1")
            self.box.pump_until(lambda: run.of("done") or self.kernel.exited, "any end")
            self.assertIsNone(self.kernel.exited)
            run.wait()
        self.run_ok("stop.set()\nfor t in threads: t.join()")
        self.assertEqual(self.kernel.stderr.everything, b"")
        self.assert_alive()

    COUNT = "(len(os.listdir('/proc/self/fd')), threading.active_count())"

    def test_two_hundred_cells(self):
        kinds = (
            "x = [1, 2, 3]\nx",
            "1/0",
            "y = = 1",
            "print('text'); print('error', file=sys.stderr)",
            "display({'a': 1})",
            "await asyncio.sleep(0)",
            "await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))",
            "subprocess.run(['true'])",
            "os.system('true')",
            "t = threading.Thread(target=print, args=('t',)); t.start(); t.join()",
            "asyncio.run(asyncio.sleep(0))",
            "import io; sys.stdout = io.StringIO()",
            "sys.stdout.close(); sys.stderr.close()",
            "os.close(1); os.close(2)",
            "os.dup2(null := os.open(os.devnull, os.O_WRONLY), 1); os.close(null)",
            "pid = os.fork()\nif pid: os.waitpid(pid, 0)",
            "raise SystemExit(3)",
            "for n in range(2000): print(n)",
            "with multiprocessing.get_context('fork').Pool(1) as pool: pool.map(int, [1])\npool.join()",
            "await (await asyncio.create_subprocess_exec('true')).wait()",
        )
        self.kernel.run("import asyncio, multiprocessing, multiprocessing.pool, os, subprocess, sys, threading, resource")
        for code in (*kinds, *kinds):
            self.kernel.run(code)
        before = self.kernel.value(self.COUNT)
        for number in range(200):
            self.kernel.run(kinds[number % len(kinds)], fresh_streams=number % 7 == 0)
            if number % 10 == 0:
                self.kernel.inspect()
        self.assertEqual(self.kernel.value(self.COUNT), before)
        self.assertEqual([pid for pid in descendants(self.kernel.pid) if alive(pid)], [])
        self.assert_alive()

    def test_interrupted_cells(self):
        self.run_ok("import asyncio, os, subprocess, sys, threading\nawait asyncio.sleep(0)")
        codes = ("while True: pass", "await asyncio.sleep(600)", "input()", "while True: print('x')")
        before = None
        for number in range(40):
            run = self.kernel.start("os.write(1, b'on')\n" + codes[number % len(codes)]).wait_output("on")
            self.kernel.interrupt_until_done(run)
            self.assertEqual(run.status, "interrupted")
            if number == 7:
                before = self.kernel.value(self.COUNT)
        self.assertEqual(self.kernel.value(self.COUNT), before)

    def test_many_threads_and_tasks(self):
        self.run_ok("import asyncio, os, sys, threading\ngo = threading.Event()\nthreads = [threading.Thread(target=go.wait) for _ in range(200)]\nfor t in threads: t.start()")
        self.run_ok("tasks = [asyncio.ensure_future(asyncio.sleep(600)) for _ in range(1000)]; await asyncio.sleep(0)")
        for number in range(20):
            self.assertEqual(self.kernel.value(str(number)), str(number))
        self.run_ok("go.set()\nfor t in threads: t.join()\nfor t in tasks: t.cancel()\nawait asyncio.sleep(0)")
        self.assertFalse(self.run_ok("1").done["lingering"])
        self.assertEqual(self.kernel.value("threading.active_count()"), "1")


WORK = """
import concurrent.futures, dataclasses, enum, functools, multiprocessing, os, sys, typing
FACTOR = 10
@dataclasses.dataclass
class Box:
    n: int
class Colour(enum.Enum):
    RED = 1
class Outer:
    class Inner:
        def __init__(self, v): self.v = v
        def __repr__(self): return f'Inner({self.v})'
class Named(typing.NamedTuple):
    x: int
def doubled(function):
    @functools.wraps(function)
    def inner(*a): return function(*a) * 2
    return inner
@doubled
def work(n): return [Box(n * FACTOR), Colour.RED, Outer.Inner(n), Named(n)]
def fails(n): raise ValueError(n)
def leaves(n): os._exit(3)
def exits(): sys.exit(5)
def says(): print('said'); print('error', file=sys.stderr); sys.stdout.write('unfinished')
def asks():
    try: input('?')
    except EOFError: sys.exit(7)
def shares(queue, lock, value, event):
    with lock: value.value += 1
    queue.put([1, {2: (3,)}]); event.set()
def fills(d): d['k'] = 1
"""


class MultiprocessingTest(KernelTest):
    """Functions and classes of cells in processes of every start method."""

    METHOD = "fork"

    def setUp(self) -> None:
        super().setUp()
        self.run_ok(WORK)
        self.run_ok(f"context = multiprocessing.get_context({self.METHOD!r})")

    def test_pools_and_executors(self):
        expected = "[Box(n=10), <Colour.RED: 1>, Inner(1), Named(x=1), Box(n=10), <Colour.RED: 1>, Inner(1), Named(x=1)]"
        run = self.run_ok("with context.Pool(1) as pool: found = pool.map(work, [1])\nfound[0]")
        self.assertEqual(run.text, expected, run.stderr)
        run = self.run_ok("with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool: found = list(pool.map(work, [1]))\nfound[0]")
        self.assertEqual(run.text, expected, run.stderr)
        run = self.run_error("with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool: list(pool.map(fails, [4]))", "ValueError")
        self.assertEqual(run.error["message"], "4")
        self.run_error("with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool: list(pool.map(leaves, [4]))", "BrokenProcessPool")
        self.run_error("with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool: list(pool.map(lambda n: n, [4]))", "PicklingError")
        self.assert_alive()

    def test_processes(self):
        run = self.run_ok("def start(f, *a):\n    p = context.Process(target=f, args=a); p.start(); p.join(); return p.exitcode\nstart(says)")
        self.assertEqual((run.text, run.stdout, run.stderr), ("0", "said\nunfinished", "error\n"))
        self.assertEqual(self.run_ok("start(exits), start(asks)").text, "(5, 7)")
        run = self.run_ok("start(fails, 6)")
        self.assertEqual(run.text, "1")
        self.assertIn("ValueError: 6", run.stderr)
        self.assertEqual([f["type"] for f in run.frames], ["done"])
        self.assert_alive()

    def test_what_processes_share(self):
        run = self.run_ok(
            """
            from multiprocessing import shared_memory
            queue, lock, value, event = context.Queue(), context.Lock(), context.Value('i', 0), context.Event()
            p = context.Process(target=shares, args=(queue, lock, value, event)); p.start()
            found = queue.get(timeout=10); event.wait(10); p.join()
            memory = shared_memory.SharedMemory(create=True, size=8); memory.buf[0] = 7
            again = shared_memory.SharedMemory(memory.name); seen = again.buf[0]; again.close(); memory.close(); memory.unlink()
            found, value.value, seen
            """
        )
        self.assertEqual(run.text, "([1, {2: (3,)}], 1, 7)", run.stderr)

    def test_managers(self):
        run = self.run_ok("with context.Manager() as manager:\n    d = manager.dict(); p = context.Process(target=fills, args=(d,)); p.start(); p.join(); found = dict(d)\nfound")
        self.assertEqual(run.text, "{'k': 1}", run.stderr)

    @unittest.skipIf((3, 12) <= sys.version_info < (3, 14), "see LeakTest.test_threads_that_compute_beside_cells")
    def test_pools_live_on_between_cells(self):
        self.run_ok("pool = context.Pool(1); pool.map(abs, [-1])")
        self.assertEqual(self.run_ok("pool.map(abs, [-2])").text, "[2]")
        self.run_error("pool.map(fails, [5])", "ValueError")
        self.assertEqual(self.run_ok("pool.map(abs, [-3])").text, "[3]")
        self.run_ok("pool.terminate(); pool.join()")
        wait_until(lambda: not [pid for pid in self.workers() if alive(pid)], "the workers' end")

    def workers(self) -> list:
        def command(pid: int) -> bytes:
            try:
                return Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                return b""

        # The tracker of shared resources and the fork server stay.
        return [pid for pid in descendants(self.kernel.pid) if b"tracker" not in command(pid) and b"forkserver" not in command(pid)]


class SpawnTest(MultiprocessingTest):
    METHOD = "spawn"

    def test_a_guard_in_the_cell(self):
        run = self.run_ok("def work(n): return n + 1\nif __name__ == '__main__':\n    with context.Pool(1) as pool: print(pool.map(work, [1]))")
        self.assertEqual((run.stdout, run.stderr), ("[2]\n", ""))

    def test_after_cells_of_all_kinds(self):
        for code in ("open('/nowhere')", "y = (", "%time 1", "!true", "from __future__ import annotations", "await __import__('asyncio').sleep(0)", "x: int = 5; z = [n for n in range(3)]", "def work(n) -> Undefined: return n + x"):
            self.kernel.run(code)
        run = self.run_ok("with context.Pool(1) as pool: found = pool.map(work, [1])\nfound")
        self.assertEqual((run.text, run.stderr), ("[6]", ""))

    def test_environment_folder_and_path(self):
        self.run_ok("os.environ['CHOSEN'] = 'yes'\nos.makedirs('below', exist_ok=True); os.makedirs('lib', exist_ok=True)\nopen('lib/helper_of_spawn.py', 'w').write('V = 4'); sys.path.append(os.path.abspath('lib')); os.chdir('below')")
        self.run_ok("import helper_of_spawn\ndef where(n): return os.environ['CHOSEN'], os.path.basename(os.getcwd()), helper_of_spawn.V")
        run = self.run_ok("with context.Pool(1) as pool: found = pool.map(where, [1])\nfound")
        self.assertEqual(run.text, "[('yes', 'below', 4)]", run.stderr)

    def test_what_cells_assign(self):
        self.run_ok("import collections, pathlib, re\nPair = collections.namedtuple('Pair', 'a b')\nROOT = pathlib.Path('/'); WORDS = re.compile('a+')\nTABLE = {n: n * n for n in range(5)}\ndef look(n): return Pair(str(ROOT), TABLE[n]), WORDS.findall('aab')")
        run = self.kernel.run("with context.Pool(1) as pool: found = pool.map(look, [3])\nfound")
        self.assertEqual(run.text, "[(Pair(a='/', b=9), ['aa'])]", run.error and run.error["message"])

    def test_what_cells_have_changed_since(self):
        self.run_ok("calls = []\ndef made(): calls.append(1); return {'n': 1}\nstate = made(); count = 1; box = Box(1)\ndef look(n): return state, count, box, calls")
        self.run_ok("count += 1; state['m'] = 2; box.n = 5")
        self.assertEqual(self.run_ok("with context.Pool(1) as pool: found = pool.map(look, [1])\nfound").text, "[({'n': 1, 'm': 2}, 2, Box(n=5), [1])]")
        # A later definition, and values that cannot go along.
        self.run_ok("import threading\nlock = threading.Lock(); large = bytearray(20_000_000)\nsquare = lambda n: n * n\nKind = enum.Enum('Kind', 'A B'); shelf = {Kind.A: Box(2)}\ndef again(n): return square(n), shelf[Kind.A].n, 'lock' in globals(), 'large' in globals(), (lambda: (lock, large)) and 0")
        self.assertEqual(self.run_ok("with context.Pool(1) as pool: found = pool.map(again, [3])\nfound").text, "[(9, 2, False, False, 0)]")

    def test_modules_of_a_folder_that_was_changed_to(self):
        self.run_ok("os.makedirs('inner', exist_ok=True); os.chdir('inner'); open('beside.py', 'w').write('V = 3')\nimport beside\ndef look(n): return beside.V")
        run = self.kernel.run("with context.Pool(1) as pool: found = pool.map(look, [1])\nfound")
        self.assertEqual(run.text, "[3]", run.error and run.error["message"])

    def test_what_cells_have_beyond_python(self):
        self.run_ok("def shows(n): display(n); ec.progress(1); return n")
        run = self.run_ok("with context.Pool(1) as pool: found = pool.map(shows, [1])\nfound")
        self.assertEqual((run.text, run.stdout), ("[1]", "1\n"))


class ForkServerTest(SpawnTest):
    METHOD = "forkserver"


if __name__ == "__main__":
    unittest.main()
