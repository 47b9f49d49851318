"""A private copy of the builtins.

Session code may delete or replace anything in ``builtins``. A module of this package that begins with

    from .private import builtins as __builtins__

resolves its names in this copy instead: functions look builtins up where their module's ``__builtins__`` points at
the moment they are defined.
"""

from __future__ import annotations

import builtins as _builtins
import sys as _sys

builtins = dict(vars(_builtins))

MODULES = _sys.modules
"""The table of modules itself, whatever session code binds to the name in `sys`."""
