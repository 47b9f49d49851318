"""Output: whatever is written, by whatever means, in order, attributed, and never the end of later output."""

from __future__ import annotations

import os
import sys
import unittest

from harness import KernelTest


class BytesTest(KernelTest):
    def test_bytes_that_are_no_text(self):
        self.run_ok("import os, subprocess, sys")
        bad = b"\xff\xfe\x80\xc3\n"
        for code in (
            "sys.stdout.buffer.write(BAD)",
            "os.write(1, BAD)",
            "sys.stdout.buffer.raw.write(BAD)",
            "subprocess.run(['printf', r'\\377\\376\\200\\303\\n'])",
            "with open(1, 'wb', closefd=False) as f: f.write(BAD)",
            "print(BAD.decode('latin-1')); sys.stdout.buffer.write(BAD)",
        ):
            run = self.run_ok(f"{code.replace('BAD', repr(bad))}\nprint('after é')")
            self.assertTrue(run.stdout_bytes.endswith(bad + "after é\n".encode()), (code, run.stdout_bytes))
        run = self.run_ok("os.write(1, b'\\xe2\\x82')\nprint('half a character came before')")
        self.assertEqual(run.stdout_bytes, b"\xe2\x82half a character came before\n")
        self.assert_alive()

    def test_characters_and_controls_arrive_as_they_are(self):
        for text in ("\0\0", "a\rb\rc", "a\r\nb", "\x1b[31mred\x1b[0m", "\a\b\f\v\t", "\u2028\u2029\x85", "\U0001f600", "é\u0301", "\ufeff", "\x7f", "a\n\n\nb", " \n"):
            run = self.run_ok(f"print({text!a}, end='')")
            self.assertEqual(run.stdout_bytes.decode("utf-8"), text)
        self.assertEqual(self.run_ok("print('\\udcff\\ud800')").stdout, "\\udcff\\ud800\n")

    def test_progress_bars(self):
        run = self.run_ok("import sys\nfor n in range(101): sys.stderr.write(f'\\r{n:3}%'); sys.stderr.flush()\nprint('done')")
        self.assertEqual((run.stderr, run.stdout), ("".join(f"\r{n:3}%" for n in range(101)), "done\n"))

    def test_unflushed_progress_without_line_ends(self):
        run = self.run_ok("import sys\nfor n in range(50_000): sys.stdout.write(f'\\r{n}')")
        self.assertEqual(run.stdout.split("\r")[1:], [str(n) for n in range(50_000)])

    def test_one_line_of_50_megabytes(self):
        run = self.run_ok("print('x' * 50_000_000)")
        self.assertEqual(run.stdout_bytes.count(b"x"), 50_000_000)
        self.assert_alive()

    def test_many_characters_written_one_by_one(self):
        run = self.run_ok("import sys\nfor _ in range(200_000): sys.stderr.write('e')\nfor _ in range(200_000): sys.stdout.write('o')")
        self.assertEqual((len(run.stderr_bytes), len(run.stdout_bytes)), (200_000, 200_000))

    def test_large_writes_below_python(self):
        run = self.run_ok("import os\ndata = bytes(range(256)) * 20_000\nwhile data: data = data[os.write(1, data):]")
        self.assertEqual(run.stdout_bytes, bytes(range(256)) * 20_000)
        run = self.run_ok("import subprocess\nsubprocess.run(['head', '-c', '5000000', '/dev/zero']);")
        self.assertEqual(len(run.stdout_bytes), 5_000_000)

    def test_floods_of_both_streams_from_threads_and_children(self):
        run = self.run_ok(
            """
            import subprocess, sys, threading
            def flood(stream, mark):
                for n in range(3000): print(mark * 10, file=stream)
            child = subprocess.Popen(['sh', '-c', 'for i in 1 2 3 4 5 6 7 8 9; do echo child; echo cherr >&2; done'])
            threads = [threading.Thread(target=flood, args=a) for a in ((sys.stdout, 'a'), (sys.stderr, 'b'), (sys.stdout, 'c'))]
            for t in threads: t.start()
            for t in threads: t.join()
            child.wait();
            """
        )
        out, err = run.stdout.split("\n")[:-1], run.stderr.split("\n")[:-1]
        self.assertEqual((out.count("child"), len(out)), (9, 6009))
        self.assertEqual((err.count("cherr"), err.count("b" * 10)), (9, 3000))

    def test_nobody_reads_meanwhile(self):
        run = self.kernel.start("print('x' * 500_000)\nimport sys; sys.stderr.write('y' * 500_000);").wait(output=False)
        self.assertEqual(run.done["unread"], {"stdout": 500_001, "stderr": 500_000})


