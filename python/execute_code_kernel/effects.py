"""What an execution did beyond its variables: files, network, processes, signals; clocks and chance.

An audit hook hears of what goes through Python, also inside of libraries. It hears what is asked for: a write that
failed counts as well. What happens in this process while an execution runs counts as that execution's, also what a
thread or a task of an earlier one does meanwhile. What they do between two is nobody's: to leave them at work is an
unknown effect of its own.

Files and connections that were open before are looked at before and after, and so is what is open that was not: C code
opens without a word. Where pipes, terminals or local sockets lead out of the process, what it has written in all tells,
beyond what it has printed.

Clocks and chance have no audit events. They are looked for among the names that the cell loads, and those that
functions and classes of cells and of the session's own modules load when the cell names them; the states of the global
generators of `random` and NumPy are compared besides. Names say "time" or "random" rather too often than too seldom.

No effects are: reads of installed modules and of what programs look up on any machine (time zones, fonts,
`/proc/self`, …), caches, temporary files that the execution has made and removed itself, files that are not there, and
what ends with the process: environment variables, the current folder, limits.

What escapes:

- C code that opens files or connects by itself and has closed that at the end; what is sent through local sockets, but
  for what is written as to a pipe, and by UDP, when they were connected before. Well-known names (`to_parquet`,
  `imwrite`, `execute`, `post`, …) count as an unknown effect when no write and no connection was heard of, and so does
  what reaches a disk unheard; a file system in memory is no disk. A name that is a cell's own function or a plain
  value is none of these. Of memory it is told that it was mapped for writing, and hardly when it is written.
- Functions of `ctypes` that are neither variables, nor held by what a variable is, when they were looked up before.
- What a thread or a task of an earlier execution is given to do, and does later; pools are looked at.
- Threads that `threading` does not know and that have not begun at the end, before Python 3.12; callbacks of event
  loops other than asyncio's own; exit functions, and handlers of signals that others send.
- Clocks and generators that are kept otherwise than by an assignment, called by libraries (but for the two global
  generators), or by special methods (`__add__`) of a cell's class.
- What interpreters and processes do that are started: only their start is an effect. Processes that C code starts are
  noticed where the system lists a thread's children, or there were none before.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import os
import sys
from _signal import SIG_DFL, SIGALRM, SIGPROF, SIGVTALRM, getsignal
from _thread import _count as _thread_count
from fcntl import F_DUPFD_CLOEXEC, F_GETFL, fcntl
from os import O_ACCMODE, O_CLOEXEC, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, P_ALL, WEXITED, WNOHANG, WNOWAIT
from os import close, dup, environ, getcwd, getpid, pread, read, waitid
from os import open as _open
from os.path import abspath, dirname
from resource import RUSAGE_CHILDREN, getrusage
from stat import S_ISDIR
from sys import _getframe, addaudithook
from types import CodeType

from .clocks import Clocks
from .places import (
    DEVICES,
    KERNEL,
    RANDOM_DEVICES,
    SYSTEM,
    address_of,
    behind,
    current_folder,
    folder_of,
    is_cache,
    is_library,
    mode,
    plain,
    pure_path,
    word_of,
)
from .previews import type_name
from .private import MODULES

_LISTED = 100
_KEPT = 2_000
_CODES = 1_000
_TARGET_CHARS = 500
_REST = "…"
_UNTOLD = "the effects could not be told"
_BLOCK = 4096
_IMPORT_OPENS = 8

_PREVENTS = {
    "write": "it wrote {}",
    "delete": "it deleted {}",
    "connect": "it used the network: {}",
    "listen": "it waited for connections: {}",
    "spawn": "it started a process: {}",
    "signal": "it sent a signal to {}",
    "input": "it asked for input",
    "unknown": "it did what cannot be told: {}",
}
"""Kinds that must not be repeated, and what is said of them."""
_ORDER = (*_PREVENTS, "random", "time", "read")

_COMMANDS = {"subprocess.Popen": 1, "os.posix_spawn": 1, "os.exec": 1, "os.spawn": 2}
"""Where among the arguments of an event a command is, beside its program."""

_WRITING = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC
_READING = frozenset("rbtU")
"""Letters of a mode that only reads: C code that opens a file tells a mode and no flags."""
_MAPS_SHARED = (0, 2)
"""Ways to map a file: as its flags say, and for writing through."""
_METERED = 1
"""How many bytes the kernel itself writes during an execution that displays nothing: the meter's."""

