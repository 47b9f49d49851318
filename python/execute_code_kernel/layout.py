"""Where in memory what every execution uses lies: together, and apart from what is hardly used.

A page that is written after a fork has to be copied, and to look at an object is to write: it counts its references.
So each snapshot keeps a page of its own for every page that its kernel goes on to touch, and each kernel pays for the
copying. How many these are is decided here, before there is anything of the package but this: by what is allocated in
which order.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

_STANDARD = (
    "__future__ _blake2 _ctypes _json _socket array ast base64 contextvars ctypes fcntl gc importlib.machinery json "
    "linecache mmap opcode resource select signal termios textwrap traceback"
).split()
"""Modules of the standard library that the package uses, as far as there are some."""
_ON_THE_WAY = (
    "private processes frames previews places clocks effects background streams fifos dialling channel metrics reserve sources "
    "warned analysis fingerprints namespace cells interrupts observers randomness forking pause unsafe branches imports libraries "
    "api kernel"
).split()
"""Modules of the package on the way of an execution and of a snapshot."""
_BESIDE = "descriptions looking links".split()
"""Those that only some executions and snapshots need, but many."""

_POOL = 16384 if sys.version_info >= (3, 10) else 4096
_POOL_HEADER = 48
_SMALLEST, _LARGEST, _STEP = 16, 512, 16
"""Sizes of what the interpreter's own allocator serves: each from pools of its own. Source: CPython, obmalloc."""
_BYTES_HEADER = sys.getsizeof(b"")
_FLOAT_BYTES = sys.getsizeof(0.5)
_TRIES = 8

_filling: list = []
"""What the holes have been filled with."""


def arrange(package: str, folder: str, loader) -> None:
    """Imports what the package needs of the standard library; then its own modules on an execution's way, whose code is
    all read before: `loader.ready` holds it meanwhile."""
    for name in _STANDARD:
        try:
            import_module(name)
        except ImportError:
            pass  # This build has none, and whoever needs it says so.
    fill_holes()
    names = [f"{package}.{module}" for module in _ON_THE_WAY]
    for name, module in zip(names, _ON_THE_WAY):
        loader.ready[name] = loader(name, os.path.join(folder, f"{module}.py")).get_code(name)
    for name in names:
        import_module(name)
    for module in _BESIDE:
        import_module(f"{package}.{module}")


def fill_holes() -> None:
    """Takes what is free between other objects, so that what comes next comes from fresh memory."""
    gc.collect()
    for size in range(_SMALLEST, _LARGEST + 1, _STEP):
        if not _fill(size):
            return  # Memory comes from elsewhere: another allocator.


def _fill(size: int) -> bool:
    """Whether a fresh pool was seen: it serves objects side by side, one after the other."""
    fitting = (_POOL - _POOL_HEADER) // size
    for _ in range(_TRIES):
        objects = _objects(size, 2 * fitting)
        places = [*map(id, objects)]
        start = 0
        for at in range(1, len(places)):
            if places[at] - places[at - 1] != size:
                start = at
            elif at - start >= fitting * 9 // 10:
                # What lies in the fresh pool is given back.
                del objects[start:]
                _filling.append(objects)
                return True
        _filling.append(objects)
    return False


def _objects(size: int, count: int) -> list:
    """Objects of just this size, which nothing else refers to. Nothing else is allocated meanwhile."""
    objects: list = [None] * count
    places = [*range(count)]
    length = size - _BYTES_HEADER
    for at in places:
        objects[at] = object() if size < _FLOAT_BYTES else float("0.5") if length < 0 else bytes(length)
    return objects
