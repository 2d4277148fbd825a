# The GPU back end: WEFT_CUDA=OFF (stubs), ON (nvcc for A100 and H100) or EMULATED (the same sources
# on the host, for tests). weft_cuda_runtime and weft_cuda_blas stand for the CUDA libraries,
# weft_cuda_sources(files…) says how .cu files are compiled.
list(APPEND WEFT_LEFT_OUT "/gpu_cuda\\.cpp$")  # of a library of its own (CMakeLists.txt)
# weft_checked(target): what the emulation looks at with sanitizers.
function(weft_checked target)
  if(WEFT_EMULATION_SANITIZERS AND target STREQUAL weft_core)
    # Its precompiled header is what others take, and they are not looked at; nor is the one source
    # that it is made for.
    get_target_property(sources weft_core SOURCES)
    list(FILTER sources EXCLUDE REGEX "/spelling\\.cpp$")
    set_source_files_properties(${sources} PROPERTIES SKIP_PRECOMPILE_HEADERS ON
                                COMPILE_OPTIONS "${WEFT_EMULATION_SANITIZERS}")
  else()
    target_compile_options(${target} BEFORE PRIVATE ${WEFT_EMULATION_SANITIZERS})
  endif()
endfunction()
if(WEFT_CUDA STREQUAL OFF)
  list(APPEND WEFT_LEFT_OUT "/kernels/cuda/(backend|cublas_lt|product|upload_ring)\\.cpp$"
       "/comm/nccl/nccl_[a-z]+\\.cpp$")
  return()
endif()
list(APPEND WEFT_LEFT_OUT "/gpu_none\\.cpp$" "/no_cuda\\.cpp$")
find_package(CUDAToolkit REQUIRED)
add_library(weft_cuda_runtime INTERFACE)
add_library(weft_cuda_blas INTERFACE)
add_library(weft_nccl INTERFACE)
target_link_libraries(weft_cuda_blas INTERFACE weft_cuda_runtime)
target_link_libraries(weft_nccl INTERFACE weft_cuda_runtime)
# NCCL itself is loaded when it is first needed (src/comm/nccl/nccl_group.cpp); its header may be
# with the toolkit or apart.
find_path(WEFT_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} $ENV{NCCL_HOME} $ENV{NCCL_ROOT}
          PATH_SUFFIXES include)
if(WEFT_NCCL_INCLUDE)
  list(APPEND WEFT_LEFT_OUT "/no_nccl\\.cpp$")
  target_include_directories(weft_nccl SYSTEM INTERFACE ${WEFT_NCCL_INCLUDE})
else()
  message(STATUS "No nccl.h (NCCL_HOME): GPUs are for one rank alone")
  list(APPEND WEFT_LEFT_OUT "/comm/nccl/nccl_[a-z]+\\.cpp$" "/cuda_emulation/nccl[a-z_]*\\.cpp$")
endif()