class InterruptedTest(KernelTest):
    """An interrupt may come at any moment of a write; what was written is written once."""

    def lines(self, code: str) -> None:
        for _ in range(10):
            run = self.kernel.start(code).wait_output("5\n")
            self.kernel.interrupt()
            self.assertEqual(run.wait().status, "interrupted")
            # The one that was being written may be cut off; the rest is whole.
            whole = run.stdout.split("\n")[:-1]
            self.assertEqual(whole, [str(n) for n in range(len(whole))])

    def test_in_prompt_output(self):
        self.lines("import itertools\nfor n in itertools.count(): print(n, flush=True)")

    def test_in_output_without_an_end(self):
        self.lines("import itertools\nfor n in itertools.count(): print(n)")


class OrderTest(KernelTest):
    """Python's text, C's and that of processes come in the order in which they were written."""

    def setUp(self) -> None:
        super().setUp()
        self.run_ok("import ctypes, os, subprocess, sys, threading\nlibc = ctypes.CDLL(None)")

    def test_a_few_lines(self):
        run = self.run_ok(
            """
            for n in range(5):
                print('python', n)
                libc.printf(b'c %d\\n', n)
                os.write(1, b'raw %d\\n' % n)
                os.system(f'echo shell {n}')
            """
        )
        self.assertEqual(run.stdout, "".join(f"python {n}\nc {n}\nraw {n}\nshell {n}\n" for n in range(5)))

    def test_processes_in_a_flood(self):
        for start in (
            "os.system('echo child')",
            "subprocess.run(['echo', 'child'])",
            "os.waitpid(os.posix_spawnp('echo', ['echo', 'child'], os.environ), 0)",
            "os.spawnlp(os.P_WAIT, 'echo', 'echo', 'child')",
            "import pty; pty.spawn(['sh', '-c', 'stty -opost; echo child'])",
            "(pid := os.fork()) or (os.write(1, b'child\\n'), os._exit(0)); os.waitpid(pid, 0)",
            "import multiprocessing as m\np = m.get_context('fork').Process(target=os.write, args=(1, b'child\\n')); p.start(); p.join()",
        ):
            run = self.run_ok(f"for n in range(1000): print(n)\n{start}\nprint('last')")
            self.assertEqual(run.stdout, "".join(f"{n}\n" for n in range(1000)) + "child\nlast\n", start)

    def test_c_lines_in_a_flood(self):
        run = self.run_ok("for n in range(300):\n    print('python', n)\n    libc.printf(b'c %d\\n', n)")
        self.assertEqual(run.stdout, "".join(f"python {n}\nc {n}\n" for n in range(300)))

    def test_raw_writes_in_a_flood(self):
        run = self.run_ok("for n in range(300):\n    print('python', n)\n    os.write(1, b'raw %d\\n' % n)")
        self.assertEqual(run.stdout, "".join(f"python {n}\nraw {n}\n" for n in range(300)))

    def test_an_unfinished_c_line(self):
        run = self.run_ok("libc.printf(b'unfinished ')\nprint('after')")
        self.assertEqual(run.stdout, "unfinished after\n")

    def test_unfinished_python_lines_before_others(self):
        run = self.run_ok("print('one ', end='', flush=True)\nlibc.puts(b'two')\nprint('three ', end='', flush=True)\nos.write(1, b'four\\n')")
        self.assertEqual(run.stdout, "one two\nthree four\n")

    def test_both_layers_of_a_stream(self):
        run = self.run_ok("print('a', end=''); sys.stdout.flush(); sys.stdout.buffer.write(b'b'); sys.stdout.buffer.flush(); os.write(1, b'c'); print('d')")
        self.assertEqual(run.stdout, "abcd\n")

    def test_c_text_is_there_at_the_end_of_its_cell(self):
        self.run_ok("stdout = ctypes.c_void_p.in_dll(libc, 'stdout')")
        self.assertEqual(self.run_ok("libc.printf(b'unfinished');").stdout, "unfinished")
        # Fully buffered, at the code's own wish.
        self.assertEqual(self.run_ok("libc.setvbuf(stdout, None, 0, ctypes.c_size_t(8192)); libc.puts(b'held');").stdout, "held\n")
        run = self.run_error("libc.puts(b'before the error')\n1/0", "ZeroDivisionError")
        self.assertEqual(run.stdout, "before the error\n")
        run = self.kernel.start("libc.printf(b'before the interrupt')\nprint('on', flush=True)\nwhile True: pass").wait_output("on")
        self.kernel.interrupt()
        self.assertIn("before the interrupt", run.wait().stdout)
        self.run_ok("libc.fclose(stdout);")
        self.assertEqual(self.run_ok("print('python only')").stdout, "python only\n")


