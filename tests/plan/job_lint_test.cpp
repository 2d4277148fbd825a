// Broken job scripts, each refused by one rule at its line; and good ones, which pass.
#include "core/check.h"
#include "io/files.h"
#include "plan/lint_scripts.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

// Each has one error and no more.
std::vector<Case> broken() {
  return {
      {"no project", polaris("#PBS -A biology\n", ""), 2, "account"},
      {"no walltime", polaris("#PBS -l walltime=0:30:00\n", ""), 2, "walltime"},
      {"no file systems", polaris("#PBS -l filesystems=home:eagle\n", ""), 2, "filesystems"},
      {"no select", polaris("#PBS -l select=4:system=polaris\n", ""), 2, "select"},
      {"grand is gone", polaris("home:eagle", "home:grand:eagle"), 8, "filesystem"},
      {"unknown file system", polaris("home:eagle", "home:eagel"), 8, "filesystem"},
      {"file systems by comma", polaris("home:eagle", "home,eagle"), 8, "resource"},
      {"mistyped filesystems", polaris("filesystems=", "filesystem="), 8, "resource"},
      {"mistyped walltime", polaris("walltime=0:30:00", "waltime=0:30:00"), 7, "resource"},
      {"ncpus for the whole job", polaris("place=scatter", "place=scatter,ncpus=64"), 6,
       "resource"},
      {"walltime in a chunk", polaris("system=polaris", "system=polaris:walltime=1:00:00"), 5,
       "select-format"},
      {"file systems in a chunk",
       polaris("system=polaris\n", "system=polaris:filesystems=home:eagle\n"), 5, "select-format"},
      {"nodes and ppn", polaris("select=4:system=polaris", "nodes=4:ppn=4"), 5, "select"},
      {"unknown chunk resource", polaris("system=polaris", "system=polaris:ngpu=4"), 5, "resource"},
      {"select without a number", polaris("select=4:", "select=four:"), 5, "select-format"},
      {"select of nothing", polaris("select=4:", "select=0:"), 5, "select-format"},
      {"ncpus of all nodes", polaris("system=polaris", "ncpus=256:system=polaris"), 5, "ncpus"},
      {"ngpus of all nodes", polaris("system=polaris", "ngpus=16:system=polaris"), 5, "ngpus"},
      {"more memory than a node", polaris("system=polaris", "mem=600gb:system=polaris"), 5,
       "chunk-memory"},
      {"another system", polaris("system=polaris", "system=sophia"), 5, "system"},
      {"unknown queue", polaris("debug-scaling", "debug_scaling"), 4, "queue"},
      {"a queue behind prod", polaris("debug-scaling", "small"), 4, "queue-unavailable"},
      {"too many nodes for debug", polaris("debug-scaling", "debug"), 5, "queue-size"},
      {"too few nodes for prod", polaris("debug-scaling", "prod"), 5, "queue-size"},
      {"no queue is prod", polaris("#PBS -q debug-scaling\n", ""), 4, "queue-size"},
      {"too many nodes for preemptable",
       with(polaris("debug-scaling", "preemptable"), "select=4", "select=11"), 5, "queue-size"},
      {"too long for debug-scaling", polaris("0:30:00", "2:00:00"), 7, "queue-walltime"},
      {"a minute by mistake", polaris("0:30:00", "1:00"), 7, "queue-walltime"},
      {"seconds", polaris("0:30:00", "30"), 7, "queue-walltime"},
      {"walltime with a unit", polaris("0:30:00", "30m"), 7, "walltime-format"},
      {"walltime of four fields", polaris("0:30:00", "0:00:30:00"), 7, "walltime-format"},
      {"walltime in words", polaris("0:30:00", "HH:MM:SS"), 7, "walltime-format"},
      {"small for a day",
       with(with(polaris("debug-scaling", "prod"), "select=4", "select=10"), "0:30:00", "24:00:00"),
       7, "queue-route"},
      {"medium for seven hours",
       with(with(polaris("debug-scaling", "prod"), "select=4", "select=64"), "0:30:00", "07:00:00"),
       7, "queue-route"},
      {"late directive", polaris("NNODES=", "#PBS -m be\nNNODES="), 14, "directive-late"},
      {"project behind a command",
       with(polaris("#PBS -A biology\n", ""), "PPN=4", "PPN=4\n#PBS -A biology"), 15,
       "directive-late"},
      {"a comment behind a directive", polaris("-A biology", "-A biology  # my project"), 3,
       "directive-comment"},
      {"a comment behind a queue", polaris("-q debug-scaling", "-q debug-scaling #or prod"), 4,
       "directive-comment"},
      {"blank behind a comma", polaris("place=scatter", "place=scatter, min_walltime=0:10:00"), 6,
       "directive-words"},
      {"depend without -W", polaris("-j oe", "depend=afterany:12"), 9, "directive-words"},
      {"a name of two words", polaris("-N eng", "-N my run"), 2, "directive-words"},
      {"a variable in select", polaris("select=4", "select=$NODES"), 5, "directive-variable"},
      {"a variable for the project", polaris("-A biology", "-A $PROJECT"), 3, "directive-variable"},
      {"an option that qsub lacks", polaris("-j oe", "-t 1-10"), 9, "option"},
      {"a long option", polaris("-j oe", "--time=1:00:00"), 9, "option"},
      {"join of other letters", polaris("-j oe", "-j yes"), 9, "option-value"},
      {"rerun yes", polaris("-r y", "-r yes"), 10, "option-value"},
      {"keep", polaris("-j oe", "-k oe"), 9, "keep"},
      {"unknown dependency", polaris("-j oe", "-W depend=aftrok:12"), 9, "depend"},
      {"dependency on nothing", polaris("-j oe", "-W depend=afterany"), 9, "depend"},
      {"unknown place", polaris("place=scatter", "place=scater"), 6, "place-format"},
      {"a wide array in prod",
       with(with(polaris("debug-scaling", "prod"), "select=4", "select=10"), "-j oe", "-J 0-99"), 9,
       "array-width"},
      {"a throttle that is too wide",
       with(polaris("debug-scaling", "preemptable"), "-j oe", "-J 0-99%40"), 9, "array-width"},
      {"an array in debug",
       with(with(polaris("debug-scaling", "debug"), "select=4", "select=2"), "-j oe", "-J 1-4"), 9,
       "array-width"},
      {"an array of one number", polaris("-j oe", "-J 10"), 9, "array-format"},
      {"a chain in debug-scaling", std::string(kPolaris) + "qsub next.pbs\n", 19, "chain-queue"},
      {"Windows' line ends", with(kPolaris, "-l\n", "-l\r\n"), 1, "carriage-returns"},
      {"Slurm's directives", "#!/bin/bash\n#SBATCH -N 2\n#SBATCH -t 10\nsrun weft info\n", 2,
       "dialect"},
      {"Cobalt's directives", "#!/bin/bash\n#COBALT -n 2\naprun weft info\n", 2, "dialect"},
      {"srun",
       polaris("mpiexec -n $((NNODES * PPN)) --ppn ${PPN} --depth=8 --cpu-bind depth",
               "srun -n $((NNODES * PPN)) --ntasks-per-node=${PPN}"),
       16, "launcher"},
      {"Open MPI's options", polaris("--depth=8 --cpu-bind depth", "--bind-to core"), 16,
       "launcher-option"},
      {"ranks for more nodes", polaris("NNODES * PPN)", "2 * NNODES * PPN)"), 16, "ranks-nodes"},
      {"nodes without ranks", polaris("-n $((NNODES * PPN))", "-n ${PPN}"), 16, "idle-nodes"},
      {"hard-coded ranks", polaris("-n $((NNODES * PPN))", "-n 8"), 16, "idle-nodes"},
      {"no launcher",
       polaris("mpiexec -n $((NNODES * PPN)) --ppn ${PPN} --depth=8 --cpu-bind "
               "depth \\\n  --env OMP_NUM_THREADS=8 weft",
               "weft"),
       16, "idle-nodes"},
      {"a grid of fewer ranks", polaris("--tp 4", "--tp 4 --pp 2 --dp 1"), 16, "ranks-grid"},
      {"a grid that does not divide", polaris("--tp 4", "--tp 1 --pp 3"), 16, "ranks-grid"},
      {"tp across nodes", with(polaris("--tp 4", "--tp 8"), "--heads 4", "--heads 8"), 16,
       "tp-node"},
      {"a mistyped option of weft", polaris("--steps 100", "--stepps 100"), 16, "weft-options"},
      {"a value that weft refuses", polaris("--steps 100", "--steps many"), 16, "weft-options"},
      {"too many heads for tp", polaris("--heads 4", "--heads 2"), 16, "weft-options"},
      {"memory of a node",
       polaris("--width 256 --heads 4 --layers 4 --tp 4",
               "--width 16384 --heads 64 --layers 96 --tp 1"),
       16, "memory"},
      {"no program",
       polaris("--env OMP_NUM_THREADS=8 weft train --data tokens.h5 --out run --steps "
               "100 \\\n  --width 256 --heads 4 --layers 4 --tp 4\n",
               "--env OMP_NUM_THREADS=8\n"),
       16, "not-understood"},
      {"three GPUs",
       "#!/bin/bash\n#PBS -A b\n#PBS -l select=3,walltime=1:00:00,filesystems=eagle\n"
       "#PBS -r y\nnvidia-smi\n",
       3, "queue-size", "sophia"},
      {"16 GPUs as by-gpu", sophia("#PBS -q by-node\n#PBS -l select=2:", "#PBS -l select=16:"), 3,
       "queue-size", "sophia"},
      {"more nodes than by-node has", sophia("select=2", "select=16"), 4, "queue-size", "sophia"},
      {"bigmem", with(sophia("by-node", "bigmem"), "select=2", "select=1"), 3, "queue-unavailable",
       "sophia"},
      {"Polaris's queue", sophia("by-node", "debug"), 3, "queue", "sophia"},
      {"PALS's options", sophia("--map-by ppr:8:node:PE=16 --bind-to core", "--ppn 8 --depth 16"),
       12, "launcher-option", "sophia"},
      {"Polaris's script", sophia("system=sophia", "system=polaris"), 4, "system", "sophia"},
      {"ranks of one node", sophia("-n $((8 * NNODES))", "-n 8"), 12, "idle-nodes", "sophia"},
      {"no account", perlmutter("#SBATCH --account=m1234\n", ""), 2, "account", "perlmutter"},
      {"no time", perlmutter("#SBATCH --time=00:30:00\n", ""), 2, "walltime", "perlmutter"},
      {"no constraint", perlmutter("#SBATCH --constraint=gpu\n", ""), 2, "constraint",
       "perlmutter"},
      {"no qos", perlmutter("#SBATCH --qos=regular\n", ""), 2, "queue", "perlmutter"},
      {"too long for debug", with(perlmutter("regular", "debug"), "00:30:00", "1:00:00"), 8,
       "queue-walltime", "perlmutter"},
      {"too many nodes for debug", with(perlmutter("regular", "debug"), "nodes=2", "nodes=9"), 5,
       "queue-size", "perlmutter"},
      {"mistyped option of sbatch", perlmutter("--cpus-per-task", "--cpu-per-task"), 7, "option",
       "perlmutter"},
      {"sbatch without #!", perlmutter("#!/bin/bash\n", ""), 1, "shebang", "perlmutter"},
      {"late #SBATCH", with(kPerlmutter, "export OMP", "#SBATCH --mem=0\nexport OMP"), 11,
       "directive-late", "perlmutter"},
      {"PBS's directives", kPolaris, 2, "dialect", "perlmutter"},
  };
}

