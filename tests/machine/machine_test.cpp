// Machine descriptions: those that we ship, the round trip, and what a wrong file is told.
#include "machine/machine.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "core/check.h"
#include "io/files.h"
#include "machine/bandwidth.h"

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
    EXPECT_EQ(again.collectives.size(), machine.collectives.size());
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

// alcf.md's table: nccl-tests, 1 GiB, with the plugin.
TEST(Bandwidth, IsThePublishedOneOfTheNextFewerNodes) {
  const Machine polaris = shipped("polaris"), sophia = shipped("sophia");
  const auto of = [](const Machine& m, const char* collective, std::int64_t nodes,
                     const char* network = "full") {
    const auto said = described_bandwidth(m, collective, {.nodes = nodes}, network);
    return said && said->is_measured ? said->gb_per_s : 0;
  };
  for (const auto& [nodes, gb_per_s] : std::map<std::int64_t, double>{
           {2, 36.1}, {4, 36.1}, {8, 36.1}, {255, 36.1}, {256, 30.3}, {540, 29.1}, {560, 29.1}})
    EXPECT_EQ(of(polaris, "all_reduce", nodes), gb_per_s) << nodes;
  for (const auto& [nodes, gb_per_s] : std::map<std::int64_t, double>{
           {2, 35.9}, {8, 35.8}, {127, 35.8}, {128, 32.5}, {256, 24.5}, {540, 11.4}})
    EXPECT_EQ(of(polaris, "all_gather", nodes), gb_per_s) << nodes;
  EXPECT_EQ(of(polaris, "start_all_reduce and wait", 2), 36.1);
  EXPECT_EQ(of(polaris, "all_reduce", 8, "sockets"), 5.98);
  EXPECT_EQ(of(polaris, "all_reduce", 8, "no-gdr"), 12.8);
  EXPECT_EQ(of(sophia, "all_reduce", 2), 178.2);
  EXPECT_EQ(of(sophia, "all_gather", 8), 177.0);
}

TEST(Bandwidth, IsTheLinksWhereNothingWasMeasured) {
  const Machine polaris = shipped("polaris");
  const auto stated = [](const Machine& m, const char* collective, const GroupPlace& place) {
    const auto said = described_bandwidth(m, collective, place);
    return said && !said->is_measured ? said->gb_per_s : 0;
  };
  // 600 both ways, of which Polaris's GPUs have a third to each other; Sophia's have a switch.
  EXPECT_EQ(stated(polaris, "all_reduce", {.ranks_on_node = 4}), 300);
  EXPECT_EQ(stated(polaris, "all_reduce", {.ranks_on_node = 3}), 200);
  EXPECT_EQ(stated(polaris, "all_reduce", {.ranks_on_node = 2, .beside = 2}), 100);
  EXPECT_EQ(stated(shipped("sophia"), "all_reduce", {.ranks_on_node = 2, .beside = 4}), 300);
  EXPECT_EQ(stated(polaris, "broadcast", {.nodes = 2}), 50);  // two NICs
  EXPECT_EQ(stated(polaris, "send and recv", {.nodes = 2}), 25);
  EXPECT_EQ(stated(polaris, "send and recv", {.nodes = 2, .beside = 4}), 12.5);
  const Machine unknown = read_text("name = \"x\"\n");
  EXPECT_FALSE(described_bandwidth(unknown, "all_reduce", {}));
  EXPECT_FALSE(described_bandwidth(unknown, "all_reduce", {.nodes = 2}));
  // Of several groups on a node each has its share of what the node's NICs carried.
  const auto shared = described_bandwidth(polaris, "all_reduce", {.nodes = 8, .beside = 4});
  EXPECT_EQ(shared->gb_per_s, 36.1 / 4);
  EXPECT_EQ(shared->source, "nccl-tests on 8 nodes, 1 GiB, shared by 4 groups");
  // Measured on more nodes alone: the fewest.
  const Machine m = read_text(
      "name = \"x\"\n[[collectives]]\nnodes = 8\nall_reduce_gb_per_s = 3.0\n"
      "[[collectives]]\nnodes = 4\nall_reduce_gb_per_s = 2.0\n");
  EXPECT_EQ(described_bandwidth(m, "all_reduce", {.nodes = 2})->gb_per_s, 2);
  EXPECT_EQ(described_bandwidth(m, "all_reduce", {.nodes = 9})->gb_per_s, 3);
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
  EXPECT_EQ(refusal(named + "[[collectives]]\nnetwork = \"slow\"\n"),
            "collectives.network is 'slow'; allowed: full, no-gdr, sockets");
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
