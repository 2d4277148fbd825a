#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "cli/command.h"
#include "cli/generation_page.h"
#include "cli/options.h"
#include "cli/rejects.h"
#include "cli/results.h"
#include "cli/run_facts.h"
#include "cli/session.h"
#include "cli/text_inputs.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "core/spelling.h"
#include "core/utf8.h"
#include "infer/continuation.h"
#include "infer/engine.h"
#include "infer/generation_file.h"
#include "io/files.h"

namespace weft {
namespace {

struct GenerateOptions {
  ModelOptions model;
  TextOptions texts;
  GenerationOptions generation;
  std::string attention;

  void visit(FieldVisitor& v) {
    model.visit(v);
    texts.visit(v, true);
    generation.visit(v);
    v.field("attention", attention,
            "an HTML page (F.html) with what each new token looked at, step by step");
  }
  bool json() const { return texts.as_lines(); }
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

// What a JSONL line sets for itself. Its keys are the options', or they are somebody else's: one
// that is nearly an option's, or that transformers' generate() has and we lack, is a mistake.
void check_keys(const Json& line, const std::string& field, const std::string& what) {
  GenerationOptions options;
  std::vector<std::string> known = field_names([&](FieldVisitor& v) { options.visit(v); });
  known.emplace_back("seed");
  const std::map<std::string, const char*> ours = {
      {"min_length", "min_new_tokens"}, {"stop_strings", "stop"}, {"bad_words_ids", "bad_words"}};
  for (const auto& [key, value] : line.items()) {
    if (value.is_null() || key == field || key == "text" || key == "prompt" || key == "id")
      continue;
    if (const auto other = ours.find(key); other != ours.end())
      user_error("{}: {} is not an option here; use '{}'", what, key, other->second);
    for (const LackingOption& o : lacking_options())
      CHECK_USER(key != o.key || value == o.neutral, "{}: {} is {}, which Weft does not have", what,
                 key, brief(value));
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

void warn_of_unused(const GenerationOptions& given, const Generation& decided,
                    const std::string& where) {
  const std::vector<std::string> flags = unused_options(given, decided);
  if (!flags.empty()) log_warning("{}without effect: {}", where, fmt::join(flags, ", "));
}

// The requests of a job: what each document asks for, in the order of the results.
class JobMaker {
 public:
  JobMaker(const GenerateOptions& o, const Session& session)
      : options_(o),
        session_(session),
        tokenizer_(session.need_tokenizer()),
        file_(session.generation_file()),
        flags_(o.generation) {
    flags_.seed = o.model.seed;
  }

  // UserErrors name the document; then nothing of it is in the jobs.
  void add(const Document& d) {
    const std::string what = name_of(d, options_);
    const GenerationOptions own = own_options(d, options_.texts.field, what);
    const std::vector<std::int32_t> ids = prompt_ids(tokenizer_, session_.config, d.text, what);
    const PromptPlace place = {.what = what,
                               .n_tokens = static_cast<std::int64_t>(ids.size()),
                               .context = session_.config.context,
                               .vocab = session_.config.vocab};
    const Generation g = resolve(own, place);
    warn(own, g, what);
    // A line's own seed gives its text by itself.
    std::int64_t none = 0, &copy = own.seed ? none : copies_[ids];
    const std::int64_t n_jobs = g.num_beams > 1 ? 1 : g.num_return_sequences;
    for (std::int64_t s = 0; s < n_jobs; ++s)
      jobs_.push_back({.request = {ids, g, draw_stream(ids, copy++), what},
                       .document = &d,
                       .first_sample = s,
                       .first_item = items_ + static_cast<std::size_t>(s)});
    items_ += static_cast<std::size_t>(g.num_return_sequences);
  }

  std::vector<Job> take() { return std::move(jobs_); }
  std::size_t n_items() const { return items_; }

 private:
  // What is wrong in a line is said with its place, whatever says it.
  Generation resolve(const GenerationOptions& own, const PromptPlace& place) const {
    try {
      return resolve_generation(own, flags_, file_, place, &tokenizer_);
    } catch (const UserError& error) {
      const std::string text = error.what();
      throw UserError(text.starts_with(place.what) ? text : place.what + ": " + text);
    }
  }

  // Once for the flags, and for the first line that has reason to.
  void warn(const GenerationOptions& own, const Generation& g, const std::string& what) {
    if (!session_.first()) return;
    if (!std::exchange(warned_of_flags_, true)) {
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

  const GenerateOptions& options_;
  const Session& session_;
  const Tokenizer& tokenizer_;
  GenerationFile file_;
  GenerationOptions flags_;
  std::vector<Job> jobs_;
  std::map<std::vector<std::int32_t>, std::int64_t>
      copies_;  // of each prompt so far: equal prompts of one run get different texts
  std::size_t items_ = 0;
  bool warned_of_flags_ = false, warned_ = false;
};

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

std::string json_line(const Job& job, std::int64_t sample, const Completion& c,
                      const std::string& continuation) {
  const Generation& g = job.request.options;
  OrderedJson line = {{"prompt", job.document->text}, {"sample", job.first_sample + sample}};
  line["generated_text"] = made_utf8((g.return_full_text ? job.document->text : "") + continuation);
  line["new_text"] = made_utf8(continuation);
  line["ids"] = c.ids;
  line["n_prompt"] = job.request.ids.size();
  line["n_new"] = c.ids.size();
  line["finish"] = c.finish;
  if (g.logprobs) line["logprobs"] = c.logprobs;
  return result_line(*job.document, line);
}

// All texts are rejected: the flags may be why, and then they are what is said.
void check_flags_alone(const GenerateOptions& o, const Session& session) {
  const PromptPlace shortest = {.what = "a prompt",
                                .n_tokens = 1,
                                .context = session.config.context,
                                .vocab = session.config.vocab};
  resolve_generation({}, o.generation, session.generation_file(), shortest,
                     &session.need_tokenizer());
}

// This replica's requests and what becomes of their completions.
class Replica {
 public:
  // page: of what the texts look at; null: none is written.
  Replica(const GenerateOptions& o, const Session& session, std::vector<Job> jobs, Rejects& rejects,
          JobLog& log, GenerationPage* page)
      : options_(o),
        session_(session),
        tokenizer_(session.need_tokenizer()),
        rejects_(rejects),
        log_(log),
        page_(page) {
    const auto dp = static_cast<std::size_t>(session.grid.shape().dp);
    for (auto i = static_cast<std::size_t>(session.grid.dp().rank()); i < jobs.size(); i += dp) {
      for (std::size_t item = jobs[i].first_item; page && item < jobs[i].end_item(); ++item)
        page->expect(item);
      requests_.push_back(jobs[i].request);  // job i belongs to replica i mod dp
      jobs_.push_back(std::move(jobs[i]));
    }
  }

  // Rejects what does not fit beside the weights, by what is free before they are loaded. Whether
  // anything is left, here or in another replica. Collective over the world.
  bool reject_too_large() {
    const Grid& grid = session_.grid;
    const std::size_t weights = Parameters::plan_bytes(
        session_.config, grid.shape(), grid.tp().rank(), grid.pp().rank(),
        session_.options.held_dtype(), ParameterUse::inference, session_.ctx.stream.device());
    const std::size_t probe = log_.on() ? ReadProbe::plan_bytes() : 0;
    const std::int64_t room = session_.memory.bytes - static_cast<std::int64_t>(weights + probe);
    Communicator& world = session_.grid.world();
    // Where the weights alone are too large, loading them says so.
    if (world.all_reduce_value(room, ReduceOp::min, session_.ctx.stream) <= 0) return true;
    reject_unfitting(limits_for(room));
    const auto left = static_cast<std::int64_t>(requests_.size());
    return world.all_reduce_value(left, ReduceOp::max, session_.ctx.stream) > 0;
  }

  // What this replica ended with before all of its requests were done, on all its ranks alike.
  std::optional<Failure> run(ResultWriter& results, std::size_t n_items) {
    const EngineWatch watch = log_.watch_engine();
    const EngineLimits limits = limits_for(session_.free_memory_bytes());
    reject_unfitting(limits);
    for (const Job& job : too_large_)
      for (std::size_t item = job.first_item; results.mine() && item < job.end_item(); ++item)
        results.put(item, "");
    if (!requests_.empty()) say_shape(limits);
    Progress progress(session_.first() ? requests_.size() : 0);
    Engine engine(session_.ctx, session_.config, *session_.parameters, &tokenizer_, limits, watch);
    log_.begin();
    return engine.try_run(requests_, [&](std::size_t r, std::int64_t sample, const Completion& c) {
      const auto timed = time_as(session_.ctx, TimeShare::data);
      if (sample == 0) progress.step();
      if (page_ && c.error.empty()) note_for_page(jobs_[r], sample, c);
      if (!results.mine()) return;
      put(results, jobs_[r], sample, c, n_items);
      log_.progress(results.work());
    });
  }

 private:
  EngineLimits limits_for(std::int64_t memory_bytes) const {
    return {.memory_bytes = memory_bytes, .weights = session_.options.held_dtype()};
  }

  // A request that memory cannot hold costs no other: the largest go until the others fit.
  void reject_unfitting(const EngineLimits& limits) {
    while (!requests_.empty()) {
      const auto failure =
          failure_of([&] { plan_inference(session_.ctx, session_.config, requests_, limits); });
      if (!failure) return;
      if (failure->kind != FailureKind::user) rethrow(*failure);
      reject_largest(failure->text);
    }
  }

  void reject_largest(const std::string& why) {
    const auto size_of = [](const GenerationRequest& r) {
      return (static_cast<std::int64_t>(r.ids.size()) + r.options.max_new_tokens) *
             r.options.num_beams;
    };
    std::int64_t largest = 0;
    for (const GenerationRequest& r : requests_) largest = std::max(largest, size_of(r));
    for (std::size_t i = requests_.size(); i-- > 0;) {
      if (size_of(requests_[i]) < largest) continue;
      const std::string reason = fmt::format("{}: {}", requests_[i].name, why);
      if (session_.grid.replica().rank() == 0) rejects_.add(*jobs_[i].document, reason);
      requests_.erase(requests_.begin() + static_cast<std::ptrdiff_t>(i));
      too_large_.push_back(std::move(jobs_[i]));
      jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  // What the run takes beside the weights.
  void say_shape(const EngineLimits& limits) const {
    const InferenceShape shape = plan_inference(session_.ctx, session_.config, requests_, limits);
    if (!session_.first() || requests_.size() <= static_cast<std::size_t>(shape.slots)) return;
    const auto megabytes = [](std::size_t bytes) { return 1e-6 * static_cast<double>(bytes); };
    const std::size_t cache = static_cast<std::size_t>(shape.pages) *
                              InferencePass::page_bytes(session_.config, session_.ctx.act,
                                                        session_.grid),
                      all = InferencePass::plan_bytes(session_.config, session_.grid, shape);
    log_info(
        "{} continuation{} of up to {} tokens at once: {:.1f} MB of keys and values ({} pages of "
        "{} tokens), {:.1f} MB of activations and {:.1f} MB of scratch{} a rank",
        shape.slots, shape.slots == 1 ? "" : "s", shape.S, megabytes(cache), shape.pages,
        kPageTokens, megabytes(all - cache),
        megabytes(InferencePass::kept_bytes(session_.ctx, session_.config, shape)),
        session_.device.type == DeviceType::cuda ? ", workspaces and graphs" : "");
  }

  void put(ResultWriter& results, const Job& job, std::int64_t sample, const Completion& c,
           std::size_t n_items) {
    const std::size_t item = job.first_item + static_cast<std::size_t>(sample);
    if (!c.error.empty()) return put_error(results, job, sample, c);
    const std::string continuation = continuation_text(tokenizer_, job.request.ids, c.ids);
    const JobWork done = {
        .prompt_tokens = sample == 0 ? static_cast<std::int64_t>(job.request.ids.size()) : 0,
        .new_tokens = static_cast<std::int64_t>(c.ids.size())};
    if (options_.json()) return results.put(item, json_line(job, sample, c, continuation), done);
    std::string text =
        (job.request.options.return_full_text ? job.document->text : "") + continuation + "\n";
    if (job.request.options.logprobs)
      for (std::size_t i = 0; i < c.ids.size(); ++i)
        text += fmt::format("  {:<20} {:.4f}\n", tokenizer_.token(c.ids[i]), c.logprobs[i]);
    results.put(item, n_items > 1 ? text + "\n" : text, done);
  }

  void note_for_page(const Job& job, std::int64_t sample, const Completion& c) {
    const std::size_t item = job.first_item + static_cast<std::size_t>(sample);
    page_->add(item, fmt::format("{}, sample {}", job.document->id, job.first_sample + sample),
               job.request.ids, c.ids);
  }

  // A text without a result is rejected; one that has some lacks the others.
  void put_error(ResultWriter& results, const Job& job, std::int64_t sample, const Completion& c) {
    if (sample > 0) {
      log_warning("{}", c.error);
      return results.put(job.first_item + static_cast<std::size_t>(sample), "");
    }
    rejects_.add(*job.document, c.error);
    for (std::size_t item = job.first_item; item < job.end_item(); ++item) results.put(item, "");
  }

  const GenerateOptions& options_;
  const Session& session_;
  const Tokenizer& tokenizer_;
  Rejects& rejects_;
  JobLog& log_;
  GenerationPage* page_;
  std::vector<Job> jobs_, too_large_;  // of the requests; of those that were rejected
  std::vector<GenerationRequest> requests_;
};

}  // namespace

void run_generate(const Invocation& invocation) {
  GenerateOptions o;
  std::vector<std::string> flags;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine command = {.name = "generate",
                               .summary = "Continues prompts.",
                               .positionals = nullptr,
                               .positional_name = "",
                               .flags = &flags};
  if (!parse_options(command, invocation.args, fields, invocation.mpi.rank() == 0)) return;
  check_temperature(o.generation, flags);
  check_place("--attention", o.attention);
  Session session(invocation, o.model, ModelUse::generate);
  Rejects rejects;
  TextWants wants;
  wants.options = true;
  const std::vector<Document> documents = read_documents(session, o.texts, wants, rejects);
  const std::size_t n_texts = documents.size() + rejects.size();
  JobMaker maker(o, session);
  for (const Document& d : documents) rejects.serve(d, [&] { maker.add(d); });
  const std::size_t n_items = maker.n_items();
  if (n_items == 0) {
    check_flags_alone(o, session);
    rejects.finish(session, o.texts.out, n_texts, std::nullopt);
  }
  std::optional<GenerationPage> page;
  if (!o.attention.empty())
    page.emplace(session, PageSource{.title = o.model.model + ", generating",
                                     .command = command_line(invocation, "generate"),
                                     .file = o.attention});
  session.watch_time(true);
  JobLog log = session.open_log(invocation, "generate", fields, n_items);
  Replica replica(o, session, maker.take(), rejects, log, page ? &*page : nullptr);
  if (!replica.reject_too_large()) rejects.finish(session, o.texts.out, n_texts, std::nullopt);
  session.load_weights();
  ResultWriter results(session, o.texts.out, n_items);
  const auto ended = replica.run(results, n_items);
  std::optional<Failure> stopped = results.finish(ended, log);
  if (page && !stopped) stopped = failure_of([&] { page->write(n_items); });
  rejects.finish(session, o.texts.out, n_texts, stopped);
}

}  // namespace weft
