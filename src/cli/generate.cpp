#include <chrono>
#include <map>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/session.h"
#include "core/check.h"
#include "core/log.h"
#include "infer/engine.h"

namespace weft {
namespace {

struct GenerateOptions {
  ModelOptions model;
  TextOptions texts;
  GenerationOptions generation;

  void visit(FieldVisitor& v) {
    model.visit(v);
    texts.visit(v, true);
    generation.visit(v);
  }
};

// Continuations to make together, and what their lines say besides: one draw, or all results of a
// beam search.
struct Job {
  GenerationRequest request;
  const Document* document;
  std::int64_t first_sample;
  std::size_t first_item;  // of the results

  std::size_t end_item() const {
    const Generation& g = request.options;
    return first_item + static_cast<std::size_t>(g.num_beams > 1 ? g.num_return_sequences : 1);
  }
};

std::string name_of(const Document& d, const GenerateOptions& o) {
  return d.line > 0 ? fmt::format("{}: line {}", o.texts.in, d.line)
                    : fmt::format("prompt {}", d.id);
}

// What a JSONL line sets for itself.
GenerationOptions own_options(const Document& d, const std::string& what) {
  GenerationOptions own;
  if (!d.options.is_object()) return own;
  set_from_json(
      d.options, [&](FieldVisitor& v) { own.visit(v); }, what);
  if (!d.options.contains("seed") || d.options["seed"].is_null()) return own;
  CHECK_USER(d.options["seed"].is_number_integer(), "{}: seed is {}; it must be a whole number",
             what, d.options["seed"].dump().substr(0, 60));
  own.seed = d.options["seed"].get<std::int64_t>();
  return own;
}

void warn_of_unused(const GenerationOptions& given, const Generation& decided,
                    const std::string& where) {
  const std::vector<std::string> flags = unused_options(given, decided);
  if (!flags.empty()) log_warning("{}without effect: {}", where, fmt::join(flags, ", "));
}

std::vector<Job> make_jobs(const GenerateOptions& o, const Session& session,
                           const std::vector<Document>& documents) {
  const Tokenizer& tokenizer = session.need_tokenizer();
  const GenerationFile file = session.generation_file();
  GenerationOptions flags = o.generation;
  flags.seed = o.model.seed;
  std::vector<Job> jobs;
  std::map<std::vector<std::int32_t>, std::int64_t>
      copies;  // of each prompt so far: equal prompts of one run get different texts
  std::size_t item = 0;
  bool warned = false;
  for (const Document& d : documents) {
    const std::string what = name_of(d, o);
    const GenerationOptions own = own_options(d, what);
    std::vector<std::int32_t> ids = tokenizer.encode(d.text).ids;
    if (ids.empty()) {  // as transformers: an empty prompt is the begin token
      const std::int32_t begin =
          session.config.bos_id >= 0 ? session.config.bos_id : tokenizer.eos_id().value_or(-1);
      CHECK_USER(begin >= 0, "{} is empty, and the model has no begin token to start from", what);
      ids = {begin};
    }
    const PromptPlace place = {.what = what,
                               .n_tokens = static_cast<std::int64_t>(ids.size()),
                               .context = session.config.context,
                               .vocab = session.config.vocab};
    const Generation g = resolve_generation(own, flags, file, place, &tokenizer);
    if (session.first() && !warned) {
      if (&d == &documents[0]) warn_of_unused(o.generation, g, "");
      warn_of_unused(own, g, what + ": ");
      warned = !unused_options(own, g).empty();
    }
    // A line's own seed gives its text by itself.
    std::int64_t none = 0, &copy = own.seed ? none : copies[ids];
    const std::int64_t n_jobs = g.num_beams > 1 ? 1 : g.num_return_sequences;
    for (std::int64_t s = 0; s < n_jobs; ++s)
      jobs.push_back({.request = {ids, g, draw_stream(ids, copy++)},
                      .document = &d,
                      .first_sample = s,
                      .first_item = item + static_cast<std::size_t>(s)});
    item += static_cast<std::size_t>(g.num_return_sequences);
  }
  return jobs;
}

// A line every ten seconds, for jobs that take longer.
class Progress {
 public:
  explicit Progress(std::size_t total) : total_(total) {}  // 0: says nothing
  void step() {
    const auto now = std::chrono::steady_clock::now();
    if (++done_ >= total_ || now - said_ < std::chrono::seconds(10)) return;
    said_ = now;
    log_info("{} of {} requests of rank 0 are done", done_, total_);
  }

