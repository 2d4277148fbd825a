"""kernel_table.py on recorded output of nvcc 13.0, and result_table.py."""
import pathlib
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent.parent / "benchmarks"), str(HERE.parent.parent / "benchmarks/gpu")]
import kernel_table
import result_table

ROPE, SPILLING = "_Z11rope_kernelP6float4S0_", "_ZN4weft4cuda10sum_kernelIfLi2EEEvPf"
WIDE = "_ZN4weft4cuda25attention_backward_kernelI13__nv_bfloat16Li256EEEvPT_"


class Ptxas(unittest.TestCase):

    def setUp(self):
        self.kernels = kernel_table.parse_ptxas((HERE / "ptxas.txt").read_text())

    def test_reads_each_kernel_of_each_target(self):
        self.assertEqual({t for t, _ in self.kernels}, {"sm_80", "sm_90"})
        self.assertEqual(
            self.kernels["sm_80", ROPE],
            {"registers": 10, "static_shared": 0, "stack": 0, "spill_stores": 0, "spill_loads": 0})
        self.assertEqual(self.kernels["sm_90", ROPE]["registers"], 12)

    def test_reads_stack_spills_and_shared_memory(self):
        self.assertEqual(self.kernels["sm_80", SPILLING], {
            "registers": 255, "static_shared": 4096, "stack": 48, "spill_stores": 72,
            "spill_loads": 80
        })

    def test_names_the_spills(self):
        self.assertEqual(kernel_table.spills(self.kernels),
                         [(SPILLING, "sm_80", 152), (WIDE, "sm_80", 32), (WIDE, "sm_90", 16)])

    def test_refuses_what_holds_no_kernel(self):
        with self.assertRaises(ValueError):
            kernel_table.parse_ptxas("nvcc fatal: no input files\n")


class Ptx(unittest.TestCase):

    def test_counts_the_instructions_of_each_kernel(self):
        counts = kernel_table.parse_ptx((HERE / "kernels.ptx").read_text())
        self.assertEqual(counts[ROPE],
                         {"mma": 0, "mma_tf32": 0, "ldmatrix": 0, "cp_async": 0, "load_16": 1})
        self.assertEqual(counts["_Z8products"],
                         {"mma": 2, "mma_tf32": 1, "ldmatrix": 1, "cp_async": 1, "load_16": 3})


class Occupancy(unittest.TestCase):
    # As CUDA's occupancy calculator says.
    def test_by_each_limit(self):
        blocks = kernel_table.blocks_per_sm
        self.assertEqual(blocks("sm_80", 32, 256, 0), 8)  # threads
        self.assertEqual(blocks("sm_80", 32, 32, 0), 32)  # blocks
        self.assertEqual(blocks("sm_80", 128, 128, 0), 4)  # registers
        self.assertEqual(blocks("sm_80", 255, 128, 0), 2)
        self.assertEqual(blocks("sm_80", 65, 256, 0), 3)  # 72 a thread: 28 warps
        # shared memory, with 1 KB a block
        self.assertEqual(blocks("sm_80", 32, 128, 64 * 1024), 2)
        self.assertEqual(blocks("sm_80", 32, 128, 81 * 1024), 2)
        self.assertEqual(blocks("sm_80", 32, 128, 82 * 1024), 1)
        self.assertEqual(blocks("sm_90", 32, 128, 75 * 1024), 3)


