"""What a copy of this process would lack, or share with it to the harm of both: other threads, connections, child
processes, devices, databases in files, and files that cannot be opened a second time. Each is named with the variable
that holds it, as far as one is found. No session code is run."""

from __future__ import annotations

from .private import builtins as __builtins__

from _socket import AF_INET, AF_INET6, SOCK_DGRAM
from _socket import socket as _socket
from collections import deque
from _io import BufferedRandom, BufferedReader, BufferedWriter
from _io import FileIO as _FileIO
from _io import TextIOWrapper as _TextIOWrapper
from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, listdir, pread, readlink, waitid
from types import GetSetDescriptorType
from _thread import get_ident

from .previews import derives, instance_dict, is_type, lookup, offered
from .private import MODULES

_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri/", "/dev/accel/")
_BUFFERED = (BufferedReader, BufferedWriter, BufferedRandom)
_STREAMS = (_FileIO, _TextIOWrapper, *_BUFFERED)
_MAGIC = b"SQLite format 3\0"
_JOURNALS = ("-journal", "-wal")
_LISTED = 50
_LOOKED_AT = 5_000
_DEPTH = 3


def find(namespace: dict, opened: list, files: list) -> list[dict]:
    """At most 50, each with `kind`, `what` and `variable`. `opened` are descriptors and their targets, `files` those among
    them that a copy opens anew."""
    held = _Held()
    databases = _databases(files)
    found = [*_threads(held), *_sockets(held, opened), *_processes(held), *_devices(opened), *_files(held, files)]
    if databases:
        held.connection = _connection_type()
    if held.wanted or databases:
        held.look_for(namespace)
    if databases:
        found += [_connection(held, databases, name) for name in held.connections or [None]]
    return [
        {"kind": kind, "what": what[:500], "variable": held.wanted.get(key)} for kind, what, key in found[:_LISTED]
    ]


class _Held:
    """Which variable holds what, by a key for each thing."""

    def __init__(self) -> None:
        self.wanted: dict = {}
        """By key: the variable, or None as long as none has been found."""
        self.connection = None
        """The type of connections to databases, when they are looked for."""
        self.connections: list[str] = []
        """Variables that hold such: which of them to which database is not to be seen."""

    def want(self, key) -> tuple:
        self.wanted[key] = None
        return key

    def look_for(self, namespace: dict) -> None:
        seen: set[int] = set()
        names = [name for name in list(namespace) if type(name) is str and name[:2] != "__"]
        # What lies higher first: whatever holds it, too, is the better name, and more of its own is looked at.
        waiting = deque([(namespace[name], name, _DEPTH) for name in names[:_LOOKED_AT]])
        for _ in range(_LOOKED_AT):
            if not waiting:
                return
            item, name, depth = waiting.popleft()
            if id(item) in seen:
                continue
            seen.add(id(item))
            for key in _keys(item):
                if key in self.wanted and self.wanted[key] is None:
                    self.wanted[key] = name
            if self.connection is not None and derives(type(item), self.connection) and name not in self.connections:
                if _is_open(item, self.connection):
                    self.connections.append(name)
            if depth > 0 and len(waiting) < _LOOKED_AT:
                waiting.extend([(part, name, depth - 1) for part in _parts(item)])


def _parts(item) -> list:
    kind = type(item)
    if kind is list or kind is tuple or kind is set:
        return list(item)[:100]
    if kind is dict:
        return list(dict.values(item))[:100]
    attributes = instance_dict(item)
    return [] if attributes is None else list(attributes.values())[:100]


def _keys(item) -> list:
    """What an object is, for those that may be wanted."""
    keys = []
    if issubclass(type(item), _socket):
        keys.append(("socket", _socket.fileno(item)))
    if type(item) in _STREAMS:
        keys.append(("file", _descriptor(item)))
    attributes = instance_dict(item)
    if attributes is not None:
        ident, pid = attributes.get("_ident"), attributes.get("pid")
        if type(ident) is int:
            keys.append(("thread", ident))
        if type(pid) is int:
            keys.append(("process", pid))
    return keys


