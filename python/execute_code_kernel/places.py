"""Which files are no effects, and what the things are called that a function was given; runs no code of their types.

Exceptions of signal handlers of the session that run meanwhile are let through.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from errno import ENAMETOOLONG
from os import getcwd, lstat, readlink
from os.path import abspath, dirname

from .previews import type_name
from .private import MODULES

KERNEL = dirname(abspath(__file__)) + "/"
SYSTEM = (
    "/usr/lib/", "/usr/lib64/", "/usr/share/", "/usr/local/share/", "/lib/", "/lib64/", "/sys/",
    "/proc/self/", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/", "/proc/filesystems", "/proc/mounts",
    "/etc/localtime", "/etc/timezone", "/etc/ssl/", "/etc/fonts/", "/etc/mime.types", "/etc/os-release", "/etc/hosts",
    "/etc/resolv.conf", "/etc/services", "/etc/matplotlibrc",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/pt", "/dev/std", "/dev/fd/", "/proc/self/")
RANDOM_DEVICES = ("/dev/urandom", "/dev/random")
_LIBRARY_PARTS = ("/site-packages/", "/dist-packages/", "/.config/")
_CACHE_PARTS = ("/__pycache__/", "/.cache/", "/.matplotlib/", "/matplotlib-")


def folder_of(path: str) -> str:
    """The path with one slash at its end."""
    return path.rstrip("/") + "/"


def current_folder() -> str:
    """As the system tells it at once: to find out one of a path too long for that takes longer the deeper it is."""
    try:
        return readlink("/proc/self/cwd")
    except OSError as error:
        if error.__traceback__.tb_next is not None:
            raise  # A signal handler's.
        return "…" if error.errno == ENAMETOOLONG else getcwd()


def plain(path: str) -> str:
    """The path without `.`, `..` and doubled slashes; links are not followed."""
    if "/." not in path and "//" not in path and path[-1:] != "/":
        return path
    parts: list = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def behind(descriptor: int) -> str:
    """The path behind a descriptor; empty when it is no file's."""
    try:
        path = readlink(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        if error.__traceback__.tb_next is not None:
            raise  # A signal handler's.
        return ""
    return path if path[:1] == "/" and not path.endswith(" (deleted)") else ""


def pure_path(value) -> str:
    """The text of a `pathlib` path of the library's own types; empty for others."""
    pathlib = MODULES.get("pathlib")
    if pathlib is None or type(value) not in (vars(pathlib).get("PosixPath"), vars(pathlib).get("PurePosixPath")):
        return ""
    return str(value)


def mode(path: str) -> int:
    """What a path is; 0 when there is nothing."""
    try:
        return lstat(path).st_mode
    except (OSError, ValueError) as error:
        if error.__traceback__.tb_next is not None:
            raise  # A signal handler's.
        return 0


def is_library(path: str) -> bool:
    for part in _LIBRARY_PARTS:
        if part in path:
            return True
    return False


def is_cache(path: str) -> bool:
    if KERNEL in f"{path}/":
        return True  # Below another folder: what the kernel keeps of its own modules, compiled.
    return path.endswith((".pyc", "/__pycache__")) or ".pyc." in path or any([part in path for part in _CACHE_PARTS])


def word_of(value) -> str:
    """An argument as text; runs no code of its type."""
    kind = type(value)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, bytes):
        return bytes.decode(value, "utf-8", "backslashreplace")
    if issubclass(kind, int):
        return int.__repr__(value)
    return pure_path(value) or type_name(kind)


def address_of(value) -> str:
    """A socket's address: host and port, or a path."""
    if type(value) is tuple:
        return ":".join([word_of(part) for part in value[:2]])
    return "an open connection" if value is None else word_of(value)
