"""The protocol under session code that writes below Python, breaks what it can reach, or has values JSON cannot hold."""

from __future__ import annotations

import signal
import sys
import unittest
from pathlib import Path

from harness import KernelTest, encode, wait_until


class AnswerTest(KernelTest):
    def answer(self, code: str, **options):
        """The execution, which comes soon, or the kernel's end is a failure."""
        run = self.kernel.start(code, **options)
        self.box.pump_until(lambda: run.of("done") or self.kernel.exited, "any end")
        self.assertIsNone(self.kernel.exited)
        return run.wait()


class BelowPythonTest(KernelTest):
    """Whatever writes to descriptors 1 and 2 is output, and nothing but frames is on the connection."""

    def test_each_way_to_write(self):
        self.run_ok(
            """
            import asyncio, ctypes, faulthandler, os, pty, shutil, subprocess, sys, threading, io
            libc = ctypes.CDLL(None)
            with open('text', 'w') as file: file.write('sent\\n')
            def in_thread(function):
                thread = threading.Thread(target=function); thread.start(); thread.join()
            """
        )
        for code, text in (
            ("os.system('echo shell')", "shell\n"),
            ("libc.system(b'echo c-shell')", "c-shell\n"),
            ("libc.puts(b'put')", "put\n"),
            ("libc.printf(b'%d\\n', 5)", "5\n"),
            ("libc.printf(b'unfinished')", "unfinished"),
            ("libc.putchar(65)", "A"),
            ("libc.dprintf(1, b'direct\\n')", "direct\n"),
            ("libc.write(1, b'call\\n', 5)", "call\n"),
            ("libc.syscall(1, 1, b'deep\\n', 5) if os.uname().machine == 'x86_64' else print('deep')", "deep\n"),
            ("os.write(1, b'written\\n')", "written\n"),
            ("os.writev(1, [b'a', b'b\\n'])", "ab\n"),
            ("os.waitpid(os.posix_spawnp('echo', ['echo', 'spawned'], os.environ), 0)", "spawned\n"),
            ("os.spawnlp(os.P_WAIT, 'echo', 'echo', 'spawn')", "spawn\n"),
            ("subprocess.run(['echo', 'inherited'])", "inherited\n"),
            ("subprocess.run(['echo', 'all'], close_fds=False)", "all\n"),
            ("subprocess.run(['echo', 'given'], stdout=sys.stdout)", "given\n"),
            ("subprocess.run('echo joined >&2', shell=True, stderr=subprocess.STDOUT)", "joined\n"),
            ("subprocess.run(['echo', 'new session'], start_new_session=True)", "new session\n"),
            ("subprocess.run(['sh', '-c', 'echo to 1 >/dev/stdout'])", "to 1\n"),
            ("subprocess.run(['echo', 'captured'], capture_output=True)", ""),
            ("subprocess.run(['echo', 'thrown away'], stdout=subprocess.DEVNULL)", ""),
            ("subprocess.run(['echo', 'kept'], stdout=open('kept', 'w')).returncode, open('kept').read()", ""),
            ("await (await asyncio.create_subprocess_exec('echo', 'async')).wait()", "async\n"),
            ("pty.spawn(['echo', 'pty'])", "pty\r\n"),
            ("with open(1, 'w', closefd=False) as again: again.write('again\\n')", "again\n"),
            ("with open('/dev/stdout', 'w') as device: device.write('device\\n')", "device\n"),
            ("with open('/proc/self/fd/1', 'wb') as proc: proc.write(b'proc\\n')", "proc\n"),
            ("os.write(copy := os.dup(1), b'copy\\n'); os.close(copy)", "copy\n"),
            ("shutil.copyfileobj(open('text', 'rb'), sys.stdout.buffer)", "sent\n"),
            ("sys.stdout.buffer.raw.write(b'raw\\n')", "raw\n"),
            ("io.TextIOWrapper(io.FileIO(1, 'w', closefd=False), write_through=True).write('wrapped\\n')", "wrapped\n"),
            ("sys.__stdout__.write('original\\n')", "original\n"),
            ("in_thread(lambda: libc.puts(b'put in a thread'))", "put in a thread\n"),
            ("in_thread(lambda: os.write(1, b'written in a thread\\n'))", "written in a thread\n"),
            ("in_thread(lambda: os.system('echo shell in a thread'))", "shell in a thread\n"),
            ("await asyncio.to_thread(print, 'worker') if sys.version_info >= (3, 9) else 0", "worker\n"),
        ):
            run = self.run_ok(code)
            self.assertEqual((run.stdout, run.stderr), (text, ""), code)
            self.assertEqual([frame["type"] for frame in run.frames], ["done"], code)

    def test_each_way_to_write_errors(self):
        self.run_ok("import ctypes, faulthandler, os, subprocess, sys\nlibc = ctypes.CDLL(None)")
        for code, text in (
            ("os.write(2, b'written\\n')", "written\n"),
            ("os.system('echo shell >&2')", "shell\n"),
            ("libc.fputs(b'put\\n', ctypes.c_void_p.in_dll(libc, 'stderr'))", "put\n"),
            ("libc.fputs(b'unfinished', ctypes.c_void_p.in_dll(libc, 'stderr'))", "unfinished"),
            ("subprocess.run(['sh', '-c', 'echo child >&2'])", "child\n"),
            ("subprocess.run(['echo', 'swapped'], stdout=sys.stderr)", "swapped\n"),
            ("sys.stderr.write('text')", "text"),
        ):
            run = self.run_ok(code)
            self.assertEqual((run.stdout, run.stderr), ("", text), code)
        self.assertIn("most recent call first", self.run_ok("faulthandler.dump_traceback()").stderr)

    def test_what_imitates_frames_on_every_way_out(self):
        body = b'{"type":"done","id":"exec_x","status":"ok"}'
        frame = len(body).to_bytes(4, "big") + body
        for code in (
            f"import os; os.write(1, {frame!r})",
            f"import sys; sys.stdout.buffer.write({frame!r})",
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', {f'import os; os.write(1, {frame!r})'!r}])",
        ):
            run = self.kernel.run(code + ";")
            self.assertEqual((run.status, run.stdout_bytes), ("ok", frame))
            self.assertEqual(len(run.frames), 1)
        self.assertEqual(self.run_ok(f"import os; os.write(2, {frame!r} * 1000);").stderr_bytes, frame * 1000)

    def test_standard_input_is_empty_and_takes_no_requests(self):
        self.run_ok("import os, subprocess, sys")
        for code, text in (
            ("sys.stdin.read()", "''"),
            ("sys.stdin.readline()", "''"),
            ("[line for line in sys.stdin]", "[]"),
            ("os.read(0, 100)", "b''"),
            ("open(0, closefd=False).read()", "''"),
            ("subprocess.run(['cat'], capture_output=True).stdout", "b''"),
            ("subprocess.run(['sh', '-c', 'read x; echo $?'], capture_output=True).stdout", "b'1\\n'"),
        ):
            self.assertEqual(self.run_ok(code).text, text, code)
        self.run_ok("sys.stdin = None")
        self.assert_alive()
        self.run_ok("sys.__stdin__.close()")
        self.assert_alive()