_NO_CHILDREN = frozenset()
_SOME_CHILDREN = frozenset((b"",))
_CHILDREN_BYTES = 65_536

_OF_C = frozenset("ctypes _ctypes CDLL PyDLL cdll pydll CFUNCTYPE PYFUNCTYPE pythonapi".split())
"""Names by which session code gets at functions in C, which it can keep."""

_running: list = [None]
"""The Effects whose execution runs in this process."""
_hooked: list = []


class Effects:
    """Collects the effects of one execution at a time: `begin`, then `end`."""

    def __init__(self, keep_above: int = 64, on_dropped=None, channel=None, namespace=None) -> None:
        """Private descriptors are `keep_above` or higher; `on_dropped(type, frame)` hears of exceptions that came where
        Python can raise none, and where it goes on; `channel.sent` counts the bytes that displays take; `namespace` are
        the session's variables."""
        self._namespace = {} if namespace is None else namespace
        self._of_c = None
        """Variables that are libraries and functions of `ctypes`; None until session code has named it."""
        self._on_dropped = on_dropped
        self._channel = channel
        self._keep_above = keep_above
        self._pid = 0
        self._io = -1
        self._root = self._temporary = ""
        self.may_hold_files = False
        """There may be files or connections open: what goes through them raises no audit event."""
        self._free = -1
        """The number that the next file to be opened got when the last execution ended."""
        self._libraries: tuple = ()
        self._clocks = Clocks()
        self._clear()

    def install(self) -> None:
        """Adds the hook to this process, once; what the process forks has it, too. The current folder is the session's:
        targets below it are told relative to it."""
        self._root = folder_of(getcwd())
        folders = {dirname(abspath(os.__file__))}
        folders.update([f"{prefix}/{part}" for prefix in (sys.prefix, sys.base_prefix) for part in ("lib", "share")])
        folders.update([entry for entry in environ.get("PYTHONPATH", "").split(":") if entry[:1] == "/"])
        folders = {folder_of(folder) for folder in folders}
        self._libraries = (KERNEL, *[folder for folder in folders if not self._root.startswith(folder)], *SYSTEM)
        if not _hooked:
            _hooked.append(True)
            addaudithook(_hook)

    def begin(self, execution: str) -> None:
        """What happens from now on is this execution's."""
        if self._pid != getpid():
            self._adopt_process()
        self._clear()
        self._faults = getrusage(RUSAGE_CHILDREN).ru_minflt
        try:
            self._children, self._counters, _, alone = self._look_around()
            if not alone:
                self._others = _others()
            if self.may_hold_files:
                self._held = self._look(self._children)
                self._shown = self._bytes_shown() if self._held is not None and self._held.leads_out else 0
            if self.may_hold_files or not alone:
                self._counters = self._look_around()[1]  # These looks may have been the first, which keep their code compiled.
        except Exception:  # Session code is in the way: a hook of its own, or what it has done to a library.
            self._counts["unknown", _UNTOLD] = 1
        self._execution = execution
        _running[0] = self

    @property
    def reached(self) -> set:
        """Names that the last execution's cell loads, and those that the functions load that it names."""
        return self._clocks.reached

    def look_anew(self) -> None:
        """Forgets what generators were like: what has been done to them was no execution."""
        self._clocks.adopt_process()

    def note(self, kind: str, target: str) -> None:
        """Tells of an effect that no audit event tells of: an input that was asked for, a request to the platform."""
        if _running[0] is self:
            self._add(kind, target)

    def end(self, codes) -> list[dict]:
        """The effects since `begin`: `kind`, `target` and `count` of each, those that prevent a replay first. What the
        bounds leave out is one entry whose target is "…", and whose kind is its gravest. `codes` are the cell's."""
        _running[0] = None
        try:
            found = self._settle(codes)
        except Exception:  # No memory, or something of the interpreter is broken.
            found = {("unknown", _UNTOLD): 1}
        self._clear()
        return _entries(found) if found else []

    # ── while the execution runs ────────────────────────────────────────────────────────────────────────────

    def _clear(self) -> None:
        self._counts: dict = {}
        self._children = _NO_CHILDREN
        self._counters = b""
        self._held = None
        self._shown = 0
        self._others = None
        self._cwd = None
        self._fresh: set = set()
        """Temporary files and folders that were not there before the execution made them."""
        self._quiet_writes = False
        self._opens = 0
        """How many openings were heard of, about: each may write the time of a file's last access."""
        self._codes: list = []

    def _adopt_process(self) -> None:
        self._pid = getpid()
        try:
            self._temporary = folder_of(environ.get("TMPDIR") or "/tmp")
        except Exception:  # It is Python, and session code has taken a builtin from it.
            self._temporary = "/tmp/"
        if self._io >= 0:
            try:
                close(self._io)
            except OSError:
                pass
        self._io = _open_counters(self._keep_above)
        self._free = self._look_around()[2]
        self._clocks.adopt_process()

    def _add(self, kind: str, target: str) -> None:
        counts = self._counts
        key = (kind, target)
        if key not in counts and len(counts) >= _KEPT:
            key = (kind, _REST)
        counts[key] = counts.get(key, 0) + 1

    def _path(self, value, folder=-1) -> str:
        """The absolute path that a function was given; runs no code of its type. Empty when it names no file."""
        kind = type(value)
        if kind is not str:
            if kind is int:
                return behind(value)
            if value is None:
                value = "."
            elif issubclass(kind, str):
                value = str.__str__(value)
            elif issubclass(kind, bytes):
                value = bytes.decode(value, "utf-8", "surrogateescape")
            else:
                value = pure_path(value) or f"<{type_name(kind)}>"
        if value[:1] == "/":
            return value
        if type(folder) is int and folder >= 0:
            return f"{behind(folder)}/{value}"
        if self._cwd is None:
            self._cwd = folder_of(current_folder())
        return self._cwd + value

    def _write(self, path: str, makes: bool = False) -> None:
        if path:
            if makes and path.startswith(self._temporary) and not mode(path):
                self._fresh.add(path)
            self._add("write", path)

    def _on_open(self, _event, arguments) -> None:
        value, mode_text, flags = arguments
        if type(value) is int and value <= 2:
            return
        self._opens += 1
        path = self._path(value)
        only_reads = type(mode_text) is not str or _READING.issuperset(mode_text)
        if type(flags) is not int or flags & _WRITING or not only_reads:
            self.may_hold_files = True
            if S_ISDIR(mode(path)):
                # A file without a name in it, or one that has an event of its own.
                self._quiet_writes = True
            else:
                self._write(path, makes=type(value) is not int)
        elif path and not path.startswith(self._libraries):
            self._add("read", path)

    def _on_list(self, _event, arguments) -> None:
        self._opens += 1
        if not _getframe(2).f_code.co_filename.startswith("<frozen importlib"):
            path = self._path(arguments[0])
            if not path.startswith(self._libraries):
                self._add("read", path)

    def _on_import(self, _event, _arguments) -> None:
        self._opens += _IMPORT_OPENS

    def _on_make(self, _event, arguments) -> None:
        path = self._path(arguments[0], arguments[2])
        if not mode(path):
            self._write(path, makes=True)

    def _on_change(self, _event, arguments) -> None:
        last = arguments[-1] if len(arguments) > 2 else -1
        self._write(self._path(arguments[0], last))

    def _on_attribute(self, _event, arguments) -> None:
        self._write(self._path(arguments[0]))

    def _on_delete(self, _event, arguments) -> None:
        self._add("delete", self._path(arguments[0], arguments[1]))

    def _on_rename(self, _event, arguments) -> None:
        self._add("delete", self._path(arguments[0], arguments[2]))
        self._write(self._path(arguments[1], arguments[3]), makes=True)

    def _on_link(self, _event, arguments) -> None:
        self._write(self._path(arguments[1], arguments[-1]), makes=True)

    def _on_socket(self, _event, _arguments) -> None:
        self.may_hold_files = True

    def _on_thread(self, event, _arguments) -> None:
        """Of a thread that `threading` knows nothing of nobody can tell whether it will begin. From Python 3.12 on."""
        if not _getframe(2).f_code.co_filename.endswith("/threading.py"):
            self._add("unknown", event)

    def _on_map(self, _event, arguments) -> None:
        """Memory that others see: shared memory has no other event."""
        descriptor, access = arguments[0], arguments[2]
        if type(access) is int and access in _MAPS_SHARED and type(descriptor) is int and descriptor > 2:
            path = behind(descriptor)
            if path and fcntl(descriptor, F_GETFL) & O_ACCMODE != O_RDONLY:
                self._write(path)

    def _on_chdir(self, _event, _arguments) -> None:
        self._cwd = None

    def _on_database(self, _event, arguments) -> None:
        name = arguments[0]
        if type(name) in (str, bytes) and name in (":memory:", b":memory:", "", b""):
            return
        path = self._path(name)
        if "/file:" in path and "?" in path:
            place, _, options = path.partition("/file:")[2].partition("?")
            if "mode=memory" in options or place == ":memory:":
                return
            path = self._path(place)
            if "mode=ro" in options or "immutable=1" in options:
                return self._add("read", path)
        self.may_hold_files = True
        self._write(path, makes=True)

    def _on_address(self, event, arguments) -> None:
        self._add("listen" if event == "socket.bind" else "connect", address_of(arguments[1]))

    def _on_lookup(self, event, arguments) -> None:
        host = arguments[0]
        self._add("connect", address_of(host) if type(host) is tuple else word_of(host))

    def _on_http(self, _event, _arguments) -> None:
        self._add("connect", "an HTTP connection")

    def _on_spawn(self, event, arguments) -> None:
        self.may_hold_files = True
        first = arguments[0] if arguments else event
        at = _COMMANDS.get(event)
        if at is not None and type(arguments[at]) in (list, tuple):
            first = arguments[at]
        words = (
            list.__iter__(first) if type(first) is list else tuple.__iter__(first) if type(first) is tuple else [first]
        )
        self._add("spawn", " ".join([word_of(word)[:_TARGET_CHARS] for word, _ in zip(words, range(50))]))

    def _on_signal(self, event, arguments) -> None:
        target = arguments[0]
        if event != "os.kill" or type(target) is not int or target != self._pid:
            if event == "signal.pthread_kill":
                return  # A thread of this process.
            self._add("signal", f"process {word_of(target)}")

    def _on_input(self, _event, arguments) -> None:
        self._add("input", word_of(arguments[0]) if arguments and type(arguments[0]) is str else "")

    def _on_unknown(self, event, _arguments) -> None:
        self._add("unknown", event)

    def _on_c(self, _event, arguments) -> None:
        """`ctypes` in session code may do anything; libraries are taken to know what they do."""
        frame = _getframe(2)
        while frame is not None and "/ctypes/" in frame.f_code.co_filename:
            frame = frame.f_back
        name = "" if frame is None else frame.f_code.co_filename
        if not (name.startswith(self._libraries) or is_library(name)):
            self._of_c = self._of_c or frozenset()
            self._add("unknown", f"ctypes: {word_of(arguments[-1])}")

    def _bytes_shown(self) -> int:
        """How many bytes the session's streams and its displays have written."""
        printed = sum([getattr(stream.buffer.raw, "written", 0) for stream in (sys.__stdout__, sys.__stderr__)])
        return printed if self._channel is None else printed + self._channel.sent

    def _on_unraisable(self, _event, arguments) -> None:
        if self._on_dropped is not None:
            self._on_dropped(arguments[1].exc_type, _getframe(2))

    def _on_exec(self, _event, arguments) -> None:
        code = arguments[0]
        if type(code) is CodeType and len(self._codes) < _CODES:
            name = code.co_filename
            if type(name) is str and not (name.startswith(self._libraries) or is_library(name)):
                self._codes.append(code)

    # ── when it is over ─────────────────────────────────────────────────────────────────────────────────────

    def _settle(self, codes) -> dict:
        """Counts of what is an effect, by kind and target."""
        children, counters, free, alone = self._look_around()
        if self._held is not None or free != self._free:
            self._count_unheard(children, free)
        found = self._heard() if self._counts else {}
        kinds = {kind for kind, _ in found} if found else set()
        reaped = getrusage(RUSAGE_CHILDREN).ru_minflt != self._faults
        if "spawn" not in kinds and (not children <= self._children or (reaped and self._children <= children)):
            kinds.add("spawn")
            found["spawn", "a process that nobody announced"] = 1
        if self._held is not None and self._held.leads_out and kinds.isdisjoint(_PREVENTS):
            if _grown(b"wchar", self._counters, counters) - (self._bytes_shown() - self._shown) > _METERED:
                found["write", "to an open pipe"] = 1
        # What children wrote counts as this process's once they have been waited for.
        if kinds.isdisjoint(("write", "spawn")) and not self._quiet_writes and not reaped:
            # An opening writes the time of the last access, on some file systems.
            if _grown(b"write_bytes", self._counters, counters) > self._opens * _BLOCK:
                found["unknown", "something was written to a disk"] = 1
        if not alone:
            for words in _others().left_since(self._others, self._execution):
                found["unknown", words] = 1
        self._judge(codes, found)
        return found

    def _look(self, children: frozenset):
        """What is open, as far as it can be used unheard; None when that is nothing."""
        from .held import look

        try:
            found = look(self._keep_above, bool(children))
        except OSError:
            return None  # No descriptor is free for the look.
        self.may_hold_files = bool(found)
        return found if found else None

    def _look_around(self) -> tuple:
        """In one function, since every execution pays for what each touches: the children of this process; what the
        system has counted of its input and output, empty where it tells nothing; the number that the next file to be
        opened gets, -1 when none is free; and whether nobody can be at work beside the cell: no thread, no event loop,
        no timer that somebody hears of."""
        try:
            waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
        except OSError:
            children = _NO_CHILDREN
        else:
            children = _children()
        counters = b""
        if self._io >= 0:
            try:
                counters = pread(self._io, 400, 0)
            except OSError:
                pass
            if counters[:5] != b"rchar":
                self._io, counters = -1, b""  # Session code has closed it.
        try:
            free = dup(0)
            close(free)
        except OSError:
            free = -1
        alone = (
            _thread_count() == 0
            and "asyncio.events" not in MODULES
            and getsignal(SIGALRM) is SIG_DFL
            and getsignal(SIGVTALRM) is SIG_DFL
            and getsignal(SIGPROF) is SIG_DFL
        )
        return children, counters, free, alone

    def _count_unheard(self, children: frozenset, free: int) -> None:
        """Counts what went through files and connections that were open before, and those that C code has opened."""
        if self._held is not None:
            for effect in self._held.used():
                if effect not in self._counts:
                    self._add(*effect)
        if free != self._free:
            # Something is open that was not, or the other way round.
            self._free = free
            opened = self._look(children)
            heard = {plain(target) if kind == "write" else kind for kind, target in self._counts}
            for kind, target in [] if opened is None else opened.opened_since(self._held):
                if (target if kind == "write" else kind) not in heard:
                    self._add(kind, target)

    def _heard(self) -> dict:
        """Of what was heard of: counts of what is an effect."""
        gone = tuple([path for path in self._fresh if not mode(path)])
        below_gone = tuple([path + "/" for path in gone])
        gone = frozenset(gone)
        found: dict = {}
        for (kind, target), count in self._counts.copy().items():
            if kind in ("read", "write", "delete") and target != _REST:
                path = plain(target)
                if path in gone or path.startswith(below_gone):
                    self._quiet_writes = True
                    continue
                kind, target = self._file_effect(kind, path)
            if kind is not None:
                found[kind, target] = found.get((kind, target), 0) + count
        if len([True for kind, _ in found if kind == "connect"]) > 1:
            found.pop(("connect", "an HTTP connection"), None)
        return found

    def _file_effect(self, kind: str, path: str) -> tuple:
        """Kind and target of what was done to a file; a kind of None when it is no effect."""
        if path.startswith(RANDOM_DEVICES):
            return "random", path
        if path.startswith(DEVICES) or f"{path}/".startswith(f"/proc/{self._pid}/"):
            return None, path
        if is_cache(path):
            self._quiet_writes |= kind == "write"
            return None, path
        if kind == "read":
            if path.startswith(self._libraries) or is_library(path) or not mode(path):
                return None, path
        root = self._root
        if path.startswith(root):
            path = path[len(root) :]
        return kind, "." if path + "/" == root else path

    def _judge(self, codes, found: dict) -> None:
        """Adds what names and states tell."""
        clocks, chance, writers = self._clocks.used([*codes, *self._codes])
        for kind, names in (("time", clocks), ("random", chance)):
            if names:
                found[kind, ", ".join(names[:10])] = 1
        if writers and not any([kind in ("write", "connect") for kind, _ in found]):
            writers = _foreign().not_own(writers, self._clocks.reached, self._namespace)
            if writers:
                found["unknown", ", ".join(writers[:10])] = 1
        if self._of_c is not None or not _OF_C.isdisjoint(self._clocks.reached):
            names, self._of_c = _foreign().names_of_c(self._clocks.reached, self._namespace, self._of_c or frozenset())
            # A function that is looked up is heard of.
            if names and not any([kind == "unknown" and target.startswith("ctypes: ") for kind, target in found]):
                found["unknown", f"ctypes: {', '.join(names[:10])}"] = 1


