set(WEFT_WARNINGS -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(APPEND WEFT_WARNINGS -Wno-restrict)  # GCC 12 sees overlaps in std::string's operator+ that are none (its bug 105651)
endif()
