// Job scripts that pass, places of them changed, and what the linter finds in them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cli/jobs/weft_line.h"
#include "plan/job_lint.h"

namespace weft {

inline const char* const kPolaris = R"(#!/bin/bash -l
#PBS -N eng
#PBS -A biology
#PBS -q debug-scaling
#PBS -l select=4:system=polaris
#PBS -l place=scatter
#PBS -l walltime=0:30:00
#PBS -l filesystems=home:eagle
#PBS -j oe
#PBS -r y

cd "${PBS_O_WORKDIR}"
cp /eagle/biology/tokens.h5 tokens.h5
NNODES=$(sort -u "${PBS_NODEFILE}" | wc -l)
PPN=4
mpiexec -n $((NNODES * PPN)) --ppn ${PPN} --depth=8 --cpu-bind depth \
  --env OMP_NUM_THREADS=8 weft train --data tokens.h5 --out run --steps 100 \
  --width 256 --heads 4 --layers 4 --tp 4
)";

inline const char* const kSophia = R"(#!/bin/bash -l
#PBS -A biology
#PBS -q by-node
#PBS -l select=2:system=sophia
#PBS -l place=scatter
#PBS -l walltime=1:00:00
#PBS -l filesystems=home:eagle
#PBS -r y
cd "$PBS_O_WORKDIR"
cp /eagle/biology/tokens.h5 tokens.h5
NNODES=$(sort -u "$PBS_NODEFILE" | wc -l)
mpiexec -n $((8 * NNODES)) --hostfile "$PBS_NODEFILE" --map-by ppr:8:node:PE=16 --bind-to core \
  -x OMP_NUM_THREADS=16 weft train --data tokens.h5 --out run --steps 9 --width 256 --heads 8 --tp 8
)";

inline const char* const kPerlmutter = R"(#!/bin/bash
#SBATCH --account=m1234
#SBATCH --qos=regular
#SBATCH --constraint=gpu
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=00:30:00
#SBATCH --requeue
cp /pscratch/biology/tokens.h5 tokens.h5
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
srun --cpu-bind=cores weft train --data tokens.h5 --out run --steps 9 --width 256 --heads 4 --tp 4
)";

// `text` with one place changed.
inline std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}
inline std::string polaris(const std::string& from, const std::string& to) {
  return with(kPolaris, from, to);
}
inline std::string sophia(const std::string& from, const std::string& to) {
  return with(kSophia, from, to);
}
inline std::string perlmutter(const std::string& from, const std::string& to) {
  return with(kPerlmutter, from, to);
}

inline std::vector<LintFinding> findings(const std::string& script, const char* machine) {
  static std::map<std::string, Machine> machines;
  if (!machines.contains(machine))
    machines[machine] =
        read_machine(std::filesystem::path(WEFT_SOURCE_DIR) / "launch" / machine / "machine.toml");
  return lint_job("job", script, machines[machine],
                  {WEFT_TEST_DATA, [](const WeftQuestion& q) { return read_weft_line(q); }});
}

inline std::string shown(const std::vector<LintFinding>& all) {
  std::string out;
  for (const LintFinding& f : all)
    out += fmt::format("  {}: {} {}: {} [{}]\n", f.line, severity_name(f.severity), f.rule, f.text,
                       f.fix);
  return out;
}

struct Case {
  const char* name;
  std::string script;
  int line;
  const char* rule;
  const char* machine = "polaris";
};

// Each has one error and no more.
inline void expect_broken(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const auto all = findings(c.script, c.machine);
    std::vector<LintFinding> errors;
    for (const LintFinding& f : all)
      if (f.severity == LintSeverity::error) errors.push_back(f);
    ASSERT_EQ(errors.size(), 1u) << c.name << ":\n" << shown(all);
    EXPECT_EQ(errors[0].rule, c.rule) << c.name << ":\n" << shown(all);
    EXPECT_EQ(errors[0].line, c.line) << c.name << ":\n" << shown(all);
    EXPECT_FALSE(errors[0].text.empty());
  }
}

// Each has no error, and of warnings this one alone.
inline void expect_doubtful(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const auto all = findings(c.script, c.machine);
    std::set<std::pair<std::string, int>> said;
    for (const LintFinding& f : all) {
      EXPECT_NE(f.severity, LintSeverity::error) << c.name << ":\n" << shown(all);
      if (f.severity == LintSeverity::warning) said.insert({f.rule, f.line});
    }
    EXPECT_EQ(said, (std::set<std::pair<std::string, int>>{{c.rule, c.line}})) << c.name << ":\n"
                                                                               << shown(all);
  }
}

}  // namespace weft
