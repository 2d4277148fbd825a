# A Spack recipe: copy this folder to packages/weft of a Spack repository (spack repo create).
# It has not been tried: there is no Spack where Weft is developed.
from spack.package import *


class Weft(CMakePackage, CudaPackage):
    """Trains and runs transformer language models across MPI ranks."""

    # A checkout: spack install weft@main, after  spack develop --path CHECKOUT weft@main
    version("main")

    variant("bench", default=True, description="Build the benchmarks behind `weft bench`")
    variant("onednn", default=True, description="oneDNN for matrix products, else a CBLAS")

    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("hdf5+mpi")
    depends_on("onednn", when="+onednn")
    depends_on("blas", when="~onednn")
    depends_on("highway")
    depends_on("nlohmann-json")
    depends_on("tomlplusplus")
    depends_on("cli11")
    depends_on("fmt")
    depends_on("spdlog+fmt_external")
    depends_on("pcre2")
    depends_on("utf8proc")
    depends_on("hwloc")
    depends_on("zlib-api")
    depends_on("cpp-httplib")

    conflicts("%gcc@:10", msg="C++20")

    def cmake_args(self):
        args = [
            self.define("WEFT_TESTS", False),
            self.define_from_variant("WEFT_BENCHMARKS", "bench"),
            self.define("WEFT_MATMUL", "onednn" if "+onednn" in self.spec else "cblas"),
            self.define("WEFT_CUDA", "ON" if "+cuda" in self.spec else "OFF"),
        ]
        if "+cuda" in self.spec:
            args.append(self.define("CMAKE_CUDA_ARCHITECTURES",
                                    self.spec.variants["cuda_arch"].value))
        return args