# ── the hook ────────────────────────────────────────────────────────────────────────────────────────────────


_HANDLERS: dict = {
    "open": Effects._on_open,
    "os.listdir": Effects._on_list,
    "os.scandir": Effects._on_list,
    "os.mkdir": Effects._on_make,
    "os.rename": Effects._on_rename,
    "os.link": Effects._on_link,
    "os.symlink": Effects._on_link,
    "os.chdir": Effects._on_chdir,
    "sqlite3.connect": Effects._on_database,
    "mmap.__new__": Effects._on_map,
    "socket.__new__": Effects._on_socket,
    "_thread.start_new_thread": Effects._on_thread,
    "_thread.start_joinable_thread": Effects._on_thread,
    "socket.connect": Effects._on_address,
    "socket.bind": Effects._on_address,
    "socket.sendto": Effects._on_address,
    "socket.sendmsg": Effects._on_address,
    "http.client.send": Effects._on_http,
    "signal.pthread_kill": Effects._on_signal,
    "os.kill": Effects._on_signal,
    "os.killpg": Effects._on_signal,
    "builtins.input": Effects._on_input,
    "exec": Effects._on_exec,
    "import": Effects._on_import,
    "ctypes.dlsym": Effects._on_c,
    "ctypes.dlsym/handle": Effects._on_c,
    "ctypes.call_function": Effects._on_c,
    "sys.unraisablehook": Effects._on_unraisable,
}
_HANDLERS.update(dict.fromkeys(("os.chmod", "os.chown", "os.utime"), Effects._on_change))
_HANDLERS.update(dict.fromkeys(("os.truncate", "os.chflags", "os.setxattr", "os.removexattr"), Effects._on_attribute))
_HANDLERS.update(dict.fromkeys(("os.remove", "os.rmdir"), Effects._on_delete))
_LOOKUPS = ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo")
_HANDLERS.update(dict.fromkeys([f"socket.{name}" for name in _LOOKUPS], Effects._on_lookup))
_HANDLERS.update(
    dict.fromkeys(
        "subprocess.Popen os.system os.exec os.fork os.forkpty os.posix_spawn os.spawn pty.spawn webbrowser.open".split(),
        Effects._on_spawn,
    )
)
_HANDLERS.update(
    dict.fromkeys(
        "cpython.PyInterpreterState_New sqlite3.load_extension socket.sethostname syslog.syslog resource.prlimit".split(),
        Effects._on_unknown,
    )
)


