"""What must be run again after a loss, and can be: the fewest executions of the history that make the lost variables
anew without doing anything twice.

The history says which variables each execution added, changed and deleted; the syntax trees say what it read. From
that follows what each variable was made of:

- A variable's chain are the executions that bound or changed it since it was last bound as a whole: since it was
  added, or since an execution that ended well bound it whatever happened, without a use of what it was before. Names
  with a leading underscore and modules are not in the lists; for them what the text binds, changes and calls methods of
  counts. So do objects that change when they are used, as iterators and generators of random numbers do, with every
  mention.
- An execution needs what it reads, as it was then, and so do the functions and classes of cells that it names, one
  through the other; a variable that may hold such code needs what that code mentions. `exec`, `eval`, `globals` and
  the like read everything.
- A captured variable that nothing has changed since some execution, and nothing that is run again before it binds, is an
  input of it. What has changed since the capture is changed again from there on: the first execution after the capture
  that needs it has the captured one as its input, unless it was ever changed since together with what the capture does
  not have: the two may have objects in common. Where neither holds, it is made anew, for the replay only.
- Imports can always be made: their statements are run first, without the rest of their cell.
- What was interrupted, timed out or crashed has stopped at a moment that does not come back, and is not run again. What
  ended with an error is, and must raise again; it is not exact. It is not run again when it may have missed a name
  that is there now.
- An execution that told a module something (`random.seed(0)`, `os.environ[…] = …`), or changed the process (`chdir`), is
  run again for those after it that use the module, or for all of them, when it can be; else these are not exact.

What escapes: variables that are reached through objects (`frame.f_back`, a registry in a module), functions of modules
that keep a state of their own, changes that the lists have missed.
"""

from __future__ import annotations

from .private import builtins as __builtins__

from ast import Module

from .cells import parse
from .readings import Reading

_LISTED = 10_000
"""So many names of a kind an execution lists at most."""
_STOPPED = {
    "interrupted": "it was interrupted before its end",
    "timed_out": "it ran out of time before its end",
    "crashed": "the kernel ended with it",
}


class Plan:
    """What to do: run `imports`, run `executions` in this order in one namespace of their own, each after its `inputs` are
    bound, and take the names of `by_name` from there."""

    def __init__(self) -> None:
        self.executions: list[str] = []
        self.raises: list[str] = []
        """Those of them that ended with an error, and must do so again."""
        self.inputs: dict[str, list[str]] = {}
        """By execution: names of the capture's variables that must be bound before it, unless they still are."""
        self.imports: list[str] = []
        """Statements."""
        self.by_name: dict[str, list[str]] = {}
        """The executions that each wanted name comes from; none for a module."""
        self.lost: dict[str, str] = {}
        """Why a wanted name cannot be made anew."""
        self.exact: dict[str, bool] = {}
        """Whether a name that is made anew will be what it was, as far as clocks, chance and errors go."""
        self.roots: dict[str, str] = {}
        """By name, wanted or available: the execution that binds it to what it is bound to in the end."""
        self.complete: dict[str, list[str]] = {}
        """Available names that the executions make exactly what they are in the end, too, and those each comes from."""


def read(history: list[dict], opaque=frozenset(), captured_at: int | None = None, held=frozenset()) -> _Past:
    """What the executions of the session's line have done, the oldest first: each with `id`, `code`, `status`,
    `replayable`, `why_not`, `exact`, and the names `added`, `changed`, `deleted`. `opaque` are names of variables whose
    changes the lists do not see: whatever is done with them may have changed them. A capture has the variables `held` as
    they were before the execution of index `captured_at`."""
    return _Past(history, frozenset(opaque), len(history) if captured_at is None else captured_at, frozenset(held))


def plan(past: _Past, wanted: set[str], available: set[str]) -> Plan:
    """Plans the replay of the wanted names."""
    return _Planner(past, frozenset(available) - frozenset(wanted)).plan(sorted(wanted))


