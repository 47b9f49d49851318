"""Clocks and chance: whether an execution used them, as far as names and the states of global generators tell.

There are no audit events for them. Looked at are the names that the cell's code loads, and those that functions and
classes of cells and of the session's own modules load when the cell names them, one through the other. A name is no
more than a name: a method `sample` counts as chance, whoever it belongs to. What writes is judged by its name, too,
unless that is a variable of the session.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import sys
from _random import Random as _Random
from opcode import EXTENDED_ARG, opmap
from types import CodeType, ModuleType

try:
    from ctypes import c_uint32
except ImportError:  # this build has none
    c_uint32 = None

from .private import MODULES

_FUNCTIONS = 20_000

_CLOCKS = frozenset(
    "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns thread_time "
    "thread_time_ns clock_gettime clock_gettime_ns localtime gmtime ctime asctime strftime now utcnow today times "
    "getrusage default_timer timeit getloadavg boot_time cpu_times cpu_percent virtual_memory timing".split()
)
_DICE = frozenset(
    "random randint randrange randbytes getrandbits shuffle sample choice choices uniform triangular gauss "
    "normalvariate lognormvariate expovariate betavariate gammavariate vonmisesvariate paretovariate weibullvariate "
    "binomialvariate normal standard_normal rand randn random_sample permutation permuted integers default_rng "
    "RandomState SystemRandom Random secrets token_bytes token_hex token_urlsafe randbelow urandom getrandom uuid1 "
    "uuid4 uuid6 uuid7 SeedSequence poisson binomial exponential multivariate_normal beta gamma dirichlet multinomial "
    "rvs randperm rand_like randn_like bernoulli mkdtemp mkstemp mktemp Dropout Linear Embedding Conv1d Conv2d "
    "kaiming_uniform_ normal_ uniform_ xavier_uniform_".split()
)
_MOMENTS = frozenset(("datetime64", "Timestamp", "to_datetime", "DatetimeIndex", "date_range"))
"""Read the clock when they are given one of these texts."""
_NOW = ("now", "today")
_WRITERS = frozenset(
    "to_parquet to_feather to_orc to_hdf to_zarr to_netcdf write_parquet write_csv write_ipc write_ndjson write_json "
    "write_delta write_excel write_avro write_table write_dataset write_feather write_database sink_parquet sink_csv "
    "sink_ipc sink_ndjson imwrite VideoWriter save_file save_pretrained save_model SharedMemory mkfifo mknod "
    "execute executemany executescript commit to_sql copy_expert insert_one insert_many update_one update_many "
    "replace_one delete_one delete_many post getresponse urlopen sendall sendmail send_message publish upload_file "
    "upload_fileobj put_object write_history_file append_history_file atexit pidfd_send_signal setpriority "
    "start_new_thread clock_settime".split()
)
"""Write, speak to somebody, or change what outlives the cell without an audit event, as a rule or on a connection that
was there before."""
_ELSEWHERE = {name: f".{name}" for name in _WRITERS}
"""What stands beside a writer's name that is not looked up among the session's variables: what these are says nothing of
it."""
_TELLING = _CLOCKS | _DICE | _MOMENTS | _WRITERS

_OF_ATTRIBUTES = 1 if sys.version_info >= (3, 12) else 0
_SHIFTS = {
    "LOAD_NAME": 0,
    "LOAD_GLOBAL": 1 if sys.version_info >= (3, 11) else 0,
    "LOAD_ATTR": _OF_ATTRIBUTES,
    "LOAD_METHOD": _OF_ATTRIBUTES,
    "LOAD_SUPER_ATTR": 2,
    "LOAD_FROM_DICT_OR_GLOBALS": 0,
    "IMPORT_FROM": 0,
}
_LOADS = {opmap[name]: shift for name, shift in _SHIFTS.items() if name in opmap}
"""Instructions that load a name, and how far their argument is shifted."""
_BINDS = frozenset((opmap["STORE_NAME"], opmap["STORE_GLOBAL"]))
_SET_ATTRIBUTE = opmap.get("SET_FUNCTION_ATTRIBUTE", -1)
_KEEPS = frozenset([_SET_ATTRIBUTE, *[opmap[name] for name in opmap if name.startswith("STORE_")]])
_IMPORT_FROM = opmap["IMPORT_FROM"]
_VARIABLES = frozenset([opmap[name] for name in ("LOAD_NAME", "LOAD_GLOBAL")])
_MAKE_FUNCTION = opmap["MAKE_FUNCTION"]
_OPTIMIZED = 1  # inspect.CO_OPTIMIZED: a function's code; that of a class or a cell has none.
_HEAP_TYPE = 1 << 9
_NONE: frozenset = frozenset()


class Clocks:
    """Knows the functions that cells have defined, and the generators' states after the last execution."""

    def __init__(self) -> None:
        self._functions: dict[str, set] = {}
        """By name of a function, a class or an alias: the names that it loads, in whichever version."""
        self._states: tuple = (None, None)
        self.reached: set = set()
        """Names that the last execution's cell loads, and those that the functions load that it names; those of writers
        with a dot before them, too, where they were not looked up among the session's variables."""

    def adopt_process(self) -> None:
        """A fork may have seeded its generators."""
        self._states = (_state_of_random(), _state_of_numpy() if "numpy.random.mtrand" in MODULES else None)

    def used(self, codes: list) -> tuple[list, list, list]:
        """Names of clocks, of chance, and of writers that no audit event tells of, which an execution used: `codes`
        are its cell's, and those that it compiled and imported itself."""
        self.reached = names = self._names(codes)
        clocks, chance = sorted(names & _CLOCKS), sorted(names & _DICE)
        before = self._states
        self.adopt_process()
        for at, module in enumerate(("random", "numpy.random")):
            # Of a generator that is seen for the first time the names must tell.
            if before[at] is not None and before[at] != self._states[at] and module not in chance:
                chance.append(module)
        return clocks, chance, sorted(names & _WRITERS)

    def _names(self, codes: list) -> set:
        """What these codes load, and what the functions load that they name."""
        waiting: set = set()
        for code in codes:
            if type(code) is CodeType:
                waiting |= self._loaded(code)[0]
        found: set = set()
        while waiting:
            name = waiting.pop()
            found.add(name)
            waiting |= self._functions.get(name, _NONE) - found
        return found

    def _loaded(self, code: CodeType) -> tuple[set, set]:
        """What a code loads by itself and in what it runs in place: class bodies, lambdas, comprehensions, functions
        that it hands on at once; and what it loads with all functions in it. Learns these, and aliases."""
        loaded, aliases, hands_on = _scan(code)
        for alias, name in aliases:
            self._learn(alias, {name})
        if not _MOMENTS.isdisjoint(loaded):
            loaded.update([text for text in code.co_consts if type(text) is str and text in _NOW])
        everything = set(loaded)
        for part in code.co_consts:
            if type(part) is not CodeType:
                continue
            name = part.co_name
            at_once, names = self._loaded(part)
            everything |= names
            self._learn(name, names)
            if hands_on or name[:1] == "<":
                loaded |= names
            elif not part.co_flags & _OPTIMIZED:
                loaded |= at_once
            if name[:1] == "<":
                telling = names & (_TELLING | self._functions.keys())
                for bound in code.co_names if telling else ():
                    self._learn(bound, telling)
        return loaded, everything

    def _learn(self, name: str, names: set) -> None:
        names = names - {name}
        if names and (name in self._functions or len(self._functions) < _FUNCTIONS):
            self._functions.setdefault(name, set()).update(names)