def _make_hook(handlers: dict, running: list, own_failure):
    """The hook itself. It raises nothing but what a signal handler of the session raises while it runs."""

    def hook(event, arguments):
        if event in handlers:
            effects = running[0]
            if effects is not None:
                try:
                    handlers[event](effects, event, arguments)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    if not own_failure(error):
                        raise

    return hook


def _is_own_failure(error: BaseException) -> bool:
    """Whether an exception was raised here, and not by a signal handler that ran meanwhile."""
    try:
        trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        return trace.tb_frame.f_code.co_filename.startswith(KERNEL)
    except BaseException:
        return True


_hook = _make_hook(_HANDLERS, _running, _is_own_failure)


# ── small looks ────────────────────────────────────────────────────────────────────────────────────────────────


def _others():
    """Who is at work beside the cell. What only some executions need is not imported before."""
    from .lingering import look

    return look()


def _foreign():
    from . import foreign

    return foreign


def _children() -> frozenset:
    """The child processes that this thread has started, and that nobody has waited for, of which there are some; or
    something that stands for children, where they cannot be told."""
    try:
        listed = _open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC)
    except OSError:
        return _SOME_CHILDREN
    try:
        return frozenset(read(listed, _CHILDREN_BYTES).split()) or _SOME_CHILDREN
    finally:
        close(listed)