class _Variable:
    """A variable at one moment; never changed."""

    __slots__ = ("chain", "rooted", "bodies", "is_import", "is_stateful", "told", "is_there", "captured", "before")

    def __init__(
        self,
        chain: tuple,
        rooted: bool,
        bodies: frozenset,
        is_import: bool,
        is_stateful: bool,
        told: tuple,
        is_there=True,
        captured: _Variable | None = None,
        before: _Variable | None = None,
    ) -> None:
        self.is_there = is_there
        self.captured = captured
        """The variable as the capture has it, when the chain begins with that."""
        self.before = before
        """Of a variable as the capture has it, which has no chain: the same by the history."""
        self.chain = chain
        """The newest link: an execution's index, its import statement or None, and the link before, or None."""
        self.rooted = rooted
        """Whether the chain begins with its making."""
        self.bodies = bodies
        """What it may run when it is used."""
        self.is_import = is_import
        self.is_stateful = is_stateful
        self.told = told
        """Executions that told this module something: pairs of an index and the pair before, or nothing."""

    def links(self):
        """From the newest to the oldest: index and import statement; back to the capture, if it begins there."""
        link = self.chain
        while link is not None:
            yield link[0], link[1]
            link = link[2]

    def past_links(self):
        """The same, also of what came before the capture."""
        yield from self.links()
        captured = self if self.before is not None else self.captured
        if captured is not None and captured.before is not None:
            yield from captured.before.links()

    @property
    def only_imports(self) -> bool:
        return self.chain is not None and all([statement is not None for _, statement in self.links()])


