#include "cli/page_results.h"

#include <charconv>

#include "cli/run_facts.h"
#include "core/check.h"
#include "core/utf8.h"

namespace weft {

std::string with_view(const std::string& printed, const std::string& view) {
  return fmt::format("{}\n{}{}", printed.size(), printed, view);
}

PageResults::PageResults(PageSource source, bool keeps)
    : source_(std::move(source)), keeps_(keeps) {}

void PageResults::begin_model(const PageModel& model, const ModelConfig& config,
                              const std::vector<Document>& documents) {
  std::vector<std::string> ids;
  for (const Document& d : documents) ids.push_back(d.id);
  CHECK_USER(ids_.empty() || ids_ == ids,
             "--compare shows texts through both models, but {} of them fit the first and {} '{}'",
             ids_.size(), ids.size(), printable(model.name));
  ids_ = std::move(ids);
  if (!keeps_) return;
  if (!page_)
    page_.emplace(
        AttentionPage::About{
            .title = source_.title, .made_by = made_by(), .command = source_.command},
        ids_.size());
  page_->add_model(model, config);
}

void PageResults::take(std::size_t item, const std::string& text) {
  std::size_t size = 0;
  const char* end = text.data() + text.size();
  const char* at = std::from_chars(text.data(), end, size).ptr + 1;
  if (size > 0) {
    if (!out_) out_.emplace("");
    out_->write({at, size});
  }
  page_->add_view(item, {at + size, end});
}

void PageResults::write() {
  if (out_) out_->close();
  if (page_) page_->write(source_.file);
}

}  // namespace weft