class ReplacedStreamsTest(KernelTest):
    """sys.stdout and its descriptor in the hands of session code, for the time of one cell."""

    def test_what_a_cell_may_put_there(self):
        for code in (
            "sys.stdout = sys.stderr = None",
            "sys.stdout = sys.stderr = object()",
            "sys.stdout = sys.stderr = 5",
            "sys.stdout = sys.stderr = io.StringIO()",
            "sys.stdout = sys.stderr = io.BytesIO()",
            "sys.stdout = sys.stderr = io.TextIOWrapper(io.BytesIO())",
            "sys.stdout = sys.stderr = open(os.devnull, 'w')",
            "sys.stdout = sys.stderr = open('file', 'w'); print('in the file')",
            "sys.stdout = sys.stdout.buffer",
            "sys.stdout = open(1, 'w', closefd=False); print('x', end='')",
            "sys.stdout, sys.stderr = sys.stderr, sys.stdout",
            "sys.__stdout__ = sys.__stderr__ = sys.stdout = sys.stderr = None",
            "del sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__",
            "sys.stdout = type('W', (), {'write': lambda *_: 1/0, 'flush': lambda *_: 1/0})()",
            "sys.stdout = type('W', (), {'__getattr__': lambda *_: 1/0})()",
            "sys.stdout = sys.stderr = type('W', (io.TextIOBase,), {})()",
            "sys.stdout.close(); sys.stderr.close()",
            "sys.stdout.buffer.close(); sys.stderr.buffer.close()",
            "sys.stdout.buffer.raw.close(); sys.stderr.buffer.raw.close()",
            "sys.stdout.detach(); sys.stderr.detach()",
            "sys.stdout.buffer.detach(); sys.stderr.buffer.detach()",
            "sys.stdout.line_buffering if True else 0; sys.stdout.reconfigure(line_buffering=False, write_through=False)",
            "builtins.print = None",
            "print = None",
        ):
            kernel = self.kernel = self.box.fork()
            run = kernel.run(f"import builtins, io, os, sys\n{code}")
            self.assertEqual(run.status, "ok", (code, run.error))
            if "print = None" in code:
                self.run_ok("import io\nprint = builtins.print = lambda *a, **k: sys.stdout.write(' '.join(map(str, a)) + '\\n')")
            self.assert_alive()
            self.assertEqual(self.run_ok("import sys; sys.stderr.write('and there')\n1;").stderr, "and there", code)
            self.assertEqual(self.run_error("1/0", "ZeroDivisionError").error["line"], 1)

    def test_a_stream_that_fails_is_the_cells_error(self):
        for what, kind in (("ValueError('no')", "ValueError"), ("SystemExit(3)", "SystemExit"), ("OSError(28, 'full')", "OSError")):
            code = f"import sys\nclass W:\n    def write(self, text): raise {what}\n    def flush(self): pass\nsys.stdout = W()\nprint('x')"
            self.assertEqual(self.run_error(code, kind).error["line"], 3)
            self.assert_alive()

    def test_a_flush_that_exits_is_no_error(self):
        run = self.kernel.run("import sys\nclass W:\n    def write(self, text): pass\n    def flush(self): raise SystemExit\nsys.stdout = W()\nx = 1")
        self.assertEqual(run.status, "ok")

    def test_a_flush_that_hangs_is_interrupted(self):
        run = self.kernel.start("import sys\nreal = sys.stdout\nclass W:\n    def write(self, text): pass\n    def flush(self):\n        real.write('on\\n')\n        while True: pass\nsys.stdout = W()")
        run.wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        self.assert_alive()

    def test_a_stream_whose_finalizer_hangs_is_interrupted(self):
        run = self.kernel.start(
            "import sys\nreal = sys.stdout\nclass W:\n    def write(self, text): pass\n    flush = write\n    def __del__(self):\n"
            "        real.write('on\\n'); real.flush()\n        while True: pass\nsys.stdout = W()"
        )
        run.wait_output("on")
        self.kernel.interrupt()
        run.wait(1.5)
        self.assert_alive()

    def test_what_a_cell_may_do_to_descriptors(self):
        for code in (
            "os.close(1)",
            "os.close(2)",
            "os.closerange(0, 800)",
            "os.dup2(os.open(os.devnull, os.O_WRONLY), 1)",
            "os.dup2(os.open('file', os.O_WRONLY | os.O_CREAT), 1)",
            "os.dup2(os.open(os.devnull, os.O_RDONLY), 1); os.dup2(0, 2)",
            "os.dup2(1, 2)",
            "os.dup2(2, 1)",
            "r, w = os.pipe(); os.dup2(w, 1); os.dup2(w, 2)",
            "r, w = os.pipe(); os.dup2(w, 1); os.close(r)",
            "os.close(1); kept = [open(os.devnull) for _ in range(3)]",
            "os.fdopen(1, 'w').close()",
            "open(1, 'w')",
            "os.set_blocking(1, False); os.set_blocking(2, False)",
            "import fcntl; fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)",
            "import fcntl; fcntl.fcntl(1, 1031, 4096)",
            "import socket; a, b = socket.socketpair(); os.dup2(a.fileno(), 1); b.close()",
            "import subprocess; subprocess.run(['sh', '-c', 'exec 1>&- 2>&-'])",
        ):
            kernel = self.kernel = self.box.fork()
            kernel.run(f"import os\n{code}")
            self.assert_alive()
            run = self.run_ok("import os; os.system('echo child; echo cherr >&2')")
            self.assertEqual((run.stdout, run.stderr), ("child\n", "cherr\n"), code)
            self.assertEqual(self.run_error("1/0", "ZeroDivisionError").error["line"], 1, code)

    def test_standard_input_comes_back(self):
        self.run_ok("import os, subprocess; os.close(0)")
        self.assertEqual(self.kernel.value("file = open('other', 'w'); file.fileno() > 0"), "True")
        self.assertEqual(self.kernel.value("subprocess.run(['cat']).returncode"), "0")

    def test_descriptors_are_inherited_again(self):
        self.run_ok("import os; os.set_inheritable(1, False); os.set_inheritable(2, False)")
        self.assertEqual(self.run_ok("os.system('echo child')").stdout, "child\n")

    def test_descriptors_block_again(self):
        self.run_ok("import os; os.set_blocking(1, False); os.set_blocking(2, False)")
        self.assertEqual(self.kernel.value("os.get_blocking(1), os.get_blocking(2)"), "(True, True)")

    def test_redirections_of_descriptors_hold_within_the_cell(self):
        run = self.run_ok(
            """
            import os, subprocess, sys
            saved = os.dup(1)
            file = os.open('taken', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1); os.close(file)
            print('python'); os.system('echo child'); os.write(1, b'raw\\n')
            sys.stdout.flush(); os.dup2(saved, 1); os.close(saved)
            print('back')
            """
        )
        self.assertEqual(run.stdout, "back\n")
        self.assertEqual((self.box.work / "taken").read_text(), "python\nchild\nraw\n")

    def test_patched_methods_stay(self):
        # Experiment trackers listen this way.
        self.run_ok("import sys\nheard, write = [], sys.stdout.write\ndef listen(text): heard.append(text); return write(text)\nsys.stdout.write = listen")
        self.assertEqual(self.run_ok("print('told')").stdout, "told\n")
        self.assertEqual(self.kernel.value("''.join(heard)"), "'told\\n'")

    def test_nested_redirections(self):
        run = self.run_ok(
            """
            import contextlib, io, sys
            outer, inner = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(outer), contextlib.redirect_stderr(inner):
                print('a'); print('b', file=sys.stderr)
                with contextlib.redirect_stdout(inner): print('c')
            print('d'); outer.getvalue(), inner.getvalue()
            """
        )
        self.assertEqual((run.stdout, run.text), ("d\n", "('a\\n', 'b\\nc\\n')"))

    def test_a_redirection_that_an_error_left_behind(self):
        self.run_error("import io, sys\nsys.stdout = io.StringIO()\n1/0", "ZeroDivisionError")
        self.assert_alive()
        run = self.kernel.start("import io, sys\nreal = sys.stdout; sys.stdout = io.StringIO()\nreal.write('on\\n')\nwhile True: pass").wait_output("on")
        self.kernel.interrupt()
        run.wait()
        self.assert_alive()


