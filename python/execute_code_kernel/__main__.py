"""Starts the supervisor: ``python3 -I -X pycache_prefix=FOLDER .../execute_code_kernel/__main__.py``."""

from __future__ import annotations

import os
import sys


def _import_main():
    """Imports this package from where this file lies, and leaves no trace of that on ``sys.path``."""
    here = os.path.dirname(os.path.abspath(__file__))
    # Python puts the folder there when it was started with the folder's path instead of this file's.
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path.insert(0, os.path.dirname(here))
    try:
        from execute_code_kernel.supervisor import main
    finally:
        del sys.path[0]
    return main


if __name__ == "__main__":
    _import_main()()
