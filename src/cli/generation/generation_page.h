// What generated texts looked at, as a page: --attention.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/page_results.h"
#include "cli/session.h"

namespace weft {

// On every rank of every replica.
class GenerationPage {
 public:
  // UserError where the model reads in both directions: a token's map would change with the text.
  GenerationPage(Session& session, PageSource source);
  // An item that this replica serves, before it is there.
  void expect(std::size_t item) { own_[item]; }
  // Its ids, prompt and continuation.
  void add(std::size_t item, const std::string& name, std::span<const std::int32_t> prompt,
           std::span<const std::int32_t> continuation);
  // Reads each finished text once more: row i of its maps is what was looked at when token i + 1
  // was chosen. Of n_items items of all replicas. Collective.
  void write(std::size_t n_items);

 private:
  struct Text {
    std::string name;
    std::vector<std::int32_t> ids;  // empty: there is none
    std::int64_t n_prompt = 0;
  };
  Session& session_;
  PageSource source_;
  std::map<std::size_t, Text> own_;  // by item
};

}  // namespace weft