class LoggingTest(KernelTest):
    def test_handlers_outlive_what_cells_do_to_the_streams(self):
        self.run_ok(
            """
            import io, logging, os, sys
            log = logging.getLogger('own'); log.propagate = False
            log.addHandler(logging.StreamHandler()); log.addHandler(logging.StreamHandler(sys.stdout))
            """
        )
        for code in ("1", "sys.stderr.close(); sys.stdout.close()", "os.close(1); os.close(2)", "sys.stdout = sys.stderr = io.StringIO()", "del sys.stdout, sys.stderr", "1/0"):
            self.kernel.run(code)
            run = self.run_ok("log.error('logged')")
            self.assertEqual((run.stdout, run.stderr), ("logged\n", "logged\n"), code)

    def test_a_handler_of_a_replaced_stream_writes_there(self):
        self.run_ok("import io, logging, sys\nsys.stderr = io.StringIO()\nlogging.basicConfig(format='%(message)s')\nheld = sys.stderr")
        run = self.run_ok("logging.warning('to the old one'); held.getvalue()")
        self.assertEqual((run.text, run.stderr), ("'to the old one\\n'", ""))

    def test_the_last_resort(self):
        self.assertEqual(self.run_ok("import logging\nlogging.getLogger('bare').warning('w')").stderr, "w\n")
        self.kernel.run("import sys; sys.stderr = None")
        self.assertEqual(self.run_ok("logging.getLogger('bare').warning('again')").stderr, "again\n")

    def test_floods(self):
        run = self.run_ok("import logging\nlogging.basicConfig(level=10, format='%(message)s')\nfor n in range(2000): logging.debug('%d', n)")
        self.assertEqual(run.stderr.splitlines(), [str(n) for n in range(2000)])