TEST(JobLint, BrokenScriptsAreRefusedByTheRightRule) {
  expect_broken(broken());
  EXPECT_GE(broken().size(), 45u);
}

// Each has no error, and of warnings this one alone.
TEST(JobLint, DoubtfulScriptsAreWarnedOf) {
  const std::vector<Case> cases = {
      {"no rerun", polaris("#PBS -r y\n", ""), 2, "rerun"},
      {"placeholder", polaris("-A biology", "-A PROJECT"), 3, "placeholder"},
      {"placeholder in brackets", polaris("-A biology", "-A <project>"), 3, "placeholder"},
      {"no shebang", polaris("#!/bin/bash -l\n", ""), 1, "shebang"},
      {"no place", polaris("#PBS -l place=scatter\n", ""), 5, "place"},
      {"one node for all", polaris("place=scatter", "place=pack"), 6, "place"},
      {"a blank in front of PBS", polaris("#PBS -j oe", "# PBS -j oe"), 9, "directive-typo"},
      {"no blank", polaris("#PBS -j oe", "#PBS-j oe"), 9, "directive-typo"},
      {"lower case", polaris("#PBS -j oe", "#pbs -j oe"), 9, "directive-typo"},
      {"a folder that is not there", polaris("-j oe", "-o no/such/folder/"), 9, "output-folder"},
      {"a folder of no file system", polaris("-j oe", "-e /nosuch/log"), 9, "output-folder"},
      {"a chain by afterok",
       with(polaris("-j oe", "-W depend=afterok:1234"), "debug-scaling", "preemptable"), 9,
       "chain-afterok"},
      {"a chain by afterok of its own",
       with(kPolaris, "debug-scaling", "preemptable") +
           "j=$(qsub a.pbs)\nqsub -W depend=afterok:$j b.pbs\n",
       20, "chain-afterok"},
      {"few threads", with(polaris("--depth=8", "--depth=2"), "THREADS=8", "THREADS=2"), 16,
       "threads"},
      {"many threads", with(polaris("--depth=8", "--depth=16"), "THREADS=8", "THREADS=16"), 16,
       "threads"},
      {"threads that are not bound", polaris("OMP_NUM_THREADS=8", "OMP_NUM_THREADS=32"), 16,
       "threads"},
      {"a recipe that is not there", polaris("--data", "--config no/recipe.toml --data"), 16,
       "missing-file"},
      {"data that is not there", polaris("cp /eagle/biology/tokens.h5 tokens.h5\n", ""), 15,
       "missing-file"},
      {"no cd", with(polaris("cd \"${PBS_O_WORKDIR}\"\n", ""), "weft train", "./weft train"), 15,
       "working-folder"},
      {"an old module", polaris("PPN=4", "PPN=4; module load PrgEnv-nvhpc"), 15, "module"},
      {"a path on grand", polaris("PPN=4", "PPN=4; ls /grand/biology"), 15, "filesystem-use"},
      {"a file system not asked for", polaris("home:eagle", "home"), 13, "filesystem-use"},
      {"a variable that is never set", polaris("-n $((NNODES * PPN))", "-n $((NODES * PPN))"), 16,
       "not-understood"},
      {"no ranks a node", polaris("--ppn ${PPN} ", ""), 16, "ranks-spread"},
      {"GPU-aware MPI", polaris("PPN=4", "PPN=4; export MPICH_GPU_SUPPORT_ENABLED=1"), 16,
       "gpu-aware-mpi"},
      {"two GPUs of four",
       with(with(polaris("PPN=4", "PPN=2"), "--tp 4", "--tp 2 --device cuda"), "--depth=8",
            "--depth=16"),
       16, "gpus"},
      {"a bracket that is not closed", std::string(kPolaris) + "if true; then\n", 19,
       "not-understood"},
      {"an index without an array", polaris("--out run", "--out run-$PBS_ARRAY_INDEX"), 16,
       "array-index"},
      {"walltime twice", polaris("-j oe", "-l walltime=0:20:00"), 9, "duplicate"},
      {"mpiexec of Slurm", perlmutter("srun --cpu-bind=cores", "mpiexec -n 8 -ppn 4"), 12,
       "launcher", "perlmutter"},
      {"all nodes of the machine",
       with(with(polaris("debug-scaling", "prod"), "select=4", "select=490"), "--tp 4", "--tp 4"),
       5, "queue-advice"},
  };
  expect_doubtful(cases);
}