if(WEFT_CUDA STREQUAL ON)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90 CACHE STRING "")
  if(CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # CMake 3.25 does not know that nvcc has it
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  target_include_directories(weft_cuda_runtime INTERFACE ${CMAKE_SOURCE_DIR}/kernels/cuda/nvcc)
  target_link_libraries(weft_cuda_runtime INTERFACE CUDA::cudart_static)
  # cuBLASLt is loaded when it is first needed (kernels/cuda/cublas_lt.cuh).
  target_compile_definitions(weft_cuda_blas INTERFACE
                             WEFT_CUDA_LIBRARY_FOLDER="${CUDAToolkit_LIBRARY_DIR}")
  target_include_directories(weft_nccl INTERFACE ${CMAKE_SOURCE_DIR}/src/comm/nccl/library)
  cmake_path(GET WEFT_NCCL_INCLUDE PARENT_PATH nccl_home)
  target_compile_definitions(weft_nccl INTERFACE WEFT_NCCL_LIBRARY_FOLDER="${nccl_home}/lib")
  function(weft_cuda_sources)
    foreach(source IN LISTS ARGN)
      # A spilled register is an error. fmt's consteval is beyond nvcc.
      set(options -DFMT_CONSTEVAL= -DFMT_USE_CONSTEXPR=1 -diag-suppress=2190
          -Xcompiler=-Wall,-Wextra -Xptxas=--warn-on-spills,-Werror)
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
    endforeach()
  endfunction()
elseif(WEFT_CUDA STREQUAL EMULATED)
  find_package(Boost REQUIRED COMPONENTS context)
  set(WEFT_EMULATION_CHECK memory CACHE STRING
      "What the emulation checks: memory (ASan, UBSan), races (tests/cuda_emulation/races.h) or
       runtime (the CPU's ops in the kernels' place, tests/cuda_emulation/cpu_backend.cpp)")
  add_link_options(-rdynamic)
  if(WEFT_EMULATION_CHECK STREQUAL runtime)
    list(APPEND WEFT_LEFT_OUT "/kernels/cuda/.*\\.cu$"
         "/kernels/cuda/(backend|cublas_lt|product|upload_ring)\\.cpp$")
    set(WEFT_EMULATION_OPTIONS)
  elseif(WEFT_EMULATION_CHECK STREQUAL races)
    add_compile_options(-O1)
    # the kernels alone; races.cpp answers its calls
    set(WEFT_EMULATION_OPTIONS -fsanitize=thread -Wno-maybe-uninitialized)
  else()
    set(WEFT_EMULATION_OPTIONS)
    # Over kernels, core, the emulation and their tests; the rest is found in the compiler cache.
    set(WEFT_EMULATION_SANITIZERS -O1 -fsanitize=address,undefined
        -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
    add_link_options(-fsanitize=address,undefined)
  endif()
  # An instrument runs where it was built. As nvcc does, a·b + c is contracted; what a kernel did
  # not initialise is a large negative number.
  include(CheckCXXSourceRuns)
  include(CheckCXXCompilerFlag)
  check_cxx_source_runs("int main() { return !__builtin_cpu_supports(\"avx2\") ||
                                             !__builtin_cpu_supports(\"fma\"); }"
                        WEFT_EMULATION_FMA)
  if(WEFT_EMULATION_FMA)
    set_source_files_properties(tests/cuda_emulation/instructions.cpp PROPERTIES
                                COMPILE_OPTIONS -mavx2)
    list(APPEND WEFT_EMULATION_OPTIONS -mfma -ffp-contract=fast -fexpensive-optimizations
         -DWEFT_EMULATION_FMA)
  endif()
  check_cxx_compiler_flag(-ftrivial-auto-var-init=pattern WEFT_EMULATION_INITIALISES)
  if(WEFT_EMULATION_INITIALISES)
    list(APPEND WEFT_EMULATION_OPTIONS -ftrivial-auto-var-init=pattern -Wno-uninitialized
         -Wno-maybe-uninitialized -DWEFT_EMULATION_INITIALISES)
  endif()
  function(weft_cuda_sources)
    # -fno-thread-jumps: else a barrier between two uses of a condition would be there twice.
    set(options -xc++ -include prelude.h ${WEFT_EMULATION_OPTIONS} -fno-strict-aliasing
        -fno-thread-jumps
        -Wno-unknown-pragmas -Wno-ignored-attributes -Wno-attributes)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${options}")
  endfunction()
  file(GLOB emulation CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/cuda_emulation/*.cpp)
  list(FILTER emulation EXCLUDE REGEX "_test\\.cpp$")
  foreach(left_out IN LISTS WEFT_LEFT_OUT)
    list(FILTER emulation EXCLUDE REGEX "${left_out}")
  endforeach()
  if(NOT WEFT_EMULATION_CHECK STREQUAL runtime)
    list(FILTER emulation EXCLUDE REGEX "/cpu_backend\\.cpp$")
  endif()
  add_library(weft_cuda_emulation STATIC ${emulation})
  target_include_directories(weft_cuda_emulation PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/src
                             ${CMAKE_SOURCE_DIR}/tests/cuda_emulation)
  target_include_directories(weft_cuda_emulation SYSTEM PUBLIC ${CUDAToolkit_INCLUDE_DIRS})
  target_compile_options(weft_cuda_emulation PRIVATE ${WEFT_WARNINGS})
  weft_checked(weft_cuda_emulation)
  target_link_libraries(weft_cuda_emulation PRIVATE weft_matmul Boost::context fmt::fmt)
  target_link_libraries(weft_cuda_runtime INTERFACE weft_cuda_emulation)
  if(WEFT_EMULATION_CHECK STREQUAL runtime)
    target_compile_definitions(weft_cuda_emulation PRIVATE WEFT_EMULATION_GUARDS_PAGES)
    target_link_libraries(weft_cuda_emulation PRIVATE weft_kernels_cpu)
  endif()
else()
  message(FATAL_ERROR "WEFT_CUDA=${WEFT_CUDA}; allowed: OFF, ON, EMULATED")
endif()
