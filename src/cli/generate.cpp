#include "cli/command.h"
#include "cli/options.h"
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

// A continuation to make, and what its line says besides.
struct Job {
  GenerationRequest request;
  const Document* document;
  std::int64_t sample;
};

std::vector<Job> make_jobs(const GenerateOptions& o, const Session& session, const std::vector<Document>& documents) {
  const Tokenizer& tokenizer = session.need_tokenizer();
  std::vector<std::int32_t> file_eos;
  const GenerationOptions file = read_generation_config(o.model.model, &file_eos);
  if (file_eos.empty() && session.config.eos_id >= 0) file_eos = {session.config.eos_id};
  GenerationOptions flags = o.generation;
  flags.seed = o.model.seed;
  std::vector<Job> jobs;
  for (const Document& d : documents) {
    GenerationOptions own;
    const std::string what = d.line > 0 ? fmt::format("{}: line {}", o.texts.in, d.line) : fmt::format("prompt {}", d.id);
    if (d.options.is_object()) set_from_json(d.options, [&](FieldVisitor& v) { own.visit(v); }, what);
    if (d.options.is_object() && d.options.contains("seed") && d.options["seed"].is_number_integer()) own.seed = d.options["seed"].get<std::int64_t>();
    std::vector<std::int32_t> ids = tokenizer.encode(d.text).ids;
    if (ids.empty()) {  // as transformers: an empty prompt is the begin token
      const std::int32_t begin = session.config.bos_id >= 0 ? session.config.bos_id : tokenizer.eos_id().value_or(-1);
      CHECK_USER(begin >= 0, "{} is empty, and the model has no begin token to start from", what);
      ids = {begin};
    }
    const Generation g = resolve_generation(own, flags, file, file_eos, static_cast<std::int64_t>(ids.size()), session.config.context, what);
    for (std::int64_t s = 0; s < g.num_return_sequences; ++s) jobs.push_back({{ids, g, jobs.size()}, &d, s});
  }
  return jobs;
}

void warn_of_unused(const GenerateOptions& o, const std::vector<Job>& jobs) {
  const GenerationOptions& g = o.generation;
  const bool warps = g.temperature || g.top_k || g.top_p || g.min_p || g.typical_p;
  if (warps && !jobs.empty() && !jobs[0].request.options.do_sample)
    log_warning("--temperature, --top-k, --top-p, --min-p and --typical-p do nothing without --do-sample");
}

std::string json_line(const Job& job, const Completion& c, const std::string& continuation) {
  const Generation& g = job.request.options;
  OrderedJson line = {{"id", job.document->id}, {"prompt", valid_utf8(job.document->text)}, {"sample", job.sample}};
  line["generated_text"] = valid_utf8((g.return_full_text ? job.document->text : "") + continuation);
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
  if (!parse_options({"generate", "Continues prompts.", nullptr, ""}, invocation.args, fields, invocation.mpi.world()->rank() == 0)) return;
  Session session(invocation, o.model);
  const std::vector<Document> documents = read_texts(o.texts, session.grid.world());
  const std::vector<Job> jobs = make_jobs(o, session, documents);
  warn_of_unused(o, jobs);
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
  ResultWriter results(session, o.texts.out, jobs.size());
  Engine engine(session.ctx, session.config, *session.parameters, &tokenizer);
  engine.run(requests, [&](std::size_t r, const Completion& c) {
    if (!results.mine()) return;
    const Job& job = jobs[numbers[r]];
    const std::string continuation = tokenizer.decode(c.ids, true);
    if (json) return results.put(numbers[r], json_line(job, c, continuation));
    const std::string text = (job.request.options.return_full_text ? job.document->text : "") + continuation + "\n";
    results.put(numbers[r], jobs.size() > 1 ? text + "\n" : text);
  });
  results.finish();
}

}  // namespace weft