 private:
  std::size_t total_, done_ = 0;
  std::chrono::steady_clock::time_point said_ = std::chrono::steady_clock::now();
};

// What the new tokens add to the prompt's text. Of both together, as transformers' pipeline:
// SentencePiece's first token loses its space alone.
std::string continuation_of(const Tokenizer& tokenizer, const std::vector<std::int32_t>& prompt,
                            const std::vector<std::int32_t>& ids) {
  std::vector<std::int32_t> all = prompt;
  all.insert(all.end(), ids.begin(), ids.end());
  const std::string before = tokenizer.decode(prompt, true), whole = tokenizer.decode(all, true);
  return whole.substr(std::min(before.size(), whole.size()));
}

std::string json_line(const Job& job, std::int64_t sample, const Completion& c,
                      const std::string& continuation) {
  const Generation& g = job.request.options;
  OrderedJson line = {{"id", job.document->id},
                      {"prompt", valid_utf8(job.document->text)},
                      {"sample", job.first_sample + sample}};
  line["generated_text"] =
      valid_utf8((g.return_full_text ? job.document->text : "") + continuation);
  line["new_text"] = valid_utf8(continuation);
  line["ids"] = c.ids;
  line["n_prompt"] = job.request.ids.size();
  line["n_new"] = c.ids.size();
  line["finish"] = c.finish;
  if (g.logprobs) line["logprobs"] = c.logprobs;
  return line.dump() + "\n";
}

}  // namespace

void run_generate(const Invocation& invocation) {
  GenerateOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options({"generate", "Continues prompts.", nullptr, ""}, invocation.args, fields,
                     invocation.mpi.world()->rank() == 0))
    return;
  Session session(invocation, o.model, ModelUse::generate);
  const std::vector<Document> documents = read_texts(o.texts, session.grid.world(), session.stream);
  const std::vector<Job> jobs = make_jobs(o, session, documents);
  const bool json = o.texts.json || !o.texts.out.empty();
  session.load_weights();

  // Job i belongs to replica i mod dp.
  std::vector<GenerationRequest> requests;
  std::vector<std::size_t> numbers;
  const auto dp = static_cast<std::size_t>(session.grid.shape().dp);
  for (auto i = static_cast<std::size_t>(session.grid.dp().rank()); i < jobs.size(); i += dp) {
    requests.push_back(jobs[i].request);
    numbers.push_back(i);
  }
  const Tokenizer& tokenizer = session.need_tokenizer();
  const std::size_t n_items = jobs.back().end_item();
  const EngineLimits limits = {.memory_bytes = session.free_memory_bytes()};
  if (!requests.empty()) {
    const DecoderShape shape = plan_decoder(session.ctx, session.config, requests, limits);
    if (session.first() && requests.size() > static_cast<std::size_t>(shape.slots))
      log_info(
          "{} continuation{} of up to {} tokens at once: {:.1f} MB of keys, values and activations "
          "a rank",
          shape.slots, shape.slots == 1 ? "" : "s", shape.S,
          1e-6 * static_cast<double>(Decoder::plan_bytes(session.config, session.grid, shape)));
  }
  ResultWriter results(session, o.texts.out, n_items);
  Progress progress(session.first() ? requests.size() : 0);
  Engine engine(session.ctx, session.config, *session.parameters, &tokenizer, limits);
  engine.run(requests, [&](std::size_t r, std::int64_t sample, const Completion& c) {
    if (sample == 0) progress.step();
    if (!results.mine()) return;
    const Job& job = jobs[numbers[r]];
    const std::size_t item = job.first_item + static_cast<std::size_t>(sample);
    const std::string continuation = continuation_of(tokenizer, job.request.ids, c.ids);
    if (json) return results.put(item, json_line(job, sample, c, continuation));
    std::string text =
        (job.request.options.return_full_text ? job.document->text : "") + continuation + "\n";
    if (job.request.options.logprobs)
      for (std::size_t i = 0; i < c.ids.size(); ++i)
        text += fmt::format("  {:<20} {:.4f}\n", tokenizer.token(c.ids[i]), c.logprobs[i]);
    results.put(item, n_items > 1 ? text + "\n" : text);
  });
  results.finish();
}

}  // namespace weft
