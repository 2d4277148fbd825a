# WEFT_SANITIZE: AddressSanitizer and UBSan over everything, for launch/test.sh's stage of mutated
# inputs (tests/fuzz/commands.py). Every finding ends the process. Kernels have one code path then,
# Highway's baseline: the others are kernels_test's.
option(WEFT_SANITIZE "Build with AddressSanitizer and UBSan" OFF)
if(WEFT_SANITIZE)
  # Casts of doubles that their type cannot hold are undefined too, but not part of
  # -fsanitize=undefined. Left out are the checks of every dereference, which double the build's
  # time: a null pointer ends the process anyway, and kernels_test has them (cuda.cmake).
  set(WEFT_SANITIZERS -fsanitize=address,undefined,float-cast-overflow
      -fno-sanitize=vptr,null,object-size,alignment,pointer-overflow
      -fno-sanitize=nonnull-attribute,returns-nonnull-attribute)
  add_compile_options(-O1 -g1 ${WEFT_SANITIZERS} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(${WEFT_SANITIZERS})
  add_compile_definitions(HWY_COMPILE_ONLY_STATIC)
endif()
