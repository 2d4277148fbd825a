"""rounds.py and compare.py of benchmarks/peers: medians of alternating rounds, and no ratio where a
side scatters."""
import contextlib
import io
import json
import math
import pathlib
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent.parent / "benchmarks/peers")]
import compare
import rounds


class Scatter(unittest.TestCase):

    def test_is_the_spread_over_the_median(self):
        self.assertAlmostEqual(rounds.scatter([100, 110]), 10 / 105)
        self.assertAlmostEqual(rounds.scatter([100, 90, 120]), 0.3)
        self.assertEqual(rounds.scatter([7, 7, 7]), 0)

    def test_of_one_round_is_not_known(self):
        self.assertTrue(math.isinf(rounds.scatter([100])))

    def test_forgives_outer_quarters_and_no_more(self):
        self.assertAlmostEqual(rounds.scatter([3, 100, 101, 102, 99, 400, 100, 98]),
                               (101 - 99) / 100)
        self.assertGreater(rounds.scatter([3, 4, 100, 101, 102, 99, 5, 100]), 0.9)
        self.assertAlmostEqual(rounds.scatter([50, 100, 100, 100]), 0)


class Alternate(unittest.TestCase):

    def run_sides(self, ours, theirs, least, most):
        turns = []

        def side(name, values):
            values = iter(values)

            def measure():
                turns.append(name)
                return {"step": next(values)}

            return measure

        return rounds.alternate(side("a", ours), side("b", theirs), least, most), "".join(turns)

    def test_ends_when_neither_side_scatters(self):
        (ours, theirs), turns = self.run_sides([10, 10.5, 99], [5, 5.1, 99], 2, 9)
        self.assertEqual((ours, theirs), ({"step": [10, 10.5]}, {"step": [5, 5.1]}))
        self.assertEqual(turns, "abba")

    def test_goes_on_where_one_scatters(self):
        (ours, _), _ = self.run_sides([10, 20, 10, 10, 10], [5] * 5, 2, 9)
        self.assertEqual(ours["step"], [10, 20, 10, 10])  # without the outer quarters: 10 and 10

    def test_ends_at_the_most(self):
        (ours, _), turns = self.run_sides([1, 10, 100, 1000], [5] * 4, 2, 4)
        self.assertEqual((len(ours["step"]), len(turns)), (4, 8))


class Verdict(unittest.TestCase):

    def test_is_the_ratio_of_medians(self):
        v = rounds.verdict([20, 22, 21], [10, 10, 10.5])
        self.assertEqual((v["weft"], v["peer_value"], v["ratio"], v["rounds"]), (21, 10, 2.1, 3))

    def test_gives_no_ratio_where_a_side_scatters(self):
        for ours, theirs in (([20, 30], [10, 10]), ([20, 20], [3, 10]), ([20], [10])):
            self.assertIsNone(rounds.verdict(ours, theirs)["ratio"])
        v = rounds.verdict([20, 30], [10, 10])
        self.assertAlmostEqual(v["weft_scatter"], 0.4)
        self.assertEqual(v["peer_scatter"], 0)


class Emit(unittest.TestCase):

    def emitted(self, ours, theirs):
        shown = {
            "share": 0.8, "of": "fp32 matmul", "peak_rate": 2e11, "cpu": "a CPU", "commit": "abc",
            "command": "weft bench step"
        }
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(
                io.StringIO()) as text:
            file = pathlib.Path(folder) / "deep" / "cpu.jsonl"
            compare.emit(
                str(file),
                compare.line_of("train step", rounds.verdict(ours, theirs), "PyTorch", [shown]))
            return text.getvalue(), json.loads(file.read_text())

    def test_prints_a_ratio_where_there_is_one(self):
        text, line = self.emitted([20, 21], [10, 10])
        self.assertIn("ratio 2.05", text)
        self.assertEqual((line["ratio"], line["commit"], line["command"]),
                         (2.05, "abc", "weft bench step"))

    def test_says_that_a_result_scatters(self):
        text, line = self.emitted([3, 1000], [10, 10])
        self.assertNotIn("ratio", text)
        self.assertIn("scatters: weft by 199 %, peer by 0 %", text)
        self.assertIsNone(line["ratio"])


if __name__ == "__main__":
    unittest.main()
