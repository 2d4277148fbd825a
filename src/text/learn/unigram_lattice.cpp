#include "text/learn/unigram_lattice.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/characters/unicode.h"

namespace weft {
namespace {

constexpr double kUnknownPenalty = 10.0;
constexpr std::int32_t kBefore = -1, kBehind = -2;  // ids of the two ends

// log(exp(x) + exp(y)); y alone where nothing was summed yet.
double log_sum(double x, double y, bool first) {
  if (first) return y;
  const double low = std::min(x, y), high = std::max(x, y);
  return high > low + 50.0 ? high : high + std::log(std::exp(low - high) + 1.0);
}

// A path from a node to the end of the text.
struct Hypothesis {
  std::uint32_t node;
  std::int32_t next;     // hypothesis, -1 at the end
  double total, behind;  // scores: of the best whole path through it, of the part behind the node
};

// Rust's BinaryHeap, move for move: the reference's order of equal hypotheses comes from it.
class Agenda {
 public:
  bool empty() const { return heap_.empty(); }
  void push(const Hypothesis& h) {
    heap_.push_back(h);
    sift_up(heap_.size() - 1);
  }
  Hypothesis pop() {
    Hypothesis top = heap_.back();
    heap_.pop_back();
    if (heap_.empty()) return top;
    std::swap(top, heap_[0]);
    // Down to the bottom along the larger children, then up again.
    const Hypothesis moved = heap_[0];
    std::size_t hole = 0;
    const std::size_t n = heap_.size();
    for (std::size_t child = 1; child < n; child = 2 * hole + 1) {
      if (child + 1 < n && not_above(heap_[child], heap_[child + 1])) ++child;
      heap_[hole] = heap_[child];
      hole = child;
    }
    heap_[hole] = moved;
    sift_up(hole);
    return top;
  }

 private:
  static bool not_above(const Hypothesis& a, const Hypothesis& b) {
    return a.total < b.total;
  }  // equal ones are "greater"
  void sift_up(std::size_t hole) {
    const Hypothesis moved = heap_[hole];
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / 2;
      if (not_above(moved, heap_[parent])) break;
      heap_[hole] = heap_[parent];
      hole = parent;
    }
    heap_[hole] = moved;
  }
  std::vector<Hypothesis> heap_;
};

}  // namespace

UnigramTrie::UnigramTrie(const std::vector<UnigramPiece>& pieces)
    : min_score(std::numeric_limits<double>::infinity()) {
  std::size_t n_bytes = 0;
  for (const UnigramPiece& piece : pieces) n_bytes += piece.text.size();
  trie = TokenTrie(n_bytes);
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (id > 0) trie.insert(pieces[id].text, static_cast<std::int32_t>(id));
    scores.push_back(pieces[id].score);
    if (pieces[id].score < min_score) min_score = pieces[id].score;
  }
}

void UnigramLattice::add(std::int32_t id, std::size_t begin, std::size_t end, double score) {
  const auto number = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back(
      {id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), score, 0, -1});
  begin_[begin].push_back(number);
  end_[end].push_back(number);
}

void UnigramLattice::build(std::string_view text, const UnigramTrie& model) {
  size_ = text.size();
  nodes_.clear();
  if (begin_.size() <= size_) {
    begin_.resize(size_ + 1);
    end_.resize(size_ + 1);
  }
  for (std::size_t i = 0; i <= size_; ++i) {
    begin_[i].clear();
    end_[i].clear();
  }
  nodes_.push_back({kBefore, 0, 0, 0, 0, -1});
  nodes_.push_back(
      {kBehind, static_cast<std::uint32_t>(size_), static_cast<std::uint32_t>(size_), 0, 0, -1});
  end_[0].push_back(0);
  begin_[size_].push_back(1);
  for (std::size_t begin = 0; begin < size_;) {
    const std::size_t one = character_at(text, begin).bytes;
    bool has_one = false;
    std::uint32_t node = TokenTrie::kRoot;
    for (std::size_t at = begin; at < size_;) {
      node = model.trie.step(node, text[at++]);
      if (node == TokenTrie::kNowhere) break;
      const std::int32_t id = model.trie.value(node);
      if (id == TokenTrie::kNone) continue;
      add(id, begin, at, model.scores[static_cast<std::size_t>(id)]);
      has_one = has_one || at - begin == one;
    }
    if (!has_one) add(0, begin, begin + one, model.min_score - kUnknownPenalty);
    begin += one;
  }
}

void UnigramLattice::find_best() {
  for (std::size_t at = 0; at <= size_; ++at)
    for (const std::uint32_t right : begin_[at]) {
      Node& node = nodes_[right];
      for (const std::uint32_t left : end_[at]) {
        const double score = nodes_[left].best + node.score;
        if (node.previous >= 0 && !(score > node.best)) continue;
        node.previous = static_cast<std::int32_t>(left);
        node.best = score;
      }
    }
}

std::vector<std::int32_t> UnigramLattice::best() {
  find_best();
  std::vector<std::int32_t> ids;
  for (std::int32_t node = nodes_[1].previous; node > 0;
       node = nodes_[static_cast<std::size_t>(node)].previous)
    ids.push_back(nodes_[static_cast<std::size_t>(node)].id);
  std::reverse(ids.begin(), ids.end());
  return ids;
}

// A*: the score of the best path up to a node is known, so that whole paths come out in order.
std::vector<std::vector<std::int32_t>> UnigramLattice::two_best() {
  find_best();
  std::vector<std::vector<std::int32_t>> found;
  std::vector<Hypothesis> done;  // taken off the agenda
  Agenda agenda;
  agenda.push({1, -1, 0, 0});
  while (!agenda.empty()) {
    const Hypothesis top = agenda.pop();
    if (top.node == 0) {
      std::vector<std::int32_t> ids;
      for (std::int32_t next = top.next; done[static_cast<std::size_t>(next)].next >= 0;
           next = done[static_cast<std::size_t>(next)].next)
        ids.push_back(nodes_[done[static_cast<std::size_t>(next)].node].id);
      found.push_back(std::move(ids));
      if (found.size() == 2) break;
      continue;
    }
    const auto number = static_cast<std::int32_t>(done.size());
    done.push_back(top);
    for (const std::uint32_t left : end_[nodes_[top.node].begin])
      agenda.push({left, number, nodes_[left].best + top.behind, nodes_[left].score + top.behind});
  }
  return found;
}

double UnigramLattice::add_expected(double count, std::vector<double>& expected) {
  alpha_.assign(nodes_.size(), 0);
  beta_.assign(nodes_.size(), 0);
  for (std::size_t at = 0; at <= size_; ++at)
    for (const std::uint32_t right : begin_[at])
      for (const std::uint32_t left : end_[at])
        alpha_[right] =
            log_sum(alpha_[right], nodes_[left].score + alpha_[left], left == end_[at].front());
  for (std::size_t at = size_ + 1; at-- > 0;)
    for (const std::uint32_t left : end_[at])
      for (const std::uint32_t right : begin_[at])
        beta_[left] =
            log_sum(beta_[left], nodes_[right].score + beta_[right], right == begin_[at].front());
  const double z = alpha_[1];
  for (std::size_t at = 0; at < size_; ++at)
    for (const std::uint32_t node : begin_[at])
      expected[static_cast<std::size_t>(nodes_[node].id)] +=
          count * std::exp(alpha_[node] + nodes_[node].score + beta_[node] - z);
  return count * z;
}

}  // namespace weft