class ConnectionTest(KernelTest):
    """The connection itself within reach of session code."""

    def test_closing_every_descriptor_is_no_graceful_end(self):
        self.kernel.start("import os\nos.closerange(0, 65536)")
        report = self.kernel.wait_exit()
        self.assertNotEqual(report["code"], 0)

    def test_closing_the_connection_alone_is_no_graceful_end(self):
        self.kernel.start(
            "import os, stat\n"
            "for fd in range(900, 1100):\n"
            "    try:\n        if stat.S_ISSOCK(os.fstat(fd).st_mode): os.close(fd)\n    except OSError: pass\n"
        )
        self.assertNotEqual(self.kernel.wait_exit()["code"], 0)

    def test_a_child_that_closes_everything_harms_nobody(self):
        for close in ("os.closerange(0, 65536)", "for fd in range(65536):\n        try: os.close(fd)\n        except OSError: pass"):
            run = self.run_ok(f"import os\npid = os.fork()\nif pid == 0:\n    {close}\n    os._exit(3)\nos.waitpid(pid, 0)[1] >> 8")
            self.assertEqual(run.text, "3")
        self.assert_alive()

    def test_a_daemonized_child_harms_nobody(self):
        run = self.run_ok(
            """
            import os
            r, w = os.pipe()
            if (pid := os.fork()) == 0:
                os.setsid()
                if os.fork(): os._exit(0)
                os.dup2(w, 0); os.closerange(1, 65536)
                os.write(0, b'detached'); os._exit(0)
            os.waitpid(pid, 0); os.close(w)
            os.read(r, 100)
            """
        )
        self.assertEqual(run.text, "b'detached'")
        self.assert_alive()

    def test_no_free_descriptor(self):
        self.run_ok(
            """
            import os
            held = []
            try:
                while True: held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError: pass
            """
        )
        self.assertEqual(self.kernel.value("len(held) > 10"), "True")
        self.run_error("def f(): g()\nf()", "NameError")
        self.run_error("open('x', 'w')", "OSError")
        self.assertIsNone(self.kernel.inspect()["error"])
        self.run_ok("for fd in held: os.close(fd)")
        self.assertEqual(self.kernel.value("import asyncio; await asyncio.sleep(0, 'later')"), "'later'")
        self.assert_alive()

    def test_requests_that_come_while_code_waits_for_an_answer_wait_too(self):
        run = self.kernel.start("input('?')")
        self.box.pump_until(lambda: run.of("input"), "the question")
        self.kernel.send({"type": "inspect", "request": "meanwhile", "name": None, "depth": 1})
        # Answers to nobody, before the right one: by an id of the past, of the future and of another kind.
        for request in ("call-0", "call-99", "meanwhile", ""):
            self.kernel.reply(request, "wrong")
        self.kernel.reply(run.of("input")[0]["request"], "right")
        self.assertEqual(run.wait().text, "'right'")
        self.kernel.reply(run.of("input")[0]["request"], "twice")
        inspected = lambda: [f for f in self.kernel.frames if f["type"] == "inspected"]  # noqa: E731
        self.box.pump_until(inspected, "the inspection")
        self.assertEqual([frame["request"] for frame in inspected()], ["meanwhile"])
        self.assert_alive()

    def test_two_answers_to_one_question(self):
        run = self.kernel.start("print('once')\ninput('?')")
        self.box.pump_until(lambda: run.of("input"), "the question")
        request = run.of("input")[0]["request"]
        answers = [{"type": "reply", "request": request, "value": value, "error": None} for value in ("first", "second")]
        self.kernel.socket.sendall(b"".join(map(encode, answers)))
        self.assertEqual(run.wait().text, "'first'")
        self.assert_alive()

    def test_answers_that_are_no_text(self):
        for value in (5, ["a"], {"a": 1}, True, ""):
            run = self.kernel.start("input('?')")
            self.box.pump_until(lambda: run.of("input"), "the question")
            self.kernel.reply(run.of("input")[0]["request"], value)
            run.wait()
            if value == "":
                self.assertEqual(run.text, "''")
            else:
                self.assertEqual(run.error["type"], "EOFError")
        self.assert_alive()

    def test_where_questions_may_come_from(self):
        def answered(code: str, text: str) -> None:
            run = self.kernel.start(code)
            self.box.pump_until(lambda: run.of("input"), f"the question of {code!r}")
            self.kernel.reply(run.of("input")[0]["request"], "yes")
            run.wait()
            self.assertEqual((run.status, run.text), ("ok", text), run.error)

        answered("class R:\n    def __repr__(self): return input('in a repr')\nR()", "yes")
        answered("[input(n) for n in 'a']", "['yes']")
        answered("import asyncio\nasync def ask(): return input('in a task')\nawait asyncio.ensure_future(ask())", "'yes'")
        answered("await asyncio.get_running_loop().run_in_executor(None, input, 'in a worker')", "'yes'")
        answered("import io, sys\nsys.stdout = io.StringIO()\ninput('hidden')", "'yes'")
        answered("import builtins; builtins.input('by its name')", "'yes'")
        answered("exec('answer = input()')\nanswer", "'yes'")
        answered("class D:\n    def __del__(self): global told; told = input('in a finalizer')\nd = D(); del d\ntold", "'yes'")
        answered("import os\nos.environ.clear(); input('\\ud800')", "'yes'")
        self.run_error("class P:\n    def __str__(self): raise ValueError('no prompt')\ninput(P())", "ValueError")
        self.assert_alive()


