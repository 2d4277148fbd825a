#include "cli/generation/generation_page.h"

#include <algorithm>
#include <numeric>

#include "cli/results.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/utf8.h"
#include "inspect/attention_capture.h"

namespace weft {
namespace {

std::vector<std::int64_t> all_below(std::int64_t n) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace

GenerationPage::GenerationPage(Session& session, PageSource source)
    : session_(session), source_(std::move(source)) {
  CHECK_USER(session.config.causal,
             "--attention shows texts of models that read from left to right; {} reads in both "
             "directions",
             session.config.family);
}

void GenerationPage::add(std::size_t item, const std::string& name,
                         std::span<const std::int32_t> prompt,
                         std::span<const std::int32_t> continuation) {
  Text& text = own_[item];
  text.name = name;
  text.n_prompt = static_cast<std::int64_t>(prompt.size());
  text.ids.assign(prompt.begin(), prompt.end());
  text.ids.insert(text.ids.end(), continuation.begin(), continuation.end());
}

void GenerationPage::write(std::size_t n_items) {
  Communicator& world = session_.grid.world();
  std::vector<double> counts(n_items, 0.0);  // tokens of every text, on every rank
  for (const auto& [item, text] : own_) counts[item] = static_cast<double>(text.ids.size());
  world.all_reduce(View(counts.data(), Dims{static_cast<std::int64_t>(n_items)}), ReduceOp::max,
                   session_.stream);
  const std::vector<std::int64_t> lengths(counts.begin(), counts.end());
  const ModelConfig& config = session_.config;
  const PageModel model = {session_.options.model, all_below(config.layers),
                           all_below(config.heads)};
  const CaptureChoice choice = {.layers = model.layers, .heads = model.heads, .whole_layers = true};
  const std::int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  if (longest == 0) return;
  const std::size_t planned = AttentionCapture::plan_bytes(session_.ctx, config, choice, longest);
  const std::int64_t free = session_.free_memory_bytes();
  throw_together(world, failure_of([&] {
                   CHECK_MACHINE(static_cast<std::int64_t>(planned) <= free,
                                 "--attention needs {:.2f} GB on a rank for a text of {} tokens, "
                                 "but {:.2f} GB is free",
                                 1e-9 * static_cast<double>(planned), longest,
                                 1e-9 * static_cast<double>(free));
                 }),
                 session_.stream);

  PageResults page(source_, session_.first());
  std::vector<Document> documents(n_items);
  for (std::size_t i = 0; i < n_items; ++i) documents[i].id = std::to_string(i);
  page.begin_model(model, config, documents);
  const PageRoom room = page_room(model, config, lengths, page.share());
  AttentionCapture capture(session_.ctx, config, *session_.parameters, choice, longest);
  const ResultWriter::Write take = [&](std::size_t item, const std::string& text) {
    if (!text.empty()) page.take(item, text);
  };
  ResultWriter results(session_, take, n_items);
  std::optional<Failure> ended;
  session_.limit->begin();
  for (const auto& [item, text] : own_) {
    ended = session_.limit->ended(session_.grid.replica(), session_.stream);
    if (ended) break;
    std::string packed;
    if (!text.ids.empty()) {
      capture.run(text.ids, {});
      std::optional<AttentionView> view;
      if (results.mine())
        view.emplace(config, room, text_of_ids(*session_.tokenizer, text.name, text.ids),
                     text.n_prompt);
      const std::vector<HeadStatistics> heads = capture.collect([&](const LayerCapture& layer) {
        if (view) view->add_layer(layer);
      });
      if (view) packed = with_view("", view->packed(heads));
    }
    if (results.mine()) results.put(item, std::move(packed));
  }
  JobLog none;
  if (const auto failure = results.finish(std::nullopt, none)) rethrow(*failure);
  if (ended) ended->text += fmt::format("; --attention {} is not made", printable(source_.file));
  throw_together(world, ended, session_.stream);
  on_first_rank(world, session_.stream, [&] { page.write(); });
}

}  // namespace weft
