"""The cases of the GPU benchmark:   gpu_launches_test.py build-emulated/weft_gpu_bench"""
import json
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BENCH = sys.argv.pop()


class Launches(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        run = subprocess.run([BENCH, "--launches"], stdout=subprocess.PIPE, text=True, check=True)
        cls.lines = [json.loads(line) for line in run.stdout.splitlines()]

    def test_every_op_that_has_kernels_is_in_a_case(self):
        ops = (ROOT / "kernels/backends.h"
              ).read_text().split("#define WEFT_FOR_EACH_OP(X)")[1].split("namespace")[0]
        ops = {op for part in ops.split("X(")[1:] if (op := part.split(")")[0])}
        named = {
            "activation": "gelu_tanh", "activation_backward": "gelu_tanh_backward",
            "gated_activation": "gated_silu", "gated_activation_backward": "gated_silu_backward"
        }
        cases = {line["case"].split()[0] for line in self.lines}
        self.assertEqual({op for op in ops if named.get(op, op) not in cases}, set())

    def test_every_launch_fits_a_block_and_says_what_it_moves(self):
        for line in self.lines:
            self.assertGreater(line["bytes"], 0, line)
            if line["kernel"] == "cuBLASLt":
                continue
            threads = line["block"][0] * line["block"][1] * line["block"][2]
            self.assertTrue(threads % 32 == 0 and 32 <= threads <= 1024, line)
            self.assertLessEqual(line["shared_bytes"], 163 * 1024, line)
            self.assertTrue(
                line["grid"][0] < 1 << 31 and line["grid"][1] < 1 << 16 and
                line["grid"][2] < 1 << 16, line)
            self.assertTrue(line["kernel"].startswith("_ZN4weft4cuda"), line)

    def test_the_cases_of_the_peer_are_ours(self):
        run = subprocess.run([sys.executable, ROOT / "benchmarks/gpu/attention_peer.py", "--list"],
                             stdout=subprocess.PIPE,
                             text=True,
                             check=True)
        self.assertEqual(
            set(run.stdout.splitlines()) - {line["case"] for line in self.lines}, set())

    def test_names_are_told_apart(self):
        names = [line["case"] for line in self.lines]
        # the launches of a case follow one another
        self.assertEqual(len(set(names)), sum(a != b for a, b in zip(names, names[1:])) + 1)

    def test_an_emulated_gpu_is_not_timed(self):
        run = subprocess.run([BENCH], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stdout), (2, ""))
        self.assertIn("times of an emulated GPU mean nothing", run.stderr)

    def test_a_case_that_is_not_there_is_refused(self):
        for pattern, why in (("no such case", "no case is named so"),
                             ("(", "is not a regular expression")):
            run = subprocess.run([BENCH, "--launches", "--cases", pattern],
                                 capture_output=True,
                                 text=True)
            self.assertEqual(run.returncode, 2)
            self.assertIn(why, run.stderr)


if __name__ == "__main__":
    unittest.main()