class Table(unittest.TestCase):

    def test_shows_the_first_launch(self):
        kernels = {(t, ROPE): {
                       "registers": 40, "static_shared": 0, "stack": 0, "spill_stores": 0,
                       "spill_loads": 0
                   } for t in kernel_table.TARGETS}
        counts = {ROPE: {"mma": 0, "mma_tf32": 0, "ldmatrix": 0, "cp_async": 0, "load_16": 4}}
        launch = {
            "kernel": ROPE, "grid": [9, 1, 1], "block": [256, 1, 1], "shared_bytes": 0, "flops": 0
        }
        lines = kernel_table.table(kernels, counts, [
            launch | {"case": "plain", "bytes": 1.555e9}, launch | {"case": "other", "bytes": 1e10}
        ])
        self.assertEqual(lines[2].split(" | ")[1:], [
            "40, 40", "0", "256", "0", "6 (75 %), 6 (75 %)", "0, 0, 0, 4", "plain", "1555", "0",
            "1000 |"
        ])

    def test_counts_the_kernels_that_are_not_launched(self):
        kernels = {(t, ROPE): {
                       "registers": 40, "static_shared": 0, "stack": 0, "spill_stores": 0,
                       "spill_loads": 0
                   } for t in kernel_table.TARGETS}
        counts = {ROPE: dict.fromkeys(kernel_table.INSTRUCTIONS, 0)}
        self.assertIn("1 kernels more", kernel_table.table(kernels, counts, [])[-2])
        kernels["sm_90", ROPE]["spill_loads"] = 4  # is shown
        self.assertEqual(
            kernel_table.table(kernels, counts, [])[2].split(" | ")[:3],
            ["| `rope_kernel`", "40, 40", "4"])

    def test_compares_with_the_rate_of_what_multiplies(self):
        launch = {"bytes": 0, "flops": 312e12}
        self.assertEqual(kernel_table.roofline_s(launch, {"mma": 4, "mma_tf32": 0}), 1)
        self.assertEqual(kernel_table.roofline_s(launch, {"mma": 4, "mma_tf32": 4}), 2)
        self.assertEqual(kernel_table.roofline_s(launch, {"mma": 0, "mma_tf32": 0}), 16)

    def test_goes_between_the_markers(self):
        with tempfile.TemporaryDirectory() as folder:
            readme = pathlib.Path(folder) / "README.md"
            readme.write_text(f"before\n{kernel_table.BEGIN}\nold\n{kernel_table.END}\nafter\n")
            kernel_table.write_between_markers(readme, ["new"])
            self.assertEqual(readme.read_text(),
                             f"before\n{kernel_table.BEGIN}\nnew\n{kernel_table.END}\nafter\n")
            readme.write_text("no markers")
            with self.assertRaises(SystemExit):
                kernel_table.write_between_markers(readme, ["new"])

    def test_shortens_names(self):
        self.assertEqual(
            kernel_table.short("void weft::cuda::sum_kernel<float, (int)128, true>(float*, long)"),
            "sum_kernel<fp32, 128, true>")
        self.assertEqual(
            kernel_table.short("void weft::cuda::act_kernel<__nv_bfloat16, weft::cuda::(anonymous "
                               "namespace)::Silu>(__nv_bfloat16*)"), "act_kernel<bf16, Silu>")


class Results(unittest.TestCase):

    def test_joins_with_the_peer_and_leaves_out_a_cut_line(self):
        peaks, rows = result_table.kernel_rows(result_table.read([
            '{"case":"copy bandwidth","gb_per_s":1400}',
            '{"case":"a","ms":3,"share":0.5,"bound":"bf16 matmul"}',
            '{"case":"a","peer":"PyTorch","attention":"flash","ms":2}',
            '{"case":"a","peer":"PyTorch","attention":"cudnn","ms":1.5}',
            '{"case":"b","ms":1,"share":0.9,"bound":"copy bandwidth"}', '{"case":"c","m'
        ]))
        self.assertEqual(peaks, {"copy bandwidth": 1400e9})
        self.assertEqual(rows, [("a", 3, 0.5, "bf16 matmul", "0.67 flash, 0.50 cudnn"),
                                ("b", 1, 0.9, "copy bandwidth", "")])

    def test_shares_of_runs_are_of_the_kernels_peaks(self):
        run = ('{"shape":"s","name":"%s","value":%s,"flops":2e13,"bytes_per_s":7e11}')
        peer = '{"shape":"s","name":"decode","peer":"PyTorch","attention":"flash","value":50}'
        rows = list(result_table.run_rows(
            result_table.read([run % ("decode", 100), peer]),
            {"cuBLAS bf16 8192x8192x8192": 1e14, "copy bandwidth": 1e12}))
        self.assertEqual(rows, [("s decode", 100, 0.7, "copy bandwidth", "2.00 flash")])
        rows = list(result_table.run_rows(result_table.read([run % ("step", 9)]), {}))
        self.assertEqual(rows, [("s step", 9, None, "", "")])


if __name__ == "__main__":
    unittest.main()
