# What keeps the build short: ccache that finds other clones' objects (a header's time would make a
# precompiled one of its own for each), a precompiled header for the program and one for its tests,
# -O3 for the kernels alone, -O1 where nothing is hot.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime,locale
      CCACHE_NOHASHDIR=1 CCACHE_PCH_EXTSUM=1 ${CCACHE})
endif()
string(REPLACE -O3 -O2 CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
add_library(weft_kernel_speed INTERFACE)
# sanitizers and -O3 together take minutes a file
if((NOT WEFT_CUDA STREQUAL EMULATED OR WEFT_EMULATION_CHECK STREQUAL runtime) AND
   NOT WEFT_SANITIZE)
  target_compile_options(weft_kernel_speed INTERFACE
                         $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O3>)
elseif(WEFT_SANITIZE)  # Highway's scalar baseline casts NaN to int
  target_compile_options(weft_kernel_speed INTERFACE -fno-sanitize=float-cast-overflow)
endif()

add_library(weft_quickly_built INTERFACE)
target_compile_options(weft_quickly_built INTERFACE
                       $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O1>)

# The headers that cost most.
set(WEFT_PRECOMPILED <algorithm> <cstdint> <filesystem> <functional> <map> <memory> <optional>
    <span> <string> <string_view> <vector> <fmt/format.h> <nlohmann/json.hpp>)

# weft_precompile(target headers…): makes a precompiled header of the target's, for others too.
# ccache takes it for what these headers say, not for its bytes, in which its build folder's name
# stands: a build finds what another one compiled.
function(weft_precompile target)
  target_precompile_headers(${target} PRIVATE ${ARGN})
  string(REGEX REPLACE "<([^>]+)>" "#include <\\1>\n" text "${ARGN}")
  string(REPLACE ";" "" text "${text}")
  set(source ${CMAKE_CURRENT_BINARY_DIR}/precompiled.cpp)
  file(WRITE ${source} "${text}")
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -E -P ${source}
                  OUTPUT_VARIABLE said RESULT_VARIABLE failed ERROR_QUIET)
  if(failed)
    return()  # headers elsewhere than in the compiler's own folders
  endif()
  string(SHA256 sum "${CMAKE_CXX_COMPILER_VERSION} ${said}")
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/${target}.dir/cmake_pch.hxx.gch.sum ${sum})
endfunction()

# weft_precompiled(target [FROM other]): it takes the precompiled header of weft_core, which
# everything links, or another target's; or makes its own: weft_core, or of more headers (WITH …).
function(weft_precompiled target)
  cmake_parse_arguments(P "" "FROM" "WITH" ${ARGN})
  if(WEFT_CUDA STREQUAL EMULATED AND WEFT_EMULATION_CHECK STREQUAL races)
    return()
  endif()
  if(NOT P_FROM)
    set(P_FROM weft_core)
  endif()
  if(target STREQUAL weft_core OR P_WITH)
    weft_precompile(${target} ${WEFT_PRECOMPILED} ${P_WITH})
  else()
    target_precompile_headers(${target} REUSE_FROM ${P_FROM})
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # ccache asks for it
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  endif()
endfunction()
