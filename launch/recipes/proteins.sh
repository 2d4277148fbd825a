#!/usr/bin/env bash
# The proteins that Debian's emboss-test and hmmer-examples carry, as FASTA on stdout: the 100
# Swiss-Prot entries of EMBOSS, and the members of three domain families (protein kinases,
# fibronectin type III, RNA recognition motifs) and the globins of HMMER. In an order that does not
# depend on the machine, so that the validation part (the end) holds some of each.
#   apt-get install emboss-test hmmer-examples;   launch/recipes/proteins.sh >proteins.fasta
# ROOT=FOLDER: where the packages lie, if not in /
set -euo pipefail
root=${ROOT:-}
swiss=$root/usr/share/EMBOSS/test/swiss/seq.dat
[ -r "$swiss" ] || { echo "$swiss is missing (Debian: emboss-test)" >&2; exit 1; }
{
  awk '/^ID/ { id = $2 }
    /^SQ/ { on = 1; s = ""; next }
    /^\/\// { if (on) print id "\t" s; on = 0 }
    on { gsub(/[ 0-9]/, ""); s = s $0 }' "$swiss"
  for family in pkinase fn3 rrm; do # Stockholm: blocks of "name aligned"
    awk -v f="$family" '
      NF == 2 && !/^#/ && !/^\/\// { gsub(/[^A-Za-z]/, "", $2); s[$1] = s[$1] toupper($2) }
      END { for (n in s) print f "_" n "\t" s[n] }' \
      "$root/usr/share/EMBOSS/test/data/hmm/$family.sto"
  done
  awk '/^>/ { if (id != "") print id "\t" s; id = "globin_" substr($1, 2); s = ""; next }
    { s = s toupper($0) }
    END { print id "\t" s }' \
    "$root/usr/share/doc/hmmer/examples/tutorial/globins45.fa"
} | while IFS=$'\t' read -r id sequence; do
  printf '%s\t%s\t%s\n' "$(printf %s "$id" | cksum | cut -d ' ' -f 1)" "$id" "$sequence"
done | LC_ALL=C sort -k 1,1 | awk -F '\t' '{ print ">" $2 "\n" $3 }'
