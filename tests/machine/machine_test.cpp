// Machine descriptions: those that we ship, the round trip, and what a wrong file is told.
#include "machine/machine.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/check.h"
#include "io/files.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

Machine shipped(const char* name) {
  return read_machine(fs::path(WEFT_SOURCE_DIR) / "launch" / name / "machine.toml");
}

// Of a file with this text.
Machine read_text(const std::string& text) {
  const fs::path file = fs::path(testing::TempDir()) / "a_machine.toml";
  write_file_atomically(file, text);
  return read_machine(file);
}

std::string refusal(const std::string& text) {
  try {
    read_text(text);
  } catch (const UserError& error) {
    const std::string what = error.what();
    return what.substr(what.find("a_machine.toml") == std::string::npos ? 0 : what.find(": ") + 2);
  }
  return "";
}

TEST(Machine, ShippedOnesAreReadAndWrittenAlike) {
  int n = 0;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(fs::path(WEFT_SOURCE_DIR) / "launch")) {
    const fs::path file = entry.path() / "machine.toml";
    if (!fs::exists(file)) continue;
    ++n;
    const Machine machine = read_machine(file);
    EXPECT_EQ(machine.name, entry.path().filename());
    for (const std::string& source : {machine.source, machine.node.source, machine.peaks.source,
                                      machine.links.source, machine.scheduler.source})
      EXPECT_FALSE(source.empty()) << file << ": a group does not name its source";
    const std::string written = machine_toml(machine);
    const Machine again = read_text(written);
    EXPECT_EQ(machine_toml(again), written);
    // All that the file says is in what is written: no key that is read is forgotten there.
    EXPECT_EQ(again.queues.size(), machine.queues.size());
    EXPECT_EQ(again.scheduler.chunk_resources, machine.scheduler.chunk_resources);
    EXPECT_EQ(again.scheduler.constraints, machine.scheduler.constraints);
    EXPECT_EQ(again.file_systems.size(), machine.file_systems.size());
    EXPECT_EQ(again.links.source, machine.links.source);
  }
  EXPECT_GE(n, 3);
}

TEST(Machine, PolarisHoldsItsFacts) {
  const Machine m = shipped("polaris");
  EXPECT_EQ(m.node.gpus, 4);
  EXPECT_EQ(m.scheduler.kind, SchedulerKind::pbs);
  EXPECT_EQ(m.launcher.dialect, LauncherDialect::pals);
  EXPECT_EQ(m.scheduler.max_ncpus, 64);
  ASSERT_EQ(m.queues.size(), 9u);
  EXPECT_EQ(m.queues[2].routes_to, (std::vector<std::string>{"small", "medium", "large"}));
  EXPECT_TRUE(m.queues[2].is_default);
}

TEST(Machine, WrongFilesAreToldTheKeyAndWhatIsAllowed) {
  const std::string named = "name = \"x\"\n";
  EXPECT_EQ(refusal(named + "[node]\ncoers = 3\n")
                .find("line 3: [node] has no key 'coers' (did "
                      "you mean 'cores'?); allowed: count, cpu"),
            0u);
  EXPECT_EQ(refusal(named + "nodes = 3\n").find("line 2: a machine has no key 'nodes'"), 0u);
  EXPECT_EQ(refusal(named + "[node]\ncores = \"many\"\n"),
            "line 3: node.cores must be a whole number");
  EXPECT_EQ(refusal(named + "[node]\ncores = -1\n"),
            "line 3: node.cores is -1; allowed: 0 to 16777216");
  EXPECT_EQ(refusal(named + "[node]\nmemory_gib = nan\n"),
            "line 3: node.memory_gib must be a number that is 0 or more");
  EXPECT_EQ(refusal(named + "node = 3\n"), "line 2: node must be a table: [node]");
  EXPECT_EQ(refusal(named + "[queues]\nname = \"a\"\n"),
            "line 2: queues must be a list of tables: [[queues]]");
  EXPECT_EQ(refusal(named + "[launcher]\ndialect = \"alps\"\n"),
            "line 3: launcher.dialect is 'alps'; allowed: pals, open_mpi, hydra, srun");
  EXPECT_EQ(
      refusal(named + "[scheduler]\nrequired = [\"wall\"]\n"),
      "line 3: scheduler.required is 'wall'; allowed: account, walltime, select, filesystems, "
      "constraint, queue");
  EXPECT_EQ(refusal("site = \"y\"\n"), "name is missing: what --machine calls this machine");
  EXPECT_EQ(refusal(named + "[node]\ngpus = 2\n[[gpus]]\nid = 0\n"),
            "node.gpus is 2, but there are 1 [[gpus]]");
  EXPECT_EQ(refusal(named + "[node]\ngpus = 1\n[[gpus]]\nid = 0\nnuma = 4\n"),
            "gpu 0 has numa = 4; allowed: -1 to 0");
  EXPECT_EQ(refusal(named + "[[queues]]\nname = \"a\"\nroutes_to = [\"other\"]\n"),
            "queue a routes to 'other', which is none of [[queues]]");
  EXPECT_EQ(refusal(named + "[[queues]]\nname = \"a\"\nmin = 3\nmax = 2\n"),
            "queue a: min is 3, above max, 2");
  EXPECT_NE(refusal("name = \n").find("line 1: "), std::string::npos);
}

TEST(Machine, AreFoundByFile) {
  const fs::path file = fs::path(WEFT_SOURCE_DIR) / "launch/sophia/machine.toml";
  EXPECT_EQ(find_machine(file.string()).name, "sophia");
  EXPECT_THROW(find_machine("no/such.toml"), UserError);
  EXPECT_THROW(find_machine("polariss"), UserError);
}

}  // namespace
}  // namespace weft
