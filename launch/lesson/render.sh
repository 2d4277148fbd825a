#!/usr/bin/env bash
# The lesson's pages as web pages:
#   launch/lesson/render.sh OUT      one HTML file a page, in the folder OUT; begin with index.html
# Run it in the folder where you ran the pages' commands: views that they made (attention.html, …)
# are copied beside the pages and linked. Needs cmark-gfm (Debian: cmark-gfm).
set -euo pipefail
lesson=$(cd "$(dirname "$0")" && pwd)
if [ $# != 1 ] || [ "${1#-}" != "$1" ]; then
  sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p;}' "$0" >&2
  exit 2
fi
command -v cmark-gfm >/dev/null || {
  echo "render.sh: cmark-gfm is missing (Debian, Ubuntu: apt-get install cmark-gfm)" >&2
  exit 1
}
out=$1
mkdir -p "$out"

# A checkout has the other pages' style too.
style() {
  local base=$lesson/../../src/inspect/page/base.css
  if [ -r "$base" ]; then cat "$base"; fi
  cat "$lesson/page.css"
}

# The views that a page names and its commands have made.
views_of() {
  local view
  while IFS= read -r view; do
    if [ -r "$view" ]; then printf '%s\n' "$view"; fi
  done < <(grep -oE '[A-Za-z0-9_/-]+\.html' "$1" | sort -u)
}

# render PAGE.md NAME.html
render() {
  local page=$1 name=$2 view file
  # Links between pages become links between their HTML.
  local edits=(-e 's/href="([0-9]{2}-[a-z0-9-]+)\.md"/href="\1.html"/g') links=''
  for view in $(views_of "$page"); do
    file=${view//\//-}
    cp "$view" "$out/$file"
    edits+=(-e "s|<code>$view</code>|<a href=\"$file\">&</a>|g")
    links+="<li><a href=\"$file\">$view</a></li>"
  done
  {
    printf '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    printf '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    printf '<title>%s</title>\n<style>\n' "$(sed -n 's/^# //p' "$page" | head -n 1)"
    style
    printf '</style>\n</head>\n<body class="lesson">\n'
    printf '<nav aria-label="Lesson"><a href="index.html">All pages</a></nav>\n<main>\n'
    cmark-gfm --extension table --to html "$page" | sed -E "${edits[@]}"
    [ -z "$links" ] || printf '<h2>Views</h2>\n<ul>%s</ul>\n' "$links"
    printf '</main>\n</body>\n</html>\n'
  } >"$out/$name"
}

render "$lesson/README.md" index.html
pages=0
for page in "$lesson"/[0-9][0-9]-*.md; do
  render "$page" "$(basename "$page" .md).html"
  pages=$((pages + 1))
done
echo "$out: index.html and $pages pages" >&2
