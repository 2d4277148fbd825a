// What `weft generate` asks of the engine: requests made of texts, options and what lines set for
// themselves.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cli/session.h"
#include "cli/texts.h"
#include "infer/engine.h"
#include "io/documents.h"

namespace weft {

struct GenerateOptions {
  ModelOptions model;
  TextOptions texts;
  GenerationOptions generation;
  std::string attention, table, kv_cache_dtype = "auto";

  void visit(FieldVisitor& v) {
    model.visit(v);
    texts.visit(v, true);
    generation.visit(v);
    v.field("kv_cache_dtype", kv_cache_dtype, kCacheDTypes, kCacheDTypeHelp);
    v.field("attention", attention,
            "an HTML page (F.html) with what each new token looked at, step by step");
    v.field(
        "table", table,
        "the continuations beside each other, in this file (F.md, F.csv, F.html); options given "
        "as lists (--temperature 0.2,0.7 --model A,B) are combined, each with each");
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

// The requests of a job: what each document asks for, in the order of the results.
class JobMaker {
 public:
  // Both outlive the maker.
  JobMaker(const GenerateOptions& o, const Session& session);
  // UserErrors name the document; then nothing of it is in the jobs. It outlives the jobs.
  void add(const Document& d);
  std::vector<Job> take() { return std::move(jobs_); }
  std::size_t n_items() const { return items_; }

 private:
  Generation resolve(const GenerationOptions& own, const PromptPlace& place) const;
  void warn(const GenerationOptions& own, const Generation& g, const std::string& what);

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

// False where there is nothing to do: --help was asked for.
bool parse_generate(const std::vector<std::string>& args, GenerateOptions& o, bool prints);

// All texts are rejected: the flags may be why, and then they are what is said.
void check_flags_alone(const GenerateOptions& o, const Session& session);

}  // namespace weft
