#include "cli/generation/requests.h"

#include <algorithm>

#include "cli/options.h"
#include "core/check.h"
#include "core/log.h"
#include "core/spelling.h"
#include "core/utf8.h"
#include "infer/continuation.h"
#include "infer/generation_file.h"

namespace weft {
namespace {

std::string name_of(const Document& d, const GenerateOptions& o) {
  return d.line > 0 ? fmt::format("{}: line {}", o.texts.in, d.line)
                    : fmt::format("prompt {}", d.id);
}

std::string because(const LackingOption& o) {
  return *o.why == '\0' ? "" : fmt::format(" ({})", o.why);
}

// What a JSONL line sets for itself. Its keys are the options', or they are somebody else's: one
// that is nearly an option's, or that transformers' generate() has and we lack, is a mistake.
void check_keys(const Json& line, const std::string& field, const std::string& what) {
  GenerationOptions options;
  std::vector<std::string> known = field_names([&](FieldVisitor& v) { options.visit(v); });
  known.emplace_back("seed");
  for (const auto& [key, value] : line.items()) {
    if (value.is_null() || key == field || key == "text" || key == "prompt" || key == "id")
      continue;
    for (const LackingOption& o : lacking_options())
      CHECK_USER(key != o.key || value == o.neutral, "{}: {} is {}, which Weft does not have{}",
                 what, key, brief(value), because(o));
    // A list of numbers is a sequence to transformers, and words to a command line.
    CHECK_USER(key != "bad_words_ids" || !value.is_array() || value.empty() ||
                   value[0].is_array() || value[0].is_string(),
               "{}: bad_words_ids is {}; it must be a list of lists of token ids", what,
               brief(value));
    const auto meant = near_miss(key, known);
    CHECK_USER(!meant, "{}: unknown key '{}' (did you mean '{}'?)", what, key, *meant);
  }
}

GenerationOptions own_options(const Document& d, const std::string& field,
                              const std::string& what) {
  GenerationOptions own;
  if (!d.options.is_object()) return own;
  check_keys(d.options, field, what);
  const VisitFields fields = [&](FieldVisitor& v) {
    own.visit(v);
    v.field("seed", own.seed, kAnyInteger, "");  // a flag of every model's
  };
  set_from_json(d.options, fields, what);
  return own;
}

// What the line says for others: options of generation do not come back, nor what results have.
void add_kept_fields(const Json& given, OrderedJson& line) {
  if (!given.is_object()) return;
  GenerationOptions options;
  static const std::vector<std::string> known =
      field_names([&](FieldVisitor& v) { options.visit(v); });
  for (const auto& [key, value] : given.items())
    if (!line.contains(key) && key != "id" && key != "text" && key != "seed" &&
        std::find(known.begin(), known.end(), key) == known.end())
      line[key] = value;
}

void warn_of_unused(const GenerationOptions& given, const Generation& decided,
                    const std::string& where) {
  const std::vector<std::string> flags = unused_options(given, decided);
  if (!flags.empty()) log_warning("{}without effect: {}", where, fmt::join(flags, ", "));
}

}  // namespace

TextWants wants_of(const GenerateOptions& o, const Session& session) {
  TextWants wants;
  wants.options = true;
  const std::optional<std::int64_t>&flag = o.generation.num_return_sequences,
        of_model = session.generation_file().options.num_return_sequences;
  wants.draws = std::max<std::int64_t>(flag.value_or(of_model.value_or(1)), 1);
  return wants;
}

JobMaker::JobMaker(const GenerateOptions& o, const Session& session, bool tells)
    : options_(o),
      session_(session),
      tokenizer_(session.need_tokenizer()),
      file_(session.generation_file()),
      flags_(o.generation),
      tells_(tells) {
  flags_.seed = o.model.seed;
}

void JobMaker::add(const Document& d) {
  const std::string what = name_of(d, options_);
  const GenerationOptions own = own_options(d, options_.texts.field, what);
  const std::vector<std::int32_t> ids = prompt_ids(tokenizer_, session_.config, d.text, what);
  const PromptPlace place = {.what = what,
                             .n_tokens = static_cast<std::int64_t>(ids.size()),
                             .context = session_.config.context,
                             .vocab = session_.config.vocab};
  const Generation g = resolve(own, place);
  warn(own, g, what);
  // Equal prompts of one run get different texts; a line's own seed gives its text by itself.
  const std::int64_t first = own.seed ? 0 : d.earlier_draws;
  const std::int64_t n_jobs = g.num_beams > 1 ? 1 : g.num_return_sequences;
  for (std::int64_t s = 0; s < n_jobs; ++s)
    jobs_.push_back({.request = {ids, g, draw_stream(ids, first + s), what},
                     .document = &d,
                     .first_sample = s,
                     .first_item = items_ + static_cast<std::size_t>(s)});
  items_ += static_cast<std::size_t>(g.num_return_sequences);
}

// What is wrong in a line is said with its place, whatever says it.
Generation JobMaker::resolve(const GenerationOptions& own, const PromptPlace& place) const {
  try {
    return resolve_generation(own, flags_, file_, place, &tokenizer_);
  } catch (const UserError& error) {
    const std::string text = error.what();
    throw UserError(text.starts_with(place.what) ? text : place.what + ": " + text);
  }
}

// Once for the flags, and for the first line that has reason to.
void JobMaker::warn(const GenerationOptions& own, const Generation& g, const std::string& what) {
  if (!tells_) return;
  if (!std::exchange(warned_of_flags_, true) && session_.first()) {
    warn_of_unused(options_.generation, g, "");
    if (g.greedy_by_temperature && !own.temperature)
      log_warning("a temperature of 0 is greedy: do_sample has no effect");
  }
  if (warned_) return;
  warn_of_unused(own, g, what + ": ");
  const bool greedy = g.greedy_by_temperature && (own.temperature || own.do_sample);
  if (greedy) log_warning("{}: a temperature of 0 is greedy: do_sample has no effect", what);
  warned_ = greedy || !unused_options(own, g).empty();
}

std::string completion_line(const Job& job, std::int64_t sample, const Completion& c,
                            const std::string& continuation, bool keep_fields) {
  const Generation& g = job.request.options;
  OrderedJson line = {{"prompt", job.document->text}, {"sample", job.first_sample + sample}};
  line["generated_text"] = made_utf8((g.return_full_text ? job.document->text : "") + continuation);
  line["new_text"] = made_utf8(continuation);
  line["ids"] = c.ids;
  line["n_prompt"] = job.request.ids.size();
  line["n_new"] = c.ids.size();
  line["finish"] = c.finish;
  if (g.logprobs) line["logprobs"] = c.logprobs;
  if (keep_fields) add_kept_fields(job.document->options, line);
  return result_line(*job.document, line);
}

std::string shape_sentence(const Session& session, const InferenceShape& shape) {
  const auto megabytes = [](std::size_t bytes) { return 1e-6 * static_cast<double>(bytes); };
  const std::size_t cache = static_cast<std::size_t>(shape.pages) *
                            InferencePass::page_bytes(session.config, shape.held(), session.grid),
                    all = InferencePass::plan_bytes(session.config, session.grid, shape);
  return fmt::format(
      "{} continuation{} of up to {} tokens at once: {:.1f} MB of keys and values ({} pages of "
      "{} tokens), {:.1f} MB of activations and {:.1f} MB of scratch{} a rank",
      shape.slots, shape.slots == 1 ? "" : "s", shape.S, megabytes(cache), shape.pages, kPageTokens,
      megabytes(all - cache),
      megabytes(InferencePass::kept_bytes(session.ctx, session.config, shape)),
      session.device.type == DeviceType::cuda ? ", workspaces and graphs" : "");
}

bool parse_generate(const std::vector<std::string>& args, GenerateOptions& o, bool prints) {
  std::vector<std::string> flags;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine command = {.name = "generate",
                               .summary = "Continues prompts.",
                               .positionals = nullptr,
                               .positional_name = "",
                               .flags = &flags,
                               .lacking = lacking_flags()};
  if (!parse_options(command, args, fields, prints)) return false;
  check_temperature(o.generation, flags);
  return true;
}

void check_flags_alone(const GenerateOptions& o, const Session& session) {
  const PromptPlace shortest = {.what = "a prompt",
                                .n_tokens = 1,
                                .context = session.config.context,
                                .vocab = session.config.vocab};
  resolve_generation({}, o.generation, session.generation_file(), shortest,
                     &session.need_tokenizer());
}

}  // namespace weft
