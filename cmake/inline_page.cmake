# Puts a page's files into one template, as C++:
#   cmake -DTEMPLATE=attention.html -DNAME=kAttentionPage -DOUT=attention_page.cpp
#         [-DHTML=file] -P inline_page.cmake
# A line `<!--style FILE-->` or `<!--script FILE-->` of the template becomes what FILE holds, less
# lines of comments alone, indentation and empty lines.
# HTML receives the page itself, which tests read.
# weft_page(target template name), where this file is included, does it whenever a file of the page
# changed.
cmake_minimum_required(VERSION 3.25)

function(weft_page target template name)
  get_filename_component(template ${template} ABSOLUTE)
  get_filename_component(folder ${template} DIRECTORY)
  get_filename_component(page ${template} NAME_WE)
  file(GLOB_RECURSE parts CONFIGURE_DEPENDS ${folder}/*.css ${folder}/*.js)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${page}_page)
  add_custom_command(OUTPUT ${out}.cpp BYPRODUCTS ${out}.html
    COMMAND ${CMAKE_COMMAND} -DTEMPLATE=${template} -DNAME=${name} -DOUT=${out}.cpp
            -DHTML=${out}.html -P ${CMAKE_SOURCE_DIR}/cmake/inline_page.cmake
    DEPENDS ${template} ${parts} ${CMAKE_SOURCE_DIR}/cmake/inline_page.cmake
    COMMENT "Page ${page}" VERBATIM)
  target_sources(${target} PRIVATE ${out}.cpp)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE OR NOT CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  return()
endif()

get_filename_component(folder ${TEMPLATE} DIRECTORY)
file(READ ${TEMPLATE} page)
string(REGEX MATCHALL "<!--(style|script) [a-z_/.]+-->" marks "${page}")
foreach(mark IN LISTS marks)
  string(REGEX REPLACE "^<!--[a-z]+ (.*)-->$" "\\1" part ${mark})
  file(READ ${folder}/${part} text)
  if(mark MATCHES "script")
    string(REGEX REPLACE "(^|\n) *//[^\n]*" "\\1" text "${text}")
  else()
    string(REGEX REPLACE "/\\*[^*]*\\*/" "" text "${text}")
  endif()
  string(REGEX REPLACE "\n[ \n]+" "\n" text "${text}")
  string(STRIP "${text}" text)
  string(REPLACE "${mark}" "${text}" page "${page}")
endforeach()
if(page MATCHES "<!--(style|script) [^>]*-->")
  message(FATAL_ERROR "${TEMPLATE}: ${CMAKE_MATCH_0} names no file as it should")
endif()
string(FIND "${page}" "<!--data-->" first)
string(FIND "${page}" "<!--data-->" last REVERSE)
if(first EQUAL -1 OR NOT first EQUAL last)
  message(FATAL_ERROR "${TEMPLATE} must hold <!--data--> once")
endif()

# Short literals side by side, cut between lines: a cut inside a character would not be UTF-8.
set(pieces "")
set(rest "${page}")
string(LENGTH "${rest}" size)
while(size GREATER 0)
  set(length ${size})
  if(size GREATER 12000)
    string(SUBSTRING "${rest}" 10000 -1 behind)
    string(FIND "${behind}" "\n" line_end)
    if(NOT line_end EQUAL -1)
      math(EXPR length "10000 + ${line_end} + 1")
    endif()
  endif()
  string(SUBSTRING "${rest}" 0 ${length} piece)
  string(SUBSTRING "${rest}" ${length} -1 rest)
  string(LENGTH "${rest}" size)
  string(APPEND pieces "R\"page(${piece})page\"\n")
endwhile()
if(HTML)
  file(WRITE ${HTML} "${page}")
endif()
file(WRITE ${OUT} "// Written by cmake/inline_page.cmake from ${TEMPLATE}.
#include \"inspect/page_templates.h\"

namespace weft {

const std::string_view ${NAME} =
${pieces};

}  // namespace weft
")
