// What `weft generate` asks of the engine: requests made of texts, options and what lines set for
// themselves.
#pragma once

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
  bool unordered = false, keep_fields = false;

  void visit(FieldVisitor& v) {
    model.visit(v);
    texts.visit(v, true);
    generation.visit(v);
    v.field("kv_cache_dtype", kv_cache_dtype, kCacheDTypes, kCacheDTypeHelp);
    v.field("unordered", unordered,
            "with --in and --out: results stand in --out as they are done, not in the order of the "
            "texts");
    v.field("keep_fields", keep_fields,
            "with JSON lines in and out: what a line has besides stands in its results too");
    v.field("attention", attention,
            "an HTML page (F.html) with what each new token looked at, step by step");
    v.field(
        "table", table,
        "the continuations beside each other, in this file (F.md, F.csv, F.html); options given "
        "as lists (--temperature 0.2,0.7 --model A,B) are combined, each with each");
  }
  bool json() const { return texts.as_lines(); }
  bool reads_openai() const { return texts.format == "openai"; }
};

// Continuations to make together, and what their lines say besides: one draw, or all results of a
// beam search.
struct Job {
  GenerationRequest request;
  const Document* document;
  std::int64_t first_sample;
  std::size_t first_item = 0;  // of the results

  std::int64_t n_results() const {
    const Generation& g = request.options;
    return g.num_beams > 1 ? g.num_return_sequences : 1;
  }
  std::size_t end_item() const { return first_item + static_cast<std::size_t>(n_results()); }
};

// The requests of a job: what each document asks for, in the order of the results.
class JobMaker {
 public:
  // Both outlive the maker. `tells`: whether it is this rank that warns of documents.
  JobMaker(const GenerateOptions& o, const Session& session, bool tells);
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
  std::size_t items_ = 0;
  bool tells_, warned_of_flags_ = false, warned_ = false;
};

// A continuation as a line of the results, with its newline. keep_fields: and what its document's
// line has that is no option and no field of a result.
std::string completion_line(const Job& job, std::int64_t sample, const Completion& completion,
                            const std::string& continuation, bool keep_fields);

// What is read of each document, its draws counted.
TextWants wants_of(const GenerateOptions& o, const Session& session);

// What a run of this shape takes beside the weights: "32 continuations of up to 200 tokens at once:
// …".
std::string shape_sentence(const Session& session, const InferenceShape& shape);

// False where there is nothing to do: --help was asked for.
bool parse_generate(const std::vector<std::string>& args, GenerateOptions& o, bool prints);

// All texts are rejected: the flags may be why, and then they are what is said.
void check_flags_alone(const GenerateOptions& o, const Session& session);

}  // namespace weft
