# What `weft --version` and every log say of the build: src/cli/version.cpp's definitions, and the
# commit in a header that each build writes anew where the checkout has changed since
# (cmake/commit.cmake). version.cpp is built again then, and nothing else.
set(WEFT_COMMIT_HEADER ${CMAKE_BINARY_DIR}/generated/weft_commit.h)
add_custom_target(weft_commit ALL
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DHEADER=${WEFT_COMMIT_HEADER}
          -P ${CMAKE_SOURCE_DIR}/cmake/commit.cmake
  BYPRODUCTS ${WEFT_COMMIT_HEADER} COMMENT "")
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/cli/version.cpp PROPERTIES
  INCLUDE_DIRECTORIES ${CMAKE_BINARY_DIR}/generated
  COMPILE_DEFINITIONS "WEFT_VERSION=\"${PROJECT_VERSION}\";WEFT_CUDA_MODE=\"${WEFT_CUDA}\"")

# weft_names_commit(target): the room that version.cpp is in waits for the header.
function(weft_names_commit target)
  add_dependencies(${target} weft_commit)
endfunction()
