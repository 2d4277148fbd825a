// Nothing but what tests include most often, precompiled (tests/CMakeLists.txt).