def _grown(name: bytes, before: bytes, now: bytes) -> int:
    """How far one of the system's counters has moved; 0 where that cannot be told."""
    if not before or not now:
        return 0
    skipped = len(name) + 2
    earlier = int(before[before.index(name) + skipped :].split(None, 1)[0])
    return int(now[now.index(name) + skipped :].split(None, 1)[0]) - earlier


def _open_counters(keep_above: int) -> int:
    """A descriptor of this process's counters of input and output, or -1."""
    try:
        opened = _open("/proc/self/io", O_RDONLY | O_CLOEXEC)
    except OSError:
        return -1
    try:
        return fcntl(opened, F_DUPFD_CLOEXEC, keep_above)
    except OSError:
        return -1
    finally:
        close(opened)


def _entries(found: dict) -> list[dict]:
    order = {kind: at for at, kind in enumerate(_ORDER)}
    ordered = sorted(found.items(), key=lambda item: (order.get(item[0][0], -1), item[0][1] == _REST))
    over = [item for item in ordered if item[0][1] == _REST]
    ordered = [item for item in ordered if item[0][1] != _REST]
    if over or len(ordered) > _LISTED:
        over += ordered[_LISTED - 1 :]
        kind = min([item[0][0] for item in over], key=lambda kind: order.get(kind, -1))
        ordered = [*ordered[: _LISTED - 1], ((kind, _REST), sum([count for _, count in over]))]
    return [{"kind": kind, "target": _bounded(target), "count": count} for (kind, target), count in ordered]


def _bounded(target: str) -> str:
    target = target.encode("utf-8", "backslashreplace").decode()
    return target if len(target) <= _TARGET_CHARS else target[: _TARGET_CHARS - 1] + "…"


def is_replayable(effects: list[dict]) -> tuple[bool, str | None, bool]:
    """Whether an execution can be run again without doing anything twice; why not, or None; and whether running it
    again gives the same, as far as clocks and chance go."""
    exact = not any([effect["kind"] in ("time", "random") for effect in effects])
    for effect in effects:
        if effect["kind"] in _PREVENTS:
            target = "more than can be listed" if effect["target"] == _REST else effect["target"]
            return False, _PREVENTS[effect["kind"]].format(target), exact
    return True, None, exact
