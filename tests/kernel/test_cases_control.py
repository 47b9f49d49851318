"""Control: interrupts and signals wherever code may be; awaiting, tasks, event loops."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import unittest
from pathlib import Path

from harness import KernelTest, alive, descendants, wait_until

SAY = "print('on', flush=True)\n"
SAY_AWAITING = "asyncio.get_running_loop().call_soon(os.write, 1, b'on\\n'); "
"""Says so when the cell awaits."""


class InterruptTest(KernelTest):
    """One interrupt ends what runs, wherever it is, and hits nothing else."""

    def sleeping(self) -> bool:
        """Whether a `sleep` runs below the kernel; before its exec it is a copy of the kernel that takes signals."""
        for pid in descendants(self.kernel.pid):
            try:
                if Path(f"/proc/{pid}/comm").read_text() == "sleep\n" and alive(pid):
                    return True
            except OSError:
                pass
        return False

    def interrupted(self, code: str, sleeps: bool = False):
        run = self.kernel.start(code).wait_output("on")
        if sleeps:
            wait_until(self.sleeping, "the sleep")
        self.kernel.interrupt()
        run.wait()
        self.assertEqual((run.status, run.error and run.error["type"]), ("interrupted", "KeyboardInterrupt"), (code, run.error))
        self.assertNotIn("execute_code_kernel", run.error["traceback"])
        self.assert_alive()
        return run

    def test_in_waits_of_python(self):
        self.run_ok("import queue, select, socket, subprocess, threading, time, os, fcntl, concurrent.futures as futures")
        for code in (
            "time.sleep(600)",
            "threading.Event().wait()",
            "threading.Condition().__enter__(); c = threading.Condition()\nwith c: c.wait()",
            "threading.Semaphore(0).acquire()",
            "threading.Barrier(2).wait()",
            "l = threading.RLock(); t = threading.Thread(target=l.acquire); t.start(); t.join(); l.acquire()",
            "queue.Queue().get()",
            "queue.SimpleQueue().get()",
            "futures.Future().result()",
            "go = threading.Event(); t = threading.Thread(target=go.wait, daemon=True); t.start(); t.join()",
            "select.select([], [], [])",
            "select.poll().poll()",
            "select.epoll().poll()",
            "a, b = socket.socketpair(); a.recv(1)",
            "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); s.accept()",
            "r, w = os.pipe(); os.read(r, 1)",
            "r, w = os.pipe(); os.write(w, b'x' * 10_000_000)",
            "os.path.exists('fifo') or os.mkfifo('fifo'); open('fifo').read()",
            "f, g = open('lock', 'w'), open('lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX); fcntl.flock(g, fcntl.LOCK_EX)",
            "import signal; signal.pause(); signal.pause()",
            "import sched; s = sched.scheduler(); s.enter(600, 1, int); s.run()",
        ):
            self.interrupted(SAY + code)

    def test_in_computations(self):
        for code in (
            "while True: pass",
            "while True: x = 7 ** 20_000",
            "for _ in iter(int, 1): pass",
            "sum(1 for _ in iter(int, 1))",
            "list(zip(iter(int, 1), [0] * 10**7)) and [n for n in iter(int, 1)]",
            "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
            "exec('while True: pass')",
            "eval('[n for n in iter(int, 1)]')",
            "max(iter(int, 1), key=lambda n: n)",
            "class K:\n    def __lt__(self, other):\n        while True: pass\nsorted([K(), K()])",
            "class K:\n    def __hash__(self):\n        while True: pass\n{K()}",
            "class K:\n    def __iter__(self):\n        while True: yield 1\nfor _ in K(): pass",
            "class K:\n    def __enter__(self):\n        while True: pass\n    def __exit__(self, *_): pass\nwith K(): pass",
            "import itertools\nfor _ in itertools.count(): pass",
            "import functools\nfunctools.reduce(lambda a, b: a, iter(int, 1))",
        ):
            self.interrupted(SAY + code)

    def test_in_what_surrounds_a_cell(self):
        (self.box.work / "endless.py").write_text("print('on', flush=True)\nwhile True: pass\n")
        hang = "print('on', flush=True)\n        while True: pass\n"
        for code in (
            "import endless",
            "import importlib; importlib.import_module('endless')",
            "exec(open('endless.py').read())",
            f"class R:\n    def __repr__(self):\n        {hang}R()",
            f"class R:\n    def __repr__(self):\n        {hang}[{{1: R()}}]",
            f"class R:\n    def __repr__(self):\n        {hang}print(R())",
            f"class R:\n    def _repr_html_(self):\n        {hang}R()",
            f"class R:\n    def _repr_mimebundle_(self, **_):\n        {hang}R()",
            f"class R:\n    def _repr_html_(self):\n        {hang}display(R())",
            f"class E(Exception):\n    def __init__(self):\n        {hang}raise E",
            f"class M(type):\n    def __new__(*a):\n        {hang}class A(metaclass=M): pass",
            f"import sys\nclass T:\n    def __call__(self, *_):\n        {hang}sys.settrace(T())\nint.from_bytes(b'', 'big'); (lambda: 1)()",
            f"import logging\nclass H(logging.Handler):\n    def emit(self, record):\n        {hang}logging.getLogger('x').addHandler(H()); logging.getLogger('x').error('e')",
            f"import sys\nclass W:\n    def flush(self): pass\n    def write(self, text):\n        sys.__stdout__.write('on\\n'); sys.__stdout__.flush()\n        while True: pass\nsys.stdout = W(); print('x')",
        ):
            run = self.interrupted(code)
            self.assertEqual(run.done["result"], None)
            self.assertEqual(self.kernel.value("import sys; 'endless' in sys.modules"), "False")

    def test_in_c_code_that_waits(self):
        for code in (
            "import ctypes; ctypes.CDLL(None).sleep(600)",
            "import ctypes; ctypes.CDLL(None).pause()",
            "import ctypes\nwhile True: ctypes.CDLL(None).usleep(1000)",
            "import os; os.waitid(os.P_PID, os.posix_spawnp('sleep', ['sleep', '600'], os.environ), os.WEXITED | os.WNOWAIT); import time; time.sleep(600)",
        ):
            self.interrupted(SAY + code)

    def test_in_waits_for_processes(self):
        for code in (
            "import subprocess; subprocess.run(['sleep', '600'])",
            "subprocess.check_output('sleep 600', shell=True)",
            "subprocess.Popen(['sleep', '600']).communicate()",
            "p = subprocess.Popen(['sleep', '600'], stdout=subprocess.PIPE); p.stdout.read()",
            "import os; os.popen('sleep 600').read()",
            "import asyncio; p = await asyncio.create_subprocess_exec('sleep', '600'); await p.wait()",
            "os.waitpid(os.posix_spawnp('sleep', ['sleep', '600'], os.environ), 0)",
        ):
            self.interrupted(SAY + code, sleeps=True)
            wait_until(lambda: not self.sleeping(), "the child's end")

    def test_in_pools(self):
        for code in (
            "import multiprocessing as m, time\nwith m.get_context('fork').Pool(2) as pool:\n    pool.apply(int); print('on', flush=True); pool.map(time.sleep, [600] * 2)",
            "import concurrent.futures as c, time, multiprocessing as m\nwith c.ProcessPoolExecutor(1, mp_context=m.get_context('fork')) as pool:\n    pool.submit(int).result(); print('on', flush=True); pool.submit(time.sleep, 600).result()",
        ):
            run = self.kernel.start(code).wait_output("on")
            # Pools wait for their workers again while they end.
            self.kernel.interrupt_until_done(run)
            self.assertEqual(run.status, "interrupted", run.error)
            self.assert_alive()

    def test_in_a_thread_pool_the_work_goes_on_and_can_be_let_go(self):
        self.run_ok("import concurrent.futures as c, threading\ngo = threading.Event()")
        run = self.kernel.start("with c.ThreadPoolExecutor(1) as pool:\n    print('on', flush=True)\n    pool.submit(go.wait).result()").wait_output("on")
        # The first ends the wait, the second the pool's own at the end of the block.
        self.kernel.interrupt_until_done(run)
        self.assertEqual(run.status, "interrupted")
        self.run_ok("go.set()")
        self.assert_alive()

    def test_where_it_was_is_told(self):
        for code, line in (("\nprint('on', flush=True)\nwhile True:\n    pass", (2, 3, 4)), ("def f():\n    print('on', flush=True)\n    while True: pass\n\nf()", (2, 3))):
            run = self.interrupted(code)
            self.assertIn(run.error["line"], line)
            self.assertTrue(run.error["frames"])

    def test_dropped_where_python_can_raise_nothing_it_acts_at_the_next_step(self):
        wait = "print('on', flush=True)\n    time.sleep(600)\n"
        hang = "print('on', flush=True)\n        while True: pass\n"
        for code in (
            f"import time\nclass D: pass\ndef gone(_):\n    {wait}d = D()\nr = weakref.ref(d, gone)\ndel d\ntime.sleep(600)",
            f"class D:\n  def __del__(self):\n    {wait}d = D()\ndel d\nwhile True: pass",
            f"import sys; sys.unraisablehook = lambda _: None\nclass D:\n  def __del__(self):\n    {wait}d = D()\ndel d\ntime.sleep(600)",
            f"class D:\n    def __del__(self):\n        {hang}d = D()\ndel d\n'went on'",
            f"class D:\n    def __del__(self):\n        {hang}d = D()\nd = None\n'went on'",
            f"class D:\n    def __del__(self):\n        {hang}def f():\n    d = D()\n    return 1\nf()",
            f"class D:\n    def __del__(self):\n        {hang}def f():\n    d = D()\n    del d\n    yield 1\nlist(f())",
            f"class D:\n    def __del__(self):\n        {hang}class E:\n    def __del__(self):\n        d = D()\n        del d\n        print('went on')\ne = E()\ndel e\n'went on'",
            f"import gc\nclass D:\n    def __del__(self):\n        {hang}d = D(); d.itself = d; del d; gc.collect()\n'went on'",
            f"class D:\n    def __del__(self):\n        {hang}import asyncio; await asyncio.sleep(0)\nd = D(); del d; await asyncio.sleep(0)\n'went on'",
        ):
            run = self.interrupted("import time, weakref\n" + code)
            self.assertEqual(run.stdout, "on\n")
            self.assertEqual(self.kernel.value("import sys; sys.gettrace() is None"), "True")

    def test_dropped_while_what_it_waits_for_ends_of_the_same_interrupt(self):
        late = "import asyncio, subprocess, time\nclass D:\n    def __del__(self):\n        print('on', flush=True); time.sleep(600)\n"
        for code in (
            "p = D(); p = subprocess.Popen(['sleep', '600']); p.wait()",
            "p = D(); p = await asyncio.create_subprocess_exec('sleep', '600'); await p.wait()",
        ):
            self.interrupted(late + code, sleeps=True)

    def test_of_a_tracer_of_the_session_it_leaves_the_tracer(self):
        self.run_ok("import os, sys, time\ndef tracer(*_): pass\nsys.settrace(tracer)")
        # `print` would call what is traced, and Python forgets a tracer that an interrupt hits.
        late = "class D:\n    def __del__(self):\n        os.write(1, b'on\\n'); time.sleep(600)\n"
        self.interrupted(late + "d = D()\ndel d\ntime.sleep(600)")
        self.assertEqual(self.kernel.value("sys.gettrace() is tracer"), "True")

    def test_swallowed_by_code_it_is_no_interrupt(self):
        for code in (
            "import contextlib, time\nwith contextlib.suppress(BaseException):\n    print('on', flush=True)\n    time.sleep(600)\n'went on'",
            "import time\ntry:\n    print('on', flush=True)\n    while True: time.sleep(600)\nexcept KeyboardInterrupt: pass\n'went on'",
            f"import asyncio, os\ntry:\n    {SAY_AWAITING}await asyncio.sleep(600)\nexcept asyncio.CancelledError: pass\n'went on'",
        ):
            run = self.kernel.start(code).wait_output("on")
            self.kernel.interrupt()
            run.wait()
            self.assertEqual((run.status, run.text), ("ok", "'went on'"), code)
            self.assert_alive()

    def test_turned_into_another_error_it_is_that_error(self):
        code = "import time\ntry:\n    print('on', flush=True)\n    time.sleep(600)\nexcept KeyboardInterrupt as e:\n    raise ValueError('mine') from e"
        run = self.kernel.start(code).wait_output("on")
        self.kernel.interrupt()
        run.wait()
        self.assertEqual((run.status, run.error["type"], run.error["line"]), ("error", "ValueError", 6))
        self.assert_alive()

    def test_when_what_cleans_up_after_it_fails_it_is_an_interrupt_and_the_error_is_told(self):
        for wait in ("print('on', flush=True); import time; time.sleep(600)", f"import asyncio, os; {SAY_AWAITING}await asyncio.sleep(600)"):
            for cleanup in ("finally: raise EOFError('left')", "except BaseException: raise EOFError('left')", "finally:\n    try: raise KeyError\n    except KeyError: raise EOFError('left')"):
                run = self.kernel.start(f"try:\n    {wait}\n{cleanup}").wait_output("on")
                self.kernel.interrupt()
                run.wait()
                self.assertEqual((run.status, run.error["type"], run.error["message"]), ("interrupted", "EOFError", "left"), cleanup)
                self.assert_alive()

    def test_an_error_of_its_own_after_an_interrupt_that_it_swallowed_is_that_error(self):
        code = "import time\ntry:\n    print('on', flush=True)\n    time.sleep(600)\nexcept KeyboardInterrupt: pass\nraise ValueError('mine')"
        run = self.kernel.start(code).wait_output("on")
        self.kernel.interrupt()
        self.assertEqual((run.wait().status, run.error["type"]), ("error", "ValueError"))

    def test_cleanup_runs_and_what_was_bound_stays(self):
        run = self.kernel.start("log = []\ntry:\n    log.append('begun')\n    print('on', flush=True)\n    while True: pass\nfinally: log.append('cleaned')").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        self.assertEqual(run.names("added"), ["log"])
        self.assertEqual(self.kernel.value("log"), "['begun', 'cleaned']")

    def test_code_that_swallows_everything_can_be_killed(self):
        code = "import os, subprocess, time\np = subprocess.Popen(['sleep', '600'], start_new_session=True)\nwhile True:\n    try:\n        os.write(1, b'on'); time.sleep(600)\n    except BaseException: pass"
        run = self.kernel.start(code).wait_output("on")
        for count in (2, 3):
            self.kernel.interrupt()
            run.wait_output("on" * count)
        self.assertFalse(run.of("done"))
        children = descendants(self.kernel.pid)
        self.kernel.signal(signal.SIGKILL, "tree")
        self.assertEqual(self.kernel.wait_exit()["signal"], signal.SIGKILL)
        wait_until(lambda: not any(map(alive, children)), "the children's end")


class SignalTest(KernelTest):
    """Masks, handlers and timers in the hands of session code."""

    def test_harmless_signals_between_cells(self):
        for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG, signal.SIGCONT, signal.SIGPIPE):
            for _ in range(5):
                os.kill(self.kernel.pid, number)
            self.assert_alive()

    def test_a_mask_holds_within_its_cell(self):
        run = self.kernel.start(
            "import os, signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nprint('on', flush=True)\n"
            "while not os.path.exists('through'): time.sleep(0.002)\n'whole'"
        ).wait_output("on")
        self.kernel.interrupt()
        (self.box.work / "through").touch()
        self.assertIn((run.wait().status, run.text), (("ok", "'whole'"), ("interrupted", None)))
        # It is over with its cell; the interrupt was that one's, and the next can be interrupted.
        self.assert_alive()
        run = self.kernel.start(SAY + "while True: pass").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")

    def test_blocked_signals_of_the_session_stay_blocked(self):
        self.run_ok("import os, signal\nrang = []\nsignal.signal(signal.SIGUSR1, lambda *_: rang.append(1))\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])")
        self.run_ok("os.kill(os.getpid(), signal.SIGUSR1)")
        self.assertEqual(self.kernel.value("rang"), "[]")
        self.assertEqual(self.kernel.value("signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1]); rang"), "[1]")

    def test_handlers_that_ignore_or_fail(self):
        self.run_ok("import signal")
        for code, status in (
            ("signal.signal(signal.SIGINT, lambda *_: exec('raise ValueError(1)'))", "error"),
            ("signal.signal(signal.SIGINT, lambda *_: exec('raise SystemExit'))", "error"),
            ("signal.signal(signal.SIGINT, signal.default_int_handler)", "interrupted"),
        ):
            self.run_ok(code)
            run = self.kernel.start(SAY + "while True: pass").wait_output("on")
            self.kernel.interrupt()
            self.assertIn(run.wait().status, (status, "error"), code)
            self.assert_alive()

    def test_an_ignored_interrupt_leaves_the_kill(self):
        self.run_ok("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)")
        run = self.kernel.start(SAY + "import time\nwhile True: time.sleep(0.01)").wait_output("on")
        for _ in range(3):
            self.kernel.interrupt()
        self.assertFalse(run.of("done"))
        self.kernel.signal(signal.SIGKILL)
        self.assertEqual(self.kernel.wait_exit()["signal"], signal.SIGKILL)

    def test_an_ignored_interrupt_is_ignored_in_its_time_only(self):
        self.run_ok("import signal; old = signal.signal(signal.SIGINT, signal.SIG_IGN)")
        self.run_ok("signal.signal(signal.SIGINT, old)")
        run = self.kernel.start(SAY + "while True: pass").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")

    def test_timers_ring_in_cells_only(self):
        self.run_ok("import signal, time\nrang = []\ndef ring(*_): rang.append(1)\nsignal.signal(signal.SIGALRM, ring)\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)")
        for number in range(50):
            self.assertEqual(self.kernel.value(str(number)), str(number))
            self.assertIsNone(self.kernel.inspect()["error"])
        self.run_ok("while not rang: pass\nsignal.setitimer(signal.ITIMER_REAL, 0)")
        self.assert_alive()

    def test_a_timer_that_raises_ends_one_cell_and_nothing_else(self):
        self.run_ok("import signal, time\ndef ring(*_): raise TimeoutError('rang')\nsignal.signal(signal.SIGALRM, ring)")
        rang = 0
        for number in range(60):
            microseconds = 20 * number
            code = f"signal.setitimer(signal.ITIMER_REAL, {microseconds / 1e6 or 1e-6})\nx = [n for n in range(1000)]\nx"
            for run in (self.kernel.run(code), self.kernel.run("y = 1")):
                self.assertIn((run.status, run.error and run.error["type"]), (("ok", None), ("error", "TimeoutError")))
                rang += run.status == "error"
            self.kernel.inspect()
        self.assertGreater(rang, 0)
        self.kernel.run("signal.setitimer(signal.ITIMER_REAL, 0)")
        self.assert_alive()

    def test_a_timer_that_raises_again_and_again(self):
        # A thread takes the signals that the kernel blocks.
        for thread in ("", "threading.Thread(target=threading.Event().wait, daemon=True).start()"):
            for seconds in (1e-5, 1e-4, 1e-3):
                kernel = self.box.fork()
                kernel.run(f"import signal, threading\ndef ring(*_): raise TimeoutError('rang')\nsignal.signal(signal.SIGALRM, ring)\n{thread}")
                kernel.start(f"signal.setitimer(signal.ITIMER_REAL, {seconds}, {seconds})\nwhile True: pass")
                for _ in range(10):
                    self.box.pump_until(lambda: kernel.running.of("done") or kernel.exited, "any end")
                    self.assertIsNone(kernel.exited)
                    self.assertEqual(kernel.running.wait().error["type"], "TimeoutError")
                    self.assertIsNone(kernel.inspect()["error"])
                    kernel.start("while True: pass")

    def test_an_interrupt_handler_that_raises_again_and_again(self):
        self.run_ok("import signal\ndef ring(*_): raise ValueError('rang')\nold = signal.signal(signal.SIGINT, ring)")
        done = threading.Event()

        def send() -> None:
            while not done.wait(0.0002):
                os.kill(self.kernel.pid, signal.SIGINT)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for _ in range(50):
                # Before the cell begins, what is raised is the kernel's own.
                self.assertIn(self.kernel.run("while True: pass").error["type"], ("ValueError", "KeyboardInterrupt"))
        finally:
            done.set()
            sender.join()
        self.kernel.inspect()
        self.run_ok("signal.signal(signal.SIGINT, old);")
        self.assert_alive()

    def test_handlers_are_seen_as_they_were_set(self):
        self.run_ok("import os, signal\ndef ring(number, frame): rang.append((number, frame.f_code.co_name))\nrang = []")
        for code, text in (
            ("signal.signal(signal.SIGUSR1, ring)", "<Handlers.SIG_DFL: 0>"),
            ("signal.getsignal(signal.SIGUSR1) is ring", "True"),
            ("signal.signal(signal.SIGUSR1, ring) is ring", "True"),
            ("def f(): os.kill(os.getpid(), signal.SIGUSR1)\nf(); rang == [(signal.SIGUSR1, 'f')]", "True"),
            ("signal.signal(signal.SIGUSR1, signal.SIG_IGN) is ring", "True"),
            ("signal.getsignal(signal.SIGUSR1)", "<Handlers.SIG_IGN: 1>"),
            ("signal.signal(signal.SIGUSR1, signal.SIG_DFL)", "<Handlers.SIG_IGN: 1>"),
            ("callable(signal.getsignal(signal.SIGINT))", "True"),
        ):
            self.assertEqual(self.run_ok(code).text, text, code)
        self.run_error("signal.signal(signal.SIGUSR1, 'ring')", "TypeError")
        self.run_error("signal.signal(signal.SIGKILL, ring)", "OSError")
        self.run_error("signal.signal(1000, ring)", "ValueError")
        self.assertEqual(self.kernel.value("signal.getsignal(signal.SIGUSR1)"), "<Handlers.SIG_DFL: 0>")

    def test_handlers_in_children(self):
        # A thread forks while the kernel is idle; handlers ring in the child as anywhere.
        self.run_ok("import os, signal, threading, time, warnings\nwarnings.simplefilter('ignore')\nr, w = os.pipe()\ndef ring(*_): os.write(w, b'rang'); os._exit(0)\nsignal.signal(signal.SIGUSR1, ring)")
        self.run_ok("def fork():\n    time.sleep(0.05)\n    if os.fork() == 0:\n        os.kill(os.getpid(), signal.SIGUSR1)\n        while True: time.sleep(1)\nthreading.Thread(target=fork).start()")
        time.sleep(0.1)
        self.assertEqual(self.kernel.value("os.read(r, 4)"), "b'rang'")
        self.run_ok("os.wait();")

    def test_an_alarm_as_a_time_limit(self):
        self.run_ok("import signal\ndef ring(*_): raise TimeoutError('rang')\nsignal.signal(signal.SIGALRM, ring)")
        run = self.run_error("signal.setitimer(signal.ITIMER_REAL, 0.01)\nwhile True: pass", "TimeoutError")
        self.assertEqual([frame["function"] for frame in run.error["frames"]], ["<module>", "ring"])
        self.assert_alive()

    def test_all_handlers_reset(self):
        self.run_ok("import signal, time\nfor number in signal.valid_signals():\n    try: signal.signal(number, signal.SIG_DFL)\n    except OSError: pass")
        run = self.kernel.start("print('\\n'.join(map(str, range(9))))\nfor n in range(5000): print(n)\nend = time.monotonic() + 0.15\nwhile time.monotonic() < end: pass")
        self.box.pump_until(lambda: run.of("done") or self.kernel.exited, "any end")
        self.assertIsNone(self.kernel.exited)

    def test_all_signals_ignored_or_blocked(self):
        for code in (
            "for number in signal.valid_signals():\n    try: signal.signal(number, signal.SIG_IGN)\n    except OSError: pass",
            "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
            "signal.set_wakeup_fd(-1); signal.siginterrupt(signal.SIGINT, False)",
        ):
            kernel = self.kernel = self.box.fork()
            run = self.run_ok(f"import signal\n{code}\nfor n in range(5000): print(n)")
            self.assertEqual(run.stdout.count("\n"), 5000)
            self.assertEqual(self.run_ok("for n in range(5000): print(n)").stdout.count("\n"), 5000)
            kernel.run("import subprocess; subprocess.run(['true'])")
            self.assert_alive()

    def test_own_signals(self):
        self.assertEqual(self.kernel.run("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass").error["type"], "KeyboardInterrupt")
        self.assert_alive()
        self.assertEqual(self.kernel.run("signal.raise_signal(signal.SIGINT)\nwhile True: pass").error["type"], "KeyboardInterrupt")
        self.assert_alive()
        self.assertEqual(self.kernel.run("import _thread\n_thread.interrupt_main()\nwhile True: pass").error["type"], "KeyboardInterrupt")
        self.assert_alive()


class AsyncTest(KernelTest):
    def test_await_wherever_a_cell_has_it(self):
        self.run_ok("import asyncio\nasync def f(x=1):\n    await asyncio.sleep(0)\n    return x\nclass C:\n    async def __aenter__(self): return 3\n    async def __aexit__(self, *_): return True")
        for code, text in (
            ("[await f(i) for i in range(3)]", "[0, 1, 2]"),
            ("{k: await f(k) for k in 'ab'}", "{'a': 'a', 'b': 'b'}"),
            ("[x async for x in (await f(i) for i in range(2))]", "[0, 1]"),
            ("f'{await f(3)}' + str(await f(4))", "'34'"),
            ("x = await f(4); y = (await f(5)) + x\ny", "9"),
            ("if await f(): z = 7\nz", "7"),
            ("for i in range(await f(2)): pass\ni", "1"),
            ("while not await f(): pass\n1", "1"),
            ("try: await f()\nfinally: done = await f(6)\ndone", "6"),
            ("async with C() as c, C() as d: 1/0\nc, d", "(3, 3)"),
            ("async for i in (v async for v in (await f(n) for n in (1, 2))): last = i\nlast", "2"),
            ("assert await f(); 'asserted'", "'asserted'"),
            ("(await f(), await asyncio.gather(f(2), f(3)))", "(1, [2, 3])"),
            ("await f(8);", None),
            ("await asyncio.wait_for(f(2), 5)", "2"),
            ("await asyncio.shield(f(3))", "3"),
            ("await asyncio.ensure_future(f(4))", "4"),
            ("await asyncio.to_thread(int, '5')", "5"),
            ("def g():\n    return asyncio.get_running_loop()\nawait f(); g() is asyncio.get_running_loop()", "True"),
            ("lock, queue, event = asyncio.Lock(), asyncio.Queue(), asyncio.Event()\nasync with lock: queue.put_nowait(1)\nevent.set(); await event.wait(), await queue.get()", "(True, 1)"),
            ("global made\nmade = await f('made')", None),
            ("made", "'made'"),
            ("import types\n@types.coroutine\ndef old():\n    yield\n    return 'old'\nawait old()", "'old'"),
        ):
            self.assertEqual(self.run_ok(code).text, text, code)

    def test_what_cannot_be_awaited(self):
        for code in ("await 5", "await None", "async for x in []: pass", "class A:\n    def __await__(self): return 5\nawait A()"):
            self.assertTrue(self.run_error(code, "TypeError").error["line"])
        self.run_error("class A:\n    def __await__(self): yield 'odd'\nawait A()", "RuntimeError")
        self.assert_alive()

    def test_errors_and_cancellations(self):
        self.run_ok("import asyncio\nasync def bad(n):\n    await asyncio.sleep(0)\n    raise ValueError(n)")
        self.run_error("await asyncio.gather(bad(1), asyncio.sleep(600))", "ValueError")
        self.assertEqual(self.run_ok("await asyncio.gather(bad(1), return_exceptions=True)").text, "[ValueError(1)]")
        self.run_error("await asyncio.wait_for(asyncio.sleep(600), 0.001)", "TimeoutError")
        self.run_error("raise asyncio.CancelledError", "CancelledError")
        self.run_error("asyncio.current_task().cancel(); await asyncio.sleep(600)", "CancelledError")
        self.run_error("for task in asyncio.all_tasks(): task.cancel()\nawait asyncio.sleep(600)", "CancelledError")
        self.run_error("task = asyncio.ensure_future(asyncio.sleep(600)); task.cancel(); await task", "CancelledError")
        self.assert_alive()

    def test_what_leaves_through_a_task(self):
        self.run_ok("import asyncio, sys")
        for what, kind in (("sys.exit(3)", "SystemExit"), ("raise KeyboardInterrupt", "KeyboardInterrupt"), ("raise GeneratorExit", "GeneratorExit")):
            run = self.kernel.run(f"async def leave(): {what}\nawait asyncio.ensure_future(leave())")
            self.assertEqual((run.status, run.error["type"]), ("error", kind))
            self.assertEqual(self.kernel.value("await asyncio.sleep(0, 'next')"), "'next'")
        self.run_ok("async def leave():\n    await asyncio.sleep(0.001); sys.exit(3)\ntask = asyncio.ensure_future(leave()); await asyncio.sleep(0)")
        self.box.pump_until(lambda: b"SystemExit" in self.kernel.stderr.everything, "what the task raised between cells")
        self.assertEqual(self.kernel.value("task.done(), await asyncio.sleep(0, 'next')"), "(True, 'next')")

    def test_what_nobody_awaits_surfaces(self):
        self.assertIn("never awaited", self.run_ok("async def f(): pass\nx = f()\ndel x").stderr)
        self.assertIn("never awaited", self.run_ok("f();").stderr)
        self.run_ok("import asyncio, gc\nasync def bad(): raise ValueError('unseen')\nasyncio.ensure_future(bad()); await asyncio.sleep(0)")
        self.run_ok("gc.collect(); await asyncio.sleep(0); gc.collect()")
        self.assertIn(b"unseen", self.kernel.stderr.everything)

    def test_async_generators_left_open(self):
        self.run_ok("import asyncio\nasync def g():\n    try:\n        yield 1\n        yield 2\n    finally:\n        await asyncio.sleep(0); print('closed', flush=True)")
        self.run_ok("async for x in g(): break")
        self.run_ok("a = g(); await a.__anext__()")
        self.assertEqual(self.kernel.value("await a.__anext__()"), "2")
        self.run_ok("del a\nawait asyncio.sleep(0.001)")
        self.box.pump_until(lambda: self.kernel.stdout.everything.count(b"closed") == 2, "both ends")
        self.assert_alive()

    def test_context_variables(self):
        self.run_ok("import asyncio, contextvars, decimal\nv = contextvars.ContextVar('v', default=0)\nasync def put(n): v.set(n)")
        for code, value in (
            ("v.set(1);", 1),
            ("await asyncio.sleep(0)\nv.set(2);", 2),
            ("await put(3)", 3),
            ("await asyncio.ensure_future(put(4))", 3),
            ("try:\n    await asyncio.sleep(0); v.set(5); 1/0\nexcept ZeroDivisionError: pass", 5),
            ("import threading\nt = threading.Thread(target=v.set, args=(6,)); t.start(); t.join()", 5),
            ("contextvars.copy_context().run(v.set, 7);", 5),
        ):
            self.run_ok(code)
            self.assertEqual(self.kernel.value("v.get()"), str(value), code)
            self.assertEqual(self.kernel.value("await asyncio.sleep(0); v.get()"), str(value), code)
        self.run_error("await asyncio.sleep(0)\nv.set(8)\n1/0", "ZeroDivisionError")
        self.assertEqual(self.kernel.value("v.get()"), "8")
        self.run_ok("await asyncio.sleep(0); decimal.getcontext().prec = 5")
        self.assertEqual(self.kernel.value("decimal.getcontext().prec"), "5")

    def test_loops_of_ones_own(self):
        self.run_ok("import asyncio, threading\nasync def f(x): await asyncio.sleep(0); return x")
        for code, text in (
            ("asyncio.run(f(1))", "1"),
            ("await f(2)", "2"),
            ("asyncio.run(f(3))", "3"),
            ("loop = asyncio.new_event_loop(); loop.run_until_complete(f(4))", "4"),
            ("loop.close(); asyncio.set_event_loop(None); await f(5)", "5"),
            ("r = []; t = threading.Thread(target=lambda: r.append(asyncio.run(f(6)))); t.start(); t.join(); r", "[6]"),
            ("await asyncio.to_thread(asyncio.run, f(7))", "7"),
            ("await f(8)", "8"),
        ):
            self.assertEqual(self.run_ok(code).text, text, code)
        self.run_error("await f(0)\nasyncio.run(f(1))", "RuntimeError")
        self.run_error("async def g(): return asyncio.run(f(1))\nawait g()", "RuntimeError")
        self.assertEqual(self.kernel.value("await f(9)"), "9")

    def test_the_sessions_loop_in_other_hands(self):
        self.run_ok("import asyncio, threading\nawait asyncio.sleep(0)")
        for code in (
            "asyncio.get_event_loop().close()",
            "asyncio.set_event_loop(None)",
            "await asyncio.sleep(0)\nasyncio.get_running_loop().set_debug(True)",
            "asyncio.get_event_loop().set_exception_handler(lambda *_: 1/0)\nasyncio.get_event_loop().call_soon(lambda: 1/0)",
            "asyncio.get_event_loop().call_soon(lambda: None)",
            "loop = asyncio.get_event_loop(); t = threading.Thread(target=loop.call_soon_threadsafe, args=(int,)); t.start(); t.join()",
            "r = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, 5), asyncio.get_event_loop())",
            "asyncio.set_event_loop(asyncio.SelectorEventLoop())",
            "asyncio.all_tasks = asyncio.current_task = None",
            "asyncio.run = asyncio.get_event_loop = None",
        ):
            self.kernel.run("import asyncio\n" + code)
            self.assert_alive()
            self.assertEqual(self.kernel.value("await asyncio.sleep(0, 'on')"), "'on'", code)

    def test_a_loop_that_stops_in_mid_cell(self):
        run = self.kernel.run("import asyncio\nawait asyncio.sleep(0)\nasyncio.get_running_loop().stop()\nawait asyncio.sleep(0.001)\n'after'")
        self.assertIn((run.status, run.text), (("ok", "'after'"), ("error", None)))
        self.assert_alive()
        self.assertEqual(self.kernel.value("await asyncio.sleep(0, 'on')"), "'on'")

    def test_policies(self):
        self.run_ok("import asyncio, warnings\nwarnings.simplefilter('ignore')\nclass Own(asyncio.SelectorEventLoop): pass\nclass Policy(asyncio.DefaultEventLoopPolicy): _loop_factory = Own\nasyncio.set_event_loop_policy(Policy())")
        self.assertEqual(self.kernel.value("await asyncio.sleep(0)\ntype(asyncio.get_running_loop()).__name__"), "'Own'")
        kernel = self.box.fork()
        kernel.run("import asyncio\nclass Refuse(asyncio.DefaultEventLoopPolicy):\n    def new_event_loop(self): raise RuntimeError('none')\nasyncio.set_event_loop_policy(Refuse())")
        self.assertEqual(kernel.run("await asyncio.sleep(0)").error["message"], "none")
        kernel.run("asyncio.set_event_loop_policy(None)")
        self.assertEqual(kernel.value("await asyncio.sleep(0, 'on')"), "'on'")

    QUEUED_STOP = """
