"""Durable capture of a session's variables, and their restore in another process.

    manifest = take(state, sink)                      in a throw-away fork of the kernel
    reports = restore(state, manifest, fetch)         in a fresh kernel

The modules, along the way of a variable:

    components                which variables belong together
    comparing                 what comes back another
    deadline, depth           how long looking at them may take, and how deep it may go
    registry, references      what an object is: data, shared, a definition, a reference
    definitions, classes      functions and classes of cells
    codes                     code by its source
    recipes, arrays, files    objects that do not pickle by themselves
    tables                    pandas' copies on write
    pickling                  pickles and blobs
    language                  state of Python itself
    restoring, adoption       the way back
    likeness                  what is the same in another session
    merging                   variables of another session
    reasons                   why something cannot be captured

What cannot be captured rightly is left out and says why; the host never reads a pickle, only kernels do.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import os
import platform
import sys
from binascii import b2a_base64

from ..digests import sha256
from ..previews import type_name
from . import language
from .components import Taking
from .restoring import Restorer

_INLINE_BYTES = 256
"""Blobs up to this size lie in the manifest itself."""

__all__ = ["Baseline", "Limits", "Restorer", "State", "digests", "restore", "take"]


class Baseline:
    """What `sys.path`, the current folder and the environment were at the kernel's start."""

    def __init__(self, path=None, cwd=None, environ=None) -> None:
        self.path = list(sys.path) if path is None else path
        self.cwd = os.getcwd() if cwd is None else cwd
        self.environ = dict(os.environ) if environ is None else environ


class State:
    """What a session is, to capture and restore. `compiler` is the session's, whose future flags are kept."""

    def __init__(self, namespace: dict, sources, compiler=None, baseline=None) -> None:
        self.namespace = namespace
        self.sources = sources
        self.baseline = baseline
        self._compiler = compiler

    @property
    def flags(self) -> int:
        return 0 if self._compiler is None else self._compiler._flags

    @flags.setter
    def flags(self, flags: int) -> None:
        if self._compiler is not None:
            self._compiler._flags |= flags


class Limits:
    """Bytes of one variable's pickle and of all, seconds for one step of the work and for all."""

    def __init__(
        self,
        variable_bytes: int = 512 * 1024 * 1024,
        total_bytes: int = 1024 * 1024 * 1024,
        component_seconds: float = 20.0,
        seconds: float = 120.0,
    ) -> None:
        self.variable_bytes = variable_bytes
        self.total_bytes = total_bytes
        self.component_seconds = component_seconds
        self.seconds = seconds


class _Nowhere:
    """A sink that forgets."""

    def working_on(self, names: list) -> None:
        pass

    def put(self, digest: str, data) -> None:
        pass


def take(state, sink, *, skip: dict = {}, limits: Limits = Limits(), compares: bool = False) -> dict:  # noqa: B006
    """Captures the namespace; gives the manifest, which JSON can hold. May run code of the session's objects and may
    leave this process in any state: for a fork that is thrown away.

    `sink.working_on(names)` is told before each step which variables it is about; `sink.put(digest, data)` gets each
    blob. `skip` are names that are left out, with reasons. With `compares` the manifest tells what variables and classes
    are like, for another session.
    """
    taking = Taking(state, sink, skip, limits, compares)
    taking.run()
    blobs: dict = {}

    def put(digest: str, data) -> None:
        if digest not in blobs:
            blobs[digest] = len(data)
            sink.put(digest, data)

    components = []
    for index, component in enumerate(taking.components):
        for root in component.roots:
            root.component = index
    for component in taking.components:
        blob = component.pickled.blob()
        data = blob.data()
        digest = sha256(data).hexdigest()
        record = {
            "digest": digest,
            "bytes": len(data),
            "roots": [root.key for root in component.roots],
            "needs": sorted({taking.roots[key].component for key in component.needs}),
            "repeatable": component.repeatable,
        }
        if len(data) <= _INLINE_BYTES:
            record["inline"] = b2a_base64(data, newline=False).decode()
        else:
            put(digest, data)
        component.pickled = None
        components.append(record)
    sources = {}
    for name in sorted(taking.registry.codes.used):
        data = "".join(state.sources.lines(name)).encode("utf-8", "surrogatepass")
        sources[name] = sha256(data).hexdigest()
        put(sources[name], data)
    manifest = {
        "version": 1,
        "python": platform.python_version(),
        "variables": [_variable(taking, components, name) for name in taking.variables],
        "components": components,
        "sources": sources,
        "language": _language(taking, state, put),
        "blobs": [{"digest": digest, "bytes": size} for digest, size in blobs.items()],
    }
    if compares:
        manifest["classes"] = _classes(taking, state.namespace)
        for variable in manifest["variables"]:
            _add_likeness(variable, taking, components)
    return manifest


