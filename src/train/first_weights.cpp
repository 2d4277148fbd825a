#include "train/first_weights.h"

#include <set>

#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "formats/families/families.h"

namespace weft {
namespace {

// Says what of the head is new, whichever rank holds it. Collective.
void tell_of_new_head(const Context& ctx, const std::vector<KeptTensor>& kept,
                      const std::string& model, HeadKind head) {
  Json mine = Json::array();
  for (const KeptTensor& t : kept) mine.push_back({t.name, t.shapes});
  std::set<std::string> all;  // a rank names what it holds of
  bool loses = false;         // a head of other labels was there, which its user may not have meant
  for (const std::string& theirs : gather_texts(ctx.grid.world(), json_text(mine), ctx.stream))
    for (const Json& tensor : parse_json(theirs)) {
      const std::string name = tensor[0], shapes = tensor[1];
      all.insert(shapes.empty() ? name : fmt::format("{} ({})", name, shapes));
      loses = loses || !shapes.empty();
    }
  if (ctx.grid.world().rank() != 0 || all.empty()) return;
  const std::string sentence = fmt::format("{} does not have all of this {}; initialised anew: {}",
                                           model, head_name(head), fmt::join(all, ", "));
  log_line(loses ? LogLevel::warning : LogLevel::info, sentence);
}

void load_model(const Context& ctx, const TrainOptions& options, const TrainingStart& start,
                Parameters& parameters) {
  const StoredModel& model = *start.model;
  const bool tells = ctx.grid.world().rank() == 0;
  std::unique_ptr<WeightSource> weights;
  throw_together(ctx.grid.world(), failure_of([&] {
                   const std::string difference = first_difference(model.config(), start.config);
                   CHECK_USER(model.takes_new_tensors() || difference.empty(),
                              "{}: is a checkpoint of another model: {}", options.model,
                              difference);
                   weights = model.weights();
                 }),
                 ctx.stream);
  const bool keep = options.task != "clm";
  if (const std::string warning = warning_of_untied(start.config, options.model);
      tells && !warning.empty())
    log_warning("--model {}", warning);
  if (tells && start.stored_vocab > 0)
    log_info(
        "the token tables grow from {} rows to the data's {}: the new ones are drawn about the "
        "old ones' mean, as transformers' resize_token_embeddings does",
        start.stored_vocab, start.config.vocab);
  if (keep) parameters.init_weights(static_cast<std::uint64_t>(options.seed), ctx.stream);
  const LoadOptions load = {.missing = keep ? MissingHead::keep : MissingHead::error,
                            .new_tokens = {.n_old = start.stored_vocab,
                                           .seed = static_cast<std::uint64_t>(options.seed)}};
  const std::vector<KeptTensor> kept = weights->load(ctx, parameters, start.config, load);
  tell_of_new_head(ctx, kept, options.model, start.config.head);
}

}  // namespace

RunState begin_run(const Context& ctx, const TrainOptions& options, const TrainingStart& start,
                   Parameters& parameters) {
  CHECK_USER(!start.without_model, "--model {}: no such file or folder", options.model);
  RunState state = {.step = 0,
                    .cursor = 0,
                    .seed = options.seed,
                    .tokenizer = start.tokenizer ? start.tokenizer->to_json() : "",
                    .generation = ""};
  if (start.model) {
    throw_together(ctx.grid.world(), failure_of([&] {
                     if (const auto generation = start.model->generation())
                       state.generation = generation->text;
                   }),
                   ctx.stream);
    load_model(ctx, options, start, parameters);
  } else {
    parameters.init_weights(static_cast<std::uint64_t>(options.seed), ctx.stream);
    parameters.refresh_bf16(ctx.stream);
  }
  parameters.zero_moments(ctx.stream);  // a checkpoint, a damaged one too, may have brought some
  return state;
}

}  // namespace weft
