// The batch lines of hosted services: {"custom_id", "method", "url", "body"} in, {"custom_id",
// "response", "error"} out (OpenAI's Batch API), so that a file made for one runs here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "infer/engine.h"
#include "io/documents.h"
#include "serve/progress.h"
#include "serve/prompt_reading.h"

namespace weft {

// How such a file is read: a JSON line each, whose custom_id is the document's text.
ReadOptions openai_lines(ReadOptions how);

// One line on its way to its answer.
class OpenAiLine {
 public:
  // UserErrors name what is wrong with the line: no object, a url that is not served, what
  // read_request() refuses. The model outlives it.
  OpenAiLine(const Document& document, const ServedModel& model, const std::string& what);
  OpenAiLine(const OpenAiLine&) = delete;
  OpenAiLine& operator=(const OpenAiLine&) = delete;

  // Whether something is asked about the prompts themselves, before the engine is asked for the
  // rest: for vectors, or what an echo's tokens are worth. What comes of it on every rank alike, as
  // of what it returns. Collective over a replica.
  bool reads_prompts() const { return request_.reads_prompts(); }
  std::optional<Failure> read_prompts(const ReadingModel& model);

  // What the engine is asked for, a request a choice; nothing where nothing is to be written.
  std::vector<GenerationRequest> requests() const;
  void take_token(std::size_t choice, const ChosenToken& token);
  // True when it was the last choice.
  bool take_end(std::size_t choice, const Completion& completion);

  std::string answer() const;  // the line of the results, when all choices have ended
  AnswerUsage usage() const;

 private:
  void add(const WorkEvent& event);
  OrderedJson body(std::uint64_t mark) const;

  const ServedModel& model_;
  std::string custom_id_, what_, asked_model_;
  std::int64_t number_, earlier_draws_;
  ServedRequest request_;
  std::optional<AnswerProgress> progress_;
  std::vector<ChoicePart> choices_;
  std::vector<std::vector<float>> vectors_;  // of embeddings, a prompt each
};

}  // namespace weft
