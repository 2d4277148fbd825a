// Attention in HDF5, for h5py. A text: /layer_00 … of the chosen layers, (S, T, T) fp32 of the
// chosen heads; /tokens (T strings); where they are exported /hidden_00 … /hidden_NN (T, C), as
// transformers' hidden_states, and /logits (T, V). Attributes: model, text (text_pair), layers and
// heads, the choice. Several texts: the same in /text_000, /text_001, …
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "inspect/attention_capture.h"
#include "io/files.h"
#include "io/hdf5/hdf5.h"

namespace weft {

struct AttentionFileText {
  std::string text;
  std::optional<std::string> pair;
  std::vector<std::string> tokens;  // as the vocabulary spells them
};

// A file that ranks write together. It has its name only when all is in it.
class AttentionFile {
 public:
  // All but the numbers, by rank 0, to whom `texts` are all texts. Collective over the world.
  // UserError where there is no folder for it, or it is one; Error where the disk has no room.
  AttentionFile(const Context& ctx, const std::filesystem::path& place, const std::string& model,
                const ModelConfig& config, const CaptureChoice& choice,
                std::span<const AttentionFileText> texts);
  // What was captured of text `text`, by the ranks that have it; none: this replica has none now.
  // Collective over the world.
  void write(std::optional<std::size_t> text, AttentionCapture& capture);
  void put_in_place();  // collective over the world

 private:
  std::string folder_of(std::size_t text) const;
  void write_logits(std::optional<std::size_t> text, AttentionCapture& capture);

  const Context& ctx_;
  const ModelConfig& config_;
  std::size_t n_texts_;
  std::optional<FileBeside> beside_;  // rank 0's
};

}  // namespace weft
