// A model opened by a command: grid, stream, weights and tokenizer, by the options that all such
// commands share.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "cli/command.h"
#include "cli/texts.h"
#include "comm/pass_limit.h"
#include "comm/run_time.h"
#include "core/option_words.h"
#include "core/system/memory.h"
#include "formats/open_model.h"
#include "infer/generation_file.h"
#include "infer/job_log.h"
#include "infer/options.h"
#include "model/context.h"
#include "model/parameters.h"

namespace weft {

struct ModelOptions {
  std::string model, tokenizer, device, dtype, gpu_map, walltime, log;
  std::int64_t tp = 1, pp = 1, dp = 0, threads = 0, seed = 0, comm_timeout = kCommTimeout_s;
  bool deterministic = false;
  DType held_dtype() const;  // fp32 unless --dtype says otherwise
  void visit(FieldVisitor& v);
};

// choose_device (machine/device_choice.h) for this rank, for a model of this config; null: for no
// model. Collective.
Device device_of(const Invocation& invocation, const ModelConfig* config, const std::string& device,
                 const std::string& gpu_map = "");

// What a command wants of a model, whatever head it was saved with.
enum class ModelUse : std::uint8_t {
  generate,  // a causal LM; a masked one is taken for it with the reference's warning
  chat,      // a causal LM
  score,     // the LM it is
  fill,      // a masked LM
  label,     // a text or token classifier, which cannot be made of anything else
  states,    // hidden states alone
};

// --tokenizer, else the model's own; none where it has none.
std::optional<Tokenizer> open_tokenizer(const StoredModel& model, const std::string& tokenizer);

// What ctx and the parameters refer to lives in it, so it stays where it was made.
struct Session {
  // Reads config and tokenizer; checks the grid, and that all ranks were told and read the same.
  // Collective.
  Session(const Invocation& invocation, const ModelOptions& options, ModelUse use);
  // From here on passes end by a signal, where `signals`, or before the time is over: Interrupted.
  // Collective.
  void watch_time(bool signals);
  void load_weights();  // may be called after the inputs were checked. Collective
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  ModelUse purpose;
  int ranks_on_host = 1;
  ModelOptions options;  // with the path that --model was found at
  StoredModel model;
  ModelConfig config;  // with the head that the command wants
  std::optional<Tokenizer> tokenizer;
  Device device;
  Grid grid;
  Stream stream;
  MemoryRoom memory;  // for this rank, before its weights take theirs
  ShareClock clock;   // runs where there is a log
  Context ctx;
  std::optional<Parameters> parameters;
  RunTime time;
  std::optional<PassLimit> limit;

  // --log, its start line written; off without. `fields` visits the command's options. Collective.
  JobLog open_log(const Invocation& invocation, const std::string& what, const VisitFields& fields,
                  std::size_t n_items);

  bool first() const { return grid.world().rank() == 0; }
  mutable bool warned_of_length = false, warned_of_generation_file = false;
  // May have added tokens past the model's vocabulary (a pad token that it never learned);
  // UserError where ordinary ones lie there.
  const Tokenizer& need_tokenizer() const;
  // UserError where the encoded text `what` has an id that the model has no embedding for.
  void check_ids(const std::string& what, std::span<const std::int32_t> ids) const;
  std::int32_t need_mask_id() const;
  // What the model's generation_config.json says, with the end tokens of config.json where it names
  // none; what is ignored of it is warned of.
  GenerationFile generation_file() const;
  // UserError where a text of so many tokens is too long for the model. Rotary positions go on;
  // that the model was not trained for it is warned of once.
  void check_length(const std::string& what, std::size_t n_tokens) const;
  // What --kv-cache-dtype says; none: as activations. UserError where the device cannot hold that.
  std::optional<DType> cache_dtype(const std::string& word) const;
  // This rank's share of what its host has left. Collective.
  std::int64_t free_memory_bytes() const;

 private:
  // Throws: the weights, and what a GPU's ops keep, need `planned` bytes, more than there is.
  [[noreturn]] void too_large(double planned) const;
};

}  // namespace weft
