#include "cli/generation/openai_lines.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "core/check.h"
#include "core/checksum.h"
#include "infer/sampler.h"

namespace weft {
namespace {

constexpr std::int64_t kChoicesOfALine = std::int64_t{1}
                                         << 24;  // draws of each, apart from others'

ServedRoute route_of(const Json& line, const std::string& what) {
  const std::string url = line.value("url", "");
  for (const auto& [path, route] : {std::pair{"/v1/chat/completions", ServedRoute::chat},
                                    {"/v1/completions", ServedRoute::completions},
                                    {"/v1/embeddings", ServedRoute::embeddings}})
    if (url.ends_with(path)) return route;
  user_error("{}: url is '{}'; allowed: /v1/chat/completions, /v1/completions, /v1/embeddings",
             what, url);
}

ServedRequest read(const Json& line, const ServedModel& model, const std::string& what) {
  CHECK_USER(line.contains("body") && line["body"].is_object(), "{}: has no object 'body'", what);
  if (line.contains("method") && line["method"] != "POST")
    user_error("{}: method is {}; allowed: POST", what, json_text(line["method"]));
  Json body = line["body"];
  body.erase("stream");  // an answer in a file is whole
  body.erase("stream_options");
  try {
    return read_request(route_of(line, what), json_text(body), model);
  } catch (const RequestRefused& refused) {
    user_error("{}: {}", what, refused.what());
  }
}

}  // namespace

ReadOptions openai_lines(ReadOptions how) {
  how.format = "jsonl";
  how.field = "custom_id";
  how.keep_options = true;
  return how;
}

OpenAiLine::OpenAiLine(const Document& d, const ServedModel& model, const std::string& what)
    : model_(model),
      custom_id_(d.text),
      what_(what),
      number_(d.number),
      earlier_draws_(d.earlier_draws),
      request_(read(d.options, model, what)) {
  CHECK_USER(!request_.scores_prompts() || model.config.causal,
             "{}: echo with logprobs is given, but the model reads in both directions; allowed: "
             "weft score",
             what);
  asked_model_ = d.options["body"].value("model", model.name);
  if (request_.route == ServedRoute::embeddings) {
    vectors_.resize(request_.prompts.size());
    return;
  }
  progress_.emplace(request_, model.tokenizer);
  choices_.resize(request_.n_choices());
  for (std::size_t c = 0; c < choices_.size(); ++c) choices_[c].index = c;
  for (ChoicePart& part : progress_->begin()) append(choices_[part.index], std::move(part));
}

std::optional<Failure> OpenAiLine::read_prompts(const ReadingModel& model) {
  return read_prompts_of(request_, model, [&](WorkEvent event) {
    if (event.kind == WorkEvent::Kind::vector)
      vectors_[event.index] = std::move(event.vector);
    else
      add(event);
  });
}

std::vector<GenerationRequest> OpenAiLine::requests() const {
  std::vector<GenerationRequest> all;
  if (!request_.generates) return all;
  const std::int64_t first = request_.seeded ? 0 : earlier_draws_ << 20;
  for (std::size_t c = 0; c < choices_.size(); ++c) {
    const std::size_t p = request_.prompt_of(c);
    const ServedPrompt& prompt = request_.prompts[p];
    // Equal prompts of one line are apart as those of two lines are.
    std::int64_t copy = first;
    for (std::size_t before = 0; before < c; ++before)
      copy += request_.prompts[request_.prompt_of(before)].ids == prompt.ids;
    all.push_back({.ids = prompt.ids,
                   .options = request_.options[p],
                   .stream = draw_stream(prompt.ids, copy),
                   .name = what_,
                   .n_likely = std::max<std::int64_t>(request_.n_logprobs, 0)});
  }
  return all;
}

void OpenAiLine::add(const WorkEvent& event) {
  for (ChoicePart& part : progress_->add(event)) append(choices_[part.index], std::move(part));
}

void OpenAiLine::take_token(std::size_t choice, const ChosenToken& token) {
  WorkEvent event;
  event.index = choice;
  event.token.id = token.id;
  event.token.logprob = token.logprob;
  for (const LikelyToken& t : token.likely) event.token.top.emplace_back(t.id, t.logprob);
  add(event);
}

bool OpenAiLine::take_end(std::size_t choice, const Completion& c) {
  WorkEvent event;
  event.kind = WorkEvent::Kind::done;
  event.index = choice;
  event.finish = c.finish;
  add(event);
  return progress_->over();
}

AnswerUsage OpenAiLine::usage() const {
  if (progress_) return progress_->usage();
  AnswerUsage usage;
  for (const ServedPrompt& p : request_.prompts)
    usage.prompt_tokens += static_cast<std::int64_t>(p.ids.size());
  return usage;
}

OrderedJson OpenAiLine::body(std::uint64_t mark) const {
  if (request_.route == ServedRoute::embeddings)
    return embeddings_answer(request_, asked_model_, vectors_);
  const bool chat = request_.route == ServedRoute::chat;
  const AnswerHead head = {.id = fmt::format("{}-{:016x}", chat ? "chatcmpl" : "cmpl", mark),
                           .created = static_cast<std::int64_t>(std::time(nullptr)),
                           .model = asked_model_};
  return AnswerForms(request_, model_.tokenizer, head).whole(choices_, usage());
}

std::string OpenAiLine::answer() const {
  const std::uint64_t mark = mix64(text_checksum(custom_id_) ^ static_cast<std::uint64_t>(number_));
  const OrderedJson line = {{"id", fmt::format("batch_req_{:016x}", mark)},
                            {"custom_id", custom_id_},
                            {"response",
                             {{"status_code", 200},
                              {"request_id", fmt::format("req_{:016x}", mark)},
                              {"body", body(mark)}}},
                            {"error", nullptr}};
  return json_text(line);
}

}  // namespace weft