class _Past:
    """The history, read: what each execution needs and touches."""

    def __init__(self, history: list[dict], opaque: frozenset, captured_at: int, held: frozenset) -> None:
        self.history = history
        self._places = {entry["id"]: index for index, entry in enumerate(history)}
        self.captured_at = captured_at
        self._opaque = opaque
        self.needs: list[dict] = []
        """By execution: the variables that it reads, as they were before it."""
        self.touches: list[frozenset] = []
        """By execution: names that running it may bind or change, but for imports."""
        self._binds: list = []
        """By execution: names that it may bind; None when these may be any."""
        self.told: list[tuple] = []
        """By execution: earlier ones that changed the process, or told a module that it uses something."""
        self.missed: list[frozenset] = []
        """By execution: names that it reads and that were not there, when it ended with an error; None when it may have
        read any."""
        self.imported: set = set()
        """Names that some execution imports."""
        self.last_change: dict[str, int] = {}
        self.entangled: set = set()
        """Names that executions after the capture changed together with what it does not have, or with one of them."""
        self._changed_together: list[set] = []
        self.changed_before_capture: dict[str, int] = {}
        """By name, of what the capture has: the last execution before it that changed the variable."""
        self.variables: dict[str, _Variable] = {}
        """As they are in the end, modules and private ones too, as far as lists and texts tell."""
        self._deleted: dict[str, _Variable] = {}
        """Variables that are not there any more: their chains delete them."""
        self._process: tuple = ()
        self._uncertain: set = set()
        """Names that only executions which failed may have bound."""
        self._seen: set = set()
        for index, entry in enumerate(history):
            self._seen.update(entry["added"], entry["changed"])
            if index == captured_at:
                self._capture(held)
            self._add(index, entry)
        grown = -1
        while grown < len(self.entangled):
            grown = len(self.entangled)
            for names in self._changed_together:
                if not names.isdisjoint(self.entangled):
                    self.entangled |= names

    def _capture(self, held: frozenset) -> None:
        for name in held:
            known = self.variables.get(name)
            if known is None or not known.is_import:
                self.changed_before_capture[name] = self.last_change.get(name, -1)
                known = known or _Variable(None, False, frozenset(), False, False, ())
                self.variables[name] = _Variable(None, True, known.bodies, False, known.is_stateful, (), before=known)

    def changed_since(self, index: int) -> set:
        """Names that this execution or one after it may have changed."""
        return {name for name, last in self.last_change.items() if last >= index}

    def bound_by(self, name: str) -> int:
        """The last execution that may have bound a variable to what it is; others since have changed its insides. -1:
        none of the history."""
        links = [index for index, _ in self.variables[name].past_links()] or [-1]
        binds = [index for index in links if index < 0 or self._binds[index] is None or name in self._binds[index]]
        return (binds or links[-1:])[0]

    def made_by(self, name: str) -> str | None:
        """The id of that execution; None for what is not there."""
        index = self.bound_by(name) if name in self.variables else -1
        return None if index < 0 else self.history[index]["id"]

    def last_changed_by(self, name: str) -> str:
        return self.history[self.last_change[name]]["id"]

    def only_changed_since(self, index: int, name: str) -> bool:
        """Whether this execution or one after it changed a variable, and all that did so only changed its insides."""
        return name in self.variables and self.bound_by(name) < index <= self.last_change.get(name, -1)

    def has_seen(self, name: str) -> bool:
        """Whether a variable is known otherwise than by texts that may bind it."""
        return name in self._seen or name in self.imported

    def origins(self, name: str) -> set:
        """The executions that a variable comes from in any way."""
        found: set = set()
        waiting = [self.variables[name]] if name in self.variables else []
        while waiting:
            for index, _ in waiting.pop().past_links():
                if index not in found:
                    found.add(index)
                    waiting.extend(self.needs[index].values())
        return {self.history[index]["id"] for index in found}

    def touched(self, execution: str) -> frozenset:
        """Names that running this execution may bind or change."""
        return self.touches[self._places[execution]]

    def reads(self, execution: str):
        """Names of variables that this execution reads."""
        return self.needs[self._places[execution]].keys()

    def uses(self, index: int) -> dict:
        """By name: the last execution, this one or one after it, that reads the variable; as its index and id."""
        return {name: (at, self.history[at]["id"]) for at in range(index, len(self.history)) for name in self.needs[at]}

    def _add(self, index: int, entry: dict) -> None:
        variables = self.variables
        reading = _read(entry["code"], self._bodies, self._is_module)
        reads = reading.reads.union(variables) if reading.is_opaque else reading.reads
        needs = {name: variables[name] for name in reads if name in variables}
        needs.update({name: self._deleted[name] for name in reads if name in self._deleted})
        self.needs.append(needs)
        self._binds.append(None if reading.is_opaque else frozenset(reading.stores))
        is_ok = entry["status"] == "ok"
        missed = frozenset() if is_ok else frozenset(reads.difference(variables.keys() - self._uncertain))
        self.missed.append(None if reading.is_opaque and not is_ok else missed)
        self.imported.update(reading.imports)
        told = {told for name in reads if name in variables for told in _pairs(variables[name].told)}
        self.told.append(tuple(sorted(told.union(_pairs(self._process)))))
        listed = {*entry["added"], *entry["changed"]}
        changes = self._changes(entry, reading, listed, reads)
        held = frozenset(reading.held()) if changes else frozenset()
        if index >= self.captured_at:
            in_place = changes & variables.keys()
            in_place -= reading.rebinds if is_ok else set()
            self._changed_together.append(in_place)
            self.entangled.update(filter(self._is_not_held, in_place))
        for name in changes:
            if not is_ok and name not in listed and name not in variables:
                self._uncertain.add(name)
            elif is_ok or name in listed:
                self._uncertain.discard(name)
            self._deleted.pop(name, None)
            variables[name] = self._changed(name, index, entry, reading, held)
            self.last_change[name] = index
        imported = {name for name in reading.imports if name in variables and variables[name].is_import}
        self.touches.append(frozenset(((reading.stores | changes) - imported).union(listed, entry["deleted"])))
        for name in entry["deleted"]:
            variables.pop(name, None)
            self._deleted[name] = _Variable((index, None, None), True, frozenset(), False, False, (), is_there=False)
            self.last_change[name] = index
        for name in reading.module_changes:
            known = variables.get(name)
            if known is not None and known.is_import:
                variables[name] = _Variable(known.chain, True, known.bodies, True, False, (index, known.told))
        if reading.changes_process:
            self._process = (index, self._process)

    def _is_not_held(self, name: str) -> bool:
        """Whether a variable is older than the capture, which does not have it."""
        known = self.variables.get(name)
        if known is None or known.is_import or known.before is not None or known.captured is not None:
            return False
        return any([index < self.captured_at for index, _ in known.links()])

    def _bodies(self, name: str) -> frozenset:
        known = self.variables.get(name)
        return known.bodies if known is not None else frozenset()

    def _is_module(self, name: str) -> bool:
        known = self.variables.get(name)
        return known is not None and known.is_import

    def _changes(self, entry: dict, reading: Reading, listed: set, reads: set) -> set:
        """Names that the execution changed, or may have changed unseen by its lists."""
        variables = self.variables
        changes = set(listed)
        changes.update(reading.imports)
        full = any([len(entry[kind]) >= _LISTED for kind in ("added", "changed")])
        for name in reading.stores:
            if (
                full
                or name[:1] == "_"
                or name in reading.renewed
                or (name not in variables and entry["status"] == "ok")
            ):
                changes.add(name)
        for name in reading.mutates:
            unseen = name[:1] == "_" or name in self._opaque
            if unseen and name in variables and not variables[name].is_import:
                changes.add(name)
        for name in reads:
            if name in variables and variables[name].is_stateful:
                changes.add(name)
        return changes.difference([name for name in entry["deleted"] if name not in listed])

    def _changed(self, name: str, index: int, entry: dict, reading: Reading, held: frozenset) -> _Variable:
        """The variable as the execution left it."""
        before = self.variables.get(name)
        is_ok = entry["status"] == "ok"
        own = frozenset(reading.defines.get(name, ()))
        if name in reading.imports and name not in reading.stores:
            statement = reading.imports[name]
            is_module = before is not None and before.is_import
            is_addition = is_module and name in reading.additions
            is_same = is_module and before.chain is not None and before.chain[1] == statement
            # Another import of the name may not have been reached.
            if before is None or (is_ok and name in reading.rebinds) or is_addition or is_same:
                return _Variable(
                    (index, statement, before.chain if is_addition else None), True, frozenset(), True, False,
                    before.told if is_module else (),
                )  # fmt: skip
        if reading.stars and name not in reading.stores and name in {*entry["added"], *entry["changed"]}:
            if name not in reading.mutates and (before is None or name not in reading.reads):
                return _Variable((index, "\n".join(reading.stars), None), True, held, True, False, ())
        is_new = before is None and name not in entry["changed"]
        if name in entry["added"] or is_new or (is_ok and name in reading.rebinds):
            return _Variable((index, None, None), True, own | held, False, name in reading.stateful, ())
        if before is None:
            return _Variable((index, None, None), False, own | held, False, name in reading.stateful, ())
        return _Variable(
            (index, None, before.chain), before.rooted, before.bodies | own | held, False,
            before.is_stateful or name in reading.stateful, (), captured=before if before.before is not None else before.captured,
        )  # fmt: skip


