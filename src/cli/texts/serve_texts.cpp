#include "cli/texts/serve_texts.h"

#include <utility>

#include "cli/results.h"
#include "cli/texts/text_job.h"
#include "core/check.h"

namespace weft {
namespace {

constexpr std::int64_t kFullPass = 64;  // texts of a pass, at most (infer/text_pass.cpp)

// A block's texts that have no result yet, and where those go.
struct BlockInputs {
  std::shared_ptr<JobBlock> block;
  TextInputs in;
  std::vector<std::pair<std::size_t, std::int64_t>> places;  // of each text: document, result
};

void encode_document(const Session& session, TextJob& job, const InputRules& rules,
                     std::size_t document, BlockInputs& to) {
  const Document& d = to.block->documents()[document];
  if (to.block->is_rejected(document)) return;
  const std::vector<Document> pieces = rules.pieces ? rules.pieces(d) : std::vector{d};
  std::vector<Encoding> encodings;
  for (const Document& piece : pieces) encodings.push_back(encode_text(session, piece, rules));
  job.expect(*to.block, document, static_cast<std::int64_t>(pieces.size()));
  for (std::size_t p = 0; p < pieces.size(); ++p) {
    const auto result = static_cast<std::int64_t>(p);
    if (to.block->has(document, result)) continue;
    to.in.numbers.push_back(to.in.documents.size());
    to.places.emplace_back(document, result);
    add_text(session, pieces[p], std::move(encodings[p]), to.in);
  }
}

// The next block that has texts to run; without any where none is left.
BlockInputs next_inputs(Session& session, TextJob& job, const InputRules& rules, bool wait) {
  for (;;) {
    BlockInputs inputs;
    inputs.block = job.next(wait);
    if (!inputs.block) return inputs;
    for (std::size_t d = 0; d < inputs.block->documents().size(); ++d) {
      const auto mistake = failure_of([&] { encode_document(session, job, rules, d, inputs); });
      if (mistake && mistake->kind != FailureKind::user) rethrow(*mistake);
      if (mistake) job.reject(*inputs.block, d, mistake->text);
    }
    if (!inputs.in.texts.empty()) return inputs;
  }
}

void serve_as_job(Session& session, const Invocation& invocation, const TextOptions& options,
                  const TextTask& task) {
  session.need_tokenizer();
  TextJobRules rules;
  rules.wants.pair_field = task.rules.pair_field;
  rules.wants.unit = task.rules.unit;
  if (session.grid.shape().dp == 1) rules.least = kFullPass;  // passes are full, or nearly
  TextJob job(session, invocation, task.what, task.fields, options, rules);
  session.watch_time(true);
  JobLog log =
      session.open_log(invocation, task.what, task.fields, static_cast<std::size_t>(job.n_texts()));
  BlockInputs inputs = next_inputs(session, job, task.rules, false);
  const auto left = static_cast<std::int64_t>(inputs.in.texts.size());
  if (session.grid.world().all_reduce_value(left, ReduceOp::max, session.stream) > 0)
    session.load_weights();
  log.begin();
  std::optional<Failure> ended;
  while (inputs.block && !ended) {
    ended = task.run(inputs.in, [&](std::size_t t, const std::function<std::string()>& result) {
      const auto timed = time_as(session.ctx, TimeShare::data);
      const auto& [document, number] = inputs.places[t];
      const bool leads = session.grid.replica().rank() == 0;
      job.put(*inputs.block, document, number, leads ? result() : "", inputs.in.work(t));
      if (leads) log.progress(job.work());
    });
    if (ended) break;
    ended = caught_together([&] { inputs = next_inputs(session, job, task.rules, true); });
  }
  job.finish(ended, log);
}

}  // namespace

void serve_texts(Session& session, const Invocation& invocation, const TextOptions& options,
                 const TextTask& task) {
  if (TextJob::serves(options) && task.rules.pairs.empty())
    return serve_as_job(session, invocation, options, task);
  TextInputs in = read_inputs(session, options, task.rules);
  session.watch_time(true);
  JobLog log = session.open_log(invocation, task.what, task.fields, in.documents.size());
  session.load_weights();
  ResultWriter results(session, options.out, in.documents.size());
  log.begin();
  const auto ended = task.run(in, [&](std::size_t t, const std::function<std::string()>& result) {
    if (!results.mine()) return;
    const auto timed = time_as(session.ctx, TimeShare::data);
    results.put(in.numbers[t], result(), in.work(t));
    log.progress(results.work());
  });
  in.rejects.finish(session, options.out, in.n_texts, results.finish(ended, log));
}

}  // namespace weft
