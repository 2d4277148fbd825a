#include "model/weight_source.h"

namespace weft {
namespace {

class SafetensorsSource : public WeightSource {
 public:
  explicit SafetensorsSource(const std::filesystem::path& dir) : reader_(dir) {}
  std::optional<StoredTensor> find(const std::string& name) const override {
    const StoredTensor* tensor = reader_.find(name);
    return tensor ? std::optional(*tensor) : std::nullopt;
  }
  std::size_t n_tensors() const override { return reader_.tensors().size(); }

 private:
  SafetensorsReader reader_;
};

}  // namespace

std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& path) { return std::make_unique<SafetensorsSource>(path); }

}  // namespace weft
