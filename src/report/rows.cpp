#include "report/rows.h"

namespace weft::report {
namespace {

OrderedJson value(double number) { return known(number) ? OrderedJson(number) : OrderedJson(); }
OrderedJson value(std::int64_t count) { return count >= 0 ? OrderedJson(count) : OrderedJson(); }
OrderedJson value(const std::string& text) {
  return text.empty() ? OrderedJson() : OrderedJson(text);
}

std::string quoted(const std::string& cell) {
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string out = "\"";
  for (const char c : cell) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string cell_of(const OrderedJson& value) {
  if (value.is_null()) return "";
  return quoted(value.is_string() ? value.get<std::string>() : json_text(value));
}

}  // namespace

OrderedJson report_row(const Run& run) {
  StepShares shares{};
  const bool has_shares = run.shares(shares);
  OrderedJson row = {{"run", run.name},
                     {"site", value(run.site)},
                     {"machine", value(run.machine)},
                     {"date", value(run.date)},
                     {"commit", value(run.commit)},
                     {"model", value(run.model)},
                     {"parameters", value(run.parameters)},
                     {"context", value(run.context)},
                     {"batch_size", value(run.batch_size)},
                     {"tp", value(run.tp)},
                     {"pp", value(run.pp)},
                     {"dp", value(run.dp)},
                     {"ranks", value(run.ranks)},
                     {"nodes", value(run.nodes)},
                     {"threads", value(run.threads)},
                     {"device", value(run.device)},
                     {"dtype", value(run.dtype)},
                     {"steps", run.steps.empty() ? OrderedJson() : value(run.steps.back().step)},
                     {"loss", value(run.loss())},
                     {"tokens_per_s", value(run.tokens_per_s())},
                     {"tokens_per_s_device", value(run.tokens_per_s_rank())},
                     {"mfu", value(run.mfu())},
                     {"peak_share", value(run.peak_share())},
                     {"node_hours", value(run.node_hours)}};
  for (std::size_t i = 0; i < kTimeShareNames.size(); ++i)
    row[std::string(kTimeShareNames[i])] = has_shares ? OrderedJson(shares[i]) : OrderedJson();
  return row;
}

std::string report_csv(const std::vector<Run>& runs) {
  const OrderedJson names = report_row(Run{});
  std::string out;
  for (const auto& [name, none] : names.items()) out += (out.empty() ? "" : ",") + name;
  out += "\n";
  for (const Run& run : runs) {
    OrderedJson row = report_row(run);
    if (run.damaged()) row["run"] = run.name + " (damaged: " + run.problem + ")";
    std::string line;
    bool first = true;
    for (const auto& [name, cell] : row.items()) {
      line += (first ? "" : ",") + cell_of(cell);
      first = false;
    }
    out += line + "\n";
  }
  return out;
}

std::string report_json_lines(const std::vector<Run>& runs) {
  std::string out;
  for (const Run& run : runs) {
    OrderedJson row = report_row(run);
    if (run.damaged()) row["damaged"] = run.problem;
    out += json_text(row) + "\n";
  }
  return out;
}

}  // namespace weft::report