def _descriptor(stream) -> int:
    """Of a file object; -1 when it is closed, or something else lies below it."""
    if type(stream) is _TextIOWrapper:
        stream = _TextIOWrapper.buffer.__get__(stream)
    if type(stream) in _BUFFERED:
        stream = type(stream).raw.__get__(stream)
    try:
        return _FileIO.fileno(stream) if type(stream) is _FileIO else -1
    except ValueError:
        return -1


def _connection_type():
    """SQLite's own, unless session code has put something in its place."""
    kind = offered("_sqlite3", "Connection")
    return kind if is_type(kind) and type(lookup(kind, "total_changes")) is GetSetDescriptorType else None


def _is_open(connection, kind: type) -> bool:
    try:
        lookup(kind, "total_changes").__get__(connection)
    except Exception:
        return False
    return True


def _threads(held: _Held) -> list:
    active = getattr(MODULES.get("threading"), "_active", None)
    if type(active) is not dict:
        return []
    found = []
    for ident, thread in list(active.items()):
        if ident == get_ident():
            continue
        name = (instance_dict(thread) or {}).get("_name")
        found.append(("thread", f'thread "{name}"' if type(name) is str else "a thread", held.want(("thread", ident))))
    return found


def open_descriptors() -> list:
    """Descriptors and their targets."""
    found = []
    for name in listdir("/proc/self/fd"):
        try:
            found.append((int(name), readlink(f"/proc/self/fd/{name}")))
        except OSError:
            pass  # The listing's own descriptor.
    return found


def _sockets(held: _Held, files: list) -> list:
    """Connections to other places. Pairs within this machine, as event loops and pipes have them, are none."""
    found = []
    for descriptor, target in files:
        if not target.startswith("socket:"):
            continue
        try:
            opened = _socket(fileno=descriptor)
        except OSError:
            continue
        try:
            if opened.family in (AF_INET, AF_INET6):
                found.append(("socket", _describe(opened), held.want(("socket", descriptor))))
        finally:
            opened.detach()
    return found


def _describe(opened: _socket) -> str:
    try:
        host, port = opened.getpeername()[:2]
        return f"a connection to {host}:{port}"
    except OSError:
        pass
    try:
        host, port = opened.getsockname()[:2]
    except OSError:
        return "a socket"
    return f"a socket {'bound to' if opened.type == SOCK_DGRAM else 'listening at'} {host}:{port}"


def _processes(held: _Held) -> list:
    try:
        waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
    except ChildProcessError:
        return []
    pids: list[int] = []
    try:
        for thread in listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
                pids.extend(map(int, file.read().split()))
    except (OSError, ValueError):
        return [("process", "a child process", None)]
    return [("process", f"the child process {pid}", held.want(("process", pid))) for pid in pids]


def _devices(files: list) -> list:
    return [("device", target, None) for _, target in files if target.startswith(_DEVICES)]


def _files(held: _Held, files: list) -> list:
    return [
        ("file", f"the open file {one.path}", held.want(("file", one.descriptor)))
        for one in files
        if not one.may_be_opened_again
    ]


def _databases(files: list) -> list:
    """Paths of SQLite databases that are open. Two processes that use one connection ruin its database."""
    if "_sqlite3" not in MODULES:
        return []
    found = []
    for one in files:
        journal = next((ending for ending in _JOURNALS if one.path.endswith(ending)), "")
        path = one.path[: len(one.path) - len(journal)]
        if (journal or _begins_with(one.descriptor, _MAGIC)) and path not in found:
            found.append(path)
    return found


def _begins_with(descriptor: int, magic: bytes) -> bool:
    try:
        return pread(descriptor, len(magic), 0) == magic
    except OSError:
        return False  # It is open for writing only.


def _connection(held: _Held, databases: list, variable: str | None) -> tuple:
    key = ("database", variable)
    held.wanted[key] = variable
    return ("database", f"a connection to the database {' or '.join(databases)}", key)
