"""Every case of the corpus: captured in one process, restored and checked in another."""

from __future__ import annotations

import shutil
import sys
import tempfile
import unittest
from collections import Counter

from capture_corpus import CASES
from capture_support import run_steps, there


class CorpusTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.mkdtemp(prefix="capture-")
        cls.cases = [case for case in CASES if case.runs and all(map(there, case.needs))]
        steps = [
            {"folder": f"{cls.folder}/{index}", "files": f"{cls.folder}/{index}.work", "cells": case.cells, "take": {}}
            for index, case in enumerate(cls.cases)
        ]
        cls.taken = run_steps(steps)
        again = [{**step, "restore": [], "cells": [case.after]} for step, case in zip(steps, cls.cases)]
        for step in again:
            del step["take"]
        cls.restored = run_steps(again)

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.folder, ignore_errors=True)
        outcomes = Counter(
            variable["status"] for answer in cls.taken if "manifest" in answer for variable in answer["manifest"]["variables"]
        )
        by = Counter(report["by"] for answer in cls.restored for report in answer.get("reports", ()) if report["verified"])
        left = len(CASES) - len(cls.cases)
        sys.stderr.write(f"\ncorpus: {len(cls.cases)} cases, {left} not for this Python; {dict(outcomes)}; verified by {dict(by)}\n")

    def test_every_case(self) -> None:
        for case, taken, restored in zip(self.cases, self.taken, self.restored):
            with self.subTest(case.name):
                self.assertNotIn("error", taken, f"capture: {taken.get('error')}")
                variables = {one["name"]: one for one in taken["manifest"]["variables"]}
                skipped = {name: one["reason"] for name, one in variables.items() if one["status"] == "skipped"}
                self.assertEqual(sorted(skipped), sorted(case.lost), skipped)
                for name, words in case.lost.items():
                    self.assertIn(words, skipped[name])
                for name, words in case.noted.items():
                    self.assertIn(words, variables[name]["reason"] or "")
                    self.assertEqual(variables[name]["status"], "recipe")
                self.assertNotIn("error", restored, f"restore: {restored.get('error')}")
                reports = {one["name"]: one for one in restored["reports"]}
                lost = {name: one["reason"] for name, one in reports.items() if one["outcome"] == "lost"}
                self.assertEqual(sorted(lost), sorted(case.lost), lost)

    def test_unchanged_data_puts_nothing(self) -> None:
        for case, taken in zip(self.cases, self.taken):
            if "manifest" in taken and case.steady:
                with self.subTest(case.name):
                    first = [[one["name"], one["digest"]] for one in taken["manifest"]["variables"]]
                    self.assertEqual((first, taken["new_bytes"]), (taken["again"], 0))


if __name__ == "__main__":
    unittest.main()
