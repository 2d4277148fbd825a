"""What a training step gives a GPU, and what model/sizes says of it:
   step_launches_test.py build-emulated/weft_step_launches"""
import json
import subprocess
import sys
import unittest

PROGRAM = sys.argv.pop()


def launches(*options):
    run = subprocess.run([PROGRAM, *options], stdout=subprocess.PIPE, text=True, check=True)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return lines[:-1], lines[-1]


class StepLaunches(unittest.TestCase):
    SMALL = ("--vocab", "300", "--batch", "2", "--context", "80")

    def test_flops_of_products_and_attention_are_those_of_model_sizes(self):
        for shape in "gpt2-124m", "llama-3.2-1b":
            kernels, step = launches("--shape", shape, "--layers", "2", *self.SMALL)
            products = sum(k["flops"] for k in kernels if k["kernel"] == "cuBLASLt")
            pairs = step["attention_pairs"] * step["head_dim"]
            self.assertEqual(products - step["padding_flops"], step["flops"] - 14 * pairs, shape)
            forward = sum(k["flops"] for k in kernels if "16attention_kernel" in k["kernel"])
            self.assertEqual(forward, 4 * pairs, shape)

    def test_a_vocabulary_is_padded_to_128_rows(self):
        products, padding, model = {}, {}, {}
        for vocab in 300, 384:
            options = ("--shape", "gpt2-124m", "--layers", "1", "--vocab", str(vocab), "--batch",
                       "2", "--context", "80")
            kernels, step = launches(*options)
            products[vocab] = sum(k["flops"] for k in kernels if k["kernel"] == "cuBLASLt")
            padding[vocab], model[vocab] = step["padding_flops"], step["flops"]
        self.assertEqual(products[300], products[384])
        self.assertEqual(padding, {300: 3 * 2 * 2 * 80 * 84 * 768, 384: 0})
        self.assertEqual(model[384] - model[300], padding[300])

    def test_a_step_is_linear_in_its_layers(self):
        one, two, three = ({
            k["kernel"]: k for k in launches("--shape", "gpt2-124m", "--layers", n, *self.SMALL)[0]
        } for n in "123")
        self.assertEqual(set(one), set(two))
        for name in one:
            for key in "launches", "flops", "bytes":
                each = two[name][key] - one[name][key]
                self.assertAlmostEqual(three[name][key] - two[name][key], each,
                                       delta=1e-9 * three[name][key], msg=f"{name}: {key}")

    def test_a_shape_that_is_not_there_is_refused(self):
        run = subprocess.run([PROGRAM, "--shape", "gpt3"], stderr=subprocess.PIPE, text=True)
        self.assertEqual(run.returncode, 2)
        self.assertIn("allowed: gpt2-124m", run.stderr)


unittest.main()