def _scan(code: CodeType) -> tuple[set, list, bool]:
    """Names that a code loads; its aliases, each a new name and the old one; whether it makes a function that it does
    not store at once: a decorated one, an argument."""
    names, text = code.co_names, code.co_code
    loaded: set = set()
    aliases: list = []
    hands_on = made = False
    last, elsewhere, argument = None, None, 0
    for at in range(0, len(text), 2):
        operation = text[at]
        argument |= text[at + 1]
        if operation == EXTENDED_ARG:
            argument <<= 8
            continue
        if operation != 0:  # No cache of the instruction before.
            if made:
                hands_on |= operation not in _KEEPS
            shift = _LOADS.get(operation)
            if shift is not None and argument >> shift < len(names):
                last, elsewhere = names[argument >> shift], None
                if last in _ELSEWHERE and not (operation in _VARIABLES and _looks_among_variables(code)):
                    elsewhere = _ELSEWHERE[last]
                if operation != _IMPORT_FROM or code.co_flags & _OPTIMIZED:
                    loaded.add(last)
                    if elsewhere is not None:
                        loaded.add(elsewhere)
            else:
                if last is not None and operation in _BINDS:
                    if names[argument] != last:
                        aliases.append((names[argument], last))
                    if elsewhere is not None:
                        aliases.append((names[argument], elsewhere))
                last = None
            made = operation == _MAKE_FUNCTION or (made and operation == _SET_ATTRIBUTE)
        argument = 0
    return loaded, aliases, hands_on


def _looks_among_variables(code: CodeType) -> bool:
    """Whether names of a code are the session's: it is of a cell, and no class's."""
    return code.co_filename[:6] == "<exec_" and (code.co_flags & _OPTIMIZED or code.co_name == "<module>")


_windows: list = [None, None]
"""The generator that was looked into last, and its window."""


def _window(generator):
    """What lies at the beginning of a generator of `random`: how many numbers it has given since it made new ones, and
    the first two of these."""
    return (c_uint32 * 3).from_address(id(generator) + object.__basicsize__)


def _can_be_looked_into() -> bool:
    """Whether a generator lies in memory as it is taken to, here and in this version."""
    try:
        generator = _Random(1)
        state = _Random.getstate(generator)
        return _window(generator)[:] == [state[-1], state[0], state[1]]
    except Exception:
        return False


_LOOKED_INTO = c_uint32 is not None and _can_be_looked_into()
"""To ask for a state makes 625 numbers."""


def _state_of_random():
    try:
        module = MODULES.get("random")
        if type(module) is not ModuleType:
            return None
        generator = vars(module)["_inst"]
        if _LOOKED_INTO and issubclass(type(generator), _Random):
            if generator is not _windows[0]:
                _windows[:] = generator, _window(generator)
            return _windows[1][:]
        state = _Random.getstate(generator)
        return [state[-1], state[0], state[1]]
    except Exception:
        return None


def _state_of_numpy():
    try:
        module = MODULES["numpy.random.mtrand"]
        if type(module) is not ModuleType:
            return None
        generator = vars(module)["_rand"]
        kind = type(generator)
        if type(kind) is not type or kind.__flags__ & _HEAP_TYPE:
            return None  # Not NumPy's own: its methods would be session code.
        state = kind.get_state(generator, legacy=False)["state"]
        return state["pos"], int(state["key"][0]), int(state["key"][1])
    except Exception:
        return None
