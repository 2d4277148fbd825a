# The GNU Collaborative International Dictionary of English (dictd's text) as JSON lines, an entry
# each: headword, then its definitions as prose. Entries begin in column 0; their lines are wrapped
# and indented.
function finish() {
  if (n_words > 12) {
    gsub(/\\/, "", text); gsub(/"/, "\\\"", text); gsub(/[\t\r\001-\037]/, " ", text)
    gsub(/  +/, " ", text); gsub(/ ,/, ",", text)
    sub(/[ \n]+$/, "", text); gsub(/ *\n */, "\\n", text)
    printf "{\"text\": \"%s\"}\n", text
  }
  text = ""; n_words = 0
}
/^00-database/ { skip = 1 }
/^[^ ]/ {
  finish()
  skip = /^00-database/
  sub(/\\[^\\]*\\/, "")              # the pronunciation
}
skip { next }
{
  sources = "(1913 Webster|WordNet [0-9.]*|PJC|Webster 1913 Suppl\\.|Century Dict\\.[^]]*)"
  gsub("\\[" sources "( \\+PJC|\\+PJC)?\\]", "")
  gsub(/[{}]/, "")                   # cross references
  blank = /^[ \t]*$/
  if (blank) { if (text != "" && substr(text, length(text)) != "\n") text = text "\n"; next }
  sub(/^[ \t]+/, "")
  n_words += NF
  text = text (text == "" || substr(text, length(text)) == "\n" ? "" : " ") $0
}
END { finish() }
