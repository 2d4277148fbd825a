// The page that shows attention: texts through one model or two, packed for the scripts of
// src/inspect/page/attention. Weights are kept as 16-bit fractions, all of them while the page
// stays small, else the largest of each row and what the others are together.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "inspect/attention_capture.h"
#include "inspect/attention_text.h"
#include "inspect/page_file.h"

namespace weft {

struct PageModel {
  std::string name;
  std::vector<std::int64_t> layers, heads;  // the chosen ones
};

// What a page holds of each text through a model.
struct PageRoom {
  std::int64_t largest = 0;  // weights of a row; 0: all
  bool vectors = true;       // queries and keys
};
// So that a page stays below 10 MB where weights can be left out, and has queries and keys where
// they take no more than the weights of a page of its own. n_tokens: of each text; share: of the
// page that is this model's.
PageRoom page_room(const PageModel& model, const ModelConfig& config,
                   std::span<const std::int64_t> n_tokens, double share);

// A text through a model, on the rank that captured it, as a string that may go to another.
class AttentionView {
 public:
  // prompt_tokens: of a generation, those before the first new one.
  AttentionView(const ModelConfig& config, PageRoom room, const AttentionText& shown,
                std::optional<std::int64_t> prompt_tokens = {});
  void add_layer(const LayerCapture& capture);                     // each chosen layer, in order
  std::string packed(std::span<const HeadStatistics> statistics);  // (layers, heads); once

 private:
  PageRoom room_;
  OrderedJson view_;
};

class AttentionPage {
 public:
  struct About {
    std::string title, made_by, command;
  };
  AttentionPage(const About& about, std::size_t n_texts);
  void add_model(const PageModel& model, const ModelConfig& config);
  // The view of a text through the model that was added last.
  void add_view(std::size_t text, const std::string& packed);
  // Without the texts that have no view of every model, no file where none has; how many there are.
  // As PageFile.
  std::size_t write(const std::filesystem::path& file);

 private:
  PageFile page_;
  OrderedJson header_;
  std::vector<OrderedJson> texts_;
};

}  // namespace weft
