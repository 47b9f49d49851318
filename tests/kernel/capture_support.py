"""Runs steps of `capture_session` in fresh processes of this interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from importlib.util import find_spec
from pathlib import Path

_PROGRAM = Path(__file__).resolve().parent / "capture_session.py"
_SEEDS = iter(range(1, 10**9))


def there(module: str) -> bool:
    return find_spec(module) is not None


def run_steps(steps: list, imports=()) -> list:
    """Answers of the steps, all of them run by one new process, each in a fork of it. Processes have different seeds of
    their hashes, as kernels have."""
    environment = {**os.environ, "PYTHONHASHSEED": str(next(_SEEDS)), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(_PROGRAM)],
        input=json.dumps({"steps": steps, "imports": list(imports)}),
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


class CaptureTest(unittest.TestCase):
    """A folder for blobs and one for the session's files."""

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="capture-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def step(self, **step) -> dict:
        return {"folder": f"{self.folder}/blobs", "files": f"{self.folder}/work", **step}

    def run_step(self, imports=(), **step) -> dict:
        answer = run_steps([self.step(**step)], imports)[0]
        self.assertNotIn("error", answer, answer.get("error"))
        return answer

    def take(self, *cells, **options) -> dict:
        """By name: what the manifest says of the variables that the cells leave."""
        self.taken = self.run_step(cells=list(cells), take=options)
        self.assertEqual(self.taken["new_bytes"], 0) if "again" not in options else None
        return {one["name"]: one for one in self.taken["manifest"]["variables"]}

    def restore(self, check: str, names=None, **step) -> dict:
        """By name: the reports of a restore in another process, where `check` has run."""
        self.restored = self.run_step(restore=names or [], cells=[check], **step)
        return {one["name"]: one for one in self.restored["reports"]}