def _pairs(pair: tuple):
    while pair:
        yield pair[0]
        pair = pair[1]


def _read(code: str, bodies_of, is_module) -> Reading:
    """What the cell reads and binds; everything, when that cannot be told."""
    try:
        return Reading(parse(code[1:] if code[:1] == "\ufeff" else code, "<cell>"), bodies_of, is_module)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        unknown = Reading(Module(body=[], type_ignores=[]), bodies_of, is_module)
        unknown.is_opaque = True
        return unknown


class _Impossible(Exception):
    """Something that is needed cannot be run again: `name`, the execution's index, and whether it made the name."""

    def __init__(self, name: str, index: int, verb: str, why: str) -> None:
        super().__init__(name)
        self.name = name
        self.index = index
        self.verb = verb
        self.why = why


class _Attempt:
    """A set of executions that is closed under what they need, and where each need comes from."""

    def __init__(self, past: _Past, available: frozenset) -> None:
        self._past = past
        self._available = available
        self.needed: set = set()
        self._taken: dict[str, list] = {}
        """By name: needs that are met by an input or an import, each a variable and a moment."""
        self._bound: dict[str, set] = {}
        """By name: the executions in the set that may bind it."""
        self._begun: dict = {}
        """By execution and name: variables of the capture that it is the first to change."""
        self._waiting: list = []

    def copy(self) -> _Attempt:
        other = _Attempt(self._past, self._available)
        other.needed = set(self.needed)
        other._bound = {name: set(indices) for name, indices in self._bound.items()}
        other._begun = self._begun.copy()
        other._taken = {name: list(needs) for name, needs in self._taken.items()}
        return other

    def want(self, name: str, variable: _Variable) -> None:
        """Adds what makes a variable as it is in the end. Raises _Impossible."""
        self._waiting.append((name, variable, len(self._past.history)))
        self._settle()

    def run(self, index: int) -> None:
        """Adds an execution. Raises _Impossible."""
        self._execute(index, "", "made")
        self._settle()

    def source(self, name: str, variable: _Variable, moment: int) -> str:
        """Where a variable as it was before an execution comes from: `input`, `import` or `chain`; `nowhere` when it was
        not there then, and is not in the replay."""
        past = self._past
        bound = self._bound.get(name, ())
        if variable.before is not None:
            return "chain" if name in past.entangled else "input"
        if not any([index < moment for index in bound]):
            if not variable.is_there:
                return "nowhere"
            if name in self._available and past.last_change.get(name, -1) < moment:
                return "input"
            before = past.changed_before_capture.get(name, moment)
            if before < moment <= past.captured_at and name not in past.entangled:
                return "input"
            if variable.rooted and variable.only_imports:
                return "import"
        return "chain"

    def inputs(self, index: int) -> set:
        """Names that must be bound to the capture's variables for an execution."""
        needed = [*self._past.needs[index].items(), *[(name, one) for (at, name), one in self._begun.items() if at == index]]
        return {name for name, variable in needed if self.source(name, variable, index) == "input"}

    def binds(self, name: str) -> bool:
        """Whether an execution in the set may bind the name."""
        return name in self._bound

    def _settle(self) -> None:
        while self._waiting:
            name, variable, moment = self._waiting.pop()
            if self.source(name, variable, moment) != "chain":
                self._taken.setdefault(name, []).append((variable, moment))
                continue
            variable = variable.before or variable
            links = list(variable.links())
            if not variable.rooted:
                index = links[-1][0] if links else self._past.last_change[name]
                raise _Impossible(name, index, "changed", "what it was before is not in the history")
            if variable.captured is not None:
                self._begun[links[-1][0], name] = variable.captured
                self._waiting.append((name, variable.captured, links[-1][0]))
            for at, (index, _) in enumerate(links):
                is_first = at == len(links) - 1 and variable.captured is None
                self._execute(index, name, "made" if is_first else "changed")

    def _execute(self, index: int, name: str, verb: str) -> None:
        if index in self.needed:
            return
        past = self._past
        entry = past.history[index]
        why = _STOPPED.get(entry["status"])
        if why is None and not entry["replayable"]:
            why = entry["why_not"] or "it cannot be run again"
        missed = past.missed[index]
        if why is None and (missed is None or not missed.isdisjoint(self._available | past.imported)):
            why = "it failed where it might not fail now"
        if why is not None:
            raise _Impossible(name, index, verb, why)
        self.needed.add(index)
        self._waiting.extend([(read, variable, index) for read, variable in past.needs[index].items()])
        for touched in past.touches[index]:
            self._bound.setdefault(touched, set()).add(index)
            # What was taken as it is now may be bound by this execution before it is read.
            self._waiting.extend([(touched, *need) for need in self._taken.pop(touched, ())])

    def closure(self, name: str, variable: _Variable) -> tuple[set, dict]:
        """Executions and imports that a variable comes from; imports are statements by index and name."""
        past = self._past
        executions: set = set()
        imports: dict = {}
        waiting = [(name, variable, len(past.history))]
        while waiting:
            name, variable, moment = waiting.pop()
            source = self.source(name, variable, moment)
            if source in ("input", "nowhere"):
                continue
            variable = variable.before or variable
            links = list(variable.links())
            if variable.captured is not None:
                waiting.append((name, variable.captured, links[-1][0]))
            fresh = [told for told in _pairs(variable.told) if told < moment and told in self.needed]
            if source == "import":
                imports.update({(index, name): statement for index, statement in links})
                links = []
            for index in [*[index for index, _ in links], *fresh]:
                if index not in executions:
                    executions.add(index)
                    waiting.extend([(read, needed, index) for read, needed in past.needs[index].items()])
        return executions, imports


