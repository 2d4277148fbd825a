// `weft generate` of a file into a file, as a job (cli/texts/text_job.h): the engine is fed from
// the blocks that this replica claims, as it runs out of prompts.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "cli/generation/openai_lines.h"
#include "cli/generation/requests.h"
#include "cli/texts/text_job.h"

namespace weft {

class GenerationJob {
 public:
  // All outlive it.
  GenerationJob(const GenerateOptions& o, Session& session, TextJob& job);

  // Takes a first block. Whether this replica has a prompt. Collective over the replica.
  bool begin();
  // Until no block is left: what this replica ended with, on all its ranks alike. memory_bytes: of
  // a rank's cache, activations and scratch. Collective over the replica.
  std::optional<Failure> run(std::int64_t memory_bytes, JobLog& log);

 private:
  // A request of a document's: one of its samples or beam searches, or a choice of a batch line.
  struct Asked {
    std::shared_ptr<JobBlock> block;
    std::size_t document = 0;
    Job job;
    std::shared_ptr<OpenAiLine> line = nullptr;
    std::size_t choice = 0;
  };
  // A batch line before the engine is asked for anything of it.
  struct Line {
    std::shared_ptr<JobBlock> block;
    std::size_t document = 0;
    std::shared_ptr<OpenAiLine> line;
  };
  bool take_block(bool wait);
  void take_document(const std::shared_ptr<JobBlock>& block, std::size_t document);
  std::vector<Asked> asked_of(const std::shared_ptr<JobBlock>& block, std::size_t document);
  std::vector<Asked> asked_of_line(const std::shared_ptr<JobBlock>& block, std::size_t document);
  std::vector<Asked> asked_of_line(const Line& line);
  bool read_lines();
  std::optional<InferenceShape> plan();
  void reject_unfitting();
  void reject_largest(const std::string& why);
  void say_shape(const InferenceShape& shape) const;
  EngineOrders feed(const InferenceShape& shape, bool idle);
  void take_completion(std::size_t request, std::int64_t sample, const Completion& completion);
  void put(const Asked& asked, std::int64_t sample, const Completion& completion);
  void put_line(const Asked& asked, const Completion& completion);
  void put_line(const Line& line);

  const GenerateOptions& options_;
  Session& session_;
  TextJob& job_;
  JobMaker maker_;
  std::optional<ServedModel> served_;  // of --format openai
  EngineLimits limits_;
  JobLog* log_ = nullptr;
  std::deque<Line> unread_;  // that ask about their prompts, or for nothing new
  std::deque<Asked> waiting_;
  std::map<std::size_t, Asked> running_;  // by the engine's number
  std::size_t n_fed_ = 0;                 // to the engine that runs
  bool none_left_ = false;                // that nobody else works on
  bool said_ = false;
};

// The whole command. Collective.
void generate_as_job(const Invocation& invocation, const GenerateOptions& o, Session& session,
                     const VisitFields& fields);

}  // namespace weft
