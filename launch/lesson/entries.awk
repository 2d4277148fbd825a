# The dictionary's JSON lines (launch/dictionary.awk) as plain text, a short entry a line: headword,
# part of speech, definition. Etymologies, fields such as (Zool.) and whatever else is not plain
# English go.
#   Abalone, n. A univalve mollusk of the genus Haliotis.
{
  sub(/^\{"text": "/, ""); sub(/"\}$/, ""); gsub(/\\n/, " ")
  if ($0 !~ /^[A-Z][a-z]+(,| \([^)]*\),) (n|a|adv|v\. t|v\. i)\. /) next
  sub(/ \([^)]*\),/, ",")
  while (sub(/ *\[[^][]*\]/, "")) {}
  gsub(/\([A-Z][A-Za-z. &]*\) /, "")
  gsub(/  +/, " ")
  if (length($0) >= 40 && length($0) <= 200 && $0 !~ /[][{}=~`*"\\]|--|Note:/) print
}