class WarningsTest(KernelTest):
    def test_they_name_the_line_that_caused_them(self):
        self.run_ok("import warnings\ndef older(text): warnings.warn(text, UserWarning, stacklevel=2)")
        for code, line in (
            ("\n\nwarnings.warn('careful')", "warnings.warn('careful')"),
            ("\nolder('a')  # here", "older('a')  # here"),
            ("def f():\n    older('b')  # inside\nf()", "older('b')  # inside"),
            ("x = 1\nx is 1  # literal", "x is 1  # literal"),
        ):
            run = self.run_ok(code)
            self.assertIn("Warning", run.stderr)
            self.assertEqual(run.stderr.splitlines()[-1].strip(), line)
            self.assertNotIn("execute_code_kernel", run.stderr)
        if sys.version_info >= (3, 12):
            self.assertEqual(self.run_ok("'\\d'  # escape").stderr.count("Warning"), 1)

    def test_each_cell_may_warn_again(self):
        for _ in range(2):
            self.assertEqual(self.run_ok("import warnings\nfor _ in range(3): warnings.warn('again')").stderr.count("again\n"), 1)

    def test_a_level_above_the_cell_names_no_file_of_the_kernel(self):
        for level in (2, 3, 9):
            for _ in range(2):
                run = self.run_ok(f"import warnings\nfor _ in range(3): warnings.warn('above', stacklevel={level})")
                self.assertEqual(run.stderr.count("UserWarning: above"), 1)
                self.assertNotIn("execute_code_kernel", run.stderr)
        run = self.run_ok("with warnings.catch_warnings(record=True) as caught:\n    warnings.simplefilter('always'); warnings.warn('kept', stacklevel=2)\ncaught[0].filename")
        self.assertIn("<exec_", run.text)

    def test_a_coroutine_as_result_names_no_file_of_the_kernel(self):
        for code, text in (("async def f(): pass\nf()", "never awaited"), ("import warnings; warnings.simplefilter('always')\nopen('/dev/null')", "unclosed file")):
            run = self.run_ok(code)
            self.assertIn(text, run.stderr)
            self.assertIn(f"<{run.id}>:2: ", run.stderr)
            self.assertNotIn("execute_code_kernel", run.stderr)


