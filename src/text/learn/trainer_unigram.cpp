// Unigram: frequent substrings as seeds, then expectation maximisation, and again and again a
// quarter of the tokens is left out whose loss costs the least likelihood. Kudo (2018), step for
// step as Hugging Face's UnigramTrainer.
#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "core/check.h"
#include "core/utf8.h"
#include "text/characters/unicode.h"
#include "text/learn/trainer_kinds.h"
#include "text/learn/unigram_lattice.h"

namespace weft {
namespace {

constexpr int kSubIterations = 2;
constexpr double kShrinkingFactor = 0.75;
constexpr std::size_t kMaxPieceLength = 16, kSeedSize = 1'000'000;  // in characters; tokens
constexpr const char* kSpace = "\xE2\x96\x81";                      // ▁

// Normalizer NFKC, and runs of spaces as one; then Metaspace: ▁ for a space and before the text, a
// word from each ▁ to the next.
void cut_words(std::string_view text, const TakePiece& take) {
  const std::string valid = made_utf8(std::string(text));
  if (valid.empty()) return;
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t n = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(valid.data()),
      static_cast<utf8proc_ssize_t>(valid.size()), &made,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(made, std::free);
  CHECK(n >= 0, "utf8proc: {}", utf8proc_errmsg(n));
  const std::string_view normal(reinterpret_cast<const char*>(made), static_cast<std::size_t>(n));
  std::string word = normal.starts_with(' ') || normal.starts_with(kSpace) ? "" : kSpace;
  for (std::size_t at = 0; at < normal.size();) {
    std::size_t bytes = character_at(normal, at).bytes;
    const bool is_space = normal[at] == ' ',
               begins = is_space || normal.substr(at, bytes) == kSpace;
    if (begins && !word.empty()) {
      take(word);
      word.clear();
    }
    if (begins)
      word += kSpace;
    else
      word += normal.substr(at, bytes);
    while (is_space && at + bytes < normal.size() && normal[at + bytes] == ' ') ++bytes;
    at += bytes;
  }
  if (!normal.empty()) take(word);
}

double digamma(double x) {
  double result = 0;
  for (; x < 7; x += 1) result -= 1 / x;
  x -= 0.5;
  const double xx = 1 / x, xx2 = xx * xx, xx4 = xx2 * xx2;
  return result + (std::log(x) + (1.0 / 24.0) * xx2 - 7.0 / 960.0 * xx4 +
                   (31.0 / 8064.0) * xx4 * xx2 - (127.0 / 30720.0) * xx4 * xx4);
}

std::u32string characters(std::string_view text) {
  std::u32string out;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    out += static_cast<char32_t>(c.code);
    at += c.bytes;
  }
  return out;
}

std::string utf8(std::u32string_view text) {
  std::string out;
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

// Substrings of 2 to 16 characters that occur twice or more and could not be longer without
// occurring less often: the inner nodes of the suffix tree. All texts lie behind one another, each
// with a zero at its end, which no substring may have.
std::vector<std::pair<std::uint64_t, std::u32string_view>> frequent_substrings(
    const std::u32string& all) {
  std::vector<std::uint32_t> suffixes(all.size());
  std::iota(suffixes.begin(), suffixes.end(), 0u);
  // How far two suffixes agree: no further than matters, and never beyond a zero.
  constexpr std::size_t kDepth = kMaxPieceLength + 1;
  const auto common = [&](std::uint32_t a, std::uint32_t b) {
    std::size_t n = 0;
    while (n < kDepth && a + n < all.size() && b + n < all.size() && all[a + n] == all[b + n])
      if (all[a + n++] == 0) break;
    return n;
  };
  std::sort(suffixes.begin(), suffixes.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::size_t n = common(a, b);
    const bool same = n == kDepth || (n > 0 && all[a + n - 1] == 0);
    if (same || a + n >= all.size() || b + n >= all.size()) return a < b;
    return all[a + n] < all[b + n];
  });
  struct Open {
    std::size_t first, depth;
  };
  std::vector<std::pair<std::uint64_t, std::u32string_view>> found;
  std::vector<Open> open = {{0, 0}};
  for (std::size_t i = 1; i <= suffixes.size(); ++i) {
    const std::size_t depth = i == suffixes.size() ? 0 : common(suffixes[i - 1], suffixes[i]);
    std::size_t first = i - 1;
    while (open.back().depth > depth) {
      const auto [from, length] = open.back();
      open.pop_back();
      first = from;
      const std::u32string_view text(all.data() + suffixes[from], length);
      if (length >= 2 && length <= kMaxPieceLength && text.back() != 0)
        found.emplace_back((i - from) * length, text);
    }
    if (open.back().depth < depth) open.push_back({first, depth});
  }
  std::sort(found.begin(), found.end(), std::greater<>());
  return found;
}

std::vector<UnigramPiece> seeds(const PieceCounts& counts) {
  std::u32string all;
  std::map<char32_t, std::int64_t> seen;
  for (const PieceCount& piece : counts) {
    const std::u32string text = characters(piece.text);
    for (const char32_t c : text)
      if (c != 0) seen[c] += piece.count;
    all += text;
    all += U'\0';
  }
  CHECK_USER(all.size() < std::numeric_limits<std::uint32_t>::max(),
             "the words that differ have {} characters; at most 4 billion can be learned from",
             all.size());
  std::vector<std::pair<std::int64_t, char32_t>> order;
  for (const auto& [c, count] : seen) order.emplace_back(count, c);
  std::sort(order.begin(), order.end(), std::greater<>());
  std::vector<UnigramPiece> pieces;
  for (const auto& [count, c] : order)
    pieces.push_back({utf8({&c, 1}), static_cast<double>(count)});
  for (const auto& [score, text] : frequent_substrings(all)) {
    pieces.push_back({utf8(text), static_cast<double>(score)});
    if (pieces.size() >= kSeedSize) break;
  }
  double sum = 0;
  for (const UnigramPiece& piece : pieces) sum += piece.score;
  for (UnigramPiece& piece : pieces) piece.score = std::log(piece.score) - std::log(sum);
  return pieces;
}

// Expected counts, then new scores from them; what is expected less than half a time is left out.
// The digamma function makes it a variational Bayes step, which prefers few tokens.
std::vector<UnigramPiece> improve(const std::vector<UnigramPiece>& pieces,
                                  const PieceCounts& counts) {
  const UnigramTrie model(pieces);
  std::vector<double> expected(pieces.size());
  UnigramLattice lattice;
  for (const PieceCount& piece : counts) {
    lattice.build(piece.text, model);
    lattice.add_expected(static_cast<double>(piece.count), expected);
  }
  std::vector<UnigramPiece> kept = {pieces[0]};
  double sum = 0;
  for (std::size_t id = 1; id < pieces.size(); ++id) {
    if (expected[id] < 0.5) continue;
    kept.push_back({pieces[id].text, expected[id]});
    sum += expected[id];
  }
  const double log_sum = digamma(sum);
  for (std::size_t id = 1; id < kept.size(); ++id)
    kept[id].score = digamma(kept[id].score) - log_sum;
  return kept;
}

std::vector<UnigramPiece> prune(const std::vector<UnigramPiece>& pieces, const PieceCounts& counts,
                                std::size_t desired) {
  const UnigramTrie model(pieces);
  UnigramLattice lattice;
  // How a token would be spelled without itself.
  std::vector<bool> always_keep(pieces.size(), true);
  std::vector<std::vector<std::int32_t>> alternatives(pieces.size());
  for (std::size_t id = 1; id < pieces.size(); ++id) {
    lattice.build(pieces[id].text, model);
    auto best = lattice.two_best();
    if (best.size() < 2) continue;
    if (best[0].size() >= 2)
      always_keep[id] = false;
    else
      alternatives[id] = std::move(best[1]);
  }
  // How often it is in the best segmentations.
  std::vector<double> frequency(pieces.size());
  double n_words = 0;
  for (const PieceCount& piece : counts) {
    lattice.build(piece.text, model);
    n_words += static_cast<double>(piece.count);
    for (const std::int32_t id : lattice.best())
      frequency[static_cast<std::size_t>(id)] += static_cast<double>(piece.count);
  }
  const double sum = std::accumulate(frequency.begin(), frequency.end(), 0.0),
               log_sum = std::log(sum);
  std::vector<UnigramPiece> kept = {pieces[0]};
  std::vector<std::pair<std::size_t, double>> candidates;  // id, loss of likelihood without it
  for (std::size_t id = 1; id < pieces.size(); ++id) {
    if (frequency[id] == 0 && !always_keep[id]) continue;
    if (alternatives[id].empty()) {
      kept.push_back(pieces[id]);
      continue;
    }
    if (frequency[id] == 0) continue;
    const double share = frequency[id] / n_words, log_here = std::log(frequency[id]) - log_sum;
    // SentencePiece takes the number of this token's alternatives here. The reference takes the
    // number of all tokens, and so do we, for equal vocabularies: it favours tokens that are
    // seldom.
    const double log_sum_without =
        std::log(sum + frequency[id] * static_cast<double>(alternatives.size() - 1));
    double log_without = 0;
    for (const std::int32_t other : alternatives[id])
      log_without +=
          std::log(frequency[static_cast<std::size_t>(other)] + frequency[id]) - log_sum_without;
    candidates.emplace_back(id, share * (log_here - log_without));
  }
  const std::size_t size = std::max(
      desired, static_cast<std::size_t>(static_cast<double>(pieces.size()) * kShrinkingFactor));
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [id, loss] : candidates) {
    if (kept.size() == size) break;
    kept.push_back(pieces[id]);
  }
  return kept;
}

