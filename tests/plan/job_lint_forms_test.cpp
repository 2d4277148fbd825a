// Forms of directives: what is wrong is refused by one rule at its line, what is right passes, and
// what is not understood is said. What Slurm takes was looked up with sbatch and slurmctld 22.05.
#include "plan/job_request.h"
#include "plan/lint_scripts.h"

namespace weft {
namespace {

std::string preemptable(const std::string& from, const std::string& to) {
  return with(polaris("debug-scaling", "preemptable"), from, to);
}
// One more directive in line 10.
std::string slurm(const std::string& directive) {
  return perlmutter("#SBATCH --requeue\n", "#SBATCH --requeue\n#SBATCH " + directive + "\n");
}
// In line 11.
std::string pbs(const std::string& directive) {
  return preemptable("#PBS -r y\n", "#PBS -r y\n#PBS " + directive + "\n");
}

TEST(JobLintForms, PbsRefuses) {
  expect_broken({
      {"a chain in debug-scaling", polaris("-j oe", "-W depend=afterany:12.polaris-pbs-01"), 9,
       "chain-queue"},
      {"the second of a list", pbs("-W depend=afterany:12,aftrany:13"), 11, "depend"},
      {"a name as a job", pbs("-W depend=afterany:previous"), 11, "depend"},
      {"one job of two is none", pbs("-W depend=afterany:12:x"), 11, "depend"},
      {"Slurm's kind", pbs("-W depend=singleton"), 11, "depend"},
      {"a kind in a job that it queues",
       with(kPolaris, "debug-scaling", "preemptable") + "qsub -W depend=aftreany:$J b.pbs\n", 19,
       "depend"},
      {"an attribute behind another", pbs("-W umask=022,depend=afterok"), 11, "depend"},
      {"a mistyped attribute", pbs("-W group_lst=biology"), 11, "attribute"},
      {"an attribute without a value", pbs("-W group_list="), 11, "attribute"},
      {"half an attribute", pbs("-W umask=022,,block=true"), 11, "attribute"},
      {"no time", preemptable("0:30:00", "0:00:00"), 7, "walltime-format"},
      {"zero", preemptable("0:30:00", "0"), 7, "walltime-format"},
      {"an = behind a letter", polaris("-A biology", "-A=biology"), 3, "directive-equals"},
      {"an = behind -l", polaris("-l place", "-l=place"), 6, "directive-equals"},
      {"a byte order mark", "\xef\xbb\xbf" + std::string(kPolaris), 1, "byte-order-mark"},
      {"an array that may not run again", with(preemptable("-j oe", "-J 0-9"), "-r y", "-r n"), 10,
       "rerun"},
      {"an array as a list", pbs("-J 1,3,5"), 11, "array-format"},
      {"an array that runs down", pbs("-J 9-0"), 11, "array-format"},
      {"no subjob at once", pbs("-J 0-9%0"), 11, "array-format"},
      {"a step of nothing", pbs("-J 0-9:0"), 11, "array-format"},
      {"a priority", pbs("-p 2000"), 11, "option-value"},
      {"a date", pbs("-a tomorrow"), 11, "option-value"},
      {"a long name", polaris("-N eng", "-N " + std::string(237, 'a')), 2, "option-value"},
      {"processes in words", preemptable("system=polaris", "mpiprocs=four:system=polaris"), 5,
       "processes"},
      {"cores with a unit", preemptable("system=polaris", "ncpus=64gb:system=polaris"), 5, "ncpus"},
      {"a chunk that ends in a colon", preemptable("system=polaris", "system=polaris:"), 5,
       "select-format"},
      {"a chunk too many", preemptable("system=polaris", "system=polaris+"), 5, "select-format"},
      {"a directive continued behind the first command",
       polaris("PPN=4", "PPN=4\n#PBS -l \\\nplace=scatter"), 16, "directive-late"},
      {"in the background without a wait", preemptable("--tp 4\n", "--tp 4 &\necho started\n"), 16,
       "launch-background"},
      {"tabs", polaris("#PBS -q debug-scaling", "#PBS\t-q\tdebug_scaling"), 4, "queue"},
      {"a continued directive", polaris("-l place=scatter", "-l \\\nplace=scater"), 6,
       "place-format"},
  });
}

TEST(JobLintForms, SlurmRefuses) {
  const std::vector<std::pair<const char*, const char*>> options = {
      {"--array=9-1", "array-format"},
      {"--array=1-9:0", "array-format"},
      {"--array=1,x,3", "array-format"},
      {"--array=1-3%x", "array-format"},
      {"--array=1-", "array-format"},
      {"--array=5000000", "array-format"},
      {"--array=1,,3", "array-format"},
      {"--dependency=afterx:3", "depend"},
      {"--dependency=afterok", "depend"},
      {"--dependency=afterany:1?on:2", "depend"},
      {"--dependency=afterany:previous", "depend"},
      {"--ntasks=four", "slurm-number"},
      {"--cpus-per-gpu=0", "slurm-number"},
      {"--ntasks-per-socket=-1", "slurm-number"},
      {"--mem=1.5G", "slurm-memory"},
      {"--mem=600G", "slurm-memory"},
      {"--mem-per-cpu=5G", "slurm-memory"},  // of 4 tasks of 16
      {"--open-mode=add", "slurm-word"},
      {"--signal=foo", "slurm-word"},
      {"--signal=USR1@soon", "slurm-word"},
      {"--mail-type=END,DONE", "slurm-word"},
      {"--exclusive=yes", "slurm-word"},
      {"--time-min=10m", "slurm-word"},
      {"--hold=1", "slurm-word"},
      {"--gpus-per-node=8", "gpus-node"},
      {"--gres=gpu:8", "gpus-node"},
      {"--gres=gpu:a100:5", "gpus-node"},
      {"--gpus=9", "gpus-node"},  // of two nodes
      {"--gpus-per-task=2", "gpus-node"},
      {"--gpus=four", "gpus-format"},
      {"--gpus-per-node=h100:4", "gpus-format"},
      {"--gres=gpu:a:b:c", "gpus-format"},
      {"--gpus=a100:", "gpus-format"},
      {"-t=20", "directive-equals"},
      {"--nonsence=4", ""},  // not known, and near to nothing: a note
  };
  std::vector<Case> cases;
  for (const auto& [option, rule] : options)
    if (*rule) cases.push_back({option, slurm(option), 10, rule, "perlmutter"});
  for (const Case& c : std::vector<Case>{
           {"no limit", perlmutter("00:30:00", "0"), 8, "walltime-format"},
           {"INFINITE", perlmutter("00:30:00", "INFINITE"), 8, "walltime-format"},
           {"the least above the most", perlmutter("nodes=2", "nodes=4-2"), 5, "select-format"},
           {"the least is no number", perlmutter("nodes=2", "nodes=two-2"), 5, "select-format"},
           {"more tasks than the nodes hold", slurm("--ntasks=16"), 10, "slurm-tasks"},
           {"more cores than a node", perlmutter("cpus-per-task=16", "cpus-per-task=64"), 6,
            "slurm-cores"},
           {"GPUs that do not come out", slurm("--gpus=6 --gpus-per-node=4"), 10, "gpus-twice"},
           {"a continued directive", perlmutter("--nodes=2", "--nodes=2 \\"), 5, "directive-words"},
           {"a command of nothing", perlmutter("#SBATCH --requeue", ":\n#SBATCH --requeue"), 10,
            "directive-late"},
       }) {
    cases.push_back(c);
    cases.back().machine = "perlmutter";
  }
  expect_broken(cases);
}

TEST(JobLintForms, DoubtfulFormsAreWarnedOf) {
  expect_doubtful({
      {"a depth of all cores", preemptable("--depth=8", "--depth=32"), 16, "threads"},
      {"mpirun of PALS", preemptable("mpiexec -n", "mpirun -n"), 16, "launcher"},
      {"chunks where there is room", preemptable("place=scatter", "place=free"), 6, "place"},
      {"two projects", pbs("-A chemistry"), 11, "duplicate"},
      {"two queues", pbs("-q capacity"), 11, "duplicate"},
      {"a resource of a chunk twice",
       preemptable("system=polaris", "ncpus=32:ncpus=64:system=polaris"), 5, "duplicate"},
      {"two times", slurm("--time=00:20:00"), 10, "duplicate", "perlmutter"},
      {"a letter and its long name", slurm("-A m4321"), 10, "duplicate", "perlmutter"},
      {"a blank before #SBATCH",
       perlmutter("#SBATCH --requeue",
                  " #SBATCH --mem=0\n#SBATCH "
                  "--requeue"),
       9, "directive-typo", "perlmutter"},
      {"no blank behind #SBATCH", perlmutter("#SBATCH --time", "#SBATCH--time"), 8,
       "directive-typo", "perlmutter"},
      {"GPUs of a node twice", slurm("--gpus-per-node=4 --gres=gpu:2"), 10, "gpus-twice",
       "perlmutter"},
      {"no GPU is asked for", perlmutter("--tp 4", "--tp 4 --device cuda"), 12, "gpus",
       "perlmutter"},
      {"fewer GPUs than ranks", with(slurm("--gpus-per-node=2"), "--tp 4", "--tp 4 --device cuda"),
       13, "gpus", "perlmutter"},
  });
}

TEST(JobLintForms, GoodFormsPass) {
  const std::vector<Case> cases = {
      {"in the background, waited for", preemptable("--tp 4\n", "--tp 4 &\npid=$!\nwait $pid\n"), 0,
       ""},
      {"several dependencies", pbs("-W depend=afterany:12:13[].server,afternotok:14"), 0, ""},
      {"attributes", pbs("-W umask=022,block=true,depend=afterany:12"), 0, ""},
      {"a dependency on a count", pbs("-W depend=on:2"), 0, ""},
      {"one option twice alike", pbs("-A biology"), 0, ""},
      {"a script that it writes",
       preemptable("PPN=4",
                   "PPN=4\ncat >next.pbs <<'END'\n#!/bin/bash\n#PBS -A other\n# PBS -q x\n"
                   "#SBATCH -A x\nEND"),
       0, ""},
      {"a script that it writes from a quote",
       preemptable("PPN=4", "echo \"#!/bin/bash\n#PBS -A other\n\" >next.pbs\nPPN=4"), 0, ""},
      {"a script that it writes, indented by tabs",
       preemptable("PPN=4",
                   "PPN=4\nif true; then\n\tcat >next.pbs <<-END\n\t#PBS -A $USER\n\tEND\n"
                   "fi"),
       0, ""},
      {"a priority", pbs("-p -1024"), 0, ""},
      {"a date", pbs("-a 202612312359.59"), 0, ""},
      {"a blank before #PBS", preemptable("#PBS -j oe", "  #PBS -j oe"), 0, ""},
      {"a label that PBS skips", preemptable("#PBS -j oe", ": label\n#PBS -j oe"), 0, ""},
      {"tabs", preemptable("#PBS -j oe", "#PBS\t-j\toe"), 0, ""},
      {"a continued directive", preemptable("-l place=scatter", "-l \\\nplace=scatter"), 0, ""},
      {"processes of a chunk", preemptable("system=polaris", "mpiprocs=4:system=polaris"), 0, ""},
  };
  for (const char* option : {"--array=1,3,7-9%2",
                             "--array=7",
                             "--array=5-5",
                             "--array=0-31:4",
                             "--array=1-9%0",
                             "--array=1,1",
                             "-a 0-99%10",
                             "--dependency=singleton",
                             "--dependency=afterany:12:13",
                             "--dependency=afterany:1?afternotok:2",
                             "--dependency=after:1+5",
                             "--dependency=aftercorr:12_4",
                             "--gpus=8",
                             "--gpus=a100:8",
                             "--gpus-per-node=4",
                             "--gpus-per-task=1",
                             "--gres=gpu:4",
                             "--gres=gpu:a100:4",
                             "--gres=gpu",
                             "--gres=none",
                             "-G 8",
                             "--gpus=8 --gpus-per-node=4",
                             "--mem=0",
                             "--mem=200GB",
                             "--signal=B:USR1@120",
                             "--signal=SIGTERM@60",
                             "--signal=10",
                             "--mail-type=end,fail",
                             "--exclusive",
                             "--exclusive=user",
                             "--time-min=00:10:00",
                             "--nice --hold",
                             "--ntasks=8",
                             "--mem=0 # all of it",
                             "# a comment"}) {
    const auto all = findings(slurm(option), "perlmutter");
    EXPECT_TRUE(all.empty()) << option << ":\n" << shown(all);
  }
  for (const Case& c : cases) {
    const auto all = findings(c.script, c.machine);
    EXPECT_TRUE(all.empty()) << c.name << ":\n" << shown(all);
  }
}

TEST(JobLintForms, WhatIsNotUnderstoodIsSaid) {
  const auto notes = [](const std::string& script, const char* machine) {
    std::string rules;
    for (const LintFinding& f : findings(script, machine))
      if (f.severity == LintSeverity::note) rules += fmt::format("{}:{} ", f.rule, f.line);
    return rules;
  };
  EXPECT_EQ(notes(pbs("-W group_list=biology"), "polaris"), "attribute:11 ");
  EXPECT_EQ(notes(pbs("-W x=PARTITION:a"), "polaris"), "attribute:11 ");
  EXPECT_EQ(notes(pbs("-C #Q"), "polaris"), "");  // a comment to us, as it is to PBS
  EXPECT_EQ(notes(pbs("-C %Q"), "polaris"), "option-value:11 ");
  EXPECT_EQ(notes(slurm("--gres=nvme:1"), "perlmutter"), "gpus-format:10 ");
  EXPECT_EQ(notes(slurm("--gpus-per-socket=4"), "perlmutter"), "gpus-node:10 ");
  EXPECT_EQ(notes(slurm("--nonsence=4"), "perlmutter"), "option:10 ");
  EXPECT_EQ(
      notes(with(slurm("--gpus-per-task=1"), "#SBATCH --ntasks-per-node=4\n", ""), "perlmutter"),
      "gpus-node:9 ");
}

TEST(JobLintForms, ArraysAndGpusAreCounted) {
  const auto width = [](const char* text, SchedulerKind kind) {
    const auto array = parse_array(text, kind);
    return array ? array->width : -1;
  };
  EXPECT_EQ(width("1,3,7-9%2", SchedulerKind::slurm), 5);
  EXPECT_EQ(width("0-31:4,31", SchedulerKind::slurm), 9);
  EXPECT_EQ(width("1,1-2", SchedulerKind::slurm), 2);
  EXPECT_EQ(width("1,3", SchedulerKind::pbs), -1);
  EXPECT_EQ(width("0-99:10%3", SchedulerKind::pbs), 10);
  EXPECT_EQ(parse_array("1-9%2", SchedulerKind::slurm)->at_once, 2);
  EXPECT_EQ(parse_array("1-9%0", SchedulerKind::slurm)->at_once, std::nullopt);
  const auto gpus = parse_gpus({.name = "gres", .value = "gpu:a100:4,nvme:1,gpu"});
  ASSERT_EQ(gpus.size(), 3u);
  EXPECT_EQ(gpus[0].type, "a100");
  EXPECT_EQ(gpus[0].count, 4);
  EXPECT_EQ(gpus[1].other, "nvme");
  EXPECT_EQ(gpus[2].count, 1);
}

}  // namespace
}  // namespace weft
