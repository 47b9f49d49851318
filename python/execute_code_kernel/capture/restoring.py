"""From a manifest and blobs to variables.

    restorer = Restorer(state, manifest, fetch)
    restorer.restore({"a", "b"})       these first, with what they need
    restorer.restore()                 then the others: definitions are shared between the phases
    restorer.finish()                  state of Python itself: random numbers, future imports, …

Paths of modules, the current folder and the environment come before the first variable: imports depend on them.

A component is read after those that it needs, so that a class has its methods before objects of it are made; where
definitions need each other in a circle, functions are filled before classes and classes before data. A component that
fails takes with it only what needs it. Each blob is compared with its digest before it is used, and what it gave is
pickled again and compared with it where that is possible and quick; the report says by which of the two a variable
is verified.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import gc
import platform
import warnings
from binascii import a2b_base64
from io import BytesIO
from time import monotonic as _monotonic

from ..digests import sha256
from ..fingerprints import look_closely
from ..private import MODULES
from ..sharing import is_definition
from . import adoption, classes, definitions, language, references, tables
from .components import Root, pickle_together
from .pickling import Opened, Unpickler
from .reasons import Refused, describe
from .registry import Registry

_DEFINITIONS = ("f:", "c:", "x:", "g:", "l:", "t:")
_VERIFIED_BYTES = 4 * 1024 * 1024
_VERIFYING_SECONDS = 0.2
_NEEDS = "it needs what is lost: "
_CHANGED = "code that made other objects again has changed it"
_DAMAGED = "its capture is damaged"


class Restorer:
    """Restores one manifest into a state, in as many phases as are wanted. Runs code of what it restores."""

    def __init__(self, state, manifest: dict, fetch) -> None:
        """`fetch(digest)` gives a blob, bytes or what has their buffer; it may raise when there is none."""
        if manifest.get("version") != 1:
            raise ValueError("a capture of another version")
        self._state = state
        self._manifest = manifest
        self._fetch = fetch
        self._components = [_Reading(index, record) for index, record in enumerate(manifest["components"])]
        self._of_key = {key: reading for reading in self._components for key in reading.keys}
        self._registry = Registry(state, self._of_key)
        self._members: dict = {}
        self._verifying = _VERIFYING_SECONDS
        self._sources_put = False
        self._language = language.Restoring(state, manifest.get("language"), self._blob, self._registry)
        self._adopted: set = set()
        """Keys of definitions that were there already, and take the manifest's content."""
        self._own: set = set()
        """Keys of definitions that were there already, and stay as they are."""
        self._attributes: dict = {}
        """By key: what classes have while objects are made, which may be told to count them."""
        self._looks: dict | None = None
        """By key: fingerprints of what might be changed by objects that are made; None until one may."""

    def adopt(self, names, filled: bool = False) -> None:
        """Takes the functions and classes that the namespace has under these names for the manifest's: objects that were
        made with them and objects that are restored have the same ones. The manifest's content goes into them, unless
        they are `filled` with what it shall be."""
        taken = self._own if filled else self._adopted
        for name in sorted(names):
            value = self._state.namespace.get(name)
            key = self._definition_of(name) if is_definition(value) else None
            if key is not None:
                taken |= adoption.adopt(self._registry, self._of_key, self._head, key, value)

    def adopted(self, filled: bool) -> set:
        """The identities of what was adopted."""
        return {id(self._registry.values[key]) for key in (self._own if filled else self._adopted)}

    def names_definition(self, name: str) -> bool:
        """Whether a variable is nothing but a name of a function or a class."""
        return (self._definition_of(name) or "")[:2] in ("f:", "c:")

    def _definition_of(self, name: str) -> str | None:
        reading = self._of_key.get(f"v:{name}")
        if reading is None or reading.keys != [f"v:{name}"]:
            return None
        try:
            return adoption.named_by(self._open(reading).pickles)
        except Refused:
            return None  # It is lost, and will be told as such.

    def together(self, name: str) -> set:
        """The variables that the manifest has together with one, in one component; with keys of definitions among
        them."""
        reading = self._of_key.get(f"v:{name}")
        return {name} if reading is None else {key[2:] if key[:2] == "v:" else key for key in reading.keys}

    def is_data(self, value) -> bool:
        """Whether a value cannot change."""
        return self._registry.is_data(type(value))

    def begin(self) -> None:
        """Restores what imports depend on: paths of modules, the current folder, the environment."""
        self._put_sources()
        self._language.begin()

    def restore(self, names=None) -> list:
        """Puts variables into the namespace; all that have not been restored yet, or those of these names. Gives a report
        on each: name, outcome `restored` or `lost`, reason, and whether and how it is verified."""
        collects = gc.isenabled()
        gc.disable()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.begin()
                kept = [(key, value) for key, value in self._registry.values.items() if key[:2] == "c:" and key in self._of_key]
                self._attributes = {key: dict(classes.settable(kind)) for key, kind in kept}
                wanted = [one for one in self._manifest["variables"] if names is None or one["name"] in names]
                reports = [self._one(variable) for variable in wanted]
                self._put_right(reports)
                return reports
        finally:
            self._attributes, self._looks = {}, None
            if collects:
                gc.enable()

    def finish(self) -> list:
        """Restores the state of Python itself; reports as `restore` does, with names as `sys.path`."""
        return self._language.finish()

    def close(self) -> None:
        """Lets go of everything: the session's objects are its own."""
        vars(self).clear()

    # ── variables ───────────────────────────────────────────────────────────────────────────────────────────

    def _one(self, variable: dict) -> dict:
        name = variable["name"]
        if variable["component"] is None:
            return _report(name, "lost", variable["reason"])
        reading = self._components[variable["component"]]
        self._read_with_needs(reading)
        if reading.reason is not None:
            return _report(name, "lost", reading.reason)
        value = self._state.namespace[name] = reading.values[f"v:{name}"]
        if self._looks is not None:
            self._looks[f"v:{name}"] = look_closely(value)
        return _report(name, "restored", self._said(variable["reason"]), reading.verified)

    def _put_right(self, reports: list) -> None:
        """Code that has made objects may have bound names and attributes of classes, which are bound again to what they
        shall be, and changed what they hold, which is told."""
        changed = set()
        for key, attributes in self._attributes.items():
            kind = self._registry.values[key]
            classes.put_back(kind, attributes)
            if self._looks is not None and self._looks.get(key) not in (None, look_closely(kind)):
                changed.add(self._of_key[key].index)
        for report in reports:
            if report["outcome"] != "restored":
                continue
            key = f"v:{report['name']}"
            reading = self._of_key[key]
            value = self._state.namespace[report["name"]] = reading.values[key]
            look = (self._looks or {}).get(key)
            if look not in (None, look_closely(value)) or not changed.isdisjoint([reading.index, *reading.needs]):
                report["reason"] = "; ".join([*([report["reason"]] if report["reason"] else []), _CHANGED])

    def _note_class(self, key: str, kind: type) -> None:
        """A class is filled, and objects may be made of it."""
        self._attributes[key] = dict(classes.settable(kind))
        if self._looks is None and classes.runs_code(kind):
            self._looks = {}
            for reading in self._components:
                self._looks.update({name: look_closely(value) for name, value in reading.values.items()})
            self._looks.update({one: look_closely(self._registry.values[one]) for one in self._attributes})
        elif self._looks is not None:
            self._looks[key] = look_closely(kind)

    def _said(self, reason: str | None) -> str | None:
        """What is said of a variable that is there: objects of libraries may be other ones in another Python."""
        made_by = self._manifest["python"]
        if made_by.split(".")[:2] == platform.python_version().split(".")[:2]:
            return reason
        return "; ".join([*([reason] if reason else []), f"it was captured by Python {made_by}"])

    def _read_with_needs(self, wanted) -> None:
        """Reads a component after those that it needs; once."""
        if wanted.begun:
            return
        stack = [(wanted, iter(wanted.needs))]
        wanted.begun = True
        while stack:
            reading, needs = stack[-1]
            for index in needs:
                needed = self._components[index]
                if not needed.begun:
                    needed.begun = True
                    stack.append((needed, iter(needed.needs)))
                    break
            else:
                stack.pop()
                self._read(reading)

    def _read(self, reading) -> None:
        for index in reading.needs:
            needed = self._components[index]
            if needed.reason is not None and reading.reason is None:
                reading.reason = needed.reason if needed.reason[: len(_NEEDS)] == _NEEDS else _NEEDS + needed.reason
        if reading.reason is not None:
            return
        try:
            opened = self._open(reading)
            unpickler = opened.unpickler(self._resolve)
            for key, stages in opened.roots:
                if key[:2] == "v:":
                    reading.values[key] = unpickler.load()
                    continue
                value = self._definition(key)
                contents = []
                for stage in range(stages):
                    contents.append(unpickler.load())
                    if key not in self._own:
                        definitions.fill(key, value, stage, contents[-1], self._members)
                if key in self._adopted:
                    definitions.leave_only(key, value, contents)
                if key[:2] == "c:":
                    self._note_class(key, value)
            reading.verified = "content" if self._is_as_written(reading, opened) else "digest"
            if opened.has_buffers and "pandas" in MODULES:
                tables.part(reading.values.values())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            reading.reason = self._why(error)
            reading.values = {}
        finally:
            reading.opened = None

    def _why(self, error: BaseException) -> str:
        kind = type(error)
        if issubclass(kind, ImportError) and type(error.name) is str:
            return f"the module {error.name} cannot be imported"
        text = describe(error)
        return text if issubclass(kind, Refused) else f"it could not be made again: {text}"

    # ── definitions ─────────────────────────────────────────────────────────────────────────────────────────

    def _resolve(self, key: str):
        if key[:2] in _DEFINITIONS:
            return self._definition(key)
        if key[:2] == "e:":
            member = self._members.get(key)
            if member is None:
                raise Refused("a member of an enumeration is used before it is made")
            return member
        return references.resolve(key, self._registry)

    def _definition(self, key: str):
        """A definition, made when it is asked for; what fills it comes later."""
        found = self._registry.values.get(key)
        if found is not None:
            return found
        reading = self._of_key.get(key)
        if reading is None:
            raise Refused(_DAMAGED)
        content = Unpickler(BytesIO(self._head(key)), self._resolve).load()
        made = definitions.make(key, content, self._registry.codes, self._resolve)
        # Making it may have needed itself.
        found = self._registry.values.get(key)
        if found is None:
            self._registry.adopt(key, made)
            found = made
        return found

    def _head(self, key: str) -> bytes:
        """The head's pickle. Raises Refused."""
        opened = self._open(self._of_key[key])
        return opened.heads[[one for one, _ in opened.roots if one[:2] != "v:"].index(key)]

    # ── blobs ───────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, reading) -> Opened:
        if reading.opened is None:
            record = reading.record
            if "inline" in record:
                data = a2b_base64(record["inline"])
                if sha256(data).hexdigest() != record["digest"]:
                    raise Refused(_DAMAGED)
            else:
                data = self._blob(record["digest"])
            reading.opened = Opened(data)
        return reading.opened

    def _blob(self, digest: str):
        """A blob's content. Raises Refused when it is not there, or is not what it was."""
        try:
            data = self._fetch(digest)
            same = data is not None and sha256(data).hexdigest() == digest
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            same = False
        if not same:
            raise Refused(_DAMAGED)
        return data

    def _put_sources(self) -> None:
        if self._sources_put:
            return
        self._sources_put = True
        for name, digest in self._manifest["sources"].items():
            if self._state.sources.lines(name) is None:
                try:
                    text = bytes(self._blob(digest)).decode("utf-8", "surrogatepass")
                except Refused:
                    continue  # What was defined there is lost, and says so.
                self._state.sources.add(name[1:-1], text)

    def _is_as_written(self, reading, opened: Opened) -> bool:
        """Whether the component, pickled again, is the blob. False, too, when that would take too long."""
        record = reading.record
        if not record["repeatable"] or record["bytes"] > _VERIFIED_BYTES or self._verifying <= 0:
            return False
        began = _monotonic()
        roots: list = []
        picklers: list = []
        for index, (key, _) in enumerate(opened.roots):
            value = reading.values[key] if key[:2] == "v:" else self._registry.values[key]
            roots.append(Root(index, key, value, ""))
        try:
            pickled = pickle_together(
                self._registry, roots, 2 * _VERIFIED_BYTES, on=lambda _, pickler: picklers.append(pickler)
            )
            return pickled.blob().digest() == record["digest"]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            return False
        finally:
            for pickler in {id(one): one for one in picklers}.values():
                pickler.forget()
            self._verifying -= _monotonic() - began


class _Reading:
    """A component of the manifest, and what became of it."""

    def __init__(self, index: int, record: dict) -> None:
        self.index = index
        self.record = record
        self.keys = record["roots"]
        self.needs = record["needs"]
        self.begun = False
        self.opened: Opened | None = None
        self.values: dict = {}
        self.reason: str | None = None
        self.verified: str | None = None


def _report(name: str, outcome: str, reason, by=None) -> dict:
    return {"name": name, "outcome": outcome, "reason": reason, "verified": by is not None, "by": by}