// Every character that was seen, then tokens as they stand until the vocabulary is full; by score.
std::vector<UnigramPiece> final_pieces(const std::vector<UnigramPiece>& pieces,
                                       const std::set<char32_t>& required,
                                       const std::vector<std::string>& special_tokens,
                                       std::size_t vocab_size) {
  std::unordered_map<std::string, double> scores;
  double min_score = std::numeric_limits<double>::infinity();
  for (std::size_t id = 1; id < pieces.size(); ++id) {
    scores[pieces[id].text] = pieces[id].score;
    min_score = std::min(min_score, pieces[id].score);
  }
  std::vector<UnigramPiece> kept;
  std::unordered_set<std::string> inserted(special_tokens.begin(), special_tokens.end());
  double penalty = 0;
  for (const char32_t c : required) {
    const std::string text = utf8({&c, 1});
    const auto found = scores.find(text);
    inserted.insert(text);
    kept.push_back({text, found == scores.end() ? min_score + penalty : found->second});
    if (found == scores.end()) penalty += 0.0001;
  }
  const std::size_t room = vocab_size - special_tokens.size();
  for (std::size_t id = 1; id < pieces.size() && kept.size() < room; ++id)
    if (inserted.insert(pieces[id].text).second) kept.push_back(pieces[id]);
  std::stable_sort(kept.begin(), kept.end(),
                   [](const UnigramPiece& a, const UnigramPiece& b) { return a.score > b.score; });
  return kept;
}

