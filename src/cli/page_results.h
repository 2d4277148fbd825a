// Results that an attention page shows, gathered on rank 0.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "inspect/attention_page.h"
#include "io/documents.h"
#include "io/result_file.h"

namespace weft {

// A result's view, and what is printed of it (empty: nothing), as one text.
std::string with_view(const std::string& printed, const std::string& view);

struct PageSource {
  std::string title, command, file;
  int n_models = 1;
};

class PageResults {
 public:
  // keeps: on rank 0, where the page is made; other ranks hold nothing.
  PageResults(PageSource source, bool keeps);
  double share() const { return 1.0 / source_.n_models; }  // of the page, a model's
  // What follows is this model's. UserError where its texts are not those of the model before.
  void begin_model(const PageModel& model, const ModelConfig& config,
                   const std::vector<Document>& documents);
  // Text `item`'s with_view(). On rank 0.
  void take(std::size_t item, const std::string& text);
  void write();  // on rank 0; nothing where no text has a view of every model

 private:
  PageSource source_;
  bool keeps_;
  std::vector<std::string> ids_;
  std::optional<AttentionPage> page_;
  std::optional<ResultFile> out_;
};

}  // namespace weft
