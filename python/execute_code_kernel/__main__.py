"""Starts the supervisor: ``python3 -I .../execute_code_kernel/__main__.py [CACHE [BOX [PROXY [PORT]]]]``.

CACHE is a folder for this package's compiled modules, which may lie where nothing can be written. The standard
library keeps the compiled modules that it came with: ``-X pycache_prefix`` would compile all of it anew.
BOX names the box in lists of processes, for people and for sweeps.
PROXY is the unix socket of the daemon's network proxy; then a relay to it listens on 127.0.0.1:PORT, by default 3128.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import FileFinder, SourceFileLoader

HERE = os.path.dirname(os.path.abspath(__file__))


class CachingLoader(SourceFileLoader):
    """Looks for a module's compiled form in the cache, and puts it there; what the module imports is unaffected."""

    prefix: str | None = None
    ready: dict = {}
    """Code that has been read already, by module."""

    def get_code(self, fullname):
        if fullname in self.ready:
            return self.ready.pop(fullname)
        outside, sys.pycache_prefix = sys.pycache_prefix, self.prefix
        try:
            return super().get_code(fullname)
        finally:
            sys.pycache_prefix = outside


def _import_main(cache):
    """Imports this package from where this file lies, and leaves no trace of that on ``sys.path``."""
    parent = os.path.dirname(HERE)
    # Python puts the folder there when it was started with the folder's path instead of this file's.
    sys.path[:] = [entry for entry in sys.path if entry != HERE]
    sys.path.insert(0, parent)
    CachingLoader.prefix = cache
    for folder in (parent, HERE, os.path.join(HERE, "magics"), os.path.join(HERE, "capture")):
        sys.path_importer_cache[folder] = FileFinder(folder, (CachingLoader, [".py"]))
    try:
        from execute_code_kernel.layout import arrange

        arrange("execute_code_kernel", HERE, CachingLoader)
        from execute_code_kernel.supervisor import main
    finally:
        del sys.path[0]
    return main


if __name__ == "__main__":
    _import_main(sys.argv[1] if len(sys.argv) > 1 else None)()