LearnedTokenizer learn_unigram(const TokenizerTraining& options, const PieceCounts& counts,
                               const Progress& progress) {
  std::set<char32_t> required;
  for (const PieceCount& piece : counts)
    for (const char32_t c : characters(piece.text)) required.insert(c);
  const std::size_t least = required.size() + options.special_tokens.size();
  CHECK_USER(static_cast<std::size_t>(options.vocab_size) >= least,
             "--vocab-size is {}; the texts' characters and the special tokens need {}",
             options.vocab_size, least);
  const std::size_t desired = static_cast<std::size_t>(options.vocab_size) * 11 / 10;
  std::vector<UnigramPiece> pieces = {{"<UNK>", std::numeric_limits<double>::quiet_NaN()}};
  for (UnigramPiece& piece : seeds(counts)) pieces.push_back(std::move(piece));
  const double first = std::log(static_cast<double>(pieces.size())),
               last = std::log(static_cast<double>(desired));
  while (!counts.empty()) {
    const std::size_t before = pieces.size();
    for (int i = 0; i < kSubIterations; ++i) pieces = improve(pieces, counts);
    if (pieces.size() <= desired) break;
    pieces = prune(pieces, counts, desired);
    if (pieces.size() == before) break;  // nothing may be left out any more: too many characters
    if (progress && first > last)
      progress(std::clamp((first - std::log(static_cast<double>(pieces.size()))) / (first - last),
                          0.0, 1.0));
  }
  pieces = final_pieces(pieces, required, options.special_tokens,
                        static_cast<std::size_t>(options.vocab_size));

  const std::string unk = options.roles.at("unk_token");
  OrderedJson vocab = OrderedJson::array();
  for (const std::string& token : options.special_tokens)
    vocab.push_back(OrderedJson::array({token, 0.0}));
  for (const UnigramPiece& piece : pieces)
    vocab.push_back(OrderedJson::array({piece.text, piece.score}));
  const auto unk_id = std::find(options.special_tokens.begin(), options.special_tokens.end(), unk) -
                      options.special_tokens.begin();
  LearnedTokenizer t;
  const OrderedJson spaces = {
      {"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}};
  t.normalizer = {{"type", "Sequence"},
                  {"normalizers", OrderedJson::array({OrderedJson{{"type", "NFKC"}}, spaces})}};
  t.pre_tokenizer = t.decoder = {{"type", "Metaspace"},
                                 {"replacement", kSpace},
                                 {"prepend_scheme", "always"},
                                 {"split", true}};
  t.model = {{"type", "Unigram"},
             {"unk_id", unk_id},
             {"vocab", std::move(vocab)},
             {"byte_fallback", false}};
  return t;
}

}  // namespace

TrainerKind unigram_kind() {
  const auto reserves = [](const std::string& token) {
    return character_at(token, 0).bytes == token.size();
  };
  return {"unigram", {"</s>", "<unk>"}, true, reserves, 1, cut_words, learn_unigram};
}

}  // namespace weft