class _Planner:
    def __init__(self, past: _Past, available: frozenset) -> None:
        self._past = past
        self._available = available

    def plan(self, wanted: list[str]) -> Plan:
        result = Plan()
        past = self._past
        variables = past.variables
        possible = []
        for name in wanted:
            if name not in variables:
                result.lost[name] = "nothing in the history made it"
                continue
            alone = _Attempt(past, self._available)
            try:
                alone.want(name, variables[name])
            except _Impossible as failure:
                result.lost[name] = self._reason(name, failure)
            else:
                possible.append((len(alone.needed), name))
        attempt = _Attempt(past, self._available)
        made = []
        # The smallest first: one that cannot be had together with others costs as few of them as possible.
        for _, name in sorted(possible):
            together = attempt.copy()
            try:
                together.want(name, variables[name])
            except _Impossible as failure:
                reason = self._reason(name, failure)
                result.lost[name] = f"it cannot be made together with other variables: {reason}"
            else:
                attempt = together
                made.append(name)
        attempt, missing = self._with_told(attempt)
        self._fill(result, attempt, made, missing)
        return result

    def _with_told(self, attempt: _Attempt) -> tuple[_Attempt, set]:
        """Adds executions that set up modules and the process for others; and which of them cannot be run."""
        missing: set = set()
        while True:
            told = {index for needed in attempt.needed for index in self._past.told[needed]}
            more = sorted(told - attempt.needed - missing)
            if not more:
                return attempt, missing
            for index in more:
                with_it = attempt.copy()
                try:
                    with_it.run(index)
                except _Impossible:
                    missing.add(index)
                else:
                    attempt = with_it

    def _fill(self, result: Plan, attempt: _Attempt, made: list[str], missing: set) -> None:
        past = self._past
        history = past.history
        bound: set = set()
        imports: dict = {}
        for index in sorted(attempt.needed):
            for read, variable in past.needs[index].items():
                if attempt.source(read, variable, index) == "import":
                    imports.update({(at, read): statement for at, statement in variable.links()})
            inputs = attempt.inputs(index)
            result.inputs[history[index]["id"]] = sorted(inputs - bound)
            bound = (bound | inputs) - past.touches[index]
        for name in made:
            executions, of_name = attempt.closure(name, past.variables[name])
            imports.update(of_name)
            result.by_name[name] = [history[index]["id"] for index in sorted(executions)]
            result.exact[name] = self._is_exact(executions, missing)
        for name in sorted({*made, *self._available} & past.variables.keys()):
            variable = past.variables[name].before or past.variables[name]
            if not variable.rooted or not attempt.binds(name) or past.bound_by(name) not in attempt.needed:
                continue
            result.roots[name] = past.made_by(name)
            executions, _ = attempt.closure(name, variable)
            if name in self._available and attempt.needed >= executions and self._is_exact(executions, missing):
                result.complete[name] = [history[index]["id"] for index in sorted(executions)]
        result.executions = [history[index]["id"] for index in sorted(attempt.needed)]
        result.raises = [history[index]["id"] for index in sorted(attempt.needed) if history[index]["status"] != "ok"]
        result.imports = list(dict.fromkeys([imports[key] for key in sorted(imports)]))

    def _is_exact(self, executions: set, missing: set) -> bool:
        history = self._past.history
        told = {index for needed in executions for index in self._past.told[needed]}
        ran = executions | (told - missing)
        return told.isdisjoint(missing) and all([history[at]["exact"] and history[at]["status"] == "ok" for at in ran])

    def _reason(self, name: str, failure: _Impossible) -> str:
        made = f"{self._past.history[failure.index]['id']} {failure.verb}"
        if failure.name == name:
            return f"{made} it, and {failure.why}"
        return f"it needs `{failure.name}`, which {made}, and {failure.why}"
