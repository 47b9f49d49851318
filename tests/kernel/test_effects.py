"""What executions did beyond their variables, as the audit hook and names tell: cells in plain child processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

from harness import PACKAGE, KernelTest

sys.path.insert(0, str(PACKAGE.parent))

from execute_code_kernel.effects import is_replayable  # noqa: E402

_DRIVER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from execute_code_kernel.effects import Effects
from execute_code_kernel.private import builtins as __builtins__
del sys.path[0]
sys.path.insert(0, "")
namespace = {"__name__": "__main__"}
effects = namespace["effects"] = Effects(namespace=namespace)
effects.install()
cells = json.load(sys.stdin)
answers = []
pid = os.getpid()
for number, source in enumerate(cells):
    code = compile(source, f"<exec_{number}>", "exec")
    raised = None
    effects.begin(f"exec_{number}")
    try:
        exec(code, namespace)
    except BaseException as error:
        raised = type(error).__name__ + ": " + str(error)
    answers.append([effects.end([code]), raised])
    if os.getpid() != pid:
        os._exit(0)
with open(sys.argv[2], "w") as file:
    json.dump(answers, file)
os._exit(0)
"""


class EffectsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ec-effects-")).resolve()
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.work, self.temporary = self.folder / "work", self.folder / "tmp"
        self.work.mkdir()
        self.temporary.mkdir()
        self.raised: list = []

    def run_cells(self, *cells: str) -> list:
        """Effects of each cell, as tuples of kind, target and count."""
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(self.temporary), "HOME": str(self.folder)}
        done = subprocess.run(
            [sys.executable, "-c", _DRIVER, str(PACKAGE.parent), str(self.folder / "answers")],
            input=json.dumps([textwrap.dedent(cell) for cell in cells]),
            capture_output=True,
            text=True,
            cwd=self.work,
            env=environment,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        answers = json.loads((self.folder / "answers").read_text())
        self.raised = [raised for _, raised in answers]
        return [[(e["kind"], e["target"], e["count"]) for e in found] for found, _ in answers]

    def of(self, *cells: str) -> list:
        """Kinds and targets of the last cell, which raised nothing."""
        found = self.run_cells(*cells)[-1]
        self.assertEqual([raised for raised in self.raised if raised], [])
        return [(kind, target) for kind, target, _ in found]

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────────

    def test_pure_code_has_none(self):
        self.assertEqual(self.of("x = sum(range(10)); f = lambda y: y + x; f(2); id(x); [i for i in range(3)]"), [])

    def test_files_are_read_and_written(self):
        (self.work / "in.txt").write_text("data")
        self.assertEqual(
            self.of("data = open('in.txt').read(); open('out.txt', 'w').write(data); open('in.txt').close()"),
            [("write", "out.txt"), ("read", "in.txt")],
        )

    def test_each_way_to_write(self):
        for cell, targets in {
            "open('a', 'a').close()": ["a"],
            "open('old', 'r+').close()": ["old"],
            "open('a', 'xb').close()": ["a"],
            "import os; os.close(os.open('a', os.O_WRONLY | os.O_CREAT))": ["a"],
            "import os; os.mkdir('a')": ["a"],
            "import os; os.chmod('old', 0o600)": ["old"],
            "import os; os.utime('old')": ["old"],
            "import os; os.truncate('old', 1)": ["old"],
            "import os; os.symlink('old', 'a')": ["a"],
            "import os; os.link('old', 'a')": ["a"],
            "import pathlib; pathlib.Path('a').write_text('x')": ["a"],
            "import pathlib; pathlib.Path('a').touch()": ["a"],
            "import shutil; shutil.copyfile('old', 'a')": ["a"],
            "import shutil; shutil.copy2('old', 'a')": ["a"],
            "import sqlite3; sqlite3.connect('a').close()": ["a"],
            "import sqlite3, pathlib; sqlite3.connect(pathlib.Path('a')).close()": ["a"],
            "import sqlite3; sqlite3.connect('file:a?mode=rwc', uri=True).close()": ["a"],
            "import os; os.chdir('sub'); open('../sub/./a', 'w').close()": ["sub/a"],
            "import os; d = os.open('sub', os.O_RDONLY); os.close(os.open('a', os.O_CREAT | os.O_RDWR, dir_fd=d))": None,
            "open(b'a', 'w').close()": ["a"],
        }.items():
            with self.subTest(cell):
                shutil.rmtree(self.work)
                (self.work / "sub").mkdir(parents=True)
                (self.work / "old").write_text("old")
                found = self.of(cell)
                written = sorted({target for kind, target in found if kind == "write"})
                if targets is None:
                    self.assertTrue(written)
                else:
                    self.assertEqual(written, targets, found)

    def test_a_folder_deeper_than_any_path(self):
        found = self.of(
            """
            import os
            for _ in range(30): os.mkdir('d' * 200); os.chdir('d' * 200)
            open('a', 'w').close()
            """
        )
        self.assertIn(("write", "…/a"), found)

    def test_files_are_deleted_and_renamed(self):
        (self.work / "old").write_text("old")
        (self.work / "tree" / "below").mkdir(parents=True)
        (self.work / "tree" / "below" / "leaf").write_text("x")
        found = self.of("import os, shutil; os.rename('old', 'new'); shutil.rmtree('tree')")
        deleted = {("delete", path) for path in ("old", "tree", "tree/below", "tree/below/leaf")}
        self.assertEqual({entry for entry in found if entry[0] != "read"}, {("write", "new"), *deleted})

    def test_what_changes_nothing(self):
        (self.work / "there").mkdir()
        self.assertEqual(
            self.of(
                """
                import os, sqlite3
                os.makedirs('there', exist_ok=True)
                open(os.devnull, 'w').close(); open('/dev/zero').close()
                sqlite3.connect(':memory:').close()
                os.path.exists('there'); os.stat('there')
                os.environ['A'] = 'b'; os.chdir('there')
                try: open('missing')
                except OSError: pass
                """
            ),
            [],
        )

    def test_imports_of_libraries_are_none(self):
        self.assertEqual(
            self.of(
                "import csv, decimal, html.parser, sqlite3, xml.dom.minidom, asyncio, ctypes, zoneinfo, locale, concurrent.futures, unittest"
            ),
            [],
        )

    def test_time_zones_are_none(self):
        self.assertEqual(
            self.of("import datetime, zoneinfo\ntry: z = zoneinfo.ZoneInfo('Europe/Berlin')\nexcept Exception: pass"),
            [],
        )

    def test_modules_of_the_session_are_read(self):
        (self.work / "mine.py").write_text("x = 1")
        found = self.of("import mine")
        self.assertIn(("read", "mine.py"), found)
        self.assertEqual({kind for kind, _ in found}, {"read"})

    def test_temporary_files_that_are_gone(self):
        self.assertEqual(
            self.of(
                """
                import os, tempfile
                with tempfile.TemporaryDirectory() as folder:
                    os.mkdir(folder + '/sub')
                    open(folder + '/sub/file', 'w').write('x')
                    open(folder + '/sub/file').read()
                with tempfile.NamedTemporaryFile() as file: file.write(b'x'); file.flush()
                with tempfile.TemporaryFile() as file: file.write(b'x' * 100_000); file.flush()
                with tempfile.SpooledTemporaryFile(max_size=1) as file: file.write(b'xyz')
                """
            ),
            [],
        )

    def test_temporary_files_that_stay_or_were_there(self):
        found = self.run_cells(
            "import os, tempfile; path = os.path.join(tempfile.gettempdir(), 'kept'); open(path, 'w').write('x')",
            "os.remove(path)",
        )
        path = str(self.temporary / "kept")
        self.assertIn(("write", path, 1), found[0])
        self.assertEqual(found[1], [("delete", path, 1)])

    def test_a_temporary_file_that_becomes_a_result(self):
        found = self.of("import os; t = os.environ['TMPDIR'] + '/x'; open(t, 'w').close(); os.rename(t, 'result')")
        self.assertEqual(found, [("write", "result")])

    def test_what_reaches_a_disk_unheard(self):
        if not os.access("/proc/self/io", os.R_OK) or not _counts_disk_bytes(self.work):
            self.skipTest("this system, or this file system, does not count what is written")
        found = self.run_cells("f = open('log', 'wb', buffering=0)", "n = f.write(b'x' * 100_000)", "n + 1")
        self.assertEqual(found[1:], [[("write", "log", 1)], []])

    def test_what_is_written_to_files_that_were_open_before(self):
        found = self.run_cells(
            "f = open('journal', 'a', buffering=1); g = open('raw', 'wb', buffering=0); h = open('both', 'w+')",
            "n = f.write('paid\\n')",
            "print('again', file=f)",
            "n + 1",
            "import logging; logging.basicConfig(stream=f, level=10, force=True)",
            "logging.info('logged')",
            "n = g.write(b'abc')",
            "import os; n = os.pwrite(g.fileno(), b'xyz', 0)",
            "n = f.truncate(2)",
            "n = h.write('pending')",
            "h.close()",
            "r = open('journal'); text = r.read(1)",
            "text = r.read(1)",
        )
        written = [[target for kind, target, _ in one if kind == "write"] for one in found]
        self.assertEqual(
            written,
            [
                ["journal", "raw", "both"], ["journal"], ["journal"], [], [], ["journal"], ["raw"], ["raw"], ["journal"],
                [], ["both"], [], [],
            ],
        )  # fmt: skip
        self.assertEqual(found[12], [])

    def test_writers_in_c_by_their_names(self):
        self.assertEqual(self.of("def go(frame): frame.to_parquet('x')"), [])
        found = self.run_cells("def go(frame): frame.to_parquet('x')", "go")
        self.assertEqual(found[1], [("unknown", "to_parquet", 1)])

    def test_a_history_of_lines_is_written(self):
        for name in ("write_history_file", "append_history_file"):
            arguments = "'f'" if name[0] == "w" else "1, 'f'"
            found = self.run_cells(f"import readline, json, decimal; open('f', 'w'); readline.{name}({arguments})")
            self.assertEqual({kind for kind, _, _ in found[0]}, {"write"})
            cell = f"import readline, json, decimal; readline.{name}({arguments})"
            found = self.run_cells("open('f', 'w').close()", cell)
            self.assertIn(found[1][0][0], ("unknown", "write"))

    def test_own_functions_and_values_with_the_names_of_writers(self):
        for cell in ("def post(x): return x + 1", "post = lambda x: x + 1"):
            found = self.run_cells(cell, "y = post(1)", "def f(): return post(2)", "z = f()")
            self.assertEqual(found, [[], [], [], []])
        self.assertEqual(self.run_cells("commit = 3", "commit + 1", "commit = 4; commit"), [[], [], []])
        self.assertEqual(self.of("def execute(x): open('f', 'w')", "execute(1)"), [("write", "f")])

    def test_writers_beside_own_functions_of_their_names(self):
        class_ = "class C:\n  def go(self, x): pass\nC.execute = C.go\nc = C()"
        own = "def execute(x): return x"
        unknown = [("unknown", "execute", 1)]
        self.assertEqual(self.run_cells(class_, own, "c.execute(1)", "execute(1)")[2:], [unknown, []])
        self.assertEqual(self.run_cells(class_, own, "def f(): c.execute(1)", "f()")[3], unknown)
        aliases = ("run = c.execute", "run(1)", "execute(1)", "execute = c.execute", "execute(1); execute = 5")
        found = self.run_cells(class_, own, *aliases)
        self.assertEqual(found[3:5] + found[6:], [unknown, [], unknown])
        (self.work / "other.py").write_text("def execute(x): pass\n")
        imports = ("from other import execute as run", "run(1)", "from other import execute", "execute(1)")
        found = self.run_cells(own, *imports)
        self.assertEqual([found[2], found[4]], [unknown, unknown])
        (self.work / "third.py").write_text("from other import execute\ndef save(): execute(1)\n")
        self.assertEqual(self.run_cells(own, "import third", "third.save()")[2], unknown)

    # ── network, processes, signals ─────────────────────────────────────────────────────────────────────────

    def test_connections(self):
        found = self.of(
            """
            import socket
            server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen()
            client = socket.create_connection(server.getsockname())
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))
            """
        )
        self.assertIn(("listen", "127.0.0.1:0"), found)
        self.assertIn(("connect", "127.0.0.1:9"), found)
        self.assertEqual({kind for kind, _ in found}, {"connect", "listen"})

    @unittest.skipIf(sys.version_info < (3, 10), "http.client says nothing there")
    def test_http_on_a_connection_that_was_there(self):
        found = self.run_cells(
            """
            import http.client, http.server, threading
            class Handler(http.server.BaseHTTPRequestHandler):
                protocol_version = 'HTTP/1.1'
                def do_GET(self):
                    self.send_response(200); self.send_header('Content-Length', '2'); self.end_headers(); self.wfile.write(b'ok')
                def log_message(self, *_): pass
            server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            connection = http.client.HTTPConnection(*server.server_address)
            connection.request('GET', '/'); connection.getresponse().read()
            """,
            "connection.request('GET', '/'); got = connection.getresponse().read()",
        )
        self.assertEqual(self.raised, [None, None])
        self.assertNotIn("an HTTP connection", [target for _, target, _ in found[0]])
        self.assertEqual({kind for kind, _, _ in found[1]}, {"connect"})

    def test_an_event_loop_is_none(self):
        self.assertEqual(self.of("import asyncio; asyncio.run(asyncio.sleep(0))"), [])

    def test_processes(self):
        for cell, target in {
            "import subprocess; subprocess.run(['true', 'one'])": "true one",
            "import subprocess; subprocess.run('true', shell=True)": "/bin/sh -c true",
            "import os; os.system('true')": "true",
            "import os; os.waitpid(os.posix_spawn('/bin/true', ['true', 'x'], {}), 0)": "true x",
            "import os; os.spawnv(os.P_WAIT, '/bin/true', ['true'])": None,
            "import os\npid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)": "os.fork",
            "import multiprocessing as m; p = m.get_context('fork').Process(target=int); p.start(); p.join()": "os.fork",
            "import pty, os\npid, fd = pty.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)": None,
        }.items():
            with self.subTest(cell):
                found = [entry for entry in self.of(cell) if entry[0] == "spawn"]
                self.assertTrue(found)
                if target is not None:
                    self.assertEqual(found[0], ("spawn", target))

    def test_a_process_that_nobody_announced(self):
        found = self.of(
            """
            import _posixsubprocess, ctypes, os
            pid = ctypes.CDLL(None).fork()
            if pid == 0: os._exit(0)
            os.waitpid(pid, 0)
            """
        )
        self.assertIn("spawn", {kind for kind, _ in found})

    def test_a_process_that_nobody_announced_beside_another(self):
        if not os.path.exists("/proc/thread-self/children"):
            self.skipTest("this system does not list a process's children")
        fork = "import os\npid = fork()\nif pid == 0: os._exit(0)"
        found = self.run_cells(
            "import ctypes, subprocess; p = subprocess.Popen(['sleep', '60']); fork = ctypes.CDLL(None).fork",
            fork,
            "1",
            "x = os.waitpid(pid, 0)",
            fork + "\nx = os.waitpid(pid, 0)",
            "p.kill(); x = p.wait()",
        )
        kinds = [[kind for kind, _, _ in one] for one in found[1:]]
        self.assertEqual(kinds, [["spawn", "unknown"], [], [], ["spawn", "unknown"], ["signal"]])

    def test_a_child_tells_of_itself(self):
        found = self.of(
            """
            import json, os
            from_child, to_parent = os.pipe()
            if os.fork() == 0:
                effects.end([]); effects.begin('child')
                open('of_child', 'w').close()
                os.write(to_parent, json.dumps(effects.end([])).encode()); os._exit(0)
            os.close(to_parent); told = json.loads(os.read(from_child, 10_000)); os.wait()
            assert told == [{'kind': 'write', 'target': 'of_child', 'count': 1}], told
            """
        )
        self.assertEqual([entry for entry in found if entry[0] != "read"], [("spawn", "os.fork")])

    def test_signals(self):
        self.assertEqual(self.of("import os; os.kill(os.getpid(), 0)"), [])
        self.assertEqual(self.of("import os; os.kill(os.getppid(), 0)")[0][0], "signal")

    def test_ctypes_of_the_session(self):
        self.assertEqual(self.of("import ctypes; ctypes.CDLL(None).getpid()"), [("unknown", "ctypes: getpid")])

    def test_functions_of_ctypes_that_were_looked_up_before(self):
        made = "import ctypes; libc = ctypes.CDLL(None); got = libc.getpid()"
        for cells in (
            ["libc.getpid()"],
            ["def f(): return libc.getpid()", "f()"],
            ["g = libc.getpid", "g()"],
            ["libc.getpid(); del libc"],
            ["import types; box = types.SimpleNamespace(lib=libc)", "box.lib.getpid()"],
            ["all = [libc.getpid]", "all[0]()"],
            ["h = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.cast(libc.getpid, ctypes.c_void_p).value)", "h()"],
        ):
            kind, target = self.of(made, *cells)[0]
            self.assertEqual((kind, target[:8]), ("unknown", "ctypes: "), cells)
        self.assertEqual(self.of(made, "libc.getpid()"), [("unknown", "ctypes: libc")])
        asked = "ctypes.pythonapi.Py_IsInitialized()"
        self.assertEqual(self.of(f"import ctypes; {asked}", asked), [("unknown", "ctypes: pythonapi")])
        self.assertEqual(self.of(made, "x = 1", "x + 1; print(ctypes.sizeof(ctypes.c_int))"), [])
        self.assertEqual(self.of("import ctypes; libc = ctypes.CDLL(None)"), [])

    def test_a_thread_of_an_earlier_execution_counts(self):
        found = self.run_cells(
            """
            import threading
            go, gone = threading.Event(), threading.Event()
            def late(): go.wait(); open('late', 'w').close(); gone.set()
            threading.Thread(target=late).start()
            """,
            "go.set(); gone.wait()",
        )
        self.assertEqual([kind for kind, _, _ in found[0]], ["unknown"])
        self.assertEqual(found[1], [("write", "late", 1)])

    # ── what was open before ────────────────────────────────────────────────────────────────────────────────

    def test_connections_that_were_open_before(self):
        found = self.run_cells(
            """
            import socket
            server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen()
            client = socket.create_connection(server.getsockname()); at = client.getpeername()[1]
            """,
            "taken, _ = server.accept(); effects.note('input', str(at))",
            "n = client.send(b'paid')",
            "n + 1",
            "got = taken.recv(2)",
            "taken.setblocking(False)",
            "client.close()",
            "1",
        )
        self.assertEqual([raised for raised in self.raised if raised], [])
        kinds = [[kind for kind, _, _ in one] for one in found]
        self.assertEqual(kinds[1:], [["connect", "input"], ["connect"], [], ["connect"], [], ["connect"], []])
        self.assertEqual(found[2][0][1], f"127.0.0.1:{found[1][1][1]}")

    def test_what_the_other_side_does_is_none(self):
        found = self.run_cells(
            """
            import os, select, socket, time
            server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen()
            client = socket.create_connection(server.getsockname()); taken, _ = server.accept()
            if os.fork() == 0:
                taken.close(); time.sleep(0.2); client.send(b'more'); client.close(); os._exit(0)
            client.close(); ended = select.poll(); ended.register(taken, select.POLLRDHUP)
            """,
            "x = ended.poll(20_000)",
            "got = taken.recv(1)",
        )
        self.assertEqual([raised for raised in self.raised if raised], [])
        self.assertEqual([[kind for kind, _, _ in one] for one in found[1:]], [[], ["connect"]])

    def test_pipes_of_processes_that_were_there_before(self):
        found = self.run_cells(
            "import subprocess; p = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)",
            "n = p.stdin.write(b'paid')",
            "p.stdin.flush()",
            "1",
            "out = p.communicate()",
            "1",
        )
        self.assertEqual([raised for raised in self.raised if raised], [])
        written = [("write", "to an open pipe", 1)]
        self.assertEqual(found[1:4], [[], written, []])
        self.assertEqual(found[5], [])

    def test_pools_of_processes_that_were_there_before(self):
        found = self.run_cells(
            """
            import multiprocessing, concurrent.futures
            pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('fork'))
            """,
            "x = pool.submit(int).result()",
            "x = pool.submit(int).result()",
            "x",
            "pool.shutdown()",
        )
        self.assertEqual(found[0], [])
        self.assertEqual(found[1][0][0], "spawn")
        self.assertEqual(found[2], [("write", "to an open pipe", 1)])
        self.assertEqual(found[3], [])

    def test_pipes_within_the_process_are_none(self):
        found = self.run_cells(
            "import os, socket; r, w = os.pipe(); one, other = socket.socketpair(); own = os.dup(2)",
            "os.write(w, b'text'); os.read(r, 4); os.write(one.fileno(), b'text'); other.recv(4)",
            "os.close(r)",
            "try: os.write(w, b'text')\nexcept BrokenPipeError: pass",
        )
        self.assertEqual((found, self.raised), ([[], [], [], []], [None] * 4))

    def test_pipes_and_sockets_with_names(self):
        found = self.run_cells(
            "import os; os.mkfifo('fifo'); fifo = os.open('fifo', os.O_RDWR)",
            "n = os.write(fifo, b'text')",
            "os.close(fifo)",
            """
            import socket
            server = socket.socket(socket.AF_UNIX); server.bind('socket'); server.listen()
            client = socket.socket(socket.AF_UNIX); client.connect('socket'); taken, _ = server.accept()
            """,
            "n = os.write(client.fileno(), b'text')",
            "n = os.write(taken.fileno(), b'text')",
            "1",
        )
        self.assertEqual([raised for raised in self.raised if raised], [])
        written = [("write", "to an open pipe", 1)]
        self.assertEqual([found[1], *found[4:]], [written, written, written, []])

    def test_terminals(self):
        found = self.run_cells("import os; inner, outer = os.openpty()", "os.write(inner, b'text')", "1")
        self.assertEqual(found, [[], [("write", "to an open pipe", 1)], []])

    def test_databases_that_were_open_before(self):
        execute = "getattr(base, 'exe' + 'cute')"
        found = self.run_cells(
            "import sqlite3; base = sqlite3.connect('a', isolation_level=None)",
            f"{execute}('create table t (x)')",
            f"{execute}('select * from t').fetchall()",
        )
        self.assertEqual(found[1:], [[("write", "a", 1)], []])

    def test_what_c_code_has_opened(self):
        """Without an event, as far as this is known; ctypes is an effect in any case."""
        found = self.run_cells(
            "import os, _posixshmem; name = f'/ec-test-{os.getpid()}'",
            "memory = _posixshmem.shm_open(name, os.O_RDWR | os.O_CREAT, mode=0o600)",
            "_posixshmem.shm_unlink(name)",
            """
            import ctypes, socket
            server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen()
            address = ctypes.create_string_buffer(
                socket.AF_INET.to_bytes(2, 'little') + server.getsockname()[1].to_bytes(2, 'big') + bytes([127, 0, 0, 1] + [0] * 8)
            )
            """,
            """
            libc = ctypes.CDLL(None)
            raw = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
            assert libc.connect(raw, address, 16) == 0
            """,
        )
        self.assertEqual([raised for raised in self.raised if raised], [])
        self.assertEqual([(kind, target[:17]) for kind, target, _ in found[1]], [("write", "/dev/shm/ec-test-")])
        self.assertEqual({kind for kind, _, _ in found[4]}, {"connect", "unknown"})

    def test_shared_memory(self):
        found = self.run_cells(
            """
            import mmap, os, _posixshmem
            name = f'/ec-test-{os.getpid()}'
            memory = _posixshmem.shm_open(name, os.O_RDWR | os.O_CREAT, mode=0o600); os.ftruncate(memory, 100)
            """,
            "mapped = mmap.mmap(memory, 100)",
            "looked = mmap.mmap(memory, 100, access=mmap.ACCESS_READ)",
            "own = mmap.mmap(-1, 100)",
            "_posixshmem.shm_unlink(name)",
        )
        self.assertEqual([raised for raised in self.raised if raised], [])
        self.assertEqual([[kind for kind, _, _ in one] for one in found[1:4]], [["write"], [], []])

    def test_files_that_c_code_opens_for_writing(self):
        found = self.of("import ssl; context = ssl.create_default_context(); context.keylog_filename = 'keys'")
        self.assertEqual(found, [("write", "keys")])

    # ── what goes on after the end ──────────────────────────────────────────────────────────────────────────

    def test_what_goes_on_after_the_end(self):
        for cell, words in {
            "import threading; threading.Thread(target=threading.Event().wait, name='late').start()": "the thread late goes on",
            "import threading; threading.Timer(60, print).start()": "the thread Thread-1 goes on",
            "import _thread, threading; lock, begun = _thread.allocate_lock(), threading.Event(); lock.acquire()\ndef f(): begun.set(); lock.acquire()\n_thread.start_new_thread(f, ()); begun.wait()": None,
            "import signal; signal.signal(signal.SIGALRM, print); signal.alarm(60)": "a timer goes on",
            "import signal; signal.signal(signal.SIGPROF, print); signal.setitimer(signal.ITIMER_PROF, 60)": "a timer goes on",
            "import asyncio; loop = asyncio.new_event_loop(); asyncio.set_event_loop(loop); t = loop.create_task(asyncio.sleep(60))": "a task goes on",
            "from concurrent.futures import ThreadPoolExecutor as P; import threading; pool = P(1); f = pool.submit(threading.Event().wait)": "a pool of threads goes on",
            "from concurrent.futures import ThreadPoolExecutor as P; import threading; f = P(1).submit(threading.Event().wait)": None,
            "from multiprocessing.pool import ThreadPool as P; import threading; pool = P(1); f = pool.apply_async(threading.Event().wait)": None,
        }.items():
            with self.subTest(cell):
                found, later = self.run_cells(cell, "1")
                self.assertEqual(self.raised, [None, None])
                self.assertEqual({kind for kind, _, _ in found}, {"unknown"})
                if words is not None:
                    self.assertEqual([target for _, target, _ in found], [words])
                self.assertEqual([entry for entry in later if entry[1] != "a pool of threads goes on"], [])

    def test_what_has_come_to_its_end(self):
        for cell in (
            "import threading; t = threading.Thread(target=int); t.start(); t.join()",
            "import threading; t = threading.Timer(60, print); t.start(); t.cancel(); t.join()",
            "from concurrent.futures import ThreadPoolExecutor as P\nwith P(2) as pool: x = list(pool.map(str, range(9)))",
            "from multiprocessing.pool import ThreadPool as P; pool = P(2); x = pool.map(str, range(9))",
            "import signal; signal.signal(signal.SIGALRM, print); signal.alarm(60); signal.alarm(0)",
            "import asyncio\nasync def f(): t = asyncio.create_task(asyncio.sleep(60))\nasyncio.run(f())",
        ):
            with self.subTest(cell):
                self.assertEqual(self.of(cell), [])

    def test_a_pool_that_waits_for_work(self):
        idle = "while pool._idle_semaphore._value < 1: pass"
        found = self.run_cells(
            "from concurrent.futures import ThreadPoolExecutor as P; import threading; pool = P(1)",
            f"x = pool.submit(int).result()\n{idle}",
            "1",
            f"x = pool.submit(int).result()\n{idle}",
            "go = threading.Event(); f = pool.submit(go.wait)",
            f"go.set(); f.result()\n{idle}",
            "f = [pool.submit(threading.Event().wait) for _ in range(2)]",
        )
        busy = [("unknown", "a pool of threads goes on", 1)]
        self.assertEqual([found[0], found[2], found[3], found[4], found[6]], [[], [], [], busy, busy])
        if sys.version_info >= (3, 12):  # Before, a pool does not know whether new threads are idle.
            self.assertEqual([found[1], found[5]], [[], []])

    def test_threads_of_libraries_that_look_after_others(self):
        (self.work / "tqdm").mkdir()
        (self.work / "tqdm" / "_monitor.py").write_text(
            "import threading\nclass TMonitor(threading.Thread):\n    def run(self): threading.Event().wait()\n"
        )
        found = self.run_cells("import tqdm._monitor", "tqdm._monitor.TMonitor(daemon=True).start()")
        self.assertEqual((found[1], self.raised), ([], [None, None]))

    def test_session_code_in_the_way_of_the_look(self):
        found = self.run_cells(
            "import threading; go = threading.Event(); threading.Thread(target=go.wait).start()",
            "kept, threading._active = threading._active, 5",
            "x = 1",
            "threading._active = kept; go.set()",
            "1",
        )
        self.assertEqual([("unknown", "the effects could not be told", 1) in one for one in found], [False, True, True, True, False])

    # ── input, clocks, chance ───────────────────────────────────────────────────────────────────────────────

    def test_input_and_what_is_noted(self):
        found = self.run_cells("try: input('name? ')\nexcept EOFError: pass", "effects.note('input', 'again? ')", "1")
        self.assertEqual(found, [[("input", "name? ", 1)], [("input", "again? ", 1)], []])

    def test_clocks(self):
        for cell in (
            "import time; x = time.time()",
            "import time as t; x = t.time_ns()",
            "from time import monotonic; x = monotonic()",
            "import datetime; x = datetime.datetime.now()",
            "from datetime import date; x = date.today()",
            "import time; x = [time.time() for _ in range(3)]",
            "import time; x = (lambda: time.perf_counter())()",
            "import time\nclass C:\n    made = time.time()",
            "import time\ndef once(f): return f()\n@once\ndef x(): return time.time()",
            "exec('import time; x = time.time()')",
            "import time; x = getattr(time, 'time')()",
        ):
            with self.subTest(cell):
                self.assertEqual([kind for kind, _ in self.of(cell)], ["time"])

    def test_clocks_of_earlier_cells(self):
        for first, second in (
            ("import time\ndef stamp(): return time.time()", "x = stamp()"),
            ("import time\ndef inner(): return time.time()\ndef outer(): return inner()", "x = outer()"),
            ("import time\nclass Log:\n    def stamp(self): return time.time()", "x = Log().stamp()"),
            ("import time\nf = lambda: time.time()", "x = f()"),
            ("from time import time as clock", "x = clock()"),
            ("import time; clock = time.time", "x = clock()"),
            ("def outer():\n    import time\n    def inner(): return time.time()\n    return inner", "x = outer()()"),
        ):
            with self.subTest(first):
                found = self.run_cells(first, second)
                self.assertEqual(self.raised, [None, None])
                self.assertIn("time", [kind for kind, _, _ in found[1]])
        self.assertEqual(self.run_cells("import time\ndef stamp(): return time.time()\nx = 1")[0], [])

    def test_clocks_of_the_sessions_own_modules(self):
        (self.work / "mine.py").write_text("import time\ndef stamp(): return time.time()\n")
        found = self.run_cells("import mine", "x = mine.stamp()")
        self.assertEqual([kind for kind, _, _ in found[1]], ["time"])

    def test_an_import_alone_is_no_clock(self):
        self.assertEqual(self.of("import time, random, secrets, uuid, datetime"), [])

    def test_chance(self):
        for cell in (
            "import random; x = random.random()",
            "from random import shuffle; shuffle([1])",
            "import secrets; x = secrets.token_hex()",
            "import uuid; x = uuid.uuid4()",
            "import os; x = os.urandom(2)",
            "x = open('/dev/urandom', 'rb').read(1)",
        ):
            with self.subTest(cell):
                self.assertEqual([kind for kind, _ in self.of(cell)], ["random"])

    def test_chance_that_no_name_tells(self):
        found = self.run_cells("import random", "x = getattr(random, 'ran' + 'dom')()", "x")
        self.assertIn("random", [kind for kind, _, _ in found[1]])
        (self.work / "lib" / "site-packages").mkdir(parents=True)
        (self.work / "lib" / "site-packages" / "lib_of_others.py").write_text(
            "import random\ndef chosen(): return random.random()\n"
        )
        found = self.run_cells(
            "import random, sys; sys.path.append('lib/site-packages'); import lib_of_others",
            "y = lib_of_others.chosen()",
            "y",
        )
        self.assertEqual([[kind for kind, _, _ in entries] for entries in found], [[], ["random"], []])

    # ── bounds and hostile code ─────────────────────────────────────────────────────────────────────────────

    def test_bounds(self):
        found = self.run_cells(
            """
            for number in range(3000): open(f'file{number}', 'w').close()
            open('file1').close()
            """,
            "open('x' * 200 + '/' + 'y' * 200 + '/' + 'z' * 200, 'w')",
        )
        self.assertEqual(len(found[0]), 100)
        self.assertEqual(found[0][-1][:2], ("write", "…"))
        self.assertEqual(sum([count for _, _, count in found[0]]), 3001)
        self.assertEqual([len(target) for _, target, _ in found[1]], [500])

    def test_many_reads_hide_no_write(self):
        found = self.run_cells(
            "for number in range(150): open(f'read{number}', 'w').close()",
            """
            for number in range(150): open(f'read{number}').close()
            open('written', 'w').close()
            """,
        )
        self.assertEqual(self.raised, [None, None])
        self.assertEqual(found[1][0], ("write", "written", 1))
        self.assertEqual(found[1][-1][:2], ("read", "…"))

    def test_arguments_run_no_code(self):
        found = self.run_cells(
            """
            import os, sys
            class Text(str):
                def evil(self, *a, **k): ran.append(1); raise ZeroDivisionError
                __str__ = __repr__ = __hash__ = __eq__ = __format__ = __fspath__ = startswith = __getitem__ = encode = evil
                __class__ = property(evil)
            class Path:
                def __fspath__(self): paths.append(1); return 'path'
            ran, paths = [], []
            """,
            """
            for event in ('open', 'os.mkdir', 'os.remove', 'os.rename', 'os.system', 'socket.connect', 'subprocess.Popen', 'os.kill', 'exec', 'sqlite3.connect', 'ctypes.dlsym', 'os.chmod', 'os.listdir'):
                for value in (Text('text'), Path(), object(), None, b'\\xff', 7, 10 ** 30, ('a', Text('b')), (), [Text('b')]):
                    sys.audit(event, value, value, value, value)
                sys.audit(event)
            assert not ran and not paths, (ran, paths)
            open(Path(), 'w').close()
            assert len(paths) == 1
            """,
        )
        self.assertEqual(self.raised, [None, None])
        self.assertIn(("write", "path"), [entry[:2] for entry in found[1]])

    def test_hooks_of_the_session_that_raise(self):
        found = self.run_cells(
            """
            import sys
            def hook(event, arguments):
                if event in ('sys._getframe', 'object.__getattr__', 'open') and bad: raise RuntimeError(event)
            bad = False
            sys.addaudithook(hook)
            """,
            "bad = True\ntry: open('a', 'w')\nexcept RuntimeError: pass\nimport os; os.listdir(); bad = False",
            "open('b', 'w').close()",
        )
        self.assertEqual(self.raised, [None, None, None])
        self.assertEqual(found[1][0], ("write", "a", 1))
        self.assertEqual(found[2], [("write", "b", 1)])

    def test_hooks_of_the_session_that_raise_at_the_look(self):
        found = self.run_cells(
            """
            import os, sys
            def hook(event, arguments):
                if event == 'os.listdir' and bad: raise RuntimeError(event)
            bad, file = False, open('held', 'w')
            sys.addaudithook(hook)
            """,
            "bad = True",
            "1",
            "bad = False",
            "1",
        )
        self.assertEqual(self.raised, [None] * 5)
        untold = [("unknown", "the effects could not be told", 1)]
        self.assertEqual(found[1:], [[], untold, untold, []])

    def test_builtins_that_are_gone(self):
        found = self.run_cells(
            """
            import builtins, os
            kept = vars(builtins).copy()
            for name in ('type', 'issubclass', 'int', 'str', 'len', 'any', 'sorted', 'set', 'isinstance', 'BaseException', 'dict', 'tuple'):
                delattr(builtins, name)
            os.mkdir('made')
            vars(builtins).update(kept)
            """
        )
        self.assertEqual((found, self.raised), ([[("write", "made", 1)]], [None]))

    def test_exhausted_recursion(self):
        found = self.run_cells(
            """
            import os
            deepest = 0
            def down(depth):
                global deepest
                deepest = depth
                try: os.mkdir(f'at{depth}')
                except OSError: pass
                return down(depth + 1)
            try: down(0)
            except RecursionError: pass
            """,
            "open('after', 'w').close()",
        )
        self.assertEqual(self.raised, [None, None])
        self.assertEqual(found[1], [("write", "after", 1)])

    def test_signal_handlers_raise_through_the_hook(self):
        found = self.run_cells(
            """
            import signal, time
            class Late(OSError): pass
            def ring(*_): raise Late
            signal.signal(signal.SIGALRM, ring)
            rung = 0
            end = time.monotonic() + 20
            while rung < 200 and time.monotonic() < end:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0005)
                    while True:
                        for _ in range(50): open('/dev/null', 'w').close()
                except Late: rung += 1
            assert rung == 200
            signal.setitimer(signal.ITIMER_REAL, 0)
            """
        )
        self.assertEqual(self.raised, [None])
        self.assertEqual([kind for kind, _, _ in found[0]], ["time"])

    def test_closed_descriptors(self):
        found = self.run_cells(
            "import os; os.closerange(3, 200)",
            "open('a', 'w').close()\nfor n in (63, 64, 500):\n    try: os.truncate(n, 0)\n    except OSError: pass",
        )
        self.assertEqual(found, [[], [("write", "a", 1)]])

    def test_nothing_is_heard_between_executions(self):
        self.assertEqual(self.run_cells("import atexit", "1")[1], [])

    def test_what_can_be_replayed(self):
        def of(*kinds):
            return is_replayable([{"kind": kind, "target": "x", "count": 1} for kind in kinds])

        self.assertEqual(of(), (True, None, True))
        self.assertEqual(of("read"), (True, None, True))
        self.assertEqual(of("read", "time"), (True, None, False))
        self.assertEqual(of("random"), (True, None, False))
        self.assertEqual(of("write", "time"), (False, "it wrote x", False))
        for kind in ("delete", "connect", "listen", "spawn", "signal", "input", "unknown"):
            self.assertEqual(of(kind)[0], False)
        rest = [{"kind": "delete", "target": "…", "count": 3}]
        self.assertEqual(is_replayable(rest)[1], "it deleted more than can be listed")


class KernelEffectsTest(KernelTest):
    """In a real kernel, whose own calls are nobody's effects."""

    def of(self, code: str, **options) -> list:
        run = self.kernel.run(textwrap.dedent(code), **options)
        return [(entry["kind"], entry["target"]) for entry in run.done["effects"]]

    def test_the_kernels_own_calls_are_none(self):
        for code in (
            "1 + 1",
            "for i in range(5000): print(i)",
            "1 / 0",
            "def (",
            "import os; os.close(1); os.close(2)",
            "import os; os.closerange(3, 500)",
            "x = 1",
            "import sys; sys.stdout.close(); print(1)",
            "import asyncio; await asyncio.sleep(0)",
            "import threading; t = threading.Thread(target=threading.Event().wait, args=(0.2,)); t.start(); t.join()",
            "display({'text/plain': 'x'}, raw=True)",
            "undefined",
            "len?",
            "%pwd",
        ):
            with self.subTest(code):
                self.assertEqual(self.of(code), [])
        self.assertEqual(self.of("2", fresh_streams=True), [])

    def test_what_cells_do(self):
        self.assertEqual(self.of("open('a', 'w').write('x')"), [("write", "a")])
        self.assertEqual(self.of("%%writefile mine.py\nimport time\ndef stamp(): return time.time()\n"), [("write", "mine.py")])
        self.assertEqual(self.of("import mine"), [("read", "mine.py")])
        self.assertEqual(self.of("mine.stamp()"), [("time", "time")])
        self.assertEqual(self.of("!true one"), [("spawn", "/bin/bash -c true one")])
        self.assertEqual(self.of("import os; os.remove('a'); 1 / 0"), [("delete", "a")])
        self.assertEqual(self.of("for i in range(3):\n    raise KeyboardInterrupt"), [])

    def test_names_are_judged_by_what_the_session_has_under_them(self):
        self.assertEqual(self.of("def execute(x): return x\ncommit = 3"), [])
        self.assertEqual(self.of("execute(commit)"), [])
        self.of("import ctypes; libc = ctypes.CDLL(None); got = libc.unlink(b'none')")
        self.assertEqual(self.of("got = libc.unlink(b'none')"), [("unknown", "ctypes: libc")])
        self.assertEqual(self.of("execute(commit)"), [])

    def test_what_goes_on_in_the_event_loop(self):
        self.assertEqual(self.of("import asyncio; await asyncio.sleep(0); loop = asyncio.get_running_loop()"), [])
        task = "async def late(): await asyncio.sleep(60)\nt = asyncio.ensure_future(late()); await asyncio.sleep(0)"
        self.assertEqual(self.of(task), [("unknown", "a task goes on")])
        self.assertEqual(self.of("1"), [])
        self.assertEqual(self.of("await asyncio.wait_for(asyncio.sleep(0), 60)"), [])
        self.assertEqual(self.of("t.cancel(); await asyncio.sleep(0)"), [])
        to_come = [("unknown", "a callback of the event loop is to come")]
        self.assertEqual(self.of("h = loop.call_later(60, print)"), to_come)
        self.assertEqual(self.of("await asyncio.sleep(0)"), [])
        self.assertEqual(self.of("h.cancel()"), [])
        self.assertEqual(self.of("import time; h = loop.call_soon(lambda: None)")[0], to_come[0])

    def test_output_beside_a_pipe(self):
        self.assertEqual(
            self.of("import subprocess; p = subprocess.Popen(['cat'], stdin=subprocess.PIPE)"), [("spawn", "cat")]
        )
        for code in ("1", "print('x' * 5000)", "import sys; sys.stderr.write('x'); 5", "for i in range(5000): print(i)", "display('x'); display('y' * 100_000)"):
            with self.subTest(code):
                self.assertEqual(self.of(code), [])
        self.assertEqual(
            self.of("print('x'); p.stdin.write(b'x'); p.stdin.flush()"), [("write", "to an open pipe")]
        )
        self.assertEqual(self.of("p.stdin.close()"), [])

    def test_input_is_told(self):
        run = self.kernel.start("input('name? ')")
        self.box.pump_until(lambda: run.of("input"), "the question")
        self.kernel.reply(run.of("input")[0]["request"], "me")
        done = run.wait().done
        self.assertEqual([(entry["kind"], entry["target"]) for entry in done["effects"]], [("input", "name? ")])

    def test_an_interrupt_in_the_hook_is_an_interrupt(self):
        run = self.kernel.start("print('on')\nwhile True: open('/dev/null', 'w').close()")
        run.wait_output("on")
        self.kernel.interrupt(run)
        self.assertEqual(run.wait().status, "interrupted")


def _counts_disk_bytes(folder: Path) -> bool:
    """Whether writing a file below this folder shows in this process's counters."""

    def written() -> int:
        return int(Path("/proc/self/io").read_text().split("\nwrite_bytes: ")[1].split()[0])

    before = written()
    (folder / "probe").write_bytes(b"x" * 100_000)
    os.remove(folder / "probe")
    return written() - before >= 100_000


if __name__ == "__main__":
    unittest.main()
