#include "text/token_trie.h"

#include <bit>
#include <utility>

#include "core/rng.h"

namespace weft {
namespace {

std::uint64_t edge_key(std::uint32_t node, char byte) {
  return static_cast<std::uint64_t>(node) << 8 | static_cast<std::uint8_t>(byte);
}

}  // namespace

TokenTrie::TokenTrie(std::size_t n_bytes)
    : edges_(std::bit_ceil(n_bytes + 16)), values_(1, kNone) {}

std::size_t TokenTrie::slot(std::uint64_t key) const {
  std::size_t at = mix64(key) & (edges_.size() - 1);
  while (edges_[at].key != ~0ull && edges_[at].key != key) at = (at + 1) & (edges_.size() - 1);
  return at;
}

void TokenTrie::grow() {
  const std::vector<Edge> old = std::exchange(edges_, std::vector<Edge>(edges_.size() * 2));
  for (const Edge& edge : old)
    if (edge.key != ~0ull) edges_[slot(edge.key)] = edge;
}

void TokenTrie::insert(std::string_view token, std::int32_t value) {
  std::uint32_t node = kRoot;
  for (char byte : token) {
    const std::uint64_t key = edge_key(node, byte);
    std::size_t at = slot(key);
    if (edges_[at].key != key) {
      if (values_.size() * 2 > edges_.size()) {
        grow();
        at = slot(key);
      }
      edges_[at] = {key, static_cast<std::uint32_t>(values_.size())};
      values_.push_back(kNone);
    }
    node = edges_[at].node;
  }
  values_[node] = value;
}

std::uint32_t TokenTrie::step(std::uint32_t node, char byte) const {
  const Edge& edge = edges_[slot(edge_key(node, byte))];
  return edge.key == ~0ull ? kNowhere : edge.node;
}

std::uint32_t TokenTrie::walk(std::uint32_t node, std::string_view bytes) const {
  for (std::size_t i = 0; i < bytes.size() && node != kNowhere; ++i) node = step(node, bytes[i]);
  return node;
}

}  // namespace weft
