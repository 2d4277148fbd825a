// Texts of a job that cannot be served while the others are. Each is told with its line and the
// reason, and the command ends with exit code 2 after all others have been served.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "cli/session.h"

namespace weft {

// "2 of 9 texts were rejected (all stand in out.jsonl.rejects.jsonl)"; out may be empty.
std::string rejects_summary(std::int64_t n, std::int64_t n_texts, const std::string& out);
// The UserError that a job of rejected texts ends with; `first`: the first one's reason.
[[noreturn]] void throw_rejected(std::int64_t n, std::int64_t n_texts, const std::string& out,
                                 const std::string& first);

class Rejects {
 public:
  // Runs `body`; a user's mistake in it is the reason why this text is rejected, and nobody else.
  // Whether it was served. Other failures pass.
  bool serve(const Document& document, const std::function<void()>& body);
  // Of the input's line, from 1 (0: a text that has none); `reason` is a sentence that names the
  // text. The first reason of a text stays.
  void add(std::int64_t line, const std::string& id, const std::string& reason);
  void add(const Document& document, const std::string& reason) {
    add(document.line, document.id, reason);
  }

  std::size_t size() const { return all_.size(); }

  // To be called when the results are in place, or earlier where no text is left to serve.
  // Collective over the world: what every replica rejected comes together. Where nothing was, it
  // returns (and removes the file of an earlier job). Else rank 0 writes OUT.rejects.jsonl (line,
  // id, reason), or warnings on stderr where `out` is empty, and every rank throws UserError.
  // n_texts: of the job on rank 0, those that were rejected included. `tells`: whether this rank's
  // count; with a session the first of each replica's. `ended`: what the job ended with before all
  // were served, the same on all ranks; it is thrown in any case, and of an interrupted job the
  // rejects so far are told first.
  void finish(const Session& session, const std::string& out, std::size_t n_texts,
              const std::optional<Failure>& ended);
  void finish(Communicator& world, const std::string& out, std::size_t n_texts, bool tells = true,
              const std::optional<Failure>& ended = std::nullopt);

 private:
  void gather(Communicator& world, bool tells);
  void tell(const std::string& out) const;

  std::map<std::pair<std::int64_t, std::string>, std::string> all_;  // reasons by line and id
};

}  // namespace weft
