// A replica's requests of `weft generate`, and what becomes of their completions.
#pragma once

#include <optional>
#include <vector>

#include "cli/generation/generation_page.h"
#include "cli/generation/requests.h"
#include "cli/rejects.h"
#include "cli/results.h"

namespace weft {

class Replica {
 public:
  // page: of what the texts look at; null: none is written.
  Replica(const GenerateOptions& o, const Session& session, std::vector<Job> jobs, Rejects& rejects,
          JobLog& log, GenerationPage* page);

  // Rejects what does not fit beside the weights, by what is free before they are loaded. Whether
  // anything is left, here or in another replica. Collective over the world.
  bool reject_too_large();

  // What this replica ended with before all of its requests were done, on all its ranks alike.
  std::optional<Failure> run(ResultWriter& results, std::size_t n_items);

 private:
  EngineLimits limits_for(std::int64_t memory_bytes) const;
  void reject_unfitting(const EngineLimits& limits);
  void reject_largest(const std::string& why);
  void say_shape(const EngineLimits& limits) const;
  void put(ResultWriter& results, const Job& job, std::int64_t sample, const Completion& c,
           std::size_t n_items);
  void note_for_page(const Job& job, std::int64_t sample, const Completion& c);
  void put_error(ResultWriter& results, const Job& job, std::int64_t sample, const Completion& c);

  const GenerateOptions& options_;
  const Session& session_;
  const Tokenizer& tokenizer_;
  Rejects& rejects_;
  JobLog& log_;
  GenerationPage* page_;
  std::vector<Job> jobs_, too_large_;  // of the requests; of those that were rejected
  std::vector<GenerationRequest> requests_;
};

}  // namespace weft