class LateTest(KernelTest):
    """What is written after a cell's end belongs to that cell, whatever runs meanwhile."""

    def setUp(self) -> None:
        super().setUp()
        self.gate = self.box.work / f"gate-{self.id()}"
        os.mkfifo(self.gate)
        # Opened for both, it waits for nobody, and nobody waits for its other end.
        gate = os.open(self.gate, os.O_RDWR)
        self.addCleanup(os.close, gate)
        self.open_gate = lambda: os.write(gate, b"go\n")
        self.run_ok(f"GATE = {str(self.gate)!r}\nimport os, subprocess, sys, threading, asyncio, logging, ctypes\ndef wait():\n    with open(GATE) as gate: gate.readline()")

    def late(self, start: str, text: str, stream: int = 0) -> None:
        """`start` leaves something behind that writes the text when the gate opens, while another cell runs."""
        first = self.kernel.run(start, fresh_streams=True)
        self.assertEqual((first.status, first.done["lingering"], first.stdout, first.stderr), ("ok", True, "", ""), (start, first.error))
        run = self.kernel.start("import time\nprint('mine')\nwhile not os.path.exists('told'): time.sleep(0.002)\nprint('still mine'); os.remove('told');", fresh_streams=True)
        run.wait_output("mine")
        self.open_gate()
        left = self.kernel.left[-1][stream]
        self.box.pump_until(lambda: text.encode() in left.everything, f"late output of {start!r}")
        (self.box.work / "told").touch()
        self.assertEqual((run.wait().stdout, run.stderr), ("mine\nstill mine\n", ""), start)
        self.assertEqual(left.everything.decode(), text, start)

    def test_threads(self):
        for start in (
            "threading.Thread(target=lambda: (wait(), print('late'))).start()",
            "threading.Thread(target=lambda: (wait(), print('late')), daemon=True).start()",
            "threading.Thread(target=lambda: (wait(), sys.stdout.write('late\\n'))).start()",
            "def outer():\n    threading.Thread(target=lambda: (wait(), print('late'))).start()\nt = threading.Thread(target=outer); t.start(); t.join()",
            "threading.Timer(0, lambda: (wait(), print('late'))).start()",
            "threading.Thread(target=lambda: (wait(), subprocess.run(['true']), print('late'))).start()",
        ):
            self.late(start, "late\n")

    def test_threads_and_errors(self):
        self.late("threading.Thread(target=lambda: (wait(), print('late', file=sys.stderr))).start()", "late\n", 1)
        self.late("log = logging.getLogger('x'); threading.Thread(target=lambda: (wait(), log.warning('late'))).start()", "late\n", 1)

    def test_processes(self):
        for start in (
            "subprocess.Popen(['sh', '-c', f'read x < {GATE}; echo late']);",
            "os.posix_spawnp('sh', ['sh', '-c', f'read x < {GATE}; echo late'], os.environ);",
            "os.spawnlp(os.P_NOWAIT, 'sh', 'sh', '-c', f'read x < {GATE}; echo late');",
            "os.system(f'(read x < {GATE}; echo late) &');",
            "subprocess.run(f'nohup sh -c \"read x < {GATE}; echo late\" 2>&1 &', shell=True);",
            "subprocess.Popen(['sh', '-c', f'read x < {GATE}; echo late'], start_new_session=True);",
            "if os.fork() == 0:\n    wait(); print('late')",
            "if os.fork() == 0:\n    if os.fork() == 0:\n        wait(); print('late')\n    os._exit(0)\nos.wait();",
            "import multiprocessing as m\ndef work(): wait(); print('late')\nm.get_context('fork').Process(target=work).start()",
        ):
            self.late(start, "late\n")

    def test_tasks(self):
        # They go on between cells and while one awaits.
        first = self.kernel.run("go = asyncio.Event()\nasync def work():\n    await go.wait(); print('late')\n    await asyncio.to_thread(print, 'from its worker')\ntask = asyncio.ensure_future(work()); await asyncio.sleep(0)", fresh_streams=True)
        self.assertTrue(first.done["lingering"])
        run = self.kernel.run("go.set(); await task; print('mine')", fresh_streams=True)
        self.assertEqual(run.stdout, "mine\n")
        self.assertEqual(self.kernel.left[-1][0].everything, b"late\nfrom its worker\n")

    def test_a_task_of_a_task(self):
        self.kernel.run("go = asyncio.Event()\nasync def inner():\n    await go.wait(); print('late')\nasync def outer(): return asyncio.ensure_future(inner())\ntask = await outer(); await asyncio.sleep(0)", fresh_streams=True)
        run = self.kernel.run("go.set(); await task; print('mine')", fresh_streams=True)
        self.assertEqual(run.stdout, "mine\n")
        self.assertEqual(self.kernel.left[-1][0].everything, b"late\n")

    def test_work_given_to_an_older_pool(self):
        self.kernel.run("from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\npool.submit(int).result();", fresh_streams=True)
        run = self.kernel.run("pool.submit(print, 'mine').result(); pool.shutdown();", fresh_streams=True)
        self.assertEqual(run.stdout, "mine\n")

    def test_between_cells(self):
        self.kernel.run("threading.Thread(target=lambda: (wait(), print('late'))).start()", fresh_streams=True)
        self.open_gate()
        self.box.pump_until(lambda: b"late\n" in self.kernel.stdout.late, "late output")
        self.assert_alive()


if __name__ == "__main__":
    unittest.main()