import asyncio, warnings
warnings.simplefilter('ignore')
class Queued(asyncio.SelectorEventLoop):
    # As uvloop: to stop is a callback like any other.
    def stop(self): self.call_soon(super().stop)
class Policy(asyncio.DefaultEventLoopPolicy): _loop_factory = Queued
asyncio.set_event_loop_policy(Policy())
"""

    def test_a_loop_that_queues_its_stop(self):
        self.run_ok(self.QUEUED_STOP)
        self.assertEqual(self.kernel.value("await asyncio.sleep(0)\ntype(asyncio.get_running_loop()).__name__"), "'Queued'")
        self.assert_alive()

    def test_a_loop_that_queues_its_stop_awaits_in_every_cell(self):
        self.run_ok(self.QUEUED_STOP)
        for number in range(4):
            self.assertEqual(self.run_ok(f"await asyncio.sleep(0.001, {number})").text, str(number))

    def test_a_patched_loop_that_nests(self):
        # What nest_asyncio does: the running loop runs another step of itself.
        self.run_ok(
            """
            import asyncio
            from asyncio import events, tasks
            def nested(loop, future):
                future = tasks.ensure_future(future, loop=loop)
                old, task = events._get_running_loop(), tasks.current_task(loop)
                if task: tasks._leave_task(loop, task)
                while not future.done(): loop._run_once()
                if task: tasks._enter_task(loop, task)
                events._set_running_loop(old)
                return future.result()
            await asyncio.sleep(0)
            """
        )
        self.assertEqual(self.kernel.value("await asyncio.sleep(0)\nnested(asyncio.get_running_loop(), asyncio.sleep(0.001, 'inner'))"), "'inner'")
        self.assertEqual(self.kernel.value("await asyncio.sleep(0, 'on')"), "'on'")
        self.assert_alive()

    def test_a_loop_whose_methods_fail(self):
        self.run_ok("import asyncio\nawait asyncio.sleep(0)\nloop = asyncio.get_event_loop()")
        self.run_ok("def fail(*_): raise ValueError\nloop.is_closed = fail")
        self.assertEqual(self.kernel.run("'on'").text, "'on'")

    def test_a_task_made_without_await_survives_into_the_next_cell(self):
        self.run_ok("import asyncio\nasync def work(): return 'worked'\ntask = asyncio.create_task(work())")
        self.assertEqual(self.kernel.value("await task"), "'worked'")

    def test_tasks_made_on_the_sessions_loop_without_await(self):
        self.run_ok("import asyncio\nawait asyncio.sleep(0)\nasync def work(n): print('ran', n, flush=True); return n")
        self.run_ok("a = asyncio.ensure_future(work(1)); b = asyncio.get_event_loop().create_task(work(2))")
        self.box.pump_until(lambda: self.kernel.stdout.everything.count(b"ran") == 2, "both tasks between cells")
        self.assertEqual(self.kernel.value("a.result(), b.result()"), "(1, 2)")

    def test_signal_handlers_of_the_loop(self):
        self.run_ok("import asyncio, os, signal\nrang = []\nasyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, rang.append, 1); await asyncio.sleep(0)")
        self.assertEqual(self.kernel.value("os.kill(os.getpid(), signal.SIGUSR1)\nwhile not rang: await asyncio.sleep(0.001)\nrang"), "[1]")
        self.run_ok("asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1); await asyncio.sleep(0)")
        self.assert_alive()


class AwaitInterruptTest(KernelTest):
    def test_kinds_of_waits(self):
        self.run_ok("import asyncio, threading\ngo = threading.Event()\nasync def deep(n): return await (deep(n - 1) if n else asyncio.sleep(600))")
        for code in (
            "await asyncio.sleep(600)",
            "await deep(50)",
            "await asyncio.gather(asyncio.sleep(600), deep(3))",
            "await asyncio.wait_for(asyncio.sleep(600), 600)",
            "await asyncio.wait([asyncio.ensure_future(asyncio.sleep(600))])",
            "await asyncio.shield(asyncio.sleep(600))",
            "await asyncio.ensure_future(asyncio.sleep(600))",
            "await asyncio.Event().wait()",
            "await asyncio.Queue().get()",
            "l = asyncio.Lock(); await l.acquire(); await l.acquire()",
            "async with asyncio.Semaphore(0): pass",
            "async for x in asyncio.StreamReader(): pass",
            "[await asyncio.sleep(600) for _ in range(3)]",
            "while True: await asyncio.sleep(0)",
            "while True: await asyncio.sleep(0.001)",
            "await asyncio.get_running_loop().create_future()",
            "go.clear(); await asyncio.get_running_loop().run_in_executor(None, go.wait)",
            "server = await asyncio.start_server(lambda *_: None, '127.0.0.1', 0); await server.serve_forever()",
        ):
            run = self.kernel.start(SAY + code).wait_output("on")
            self.kernel.interrupt()
            run.wait()
            self.assertEqual((run.status, run.error["type"]), ("interrupted", "KeyboardInterrupt"), code)
            self.assertEqual(self.kernel.value("await asyncio.sleep(0, 'next')"), "'next'", code)
            self.run_ok("go.set()")
        self.assert_alive()

    @unittest.skipIf(sys.version_info < (3, 11), "groups came with 3.11")
    def test_groups(self):
        for code in (
            "async with asyncio.TaskGroup() as group:\n    group.create_task(asyncio.sleep(600)); group.create_task(asyncio.sleep(600))",
            "async with asyncio.timeout(600): await asyncio.sleep(600)",
        ):
            run = self.kernel.start("import asyncio\n" + SAY + code).wait_output("on")
            self.kernel.interrupt()
            self.assertEqual(run.wait().status, "interrupted")
            self.assertEqual(self.kernel.value("await asyncio.sleep(0, 'next')"), "'next'")

    def test_asyncio_run_in_a_plain_cell(self):
        run = self.kernel.start("import asyncio\nasync def f():\n    print('on', flush=True)\n    await asyncio.sleep(600)\nasyncio.run(f())").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        self.assertEqual(self.kernel.value("asyncio.run(asyncio.sleep(0, 'next'))"), "'next'")
        self.assertEqual(self.kernel.value("await asyncio.sleep(0, 'next')"), "'next'")

    def test_code_that_swallows_cancellations(self):
        run = self.kernel.start(f"import asyncio, os\nfor n in range(2):\n    try:\n        {SAY_AWAITING}await asyncio.sleep(600)\n    except asyncio.CancelledError: pass\n'gave in'")
        for n in range(2):
            run.wait_output("on\n" * (n + 1))
            self.kernel.interrupt()
        self.assertEqual((run.wait().status, run.text), ("ok", "'gave in'"))
        self.assert_alive()

    def test_background_tasks_go_on(self):
        self.run_ok("import asyncio\nn = 0\nasync def count():\n    global n\n    while True: n += 1; await asyncio.sleep(0.005)\ntask = asyncio.ensure_future(count()); await asyncio.sleep(0)")
        for code in ("await asyncio.sleep(600)", "while True: pass", "await asyncio.Event().wait()"):
            run = self.kernel.start(SAY + code).wait_output("on")
            self.kernel.interrupt()
            self.assertEqual(run.wait().status, "interrupted")
            self.assertEqual(self.kernel.value("before = n\nwhile n == before: await asyncio.sleep(0)\ntask.done()"), "False")

    def test_background_tasks_that_are_busy_go_on(self):
        self.run_ok("import asyncio\nasync def busy():\n    while True: sum(range(300_000)); await asyncio.sleep(0)\ntask = asyncio.ensure_future(busy()); await asyncio.sleep(0)")
        for _ in range(5):
            run = self.kernel.start(f"import os\n{SAY_AWAITING}await asyncio.sleep(600)").wait_output("on")
            self.kernel.interrupt()
            self.assertEqual(run.wait().status, "interrupted")
            self.assertEqual(self.kernel.value("task.done()"), "False")

    def test_a_background_task_that_lets_nobody_else_go_on_takes_the_second(self):
        self.run_ok("import asyncio, os, time\nasync def hold():\n    await go.wait(); os.write(1, b'held')\n    while True: time.sleep(600)\nawait asyncio.sleep(0); go = asyncio.Event(); task = asyncio.ensure_future(hold())")
        run = self.kernel.start("go.set(); await asyncio.sleep(600)").wait_output("held")
        self.kernel.interrupt_until_done(run)
        self.assertEqual(run.status, "interrupted")
        self.assertEqual(self.kernel.value("task.done(), await asyncio.sleep(0, 'on')"), "(True, 'on')")

    def test_a_task_of_the_cell_that_is_busy_is_interrupted(self):
        for code in ("await asyncio.ensure_future(busy())", "await asyncio.gather(asyncio.sleep(600), busy())", "asyncio.get_running_loop().call_soon(spin); await asyncio.sleep(600)"):
            run = self.kernel.start(f"import asyncio\ndef spin():\n    {SAY}    while True: pass\nasync def busy(): spin()\n{code}").wait_output("on")
            self.kernel.interrupt()
            self.assertEqual(run.wait().status, "interrupted", code)
            self.assertEqual(self.kernel.value("await asyncio.sleep(0, 'on')"), "'on'")


if __name__ == "__main__":
    unittest.main()
