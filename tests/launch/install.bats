#!/usr/bin/env bats
# What cmake --install leaves, moved to another place: the program with its launch kit, man pages,
# completion for bash and zsh, a module.

setup_file() {
  export PREFIX=$BATS_FILE_TMPDIR/moved
  DESTDIR='' cmake --install "$WEFT_BUILD_DIR" --prefix "$BATS_FILE_TMPDIR/first" \
    >"$BATS_FILE_TMPDIR/log" || { cat "$BATS_FILE_TMPDIR/log"; return 1; }
  mv "$BATS_FILE_TMPDIR/first" "$PREFIX"
}

# The words that bash offers for a command line; an empty last word where it ends in a space.
completed() {
  bash -c '. "$1"; shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _weft; printf "%s\n" "${COMPREPLY[@]}"' _ \
    "$PREFIX/share/bash-completion/completions/weft" "$@"
}

@test "nothing in it names where it was installed first" {
  [ -x "$PREFIX/bin/weft" ]
  ! grep -rIl "$BATS_FILE_TMPDIR/first" "$PREFIX"
  "$PREFIX/bin/weft" --version | grep '^weft '
}

@test "it holds the launch kit, and nothing that is for a checkout" {
  [ -x "$PREFIX/share/weft/launch/local.sh" ]
  [ ! -e "$PREFIX/share/weft/launch/test.sh" ]
  [ ! -e "$PREFIX/share/weft/launch/setup.sh" ]
}

@test "machines are found by their names" {
  "$PREFIX/bin/weft" lint "$PREFIX/share/weft/launch/polaris/train.pbs" --machine polaris
}

@test "the kit runs the program that it was installed with" {
  "$PREFIX/share/weft/launch/local.sh" 2 info --json | grep '"ranks":2'
}

@test "there is a page for the program and for every command, and man finds no fault in them" {
  "$PREFIX/bin/weft" --help | awk '/^  [a-z]+ +[^ ]/ && !/weft/ { print $1 }' \
    >"$BATS_TEST_TMPDIR/commands"
  [ "$(wc -l <"$BATS_TEST_TMPDIR/commands")" -ge 14 ]
  while read -r command; do
    [ -s "$PREFIX/share/man/man1/weft-$command.1" ] || { echo "no page of $command"; return 1; }
  done <"$BATS_TEST_TMPDIR/commands"
  for page in "$PREFIX"/share/man/man1/*.1; do
    faults=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -l "$page" 2>&1 >/dev/null)
    [ -z "$faults" ] || { echo "$page: $faults"; return 1; }
  done
  MANWIDTH=80 man -l "$PREFIX/share/man/man1/weft-train.1" | grep -e '--batch-size N'
}

@test "bash completes commands, flags, their words, and what a command is about" {
  completed weft tra | grep -x train
  completed weft train --pipeline | grep -x -e --pipeline-schedule
  completed weft train --lr-schedule '' | grep -x cosine
  completed weft train --lr-schedule = co | grep -x cosine
  ! completed weft generate --pipeline | grep .
  [ -z "$(completed weft train --steps '')" ]
  completed weft bench ma | grep -x machine
  cd "$BATS_TEST_TMPDIR"
  touch model.gguf
  completed weft train --model mod | grep -x model.gguf
}

@test "zsh takes its script" {
  zsh -n "$PREFIX/share/zsh/site-functions/_weft"
  zsh -fc 'fpath=("$1" $fpath); autoload -U compinit; compinit -u -d "$2"; print $_comps[weft]' _ \
    "$PREFIX/share/zsh/site-functions" "$BATS_TEST_TMPDIR/zcompdump" | grep -x _weft
}

@test "the module puts them in place: weft, its pages, completion, the kit" {
  loaded=$(bash -c '. /usr/share/lmod/lmod/init/bash
    module use "$1/share/modulefiles" && module load weft && command -v weft &&
      printf "%s\n" "$WEFT_LAUNCH" "$MANPATH" "$XDG_DATA_DIRS" "$FPATH" && module unload weft &&
      ! command -v weft' _ "$PREFIX")
  real=$(realpath "$PREFIX")
  [ "$(head -1 <<<"$loaded" | xargs realpath)" = "$real/bin/weft" ]
  grep -q "/share/weft/launch$" <<<"$loaded"
  grep -q "/share/man:" <<<"$loaded"
  grep -q "/share/zsh/site-functions" <<<"$loaded"
}
