"""A session without a kernel, in a process of its own: runs cells, captures or restores, answers with JSON.

    python3 -I capture_session.py < steps.json

Steps are cases, each in a fork of its own, so that they share nothing:
{"folder", "files", "cells"?, "take"?: {"skip"?, "limits"?, "again"?, "compares"?}, "restore"?: names,
"phases"?: [names or null], "merge"?: names, "check"?}.
The cells of a restore run after it, those of a merge before it; `check` is an expression.
"""

from __future__ import annotations

import builtins
import json
import os
import signal
import sys
import time
import traceback
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))

from execute_code_kernel import capture  # noqa: E402
from execute_code_kernel.capture.merging import Merger  # noqa: E402
from execute_code_kernel.cells import Compiler  # noqa: E402
from execute_code_kernel.sources import Sources  # noqa: E402

SECONDS = 60


class Session:
    """What a kernel has of a session, without the kernel."""

    def __init__(self, first: int = 1) -> None:
        main = types.ModuleType("__main__")
        main.__builtins__ = builtins
        sys.modules["__main__"] = main
        self.namespace = vars(main)
        self.sources = Sources()
        self.sources.install()
        self.compiler = Compiler()
        self.state = capture.State(self.namespace, self.sources, self.compiler, capture.Baseline())
        self._number = first

    def run(self, code: str):
        name = self.sources.add(f"exec_{self._number:026d}", code)
        self._number += 1
        cell = self.compiler.compile(self.compiler.parse(code, name), code, name)
        value = None
        for part in cell.codes:
            value = eval(part, self.namespace)
        return value


class Folder:
    """A sink, and what fetches from it."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.worked_on: list = []
        self.put_bytes = 0

    def working_on(self, names: list) -> None:
        self.worked_on.append(names)

    def put(self, digest: str, data) -> None:
        file = self.path / digest
        if not file.exists():
            self.put_bytes += len(data)
            file.write_bytes(data)

    def fetch(self, digest: str) -> bytes:
        return (self.path / digest).read_bytes()


def work(step: dict) -> dict:
    """One case; its answer."""
    folder = Folder(step["folder"])
    os.environ["CASE_FOLDER"] = step["files"]
    Path(step["files"]).mkdir(parents=True, exist_ok=True)
    os.chdir(step["files"])
    session = Session(step.get("first", 1 if "restore" not in step else 1000))
    answer: dict = {}
    if "restore" in step:
        manifest = json.loads((folder.path / "manifest.json").read_text())
        names = step["restore"]
        if "phases" in step:
            restorer = capture.Restorer(session.state, manifest, folder.fetch)
            answer["phases"] = [restorer.restore(phase and set(phase)) for phase in step["phases"]]
            answer["reports"] = restorer.finish()
        else:
            answer["reports"] = capture.restore(session.state, manifest, folder.fetch, names=set(names) if names else None)
    for code in step.get("cells", ()):
        session.run(code)
    if "merge" in step:
        manifest = json.loads((folder.path / "manifest.json").read_text())
        merger = Merger(session.state, manifest, folder.fetch, set(step["merge"]))
        answer["reports"] = merger.restore(set(step["merge"]))
        answer["differing"] = merger.differing
    if "take" in step:
        limits = capture.Limits(**step["take"].get("limits", {}))
        options = {"skip": step["take"].get("skip", {}), "limits": limits, "compares": step["take"].get("compares", False)}
        manifest = capture.take(session.state, folder, **options)
        answer["worked_on"] = folder.worked_on
        before = folder.put_bytes
        if step["take"].get("again", True):
            again = capture.take(session.state, folder, **options)
            answer["again"] = [(one["name"], one["digest"]) for one in again["variables"]]
            answer["new_bytes"] = folder.put_bytes - before
        (folder.path / "manifest.json").write_text(json.dumps(manifest))
        answer["manifest"] = manifest
    if "digests" in step:
        answer["digests"] = capture.digests(session.state, step["digests"] and set(step["digests"]))
    answer["value"] = session.run(step["check"]) if "check" in step else None
    return answer


def forked(step: dict) -> dict:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        signal.alarm(SECONDS)
        try:
            answer = work(step)
            text = json.dumps(answer, default=repr)
        except BaseException:
            text = json.dumps({"error": traceback.format_exc()})
        with open(write, "w") as out:
            out.write(text)
            out.flush()
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(text) if text else {"error": f"the process ended with {status}"}


def main() -> None:
    steps = json.load(sys.stdin)
    for module in steps["imports"]:
        __import__(module)
    answers = []
    for step in steps["steps"]:
        began = time.monotonic()
        answers.append(forked(step))
        answers[-1]["seconds"] = time.monotonic() - began
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