class ReplacedTest(AnswerTest):
    """Session code may break what it can reach; its own cells still run, and tell what they always told."""

    MODULES = (
        "json io os threading asyncio signal traceback linecache select socket time types ast codecs weakref "
        "contextvars importlib importlib._bootstrap importlib._bootstrap_external collections functools re tokenize "
        "warnings abc _thread _signal posix selectors atexit gc ctypes resource fcntl inspect struct binascii enum "
        "typing encodings encodings.utf_8 contextlib tempfile copyreg itertools operator _io _socket errno stat"
    ).split()

    def works(self, kernel, what: str, syntax: bool = True) -> None:
        """The kernel still runs cells, tells their values, output, errors and variables."""
        run = kernel.run("x = {1: [2]}\nx")
        self.assertEqual((run.status, run.text, run.names("added")), ("ok", "{1: [2]}", ["x"]), (what, run.error))
        run = kernel.run("def f(): g()\nf()")
        self.assertEqual((run.status, run.error["type"], run.error["message"], run.error["line"]), ("error", "NameError", "name 'g' is not defined", 1), what)
        if syntax:
            run = kernel.run("y = = 1")
            self.assertEqual((run.status, run.error["type"], run.error["line"]), ("error", "SyntaxError", 1), what)
        run = kernel.run("del x\nprint('printed')")
        self.assertEqual((run.status, run.stdout, run.names("deleted")), ("ok", "printed\n", ["x"]), what)
        self.assertIsNone(kernel.inspect()["error"], what)

    def test_each_module_emptied(self):
        for module in self.MODULES:
            kernel = self.box.fork()
            run = kernel.run(
                f"import importlib\nm = importlib.import_module({module!r})\n"
                "for name in list(vars(m)):\n"
                "    if not name.startswith('__'):\n"
                "        try: setattr(m, name, None)\n        except BaseException: pass\n"
                "del m, name, importlib"
            )
            self.assertIn(run.status, ("ok", "error"), module)
            self.works(kernel, module)
            kernel.signal(signal.SIGKILL, "tree")
            kernel.wait_exit()

    def test_ways_to_break_imports(self):
        broken = (
            "import builtins; builtins.__import__ = None",
            "import builtins\ndef broken(*_, **__): raise RuntimeError('no')\nbuiltins.__import__ = broken",
            "import sys; sys.modules.clear()",
            "import sys; sys.modules = {}",
            "import sys; sys.meta_path = sys.path = sys.path_hooks = None",
            "import sys; sys.path_hooks.clear(); sys.path_importer_cache.clear(); sys.path[:] = [5, None, b'x', '/nowhere']",
            "import sys\nclass F:\n    def find_spec(*_): raise RuntimeError\nsys.meta_path.insert(0, F())",
            "import sys\nfor name in list(sys.modules):\n    if name.startswith('execute_code'): del sys.modules[name]",
            "import sys\nfor name in list(sys.modules): sys.modules[name] = None",
        )
        for code in broken:
            kernel = self.box.fork()
            self.assertEqual(kernel.run(code).status, "ok", code)
            self.works(kernel, code)

    def test_imports_that_exit(self):
        self.kernel.run("import builtins\ndef broken(*_, **__): raise SystemExit(5)\nbuiltins.__import__ = broken")
        self.works(self.kernel, "an import that exits")

    def test_no_table_of_modules(self):
        self.kernel.run("import sys; sys.modules = None")
        self.works(self.kernel, "sys.modules = None")

    EXCEPTIONS = (
        "import builtins\nfor name in ('BaseException', 'Exception', 'KeyboardInterrupt', 'OSError', 'SyntaxError', "
        "'RuntimeError', 'ValueError', 'AttributeError', 'StopIteration', 'MemoryError'): setattr(builtins, name, int)"
    )

    def test_broken_exceptions(self):
        self.run_ok(self.EXCEPTIONS)
        self.works(self.kernel, "exceptions", syntax=False)

    # TypeError: magics are imported among builtins that are replaced; only missing ones come back.
    def test_emptied_builtins(self):
        self.run_ok("import builtins\nvars(builtins).clear()")
        self.assertEqual(self.run_ok("x = 1\nx").text, "1")
        run = self.kernel.run("1/0")
        self.assertEqual((run.error["type"], run.error["message"], run.error["line"]), ("ZeroDivisionError", "division by zero", 1))
        self.run_error("print(1)", "NameError")
        self.run_error("import os", "ImportError")

    def test_an_emptied_sys(self):
        self.run_ok("import sys\nfor name in list(vars(sys)):\n    if not name.startswith('__') and name != 'modules': delattr(sys, name)")
        self.assertEqual(self.run_ok("x = 1\nx").text, "1")
        self.assertEqual(self.kernel.run("1/0").error["type"], "ZeroDivisionError")
        self.assertEqual(self.run_ok("print('printed')").stdout, "printed\n")

    def test_errors_with_an_emptied_sys(self):
        self.run_ok("import sys\nfor name in list(vars(sys)):\n    if not name.startswith('__') and name != 'modules': delattr(sys, name)")
        error = self.kernel.run("1/0").error
        self.assertEqual((error["message"], error["line"]), ("division by zero", 1))

    def test_imports_that_hang_can_be_interrupted(self):
        self.run_ok("import builtins\nreal = __import__\ndef hang(name, *rest):\n    while name == 'wave': print('on', flush=True)\n    return real(name, *rest)\nbuiltins.__import__ = hang")
        run = self.kernel.start("import wave").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        self.run_ok("builtins.__import__ = real")
        self.assert_alive()

    def test_environment_of_one_execution_without_an_environment(self):
        for code in ("import os; os.environ.clear()", "import os; os.environ = None", "import os; os.environ = {}"):
            self.run_ok(code)
            self.assertEqual(self.kernel.run("1", env={"A": "1"}).text, "1")
        self.assert_alive()

    def test_environment_of_one_execution_that_cannot_be_set(self):
        self.answer("'lone surrogate'", env={"A": "\ud800"})
        self.assert_alive()

    def test_environment_of_one_execution_with_a_broken_os(self):
        self.run_ok("import os; os.putenv = os.unsetenv = None")
        self.answer("1", env={"A": "1"})
        self.assert_alive()