TEST(JobLint, GoodScriptsPass) {
  const std::vector<Case> cases = {
      {"Polaris", kPolaris, 0, ""},
      {"Sophia", kSophia, 0, "", "sophia"},
      {"Perlmutter", kPerlmutter, 0, "", "perlmutter"},
      {"comments between directives", polaris("#PBS -j oe", "# mail\n#PBS -m abe"), 0, ""},
      {"directives switched off", polaris("#PBS -j oe", "##PBS -q prod"), 0, ""},
      {"all in one line",
       polaris("select=4:system=polaris\n#PBS -l place=scatter\n#PBS -l walltime=0:30:00",
               "select=4:system=polaris,place=scatter,walltime=0:30:00"),
       0, ""},
      {"output on the machine's file system", polaris("-j oe", "-o /eagle/biology/logs/"), 0, ""},
      {"chunks by racks", polaris("place=scatter", "place=scatter:group=tier0"), 0, ""},
      {"some nodes by name",
       polaris("select=4:system=polaris", "select=1:vnode=x3001+3:system=polaris"), 0, ""},
      {"small",
       with(with(polaris("debug-scaling", "prod"), "select=4", "select=24"), "0:30:00", "3:00:00"),
       0, ""},
      {"medium",
       with(with(polaris("debug-scaling", "prod"), "select=4", "select=25"), "0:30:00", "6:00:00"),
       0, ""},
      {"prod by default",
       with(with(polaris("#PBS -q debug-scaling\n", ""), "select=4", "select=100"), "0:30:00",
            "24:00:00"),
       0, ""},
      {"preemptable for days", with(polaris("debug-scaling", "preemptable"), "0:30:00", "72:00:00"),
       0, ""},
      {"an array in prod",
       with(with(polaris("debug-scaling", "prod"), "select=4", "select=10"), "-j oe", "-J 0-99%10"),
       0, ""},
      {"a small array", with(polaris("debug-scaling", "preemptable"), "-j oe", "-J 0-9"), 0, ""},
      {"keep, the words in another order", polaris("-j oe", "-k oed"), 0, ""},
      {"a chain by afterany",
       with(kPolaris, "debug-scaling", "preemptable") +
           "qsub -W depend=afterany:${PBS_JOBID} next.pbs\n",
       0, ""},
      {"qsub's words elsewhere", std::string(kPolaris) + "echo qsub -W depend=afterok:1\n", 0, ""},
      {"the nodefile's lines",
       polaris("sort -u \"${PBS_NODEFILE}\" | wc -l", "wc -l < $PBS_NODEFILE"), 0, ""},
      {"backticks", polaris("$(sort -u \"${PBS_NODEFILE}\" | wc -l)", "`wc -l < $PBS_NODEFILE`"), 0,
       ""},
      {"the other spelling of PALS's options",
       polaris("--ppn ${PPN} --depth=8 --cpu-bind depth", "-ppn ${PPN} -d 8 --cpu-bind depth"), 0,
       ""},
      {"a wrapper for the GPUs", polaris("weft train", "./set_affinity.sh weft train"), 0, ""},
      {"a helper on one node first", polaris("PPN=4", "PPN=4\nmpiexec -n 1 --ppn 1 hostname"), 0,
       ""},
      {"dp named", polaris("--tp 4", "--tp 2 --pp 2 --dp 4"), 0, ""},
      {"job.sh's launch",
       polaris("mpiexec -n $((NNODES * PPN)) --ppn ${PPN} --depth=8 --cpu-bind depth \\\n  --env "
               "OMP_NUM_THREADS=8 weft",
               "weft_launch -n $((NNODES * PPN)) --ppn ${PPN} --depth 8 \"$WEFT\""),
       0, ""},
      {"halves of the job side by side",
       polaris("mpiexec -n $((NNODES * PPN))",
               "mpiexec -n $((NNODES / 2 * PPN)) --hostfile a --ppn 4 ./other &\nmpiexec -n "
               "$((NNODES / 2 * PPN)) --hostfile b"),
       0, ""},
      {"a launch for each grid",
       polaris("mpiexec -n $((NNODES * PPN))",
               "for n in 1 2 4; do mpiexec -n $((n * 4)) --ppn 4 ./bench; done\nmpiexec -n "
               "$((NNODES * PPN))"),
       0, ""},
      {"a program that is not weft",
       polaris("weft train --data tokens.h5 --out run --steps 100 \\\n  --width 256 --heads 4 "
               "--layers 4 --tp 4",
               "/eagle/biology/a.out --tp 3"),
       0, ""},
      {"Open MPI's -N", sophia("--map-by ppr:8:node:PE=16 --bind-to core", "-N 8 --bind-to none"),
       0, "", "sophia"},
      {"four GPUs",
       "#!/bin/bash\n#PBS -A b\n#PBS -l select=4,walltime=1:00:00,filesystems=eagle\n#PBS -r y\n"
       "mpiexec -n 4 -N 4 weft train --data /eagle/t.h5 --out /eagle/o --steps 1 --tp 4 --device "
       "cuda\n",
       0, "", "sophia"},
      {"Slurm's letters",
       perlmutter("#SBATCH --account=m1234\n#SBATCH --qos=regular\n#SBATCH --constraint=gpu\n"
                  "#SBATCH --nodes=2\n",
                  "#SBATCH -A m1234 -q regular\n#SBATCH -C gpu\n#SBATCH -N2\n"),
       0, "", "perlmutter"},
      {"srun's own numbers",
       perlmutter("srun --cpu-bind=cores", "srun -N 2 -n 8 --ntasks-per-node=4 -c 16"), 0, "",
       "perlmutter"},
  };
  for (const Case& c : cases) {
    const auto all = findings(c.script, c.machine);
    for (const LintFinding& f : all) {
      const bool far = f.rule == "missing-file" && std::string(c.name) == "four GPUs";
      EXPECT_TRUE(f.severity == LintSeverity::note || far) << c.name << ":\n" << shown(all);
    }
  }
}

