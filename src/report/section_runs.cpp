// The table of all runs, and where they ran.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <set>

#include "core/utf8.h"
#include "report/amounts.h"
#include "report/sections.h"

namespace weft::report {
namespace {

std::string count_text(std::int64_t count) { return grouped(or_unknown(count)); }
std::string word(const std::string& text) { return text.empty() ? kNothing : text; }

struct RunColumn {
  const char* title;
  bool number;
  int priority;
  bool setting;  // told once where all runs have the same
  std::function<std::string(const Run&)> cell;
};

std::string grid_text(const Run& r) {
  if (r.tp < 0 || r.pp < 0 || r.dp < 0) return kNothing;
  return fmt::format("{}·{}·{}", r.tp, r.pp, r.dp);
}

std::string steps_text(const Run& r) {
  return r.steps.empty() ? kNothing : count_text(r.steps.back().step);
}

std::vector<RunColumn> run_columns() {
  return {
      {"run", false, 0, false, [](const Run& r) { return r.name; }},
      {"what", false, 6, true, [](const Run& r) { return r.what; }},
      {"model", false, 4, true, [](const Run& r) { return word(r.model); }},
      {"parameters", true, 12, true,
       [](const Run& r) { return with_prefix(or_unknown(r.parameters), ""); }},
      {"machine", false, 9, true, [](const Run& r) { return word(r.machine); }},
      {"tp·pp·dp", false, 2, true, grid_text},
      {"ranks", true, 1, true, [](const Run& r) { return count_text(r.ranks); }},
      {"nodes", true, 10, true, [](const Run& r) { return count_text(r.nodes); }},
      {"threads", true, 11, true, [](const Run& r) { return count_text(r.threads); }},
      {"batch", true, 3, true, [](const Run& r) { return count_text(r.batch_size); }},
      {"context", true, 8, true, [](const Run& r) { return count_text(r.context); }},
      {"device", false, 8, true, [](const Run& r) { return word(r.device); }},
      {"dtype", false, 7, true, [](const Run& r) { return word(r.dtype); }},
      {"steps", true, 5, false, steps_text},
      {"loss", true, 1, false, [](const Run& r) { return loss_text(r.loss()); }},
      {"tokens/s", true, 0, false, [](const Run& r) { return significant(r.tokens_per_s(), 4); }},
      {"a rank", true, 3, false,
       [](const Run& r) { return significant(r.tokens_per_s_rank(), 4); }},
      {"step", true, 6, false, [](const Run& r) { return seconds_text(r.step_s()); }},
      {"MFU", true, 2, false, [](const Run& r) { return percent(r.mfu()); }},
      {"of peak", true, 2, false, [](const Run& r) { return percent(r.peak_share()); }},
      {"time", true, 7, false, [](const Run& r) { return seconds_text(r.elapsed_s); }},
      {"node-hours", true, 4, false, [](const Run& r) { return significant(r.node_hours, 3); }},
  };
}

}  // namespace

Section runs_section(const RunList& runs) {
  Section section{.title = "Runs", .blocks = {}};
  std::vector<const Run*> whole;
  for (const Run& run : runs)
    if (!run.damaged()) whole.push_back(&run);
  Table table;
  std::vector<RunColumn> shown;
  std::string shared;
  for (RunColumn& column : run_columns()) {
    const bool same = !whole.empty() && std::all_of(whole.begin(), whole.end(), [&](const Run* r) {
      return column.cell(*r) == column.cell(*whole.front());
    });
    if (column.setting && same) {
      const std::string value = column.cell(*whole.front());
      if (value != kNothing)
        shared += fmt::format("{}{} {}", shared.empty() ? "" : ", ", column.title, value);
      continue;
    }
    table.columns.push_back({column.title, column.number, column.priority});
    shown.push_back(std::move(column));
  }
  for (const Run& run : runs) {
    TableRow row;
    row.note = run.damaged();
    if (row.note)
      row.cells = {run.name, "damaged: " + run.problem};
    else
      for (const RunColumn& column : shown) row.cells.push_back(column.cell(run));
    table.rows.push_back(std::move(row));
  }
  if (!shared.empty())
    section.paragraph((whole.size() > 1 ? "All runs: " : "The run: ") + shared + ".");
  section.add(std::move(table));
  return section;
}

Section machines_section(const RunList& runs) {
  Section section{.title = "Machines", .blocks = {}, .long_forms_only = true};
  Table table{{{"run", false},
               {"machine", false},
               {"site", false},
               {"hosts", false},
               {"nodes"},
               {"ranks"},
               {"threads a rank"},
               {"processor", false},
               {"matmul peak, all ranks"},
               {"commit", false},
               {"MPI", false},
               {"queue", false}},
              {}};
  int n_whole = 0;
  for (const Run& r : runs) {
    if (r.damaged()) continue;
    ++n_whole;
    for (const RunPlace& p : r.places) {
      const std::string starts = r.places.size() == 1
                                     ? ""
                                     : fmt::format(", start{} {}", p.starts.size() == 1 ? "" : "s",
                                                   fmt::join(p.starts, ", "));
      std::string hosts;
      for (std::size_t i = 0; i < std::min<std::size_t>(p.hosts.size(), 8); ++i)
        hosts += (i > 0 ? ", " : "") + p.hosts[i];
      if (p.hosts.size() > 8) hosts += fmt::format(" and {} more", p.hosts.size() - 8);
      table.rows.push_back(
          {{r.name + starts, word(p.machine), word(p.site), word(hosts), count_text(p.nodes),
            count_text(p.ranks), count_text(p.threads), word(p.cpu),
            with_prefix(p.peak_flops, "FLOP/s"), word(p.commit.substr(0, 12)),
            word(shortened(p.mpi.substr(0, p.mpi.find(',')), 40)), word(p.queue)}});
    }
  }
  const std::string shared = take_shared(table);
  if (!shared.empty()) section.paragraph((n_whole > 1 ? "All runs: " : "The run: ") + shared + ".");
  if (table.columns.size() > 1) section.add(std::move(table));
  return section;
}

Section commands_section(const RunList& runs) {
  Section section{.title = "Commands", .blocks = {}, .long_forms_only = true};
  std::string lines;
  for (const Run& r : runs) {
    if (r.commands.empty()) continue;
    lines += fmt::format("{}# {}", lines.empty() ? "" : "\n", printable(r.name));
    for (const std::string& command : r.commands) lines += "\n" + printable(command);
  }
  if (!lines.empty()) section.listing(lines);
  return section;
}

namespace {

constexpr double kNotedSaves = 0.05;  // of the time

std::vector<std::string> notes_of(const Run& r) {
  std::vector<std::string> notes;
  if (r.starts > 1) {
    std::string note = fmt::format("started {} times", r.starts);
    if (r.lost_s > 0 || r.lost_tokens > 0)
      note += fmt::format(", steps done twice cost {} and {} tokens", seconds_text(r.lost_s),
                          grouped(r.lost_tokens));
    notes.push_back(note);
  }
  if (const std::string machines = r.moved(); !machines.empty())
    notes.push_back("its starts were on " + machines + ", and its speeds are medians over all");
  if (r.end == "signal")
    notes.emplace_back("stopped early by a signal");
  else if (r.end == "walltime")
    notes.emplace_back("stopped early, before its walltime ended");
  else if (r.end.empty())
    notes.emplace_back("its log has no end: it was killed, or still runs");
  if (r.trains() && !known(r.tokens_per_s()) && !r.steps.empty())
    notes.emplace_back("no start has more than three steps, so that there is no speed");
  if (r.saves > 0 && r.save_s > kNotedSaves * r.elapsed_s)
    notes.push_back(fmt::format("{} save{} took {}, {} of the time", r.saves,
                                r.saves == 1 ? "" : "s", seconds_text(r.save_s),
                                percent(r.save_s / r.elapsed_s)));
  return notes;
}

}  // namespace

Section notes_section(const RunList& runs) {
  Section section{.title = "Notes", .blocks = {}};
  for (const Run& r : runs) {
    if (r.damaged()) continue;
    if (const auto notes = notes_of(r); !notes.empty())
      section.paragraph(fmt::format("{}: {}.", r.name, fmt::join(notes, "; ")));
  }
  return section;
}

}  // namespace weft::report
