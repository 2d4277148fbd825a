# Run by cmake --install, with WEFT (the program), DATA and MAN (folders under the prefix): writes
# man pages and shell completion.
set(root "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")

function(weft_writes file)
  execute_process(COMMAND ${WEFT} ${ARGN}
                  OUTPUT_VARIABLE text ERROR_VARIABLE error
                  RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    list(JOIN ARGN " " words)
    message(FATAL_ERROR "weft ${words}: ${error}")
  endif()
  file(WRITE "${root}/${file}" "${text}")
  message(STATUS "Installing: ${root}/${file}")
  set(text "${text}" PARENT_SCOPE)
endfunction()

weft_writes(${DATA}/bash-completion/completions/weft --completion bash)
weft_writes(${DATA}/zsh/site-functions/_weft --completion zsh)
weft_writes(${MAN}/weft.1 --man)
string(REGEX MATCHALL "weft.-[a-z]+ .1." pages "${text}")
foreach(page IN LISTS pages)
  string(REGEX REPLACE "weft.-([a-z]+) .*" "\\1" command "${page}")
  weft_writes(${MAN}/weft-${command}.1 ${command} --help=man)
endforeach()
