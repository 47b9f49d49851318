from __future__ import annotations

from .private import builtins as __builtins__

import sys

_HELD = []


def fill_holes():
    pool = 16384 if sys.version_info >= (3, 10) else 4096
    for size in range(16, 513, 16):
        capacity = (pool - 48) // size
        for _ in range(50):
            if size == 16:
                batch = [object() for _ in range(2 * capacity)]
            elif size == 32:
                batch = [float("1.5") for _ in range(2 * capacity)]
            else:
                z = size - 33
                batch = [bytes(z) for _ in range(2 * capacity)]
            places = [*map(id, batch)]
            start = 0
            found = -1
            for i in range(1, len(places)):
                if places[i] - places[i - 1] != size:
                    start = i
                elif i - start >= capacity * 0.9:
                    found = start
                    break
            _HELD.append(batch)
            if found >= 0:
                del batch[found:]
                break
        else:
            print("gave up", size, file=sys.stderr)
