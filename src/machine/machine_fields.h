// The keys of machine.toml, each once: the reader and the writer walk through them. A visitor v has
//   v.text(key, std::string&)            v.words(key, std::vector<std::string>&, Words)
//   v.integer(key, std::int64_t&, Integers)   v.integers(key, std::vector<std::int64_t>&, Integers)
//   v.real(key, double&)                 v.flag(key, bool&)
//   v.word(key, E&, const Word<E>(&)[n])
#pragma once

#include "core/fields.h"
#include "machine/machine.h"

namespace weft {

inline constexpr Word<LauncherDialect> kDialects[] = {{"pals", LauncherDialect::pals},
                                                      {"open_mpi", LauncherDialect::open_mpi},
                                                      {"hydra", LauncherDialect::hydra},
                                                      {"srun", LauncherDialect::srun}};
inline constexpr Word<SchedulerKind> kSchedulers[] = {
    {"none", SchedulerKind::none}, {"pbs", SchedulerKind::pbs}, {"slurm", SchedulerKind::slurm}};
inline constexpr Word<QueueUnit> kQueueUnits[] = {{"node", QueueUnit::node},
                                                  {"gpu", QueueUnit::gpu}};
inline constexpr Integers kMachineCount{0, 1 << 24};

template <class V>
void visit(V& v, MachineNode& n) {
  v.integer("count", n.count, kMachineCount);
  v.text("cpu", n.cpu);
  v.integer("cores", n.cores, kMachineCount);
  v.integer("hardware_threads", n.hardware_threads, kMachineCount);
  v.integer("numa_domains", n.numa_domains, Integers{1, 1 << 16});
  v.real("memory_gib", n.memory_gib);
  v.integer("gpus", n.gpus, Integers{0, 1024});
  v.text("gpu", n.gpu);
  v.real("gpu_memory_gib", n.gpu_memory_gib);
  v.text("local_scratch", n.local_scratch);
  v.text("source", n.source);
}

template <class V>
void visit(V& v, MachinePeaks& p) {
  v.real("cpu_fp32_gflops", p.cpu_fp32_gflops);
  v.real("cpu_bf16_gflops", p.cpu_bf16_gflops);
  v.real("cpu_read_gb_per_s", p.cpu_read_gb_per_s);
  v.real("gpu_bf16_tflops", p.gpu_bf16_tflops);
  v.real("gpu_fp32_tflops", p.gpu_fp32_tflops);
  v.real("gpu_memory_gb_per_s", p.gpu_memory_gb_per_s);
  v.real("gpu_fp16_tflops_measured", p.gpu_fp16_tflops_measured);
  v.real("gpu_memory_gb_per_s_measured", p.gpu_memory_gb_per_s_measured);
  v.text("source", p.source);
}

template <class V>
void visit(V& v, MachineLinks& l) {
  v.real("gpu_gb_per_s", l.gpu_gb_per_s);
  v.integer("gpu_peers", l.gpu_peers, Integers{0, 1024});
  v.integer("nics", l.nics, Integers{0, 1024});
  v.real("nic_gb_per_s", l.nic_gb_per_s);
  v.text("source", l.source);
}

template <class V>
void visit(V& v, MachineCollectives& c) {
  v.integer("nodes", c.nodes, Integers{2, 1 << 24});
  v.text("network", c.network);
  v.real("all_reduce_gb_per_s", c.all_reduce_gb_per_s);
  v.real("all_gather_gb_per_s", c.all_gather_gb_per_s);
  v.text("source", c.source);
}

template <class V>
void visit(V& v, MachineGpu& g) {
  v.integer("id", g.id, Integers{0, 1023});
  v.integer("numa", g.numa, Integers{-1, 1 << 16, "not known"});
  v.text("cores", g.cores);
  v.text("nic", g.nic);
}

template <class V>
void visit(V& v, MachineLauncher& l) {
  v.word("dialect", l.dialect, kDialects);
  v.text("command", l.command);
  v.text("source", l.source);
}

template <class V>
void visit(V& v, MachineScheduler& s) {
  v.word("kind", s.kind, kSchedulers);
  v.text("system", s.system);
  v.integer("max_ncpus", s.max_ncpus, kMachineCount);
  v.words("required", s.required, {kRequirable, kRequirable + std::size(kRequirable)});
  v.words("resources", s.resources, {});
  v.words("chunk_resources", s.chunk_resources, {});
  v.words("file_systems", s.file_systems, {});
  v.words("constraints", s.constraints, {});
  v.text("keep_files", s.keep_files);
  v.flag("queue_is_qos", s.queue_is_qos);
  v.integer("kill_delay_s", s.kill_delay_s, Integers{0, 1 << 20});
  v.text("source", s.source);
}

template <class V>
void visit(V& v, MachineQueue& q) {
  v.text("name", q.name);
  v.flag("default", q.is_default);
  v.flag("available", q.available);
  v.flag("preemptable", q.preemptable);
  v.flag("direct", q.direct);
  v.word("unit", q.unit, kQueueUnits);
  v.integer("min", q.min, kMachineCount);
  v.integer("max", q.max, kMachineCount);
  v.integers("allowed", q.allowed, kMachineCount);
  v.real("min_walltime_s", q.min_walltime_s);
  v.real("max_walltime_s", q.max_walltime_s);
  v.integer("advised_max", q.advised_max, kMachineCount);
  v.integer("max_array_running", q.max_array_running, kMachineCount);
  v.integer("jobs_per_user", q.jobs_per_user, kMachineCount);
  v.words("routes_to", q.routes_to, {});
  v.text("note", q.note);
}

template <class V>
void visit(V& v, MachineFileSystem& f) {
  v.text("name", f.name);
  v.text("path", f.path);
  v.text("kind", f.kind);
  v.flag("gone", f.gone);
  v.integer("default_stripes", f.default_stripes, kMachineCount);
  v.integer("targets", f.targets, kMachineCount);
}

// All of it: v also has group(key, part) for a table and groups(key, std::vector<part>&) for a list
// of them.
template <class V>
void visit(V& v, Machine& m) {
  v.text("name", m.name);
  v.text("site", m.site);
  v.text("source", m.source);
  v.words("gone_modules", m.gone_modules, {});
  v.group("node", m.node);
  v.group("peaks", m.peaks);
  v.group("links", m.links);
  v.groups("collectives", m.collectives);
  v.groups("gpus", m.gpus);
  v.group("launcher", m.launcher);
  v.group("scheduler", m.scheduler);
  v.groups("queues", m.queues);
  v.groups("file_systems", m.file_systems);
}

}  // namespace weft
