"""`%time` and `%timeit`: how long code takes."""

from __future__ import annotations

from ..private import builtins as __builtins__

import gc
from itertools import repeat
from resource import RUSAGE_SELF, getrusage
from time import perf_counter as _perf_counter

_ENOUGH_SECONDS = 0.2


class Timing:
    """Prints how long its block took, also when it raised."""

    def __enter__(self) -> None:
        self._cpu, self._wall = getrusage(RUSAGE_SELF)[:2], _perf_counter()

    def __exit__(self, *_) -> None:
        wall = _perf_counter() - self._wall
        user, system = [after - before for before, after in zip(self._cpu, getrusage(RUSAGE_SELF))]
        print(f"CPU times: user {_span(user)}, sys: {_span(system)}, total: {_span(user + system)}")
        print(f"Wall time: {_span(wall)}")


class TimeitResult:
    """What `%timeit -o` gives. Times are in seconds, for one loop; `all_runs` holds those of whole runs."""

    def __init__(self, loops: int, runs: list) -> None:
        self.loops = loops
        self.repeat = len(runs)
        self.all_runs = runs
        self.timings = [run / loops for run in runs]
        self.best, self.worst = min(self.timings), max(self.timings)
        self.average = sum(self.timings) / len(runs)
        self.stdev = (sum([(timing - self.average) ** 2 for timing in self.timings]) / len(runs)) ** 0.5

    def __str__(self) -> str:
        runs = f"{self.repeat} run{'' if self.repeat == 1 else 's'}"
        loops = f"{self.loops:,} loop{'' if self.loops == 1 else 's'}"
        return f"{_span(self.average)} ± {_span(self.stdev)} per loop (mean ± std. dev. of {runs}, {loops} each)"

    def __repr__(self) -> str:
        return f"<TimeitResult : {self}>"


def measure(function, loops: int, runs: int) -> TimeitResult:
    """Times a generator function that yields after its setup and then loops over its argument. With 0 loops, so many
    that one run takes long enough."""
    if loops == 0:
        counts = (step * 10**power for power in range(10) for step in (1, 2, 5))
        loops = next((count for count in counts if _once(function, count) >= _ENOUGH_SECONDS), 1)
    return TimeitResult(loops, [_once(function, loops) for _ in range(runs)])


def _once(function, loops: int) -> float:
    collecting = gc.isenabled()
    gc.disable()
    try:
        steps = function(repeat(None, loops))
        next(steps)
        start = _perf_counter()
        next(steps, None)
        return _perf_counter() - start
    finally:
        if collecting:
            gc.enable()


def _span(seconds: float) -> str:
    """A duration with three digits and its unit; from a minute on, in minutes and seconds."""
    if seconds >= 60:
        return "{}min {}s".format(*divmod(int(seconds), 60))
    for unit, scale in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 0.9995:
            return f"{seconds * scale:.3g} {unit}"
    return f"{max(seconds, 0) * 1e9:.3g} ns"
