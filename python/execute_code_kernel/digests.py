"""SHA-256, from C modules themselves: what session code puts in the place of `hashlib`'s functions is not used."""

from __future__ import annotations

from .private import builtins as __builtins__

try:
    from _hashlib import openssl_sha256 as sha256
except ImportError:  # built without OpenSSL
    try:
        from _sha2 import sha256
    except ImportError:
        from _sha256 import sha256  # before 3.12