def _add_likeness(variable: dict, taking: Taking, components: list) -> None:
    """What the variable is like by itself, and together with those that it shares objects with. What needs definitions
    is only comparable within a version of Python, which is told with it."""
    variable["likeness"] = variable["likeness_together"] = None
    index = variable["component"]
    if index is None:
        return
    root, component, record = taking.roots[f"v:{variable['name']}"], taking.components[index], components[index]
    version = f"@{'.'.join(platform.python_version_tuple()[:2])}"
    one, together = root.likeness, component.likeness
    if root.needs:
        one = one and one + version
    elif len(component.roots) == 1:
        # What nests too deeply to be looked at a second time is what its blob is.
        one = one or record["digest"]
    if record["needs"] or not all([root.is_variable for root in component.roots]):
        together = together and together + version
    else:
        together = together or record["digest"]
    variable["likeness"], variable["likeness_together"] = one, together


def _variable(taking: Taking, components: list, name: str) -> dict:
    root = taking.roots[f"v:{name}"]
    notes = _notes(taking, root)
    skipped = root.component is None
    return {
        "name": name,
        "type": type_name(type(root.value)),
        "status": "skipped" if skipped else "recipe" if notes else "captured",
        "component": root.component,
        "digest": None if skipped else components[root.component]["digest"],
        "reason": root.reason if skipped else "; ".join(sorted(notes)) or None,
        "bytes": 0 if skipped else root.bytes,
    }


def _classes(taking: Taking, namespace: dict) -> dict:
    """By key: names of classes, what they are like, whether the name still refers to them, and which variables they are."""
    from .merging import class_named

    variables: dict = {}
    for name, value in taking.variables.items():
        variables.setdefault(id(value), []).append(name)
    return {
        root.key: {
            "name": (name := str(type.__dict__["__qualname__"].__get__(root.value))),
            "likeness": root.likeness,
            "current": class_named(namespace, name) is root.value,
            "variables": variables.get(id(root.value), []),
        }
        for component in taking.components
        for root in component.roots
        if root.key[:2] == "c:"
    }


def _notes(taking: Taking, root) -> set:
    """What will not be as it was in a variable and in what it needs."""
    found, seen, waiting = set(), {root.key}, [root]
    while waiting:
        one = waiting.pop()
        found |= one.notes
        for key in one.needs - seen:
            seen.add(key)
            if key in taking.roots:
                waiting.append(taking.roots[key])
    return found


def _language(taking: Taking, state, put) -> dict:
    plain, blob = language.take(state, taking.registry)
    if not blob.names:
        return {"plain": plain, "digest": None, "parts": []}
    data = blob.data()
    digest = sha256(data).hexdigest()
    put(digest, data)
    return {"plain": plain, "digest": digest, "parts": blob.names}


def restore(state, manifest: dict, fetch, *, names=None) -> list:
    """Restores variables, all or those of these names; with all of them, the state of Python itself, too. For several
    phases there is `Restorer`."""
    restorer = Restorer(state, manifest, fetch)
    try:
        reports = restorer.restore(names)
        return reports if names is not None else reports + restorer.finish()
    finally:
        restorer.close()


def digests(state, names=None, *, limits: Limits = Limits()) -> dict:  # noqa: B008
    """By name, the digest of the component that a variable is part of now; those that cannot be captured have none."""
    manifest = take(state, _Nowhere(), limits=limits)
    return {
        variable["name"]: variable["digest"]
        for variable in manifest["variables"]
        if variable["digest"] is not None and (names is None or variable["name"] in names)
    }
