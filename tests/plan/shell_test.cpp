// What the linter knows of a script's commands.
#include <gtest/gtest.h>

#include "plan/shell_run.h"

namespace weft {
namespace {

ShellFacts facts() {
  ShellFacts f;
  f.nodes = 4, f.nodefile_lines = 8, f.gpus = 4, f.hardware_threads = 64;
  f.cores = 32, f.kit_ranks = 4;
  f.folder = "/work";
  f.variables["PBS_O_WORKDIR"] = "/work";
  f.unknown_prefix = "PBS_";
  return f;
}

// The words of all commands that are recorded, in brackets, "$NAME" for what is not known.
std::string ran(const std::string& script) {
  const ShellScript parsed = parse_shell(script);
  if (parsed.stopped_at) return "lost at " + std::to_string(parsed.stopped_at);
  const ShellRun run = run_shell(parsed, facts());
  std::string out;
  for (const RanCommand& c : run.commands) {
    out += out.empty() ? "" : " ";
    for (const std::string& word : c.words) out += "[" + shown_text(word) + "]";
  }
  return out;
}

TEST(Shell, WordsAndQuotes) {
  EXPECT_EQ(ran("a 'b c' \"d e\"f g\\ h"), "[a][b c][d ef][g h]");
  EXPECT_EQ(ran("a b \\\n  c # d\ne"), "[a][b][c] [e]");
  EXPECT_EQ(ran("a 2>&1 >out <in b"), "[a][b]");
  EXPECT_EQ(ran("cat <<END\n$( not read\nEND\nb"), "[cat] [b]");
  EXPECT_EQ(ran("a && b || c; d & e | f"), "[a] [b] [c] [d] [e] [f]");
  EXPECT_EQ(ran("a '$X' \"\\$X\""), "[a][$X][$X]");
}

TEST(Shell, Variables) {
  EXPECT_EQ(ran("N=4\nX=\"a b\"\nrun $N \"$X\" $X ${N}x"), "[run][4][a b][a][b][4x]");
  EXPECT_EQ(ran("run ${A:-3} ${B:=5} $B ${B:+set} ${C:+no}"), "[run][3][5][5][set]");
  EXPECT_EQ(ran("F=/a/b.tar.gz; run ${F%.gz} ${F##*/} ${F%%.*} ${#F} ${F/tar/x}"),
            "[run][/a/b.tar][b.tar.gz][/a/b][11][/a/b.x.gz]");
  EXPECT_EQ(ran("args=(--a 1 \"b c\"); args+=(--d)\nrun \"${args[@]}\" ${#args[@]}"),
            "[run][--a][1][b c][--d][4]");
  EXPECT_EQ(ran("e=()\nrun \"${e[@]}\" x"), "[run][x]");
  EXPECT_EQ(ran("run $HOME/x \"$UNSET\""), "[run][$HOME/x][$UNSET]");
  EXPECT_EQ(ran("read -ra o <<<\"--a 1\"\nrun \"${o[@]}\""), "[run][--a][1]");
}

TEST(Shell, TheLaunchKitTakesRanksAndThreadsOfTheMachine) {
  EXPECT_EQ(ran(". /x/launch/job.sh\nrun $WEFT_RANKS_PER_NODE $WEFT_THREADS"),
            "[.][/x/launch/job.sh] [run][4][8]");
  EXPECT_EQ(ran("WEFT_RANKS_PER_NODE=2\n. ./job.sh\nrun $WEFT_RANKS_PER_NODE $WEFT_THREADS"),
            "[.][./job.sh] [run][2][16]");
  EXPECT_EQ(ran(". ./other.sh\nrun $WEFT_THREADS"), "[.][./other.sh] [run][$WEFT_THREADS]");
}

TEST(Shell, Numbers) {
  EXPECT_EQ(ran("N=3; run $((N * 4)) $(( $N + 2 )) $((2**5)) $((7 / 2 % 2)) $(((1 + 2) * 3))"),
            "[run][12][5][32][1][9]");
  EXPECT_EQ(ran("run $((N > 1 ? 2 : 3))"), "[run][$N]");
  EXPECT_EQ(arithmetic("3 - -2"), 5);
  EXPECT_EQ(arithmetic("1 / 0"), std::nullopt);
  EXPECT_EQ(arithmetic("9223372036854775807 + 1"), std::nullopt);
  EXPECT_EQ(arithmetic("2 +"), std::nullopt);
  EXPECT_EQ(arithmetic(std::string(5000, '(')), std::nullopt);
}

TEST(Shell, WhatTheJobGives) {
  for (const char* count : {"$(sort -u \"$PBS_NODEFILE\" | wc -l)", "`sort -u $PBS_NODEFILE|wc -l`",
                            "$(cat ${PBS_NODEFILE} | sort | uniq | wc -l)", "$(weft_nodes)",
                            "$(uniq $PBS_NODEFILE | wc -l)"})
    EXPECT_EQ(ran(std::string("N=") + count + "\nrun $N"), "[run][4]") << count;
  EXPECT_EQ(ran("N=`wc -l < $PBS_NODEFILE`\nrun $N"), "[run][8]");
  EXPECT_EQ(ran("run $(nvidia-smi -L | wc -l) $(nproc)"), "[run][4][64]");
  EXPECT_EQ(ran("N=$(sort -u $PBS_NODEFILE | head -2 | wc -l)\nrun $N").find("[run][4]"),
            std::string::npos);
  EXPECT_EQ(ran("run $(echo 3) $(expr 3 \\* 4) $(echo '3*4' | bc)"), "[run][3][12][12]");
  EXPECT_EQ(ran("run $(dirname /a/b) $(basename /a/b)"), "[run][/a][b]");
}

TEST(Shell, BranchesThatAreKnownAndNot) {
  EXPECT_EQ(ran("if [ 3 -gt 2 ]; then a; else b; fi"), "[a]");
  EXPECT_EQ(ran("X=cuda\nif [[ $X == cu* ]]; then a; else b; fi"), "[a]");
  EXPECT_EQ(ran("if [ -f /x ]; then N=1; else N=2; fi\nrun $N"), "[run][$N]");
  EXPECT_EQ(ran("N=1\nif [ -f /x ]; then N=1; fi\nrun $N"), "[run][1]");
  EXPECT_EQ(ran("N=1\nif [ -f /x ]; then echo bad; exit 1; fi\nrun $N"), "[echo][bad] [run][1]");
  EXPECT_EQ(ran("case cuda in cpu) a ;; cu*|x) b ;; *) c ;; esac"), "[b]");
  EXPECT_EQ(ran("for n in 1 2; do run $n; done"), "[run][1] [run][2]");
  EXPECT_EQ(ran("for f in *.txt; do run $f; done"), "[run][$f]");
  EXPECT_EQ(ran("while read -r x; do N=2; done\nrun ${N:-1}"), "[run][$N]");
  EXPECT_EQ(ran("[ -n \"a\" ] || N=2\nrun ${N:-1}"), "[run][1]");
  EXPECT_EQ(ran("f() { run \"$1\" \"$#\" \"$@\"; }\nf a 'b c'"), "[run][a][2][a][b c]");
  EXPECT_EQ(ran("(N=2)\nrun ${N:-1}"), "[run][1]");
}

TEST(Shell, IsLostWithoutHarm) {
  EXPECT_EQ(ran("a\nif b; then\nc"), "lost at 2");
  EXPECT_EQ(ran("a 'b"), "lost at 1");
  EXPECT_EQ(ran("a)"), "lost at 1");
  std::string deep;
  for (int i = 0; i < 3000; ++i) deep += "$(";
  EXPECT_EQ(ran("a " + deep), "lost at 1");
  std::string nested = "x";
  for (int i = 0; i < 50; ++i) nested = "$(a " + nested + ")";
  EXPECT_NE(ran("a " + nested), "");
  EXPECT_NE(ran("f() { f; f; }\nf\nb").find("[b]"), std::string::npos);
}

}  // namespace
}  // namespace weft
