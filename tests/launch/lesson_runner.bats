#!/usr/bin/env bats
# tests/launch/lesson.py on made-up pages: what it accepts, and that it refuses the rest.

setup() {
  cd "$BATS_TEST_TMPDIR"
  WEFT=$WEFT_BUILD_DIR/weft
  command -v cmark-gfm || { echo "cmark-gfm is missing"; return 1; }
}

# page OPTIONS COMMAND OUTPUT…: page.md with one block.
page() {
  {
    printf '<!-- needs: nothing -->\n# A page\n\n```console%s\n$ %s\n' "${1:+ $1}" "$2"
    shift 2
    printf '%s\n' "$@"
    printf '```\n\nText behind.\n'
  } >page.md
}

lesson() { python3 -B "$WEFT_SOURCE_DIR/tests/launch/lesson.py" --weft "$WEFT" "$@" page.md; }
agrees() { page "$@" && lesson; }
differs() {
  page "$@"
  code=0
  lesson >out || code=$?
  [ "$code" = 1 ] && grep differs out
}

@test "without a mark, output is compared to the letter" {
  agrees '' 'echo "a  b"; echo c >&2' 'a  b' c
  differs '' 'echo a b' 'a  b'
  differs '' 'echo a' a b
  differs '' 'printf "%s\n" a b' a
  differs '' 'echo a'
}

@test "an ellipsis stands for text in a line, and for lines" {
  agrees '' 'echo step 20 of 30' 'step … of 30'
  differs '' 'echo step 20 of 31' 'step … of 30'
  agrees '' 'seq 1 9' 1 … 9
  agrees '' 'seq 1 9' … 5 …
  differs '' 'seq 1 9' … 10 …
  differs '' 'seq 1 9' 2 …
}

@test "numbers within a tolerance agree, other words must be equal" {
  agrees tol=0.1 'echo loss 4.30, accuracy 0.85' 'loss 4.5, accuracy 0.92'
  differs tol=0.1 'echo loss 4.30' 'loss 4.9'
  differs tol=0.1 'echo accuracy 0.85' 'accuracy 0.96'
  differs tol=0.1 'echo loss 4.30' 'cost 4.30'
  differs tol=0.1 'echo loss none' 'loss 4.3'
}

@test "what is alike has the same lines, columns and keys" {
  agrees like 'echo "water    7  0.5"' 'ocean   19  0.7'
  differs like 'echo "water    7"' 'ocean   19  0.7'
  differs like 'echo "water    7  none"' 'ocean   19  0.7'
  agrees like "echo '{\"id\": \"0\", \"x\": [1, 2]}'" '{"id": "1", "x": [0.5]}'
  differs like "echo '{\"id\": \"0\", \"y\": [1, 2]}'" '{"id": "1", "x": [0.5]}'
  differs like "echo '{\"id\": \"0\", \"x\": \"1\"}'" '{"id": "1", "x": 0.5}'
  differs like 'printf "%s\n" a b' text
}

@test "an exit code is part of what a page says" {
  agrees exit=2 'echo no; exit 2' no
  page '' 'echo no; exit 2' no
  run lesson
  [ "$status" = 1 ]
  [[ $output == *"exit code 2"* ]]
  page exit=2 'echo no' no
  run lesson
  [ "$status" = 1 ]
}

@test "commands go on behind > and find the files of those before" {
  cat >page.md <<'PAGE'
<!-- needs: nothing -->
```console
$ for i in 1 2; do
>   echo $i
> done >numbers
$ cat numbers
1
2
$ weft --version | cut -d ' ' -f 1 | head -n 1
weft
```
PAGE
  lesson
}

@test "--write puts right what differs and nothing else" {
  page '' 'seq 1 3' 1 4
  lesson --write
  [ "$(sed -n 5,9p page.md | tr '\n' ' ')" = '$ seq 1 3 1 2 3 ``` ' ]
  [ "$(tail -n 1 page.md)" = "Text behind." ]
  page '' 'seq 1 9' 1 … 9
  cp page.md before.md
  lesson --write
  cmp page.md before.md
}

@test "a page that cannot be read is refused" {
  page lik 'echo' ''
  run lesson
  [ "$status" = 2 ]
  [[ $output == *"page.md:4: 'lik'; allowed: like, tol=X, exit=N"* ]]
  page '' 'echo' ''
  sed -i 1d page.md
  run lesson
  [ "$status" = 2 ]
}

@test "render.sh writes every page, links them and the views that are there" {
  echo '<p>a view</p>' >attention.html
  "$WEFT_SOURCE_DIR/launch/lesson/render.sh" pages
  [ "$(find pages -name '[0-9]*.html' | wc -l)" = \
    "$(find "$WEFT_SOURCE_DIR/launch/lesson" -name '[0-9]*.md' | wc -l)" ]
  grep 'href="01-sequences.html"' pages/index.html
  grep '<a href="attention.html"><code>attention.html</code></a>' pages/06-attention.html
  cmp attention.html pages/attention.html
  [ -z "$(grep 'href="tokens.html"' pages/03-tokenization.html)" ]
  [ -z "$(grep -E 'href="[^"]*\.md"' pages/*.html)" ]
  for page in pages/[0-9i]*.html; do grep '</main>' "$page" || return 1; done
}

@test "render.sh without cmark-gfm says so" {
  mkdir bin
  for tool in bash dirname; do ln -s "$(command -v $tool)" bin; done
  PATH=$PWD/bin run "$WEFT_SOURCE_DIR/launch/lesson/render.sh" pages
  [ "$status" = 1 ]
  [[ $output == *"cmark-gfm is missing"* ]]
}
