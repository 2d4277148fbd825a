// A model opened by a command: grid, stream, weights and tokenizer, by the options that all such commands share.
#pragma once

#include <memory>
#include <optional>

#include "cli/command.h"
#include "core/fields.h"
#include "io/documents.h"
#include "model/context.h"
#include "model/parameters.h"
#include "text/tokenizer.h"

namespace weft {

struct ModelOptions {
  std::string model, tokenizer, device, dtype;
  std::int64_t tp = 1, pp = 1, dp = 0, threads = 0, seed = 0;
  void visit(FieldVisitor& v);
};

void check_device(const std::string& device);  // UserError where it is unknown or not built in

// What texts a command is given and where its results go.
struct TextOptions {
  std::vector<std::string> text, prompt;
  std::string in, field, out;
  bool json = false;
  void visit(FieldVisitor& v, bool with_prompt);
};
// UserError when there are none. Each has its id: its own, else its number. Collective: stdin, which mpiexec gives to rank 0 alone, is shared.
std::vector<Document> read_texts(const TextOptions& options, Communicator& world);

struct Session {
  Session(const Invocation& invocation, const ModelOptions& options);  // reads config and tokenizer; checks the grid
  void load_weights();                                                  // collective; may be called after the inputs were checked

  ModelOptions options;
  ModelConfig config;
  std::optional<Tokenizer> tokenizer;
  Grid grid;
  Stream stream;
  std::int64_t memory_bytes;  // this rank's share of the host's
  Context ctx;
  std::optional<Parameters> parameters;

  bool first() const { return grid.world().rank() == 0; }
  const Tokenizer& need_tokenizer() const;
};

// Collects the results of a job in the order of its items, whichever replica made them, and prints them on rank 0: at once where
// there is one replica, at the end otherwise. A file appears under its name only when whole.
class ResultWriter {
 public:
  ResultWriter(const Session& session, const std::string& out, std::size_t n_items);
  ~ResultWriter();
  bool mine() const;                              // whether this rank gives its replica's results
  void put(std::size_t item, std::string text);   // on ranks where mine()
  void finish();                                  // collective

 private:
  void flush();

  const Session& session_;
  std::vector<std::optional<std::string>> items_;
  std::size_t printed_ = 0;
  std::string out_;           // empty: stdout
  std::FILE* file_ = nullptr;
  std::string failure_;       // of the first write that failed; told to all ranks at the end
};

}  // namespace weft