class HookTest(AnswerTest):
    """Python's own hooks in the hands of session code."""

    def test_hooks_are_the_sessions_and_stay(self):
        self.run_ok(
            """
            import sys, threading
            called = []
            sys.excepthook = lambda *a: called.append('excepthook')
            sys.displayhook = lambda v: called.append('displayhook')
            sys.unraisablehook = lambda u: called.append('unraisable')
            threading.excepthook = lambda a: called.append('thread')
            class D:
                def __del__(self): 1/0
            """
        )
        run = self.run_error("1/0", "ZeroDivisionError")
        self.assertEqual(run.error["line"], 1)
        self.assertEqual(self.run_ok("42").text, "42")
        self.run_ok("d = D(); del d")
        self.run_ok("t = threading.Thread(target=lambda: 1/0); t.start(); t.join()")
        self.assertEqual(self.kernel.value("called"), "['unraisable', 'thread']")

    def test_hooks_that_fail(self):
        self.run_ok("import sys, threading\ndef fail(*_): raise SystemExit(7)\nsys.excepthook = sys.displayhook = sys.unraisablehook = threading.excepthook = fail")
        self.run_error("1/0", "ZeroDivisionError")
        self.assertEqual(self.run_ok("42").text, "42")
        self.run_ok("class D:\n    def __del__(self): 1/0\nd = D(); del d")
        self.run_ok("t = threading.Thread(target=lambda: 1/0); t.start(); t.join()")
        self.run_ok("sys.excepthook = sys.displayhook = sys.unraisablehook = threading.excepthook = None")
        self.run_ok("d = D(); del d")
        self.assert_alive()

    def test_audit_hooks_that_refuse_one_thing(self):
        for event, alive in (
            ("fcntl.ioctl", True),
            ("signal.", True),
            ("open", True),
            ("os.", True),
            ("import", True),
            ("object.", True),
            ("sys.", True),
            ("builtins.id", True),
            ("socket.", True),
            ("ctypes.", True),
            ("exec", False),
            ("compile", False),
        ):
            kernel = self.box.fork()
            code = f"import sys\ndef refuse(event, _):\n    if event.startswith({event!r}): raise RuntimeError(event)\nsys.addaudithook(refuse)"
            self.assertEqual(kernel.run(code).status, "ok", event)
            run = kernel.run("x = 1\nx")
            self.assertEqual((run.status, run.text), ("ok", "1") if alive else ("error", None), event)
            run = kernel.run("1/0")
            self.assertEqual(run.error["type"], "ZeroDivisionError" if alive else "RuntimeError", event)
            self.assertIsNone(kernel.inspect()["error"], event)

    def test_an_audit_hook_that_refuses_everything(self):
        self.kernel.run("import sys\non = False\ndef refuse(event, _):\n    if on: raise RuntimeError(event)\nsys.addaudithook(refuse)")
        self.assertEqual(self.answer("on = True").status, "ok")
        self.assertEqual(self.answer("1").error["type"], "RuntimeError")

    def test_audit_hooks_that_print(self):
        run = self.run_ok("import sys\nsys.addaudithook(lambda event, _: print(event) if event == 'compile' else None)")
        run = self.run_ok("'value'")
        self.assertEqual((run.text, set(run.stdout.split())), ("'value'", {"compile"}))

    def test_trace_and_profile_functions_that_fail(self):
        for name in ("settrace", "setprofile"):
            # Python takes back a trace function that failed.
            self.kernel.run(f"import sys, threading\ndef fail(*_): raise ValueError('traced')\nsys.{name}(fail)")
            self.kernel.run("def f(): return 1\nf()")
            self.kernel.run(f"sys.{name}(None); threading.{name}(None)")
            self.assert_alive()
            run = self.run_ok(f"threading.{name}(fail)\nt = threading.Thread(target=int); t.start(); t.join(); threading.{name}(None)")
            self.assertEqual(run.status, "ok")
            self.assert_alive()

    def test_trace_functions_trace_and_stay(self):
        self.run_ok(
            """
            import sys
            seen = []
            def trace(frame, event, _):
                if frame.f_code.co_name == 'traced': seen.append(event)
                return trace
            def traced(): return 1
            sys.settrace(trace)
            """
        )
        self.run_ok("traced()")
        self.assertEqual(self.kernel.value("seen, sys.gettrace() is trace"), "(['call', 'line', 'return'], True)")
        self.run_ok("sys.settrace(None)")
        self.run_ok("seen.clear(); traced()")
        self.assertEqual(self.kernel.value("seen"), "[]")

    def test_trace_functions_see_session_code_only(self):
        self.run_ok("import sys\nseen = set()\ndef profile(frame, *_): seen.add(frame.f_globals.get('__name__', '').partition('.')[0])\nsys.setprofile(profile)")
        self.run_ok("x = 1\nx")
        self.run_ok("sys.setprofile(None)")
        self.assertEqual(self.kernel.value("'execute_code_kernel' in seen, '__main__' in seen"), "(False, True)")

    def test_a_profiler_lasts_over_cells(self):
        self.run_ok("import cProfile, io, pstats\nprofiler = cProfile.Profile(); profiler.enable()\ndef worked(): return 1")
        self.assertEqual(self.run_ok("worked()").text, "1")
        self.run_ok("profiler.disable(); out = io.StringIO(); pstats.Stats(profiler, stream=out).print_stats()")
        self.assertEqual(self.kernel.value("'(worked)' in out.getvalue()"), "True")

    @unittest.skipIf(sys.version_info < (3, 12), "sys.monitoring came with 3.12")
    def test_monitoring_that_fails(self):
        self.answer(
            "import sys\nm = sys.monitoring\nm.use_tool_id(3, 'bad')\ndef bad(*_): raise ValueError('monitored')\n"
            "for event in (m.events.PY_START, m.events.CALL, m.events.LINE): m.register_callback(3, event, bad)\n"
            "m.set_events(3, m.events.PY_START | m.events.CALL | m.events.LINE)"
        )
        # As in any program, it fails at the first line of each cell; nothing of the kernel fails with it.
        for _ in range(3):
            self.assertEqual(self.answer("sys.monitoring.set_events(3, 0)").error["type"], "ValueError")
            self.assertIsNone(self.kernel.inspect()["error"])

    @unittest.skipIf(sys.version_info < (3, 12), "sys.monitoring came with 3.12")
    def test_monitoring_sees_session_code_only(self):
        self.run_ok(
            "import sys\nm = sys.monitoring\nm.use_tool_id(3, 'seen')\nseen = set()\ndef look(code, *_): seen.add(code.co_filename)\n"
            "for event in (m.events.PY_START, m.events.PY_RETURN, m.events.CALL, m.events.RAISE): m.register_callback(3, event, look)\n"
            "m.set_events(3, m.events.PY_START | m.events.PY_RETURN | m.events.CALL | m.events.RAISE)"
        )
        self.run_ok("def f(): return 1\nf()")
        self.run_error("1/0", "ZeroDivisionError")
        self.run_ok("m.set_events(3, 0); m.register_callback(3, m.events.CALL, None) is look")
        self.assertEqual(self.kernel.value("any('execute_code_kernel' in name for name in seen), any('exec_' in name for name in seen)"), "(False, True)")

    def test_garbage_collection(self):
        for code in (
            "import gc\ngc.disable(); gc.freeze(); gc.set_threshold(1, 1, 1); gc.enable()",
            "def fail(*_): raise ValueError('collected')\ngc.callbacks.append(fail)\ngc.collect()",
            "class D:\n    def __del__(self): raise SystemExit(3)\nfor _ in range(5):\n    d = D(); d.d = d\ndel d\ngc.collect()",
            "gc.set_debug(gc.DEBUG_SAVEALL)\nx = []; x.append(x); del x\ngc.collect()",
        ):
            self.run_ok(code)
            self.assert_alive()

    def test_warnings_as_errors(self):
        self.run_ok("import warnings\nwarnings.simplefilter('error')")
        for code in ("x = {1}\nx", "async def f(): return 1\nawait f()", "class A: pass\nA()", "import os; os.getcwd();"):
            self.run_ok(code)
        self.assertEqual(self.run_error("\n1 is 1", "SyntaxError").error["line"], 2)
        self.run_error("warnings.warn('raised')", "UserWarning")
        self.run_ok("warnings.warn = warnings.showwarning = warnings.formatwarning = warnings.filters = None")
        self.run_error("1/0", "ZeroDivisionError")
        self.assert_alive()

    def test_limits_of_the_interpreter(self):
        for code in (
            "import sys\nsys.setswitchinterval(1e-9)",
            "sys.setswitchinterval(100)",
            "sys.setrecursionlimit(10**9)",
            "def depth():\n    frame, n = sys._getframe(), 0\n    while frame: frame = frame.f_back; n += 1\n    return n\nsys.setrecursionlimit(depth() + 5)",
            "sys.setrecursionlimit(1000)",
            "sys.flags, sys.float_info, sys.hash_info;",
            "if hasattr(sys, 'set_int_max_str_digits'): sys.set_int_max_str_digits(640)",
        ):
            self.kernel.run(code)
            self.assert_alive()
            self.run_error("1/0", "ZeroDivisionError")
        run = self.run_ok("x = 10**3000\nx")
        self.assertTrue(run.text)
        self.assertIsNone(self.kernel.inspect("x")["error"])

    def test_locales_and_encodings(self):
        for code in (
            "import locale\nlocale.setlocale(locale.LC_ALL, 'C')",
            "import os\nos.environ['PYTHONIOENCODING'] = 'ascii'; os.environ['LC_ALL'] = 'C'",
            "import codecs\ncodecs.register_error('backslashreplace', lambda e: 1/0)",
            "codecs.register(lambda name: 1/0)",
        ):
            self.run_ok(code)
            self.assertEqual(self.run_ok("print('é€', 'ü'); 'ß'").text, "'ß'")
            self.assertEqual(self.run_ok("print('é€')").stdout, "é€\n")
        self.assert_alive()


