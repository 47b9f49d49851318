"""Compiles this package for a place where nothing can be written: ``python3 -I .../precompile.py CACHE FOLDER``.

FOLDER is where the package will lie there; CACHE is the folder that `__main__` will be given.
"""

from __future__ import annotations

import os
import sys
from importlib.util import cache_from_source
from py_compile import compile as compile_file

HERE = os.path.dirname(os.path.abspath(__file__))


def precompile(cache: str, folder: str) -> None:
    """Leaves alone what is compiled already. Raises OSError where the cache cannot be written."""
    sys.pycache_prefix = cache
    for parent, _, names in os.walk(HERE):
        for name in names:
            if name.endswith(".py"):
                source = os.path.join(parent, name)
                there = os.path.join(folder, os.path.relpath(source, HERE))
                target = cache_from_source(there)
                if not _is_fresh(target, source):
                    compile_file(source, cfile=target, dfile=there, doraise=True)


def _is_fresh(target: str, source: str) -> bool:
    """Whether the header of a compiled file names the source's time and size."""
    try:
        with open(target, "rb") as file:
            header = file.read(16)
    except OSError:
        return False
    found = os.stat(source)
    expected = (int(found.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (found.st_size & 0xFFFFFFFF).to_bytes(4, "little")
    return header[8:16] == expected


if __name__ == "__main__":
    precompile(sys.argv[1], sys.argv[2])
