# Run at build time:  cmake -DSOURCE=folder -DHEADER=file -P commit.cmake
# Writes the header with the commit that SOURCE is a checkout of, "-dirty" behind it where tracked
# files differ; "unknown" where it is no checkout (a tarball, also one unpacked inside somebody
# else's checkout) or there is no git. The file is touched only when it changes.
set(commit unknown)
find_program(GIT git)
if(GIT)
  set(ENV{GIT_OPTIONAL_LOCKS} 0)  # the user's own git commands are not held up
  execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse --show-toplevel
    OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  get_filename_component(source ${SOURCE} REALPATH)
  if(top STREQUAL source)
    execute_process(COMMAND ${GIT} -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
      OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(described)
      set(commit ${described})
    endif()
  endif()
endif()

set(text "// Written by cmake/commit.cmake at build time.\n#define WEFT_COMMIT \"${commit}\"\n")
set(old "")
if(EXISTS ${HEADER})
  file(READ ${HEADER} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${HEADER} "${text}")
endif()