class ValueTest(AnswerTest):
    """Values that JSON cannot hold, and values that fight back."""

    ODD = (
        "{1, 2}", "float('nan')", "[float('inf'), -0.0]", "{b'k': 1}", "{(1, 2): {3}}", "'\\ud800'", "{'\\ud800': '\\udfff'}", "b'\\xff'",
        "bytearray(b'x')", "1j", "...", "NotImplemented", "object", "range(3)", "slice(1, None, 2)", "frozenset()", "set()", "2**53 + 1", "10**400",
        "-10**400", "True", "'\\0\\x1b\\r\\n\\u2028\\u2029'", "{None: None}", "{True: 1, 1.5: 2}", "[[]] * 3", "'\"\\\\/'", "dict.fromkeys(range(3))",
        "(1,)", "()", "{}", "''", "'\\U0001f600'", "type", "len", "1e308 * 10", "5e-324", "memoryview(b'x').tobytes()",
    )  # fmt: skip

    def test_results(self):
        for code in self.ODD:
            self.assertEqual(self.run_ok(code).text, repr(eval(code)), code)

    def test_variables(self):
        for number, code in enumerate(self.ODD):
            run = self.run_ok(f"v{number} = {code}")
            self.assertEqual(run.names("added"), [f"v{number}"], code)
        self.assertEqual(len(self.kernel.inspect()["variables"]), len(self.ODD))
        for number in range(len(self.ODD)):
            self.assertIsNone(self.kernel.inspect(f"v{number}", 3)["error"])

    def test_cycles(self):
        self.assertEqual(self.run_ok("x = []; x.append(x); x").text, "[[...]]")
        self.assertEqual(self.run_ok("d = {}; d['d'] = (d, [d]); d").text, "{'d': ({...}, [{...}])}")
        self.assertIsNone(self.kernel.inspect("d", 5)["error"])

    def test_names_that_are_no_identifiers(self):
        self.run_ok("globals().update({'\\ud800': 1, 'a b': 2, '': 3, '\\n': 4, 'é': 5})")
        self.run_ok("globals()[3] = 4; globals()[None] = 5; globals()[(1,)] = 6; globals()[b'x'] = 7")
        self.run_ok("class S(str):\n    def __eq__(self, _): 1/0\n    __hash__ = str.__hash__\n    def __getitem__(self, _): 1/0\nglobals()[S('subclass')] = 8")
        self.assertIsNone(self.kernel.inspect()["error"])
        self.run_ok("after = 1")
        self.run_ok("globals()['x' * 1_000_000] = 1")
        self.assert_alive()

    def test_values_that_fight_back(self):
        for code, text in (
            ("class A:\n    @property\n    def __class__(self): raise SystemExit\na = A()\na", "<__main__.A object"),
            ("class B:\n    def __getattribute__(self, name): raise SystemExit(name)\nb = B()\nb", "<__main__.B object"),
            ("class C:\n    def __repr__(self): return 5\nC()", "<C object; its __repr__ raised TypeError"),
            ("class D:\n    def __repr__(self): raise SystemExit(3)\nD()", "<D object; its __repr__ raised SystemExit"),
            ("class E:\n    def __repr__(self): raise type('Own', (BaseException,), {})('x')\nE()", "<E object; its __repr__ raised Own"),
            ("class F:\n    def __repr__(self): raise GeneratorExit\nF()", "<F object; its __repr__ raised GeneratorExit"),
            ("class G(dict):\n    def __iter__(self): raise ValueError\n    keys = values = items = __len__ = __repr__ = __iter__\ng = G(a=1)\ng", "<G object; its __repr__ raised ValueError"),
            ("class H(str):\n    def __repr__(self): return self\n    def __str__(self): 1/0\n    def __len__(self): return 10**9\nH('h')", "h"),
            ("class I:\n    def __eq__(self, _): raise ValueError\n    __hash__ = __len__ = __bool__ = __iter__ = __getitem__ = __eq__\ni = I()\ni", "<__main__.I object"),
            ("class J(list):\n    __class__ = dict\nj = J([1])\nj", "[1]"),
            ("import types\nclass K(types.ModuleType):\n    def __getattribute__(self, _): 1/0\nk = K('k')\nk", "<K object; its __repr__ raised ZeroDivisionError"),
            ("class L:\n    def __repr__(self): return repr(self)\nL()", "<L object; its __repr__ raised RecursionError"),
            ("class M:\n    def __repr__(self): globals()['made'] = 1; print('printed'); return 'M'\nM()", "M"),
            ("class N:\n    __slots__ = ('x',)\n    def __getattr__(self, name): return lambda *a, **k: 1/0\nn = N()\nn", "<__main__.N object"),
            ("type('\\u00e9' * 100_000, (), {})()", "<__main__.é"),
        ):  # fmt: skip
            run = self.run_ok(code)
            self.assertTrue(run.text.startswith(text), (code, run.text))
            self.assertIsNone(self.kernel.inspect()["error"], code)
        self.assert_alive()

    METACLASSES = (
        "def __eq__(cls, other): return cls is other",  # Makes classes unhashable, as Python does with any class.
        "def __hash__(cls): raise ValueError",
    )

    def test_classes_with_odd_metaclasses(self):
        for body in (
            "def __getattribute__(cls, name): raise ValueError(name)",
            "def __repr__(cls): raise ValueError",
            "__name__ = property(lambda cls: 1/0)\n    __doc__ = __dict__ = __mro__ = __bases__ = __name__",
            *self.METACLASSES,
        ):
            kernel = self.box.fork()
            run = kernel.run(f"class Meta(type):\n    {body}\nclass Odd(metaclass=Meta): pass\nOdd")
            self.assertEqual(run.status, "ok", (body, run.error))
            self.assertIn("Meta", "".join(run.names("added")))
            self.assertIsNone(kernel.inspect()["error"], body)
            self.assertEqual(kernel.run("class Failure(Exception, metaclass=Meta): pass\nraise Failure('x')").error["message"], "x", body)

    def test_values_whose_class_cannot_be_hashed(self):
        for body in self.METACLASSES:
            kernel = self.box.fork()
            run = kernel.run(f"class Meta(type):\n    {body}\nclass Odd(metaclass=Meta): pass\nodd = Odd()\nodd")
            self.assertEqual((run.status, run.text and run.text[:13]), ("ok", "<__main__.Odd"), (body, run.error))

    def test_variables_beside_one_whose_class_cannot_be_hashed(self):
        for body in self.METACLASSES:
            kernel = self.box.fork()
            kernel.run(f"class Meta(type):\n    {body}\nclass Odd(metaclass=Meta): pass\nodd = Odd()")
            self.assertEqual(kernel.run("later = 1; kept = [odd]").names("added"), ["kept", "later"], body)

    def test_variables_that_change_while_they_are_looked_at(self):
        self.run_ok(
            """
            import threading
            stop = threading.Event()
            grow = []
            def churn():
                n = 0
                while not stop.is_set():
                    n += 1
                    globals()[f'v{n % 50}'] = n; globals().pop(f'v{(n + 25) % 50}', None)
                    grow.append(n)
                    if n % 100 == 0: grow.clear()
            thread = threading.Thread(target=churn); thread.start()
            """
        )
        for number in range(20):
            self.assertEqual(self.run_ok(f"own = {number}\nown").text, str(number))
            self.assertIsNone(self.kernel.inspect()["error"])
        self.run_ok("stop.set(); thread.join()")
        self.assert_alive()

    def test_errors_too_large_for_a_frame(self):
        run = self.answer("raise type('E' * 34_000_000, (Exception,), {})('x')")
        self.assertEqual((run.status, run.error["type"][:2]), ("error", "EE"))
        self.assert_alive()

    def test_errors_that_name_impossible_places(self):
        for place in ("10**5000", "2**63", "-1"):
            code = f"import sys\nraise SyntaxError('odd', (sys._getframe().f_code.co_filename, {place}, {place}, 'text'))"
            run = self.run_error(code, "SyntaxError")
            self.assertIn(run.error["line"], (None, 2))


