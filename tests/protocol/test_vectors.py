"""The shared vectors, from Python's side: every frame survives the codec, and the schema tells good from bad."""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "python"))

from execute_code_kernel.frames import FRAME_BYTES, FrameError, FrameReader, encode, encode_json  # noqa: E402
from schema import FRAMES, check  # noqa: E402

VECTORS = json.loads((HERE / "vectors.json").read_text("utf-8"))


class FrameVectorsTest(unittest.TestCase):
    def test_every_frame_type_has_valid_and_invalid_vectors(self):
        for (channel, direction), types in FRAMES.items():
            here = [v for v in VECTORS["frames"] if (v["channel"], v["direction"]) == (channel, direction)]
            for kind in types:
                self.assertTrue([v for v in here if v["valid"] and v["frame"].get("type") == kind], kind)
            self.assertTrue([v for v in here if not v["valid"]])

    def test_schema(self):
        for vector in VECTORS["frames"]:
            with self.subTest(vector["name"]):
                wrong = check(vector["channel"], vector["direction"], vector["frame"])
                self.assertEqual(wrong is None, vector["valid"], wrong)

    def test_codec_round_trip(self):
        for vector in VECTORS["frames"]:
            if vector["valid"]:
                with self.subTest(vector["name"]):
                    data = encode(vector["frame"])
                    data[4:].decode("ascii")
                    self.assertEqual(FrameReader().feed(data), [vector["frame"]])


class ByteVectorsTest(unittest.TestCase):
    def test_reading(self):
        for vector in VECTORS["bytes"]:
            with self.subTest(vector["name"]):
                data = bytes.fromhex(vector["hex"])
                if vector["error"]:
                    self.assertRaises(FrameError, FrameReader().feed, data)
                else:
                    self.assertEqual(FrameReader().feed(data), vector["frames"])

    def test_reading_byte_by_byte(self):
        for vector in VECTORS["bytes"]:
            if not vector["error"]:
                with self.subTest(vector["name"]):
                    reader = FrameReader()
                    data = bytes.fromhex(vector["hex"])
                    frames = [frame for byte in data for frame in reader.feed(bytes([byte]))]
                    self.assertEqual(frames, vector["frames"])


class WritingTest(unittest.TestCase):
    def test_what_json_cannot_hold_is_replaced(self):
        class Text(str):
            pass

        class Whole(int):
            pass

        loop: list = []
        loop.append(loop)
        for value, expected in (
            (float("nan"), None),
            ({"a": [float("inf")]}, {"a": [None]}),
            (b"\xff", "/w=="),
            ({1}, [1]),
            ((1, 2), [1, 2]),
            ({1: 1, 2.5: 2, (1, b"x"): 3}, {"1": 1, "2.5": 2, "(1, b'x')": 3}),
            ([Text("t"), Whole(3)], ["t", 3]),
            (object(), "<object>"),
            ("\ud800\udfff\u2028", "\ud800\udfff\u2028"),
        ):
            with self.subTest(repr(value)[:40]):
                self.assertEqual(json.loads(encode_json(value)), json.loads(json.dumps(expected)))
        self.assertLess(len(encode_json(loop)), 10_000)
        json.loads(encode_json([10**10_000, float("nan")]))

    def test_frames_beyond_the_bound_are_refused(self):
        with self.assertRaises(FrameError):
            encode({"type": "display", "mime": {"text/plain": "x" * FRAME_BYTES}})


if __name__ == "__main__":
    unittest.main()
