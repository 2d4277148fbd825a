#include "cli/rejects.h"

#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "core/utf8.h"
#include "io/files.h"
#include "io/json.h"

namespace weft {
namespace {

constexpr std::size_t kMaxWarnings = 50;  // a terminal is no place for more

std::string file_beside(const std::string& out) { return out + ".rejects.jsonl"; }

}  // namespace

bool Rejects::serve(const Document& document, const std::function<void()>& body) {
  try {
    body();
    return true;
  } catch (const UserError& error) {
    add(document, error.what());
    return false;
  }
}

void Rejects::add(std::int64_t line, const std::string& id, const std::string& reason) {
  all_.emplace(std::pair(line, made_utf8(id)), made_utf8(reason));
}

// Most are known to every rank; those of the run itself to one replica.
void Rejects::gather(Communicator& world, bool tells) {
  Json mine = Json::array();
  if (tells)
    for (const auto& [place, reason] : all_) mine.push_back({place.first, place.second, reason});
  Stream stream;
  for (const std::string& list : gather_texts(world, json_text(mine), stream))
    for (const Json& entry : parse_json(list))
      add(entry[0].get<std::int64_t>(), entry[1].get<std::string>(), entry[2].get<std::string>());
}

void Rejects::tell(const std::string& out) const {
  if (all_.empty()) return;
  if (!out.empty()) {
    std::string lines;
    for (const auto& [place, reason] : all_) {
      const auto& [number, id] = place;
      OrderedJson line = {{"line", number > 0 ? OrderedJson(number) : OrderedJson(nullptr)},
                          {"id", id},
                          {"reason", reason}};
      lines += json_text(line) + "\n";
    }
    return write_file_atomically(file_beside(out), lines);
  }
  std::size_t told = 0;
  for (const auto& [place, reason] : all_)
    if (told++ < kMaxWarnings) log_warning("{}", reason);
  if (told > kMaxWarnings)
    log_warning("{} more; with --out FILE all of them stand in FILE.rejects.jsonl",
                told - kMaxWarnings);
}

std::string rejects_summary(std::int64_t n, std::int64_t n_texts, const std::string& out) {
  return fmt::format("{} of {} texts {} rejected{}", n, n_texts, n == 1 ? "was" : "were",
                     out.empty() ? "" : fmt::format(" (all stand in {})", file_beside(out)));
}

void throw_rejected(std::int64_t n, std::int64_t n_texts, const std::string& out,
                    const std::string& first) {
  if (n_texts == 1) throw UserError(first);
  user_error("{}: {}", rejects_summary(n, n_texts, out), n == 1 ? first : "the first: " + first);
}

void Rejects::finish(const Session& session, const std::string& out, std::size_t n_texts,
                     const std::optional<Failure>& ended) {
  finish(session.grid.world(), out, n_texts, session.grid.replica().rank() == 0, ended);
}

void Rejects::finish(Communicator& world, const std::string& out, std::size_t n_texts, bool tells,
                     const std::optional<Failure>& ended) {
  // After a failure nobody may be there to gather from.
  if (ended && ended->kind != FailureKind::interrupted) rethrow(*ended);
  gather(world, tells);
  Stream stream;
  on_first_rank(world, stream, [&] {
    if (all_.empty() && !out.empty()) remove_file(file_beside(out));  // of the job before
    const bool from_file = !all_.empty() && all_.rbegin()->first.first > 0;
    if (n_texts > 1 || (from_file && !out.empty())) tell(out);
  });
  if (ended && all_.empty()) rethrow(*ended);
  const auto n = static_cast<std::int64_t>(all_.size()), all = static_cast<std::int64_t>(n_texts);
  if (ended) rethrow({ended->kind, ended->text + "; " + rejects_summary(n, all, out)});
  if (!all_.empty()) throw_rejected(n, all, out, all_.begin()->second);
}

}  // namespace weft
