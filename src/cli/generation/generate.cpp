#include "cli/command.h"
#include "cli/generation/generation_job.h"
#include "cli/generation/replica.h"
#include "cli/generation/sweep_run.h"
#include "cli/run_facts.h"
#include "cli/text_inputs.h"
#include "core/check.h"
#include "io/files.h"

namespace weft {

void run_generate(const Invocation& invocation) {
  GenerateOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const Sweep sweep = find_sweep(invocation.args, fields);
  if (!parse_generate(sweep.args_of(0), o, invocation.mpi.rank() == 0)) return;
  if (!sweep.axes.empty() || !o.table.empty()) return run_sweep(invocation, sweep);
  check_place("--attention", o.attention);
  CHECK_USER(!o.reads_openai() || (TextJob::serves(o.texts) && o.attention.empty()),
             "--format openai is a job's: give --in FILE and --out F.jsonl, and no --attention");
  Session session(invocation, o.model, ModelUse::generate);
  if (TextJob::serves(o.texts) && o.attention.empty() &&
      !failure_of([&] { check_flags_alone(o, session); }))
    return generate_as_job(invocation, o, session, fields);
  Rejects rejects;
  const std::vector<Document> documents =
      read_documents(session, o.texts, wants_of(o, session), rejects);
  const std::size_t n_texts = documents.size() + rejects.size();
  JobMaker maker(o, session, session.first());
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