TEST(JobLint, RecipesAreRead) {
  const fs::path folder = fs::path(testing::TempDir()) / "lint_recipes";
  make_folder(folder);
  write_file_atomically(folder / "good.toml", "[parallel]\ntp = 4\npp = 2\n");
  write_file_atomically(folder / "bad.toml", "[parallel]\ntpp = 4\n");
  const auto errors_of = [&](const std::string& recipe) {
    std::string rules;
    for (const LintFinding& f :
         findings(polaris("--tp 4", "--config " + (folder / recipe).string()), "polaris"))
      if (f.severity == LintSeverity::error) rules += f.rule + " ";
    return rules;
  };
  EXPECT_EQ(errors_of("good.toml"), "");
  EXPECT_EQ(errors_of("bad.toml"), "recipe ");
  write_file_atomically(folder / "good.toml", "[parallel]\ntp = 4\npp = 3\n");
  EXPECT_EQ(errors_of("good.toml"), "ranks-grid ");
}

TEST(JobLint, WhatIsNotUnderstoodIsSaid) {
  for (const std::string& script :
       {polaris("--tp 4", "--tp $TP"), polaris("-n $((NNODES * PPN))", "-n $(my_ranks)"),
        polaris("--tp 4", "--model /eagle/none")}) {
    bool said = false;
    for (const LintFinding& f : findings(script, "polaris"))
      said |= f.severity == LintSeverity::note;
    EXPECT_TRUE(said) << script;
  }
}

TEST(JobLint, AJobWithoutDirectivesIsRefused) {
  try {
    findings("#!/bin/bash\nweft info\n", "polaris");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "job: a job without directives: no line begins with #PBS");
  }
  EXPECT_THROW(findings("", "polaris"), UserError);
}

TEST(JobLint, RulesHaveNamesOfTheirOwn) {
  const std::vector<std::string> names = lint_rules();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  EXPECT_GT(names.size(), 45u);
}

}  // namespace
}  // namespace weft