class SeveralKernelsTest(KernelTest):
    """What one kernel does to itself harms no other of its box."""

    def test_ends_of_one_kernel(self):
        other = self.box.fork()
        for code in (
            "import os; os.kill(os.getpid(), 9)",
            "import os, signal; os.killpg(0, signal.SIGKILL)",
            "import os, signal; os.kill(0, signal.SIGTERM)",
            "import os; os.closerange(0, 65536)",
            "import os; os.execvp('true', ['true'])",
            "import ctypes; ctypes.pythonapi.Py_Finalize(); ctypes.string_at(0)",
        ):
            kernel = self.box.fork()
            kernel.start(code)
            kernel.wait_exit()
            self.assertEqual(other.value("'lives'"), "'lives'", code)
        self.assert_alive()

    def test_signals_to_the_supervisor(self):
        self.run_ok("import os, signal\nfor n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT): os.kill(os.getppid(), n)")
        self.assert_alive()
        self.assertEqual(self.box.fork().value("1"), "1")

    def test_a_stopped_kernel_can_be_ended(self):
        self.kernel.start("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
        state = lambda: Path(f"/proc/{self.kernel.pid}/stat").read_text().rpartition(")")[2].split()[0]  # noqa: E731
        wait_until(lambda: state() == "T", "the stop")
        self.kernel.signal(signal.SIGKILL, "tree")
        self.assertEqual(self.kernel.wait_exit()["signal"], signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
