// What commands share that run whole texts through a model and have a result for each.
#pragma once

#include <functional>

#include "cli/text_inputs.h"

namespace weft {

struct TextTask {
  std::string what;  // the command
  VisitFields fields;
  InputRules rules = {};
  // A text's result, as it is to be written; asked for on one rank alone.
  using Put = std::function<void(std::size_t t, const std::function<std::string()>& result)>;
  // Runs this replica's texts and puts a result for each, on all its ranks; what caught_together
  // gives. Called as often as texts come.
  std::function<std::optional<Failure>(const TextInputs& in, const Put& put)> run = nullptr;
};

// Reads the texts, loads the model, runs them, writes the results: of texts in a file to another as
// a job (cli/texts/text_job.h), else all of them at once. Collective.
void serve_texts(Session& session, const Invocation& invocation, const TextOptions& options,
                 const TextTask& task);

}  // namespace weft
