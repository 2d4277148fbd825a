# cmake/commit.cmake, which every build runs: the commit that logs name is the one that was built.

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a \
    GIT_COMMITTER_EMAIL=a@b
  mkdir checkout
  git -C checkout init -q
  echo one >checkout/file
  git -C checkout add file
  git -C checkout commit -qm one
}

# written FOLDER: the commit that the header of a build of FOLDER names.
written() {
  cmake -DSOURCE="$PWD/$1" -DHEADER="$PWD/built/commit.h" -P "$WEFT_SOURCE_DIR/cmake/commit.cmake" \
    || return 1
  sed -n 's/#define WEFT_COMMIT "\(.*\)"/\1/p' built/commit.h
}
head_of() { git -C "$1" rev-parse --short=12 HEAD; }

@test "the commit of the moment, also when it was made after configuring" {
  [ "$(written checkout)" = "$(head_of checkout)" ]
  git -C checkout commit -q --allow-empty -m two
  [ "$(written checkout)" = "$(head_of checkout)" ]
  git -C checkout tag v1
  [ "$(written checkout)" = "$(head_of checkout)" ]
}

@test "a tree with changes says so, until they are committed" {
  echo two >checkout/file
  [ "$(written checkout)" = "$(head_of checkout)-dirty" ]
  git -C checkout commit -qam two
  [ "$(written checkout)" = "$(head_of checkout)" ]
}

@test "the header is touched only when it changes: nothing is built again for nothing" {
  written checkout
  touch -d '2001-01-01' built/commit.h
  written checkout
  [ "$(stat -c %Y built/commit.h)" = "$(date -d '2001-01-01' +%s)" ]
  git -C checkout commit -q --allow-empty -m two
  written checkout
  [ "$(stat -c %Y built/commit.h)" != "$(date -d '2001-01-01' +%s)" ]
}

@test "no checkout: unknown, also inside another one" {
  mkdir tarball checkout/vendored
  [ "$(written tarball)" = unknown ]
  [ "$(written checkout/vendored)" = unknown ]
  mkdir bin
  ln -s "$(command -v cmake)" "$(command -v sed)" bin/
  [ "$(PATH=$PWD/bin written checkout)" = unknown ]
}
