# WEFT_COMMIT, for `weft --version`: the commit at configure time, "unknown" outside a checkout.
execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} describe --always --dirty OUTPUT_VARIABLE WEFT_COMMIT
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT WEFT_COMMIT)
  set(WEFT_COMMIT unknown)
endif()
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/cli/version.cpp PROPERTIES COMPILE_DEFINITIONS
  "WEFT_COMMIT=\"${WEFT_COMMIT}\";WEFT_VERSION=\"${PROJECT_VERSION}\";WEFT_CUDA_MODE=\"${WEFT_CUDA}\"")
