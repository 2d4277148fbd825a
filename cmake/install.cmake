# What `cmake --install BUILD --prefix PREFIX` leaves: bin/weft, its launch kit, man pages and shell
# completion (written by weft itself, from its visited options), an Lmod modulefile. Nothing knows
# the prefix, so the folder may be moved; nothing needs root.
include(GNUInstallDirs)
set_target_properties(weft PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)  # libraries of modules
install(TARGETS weft RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# Sets up, tests and checks a checkout: no part of the kit.
install(DIRECTORY launch/ DESTINATION ${CMAKE_INSTALL_DATADIR}/weft/launch USE_SOURCE_PERMISSIONS
        REGEX "/(setup|quickstart|test|test_all|gpu_check)\\.sh$" EXCLUDE)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DATADIR}/weft)
configure_file(cmake/packaging/weft.lua.in ${CMAKE_BINARY_DIR}/generated/weft.lua @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/generated/weft.lua
        DESTINATION ${CMAKE_INSTALL_DATADIR}/modulefiles/weft RENAME ${PROJECT_VERSION}.lua)
install(CODE "set(WEFT \"$<TARGET_FILE:weft>\")
set(DATA \"${CMAKE_INSTALL_DATADIR}\")
set(MAN \"${CMAKE_INSTALL_MANDIR}/man1\")")
install(SCRIPT cmake/packaging/help_forms.cmake)
