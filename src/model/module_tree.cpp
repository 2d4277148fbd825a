#include "model/module_tree.h"

#include <algorithm>
#include <iterator>

#include "model/families.h"
#include "model/parameters.h"

namespace weft {
namespace {

// Lines of a tree, indented by depth.
class Tree {
 public:
  void line(const std::string& text) { out_ += std::string(static_cast<std::size_t>(2 * depth_), ' ') + text + "\n"; }
  void open(const std::string& text) {
    line(text + "(");
    ++depth_;
  }
  void close() {
    --depth_;
    line(")");
  }
  std::string finish() {
    out_.pop_back();
    return std::move(out_);
  }

 private:
  std::string out_;
  int depth_ = 0;
};

std::string gpt2_tree(const ModelConfig& c) {
  Tree t;
  const std::string norm = fmt::format("LayerNorm(({},), eps={:g}, elementwise_affine=True, bias=True)", c.width, c.norm_eps);
  const auto dropout = [](float p) { return fmt::format("Dropout(p={}, inplace=False)", p == 0 ? "0.0" : fmt::format("{}", p)); };
  const auto conv = [](std::int64_t out, std::int64_t in) { return fmt::format("Conv1D(nf={}, nx={})", out, in); };
  t.open("GPT2LMHeadModel");
  t.open("(transformer): GPT2Model");
  t.line(fmt::format("(wte): Embedding({}, {})", c.vocab, c.width));
  t.line(fmt::format("(wpe): Embedding({}, {})", c.context, c.width));
  t.line("(drop): " + dropout(c.dropout_embedding));
  t.open("(h): ModuleList");
  t.open(c.layers == 1 ? std::string("(0): GPT2Block") : fmt::format("(0-{}): {} x GPT2Block", c.layers - 1, c.layers));
  t.line("(ln_1): " + norm);
  t.open("(attn): GPT2Attention");
  t.line("(c_attn): " + conv(3 * c.width, c.width));
  t.line("(c_proj): " + conv(c.width, c.width));
  t.line("(attn_dropout): " + dropout(c.dropout_attention));
  t.line("(resid_dropout): " + dropout(c.dropout_residual));
  t.close();
  t.line("(ln_2): " + norm);
  t.open("(mlp): GPT2MLP");
  t.line("(c_fc): " + conv(c.ffn, c.width));
  t.line("(c_proj): " + conv(c.width, c.ffn));
  t.line(c.activation == Activation::gelu_tanh ? "(act): NewGELUActivation()" : "(act): GELUActivation()");
  t.line("(dropout): " + dropout(c.dropout_residual));
  t.close();
  t.close();
  t.close();
  t.line("(ln_f): " + norm);
  t.close();
  t.line(fmt::format("(lm_head): Linear(in_features={}, out_features={}, bias=False)", c.width, c.vocab));
  t.close();
  return t.finish();
}

// A module of a Hugging Face file's names: its parts in the order of their first tensor.
struct Module {
  std::string shape;  // of a tensor; empty: a module
  std::vector<std::pair<std::string, Module>> parts;
  Module& part(const std::string& name) {
    for (auto& [known, module] : parts)
      if (known == name) return module;
    return parts.emplace_back(name, Module{}).second;
  }
};

void print(Tree& t, const Module& module, const ModelConfig& c) {
  for (const auto& [name, part] : module.parts) {
    if (!part.shape.empty()) {
      t.line(fmt::format("({}): {}", name, part.shape));
      continue;
    }
    const bool layers = name == "0" && c.layers > 1;  // it stands for all of them
    t.open(layers ? fmt::format("(0-{}): {} x", c.layers - 1, c.layers) : fmt::format("({}):", name));
    print(t, part, c);
    t.close();
  }
}

std::string tensor_tree(const ModelConfig& c) {
  const Family& row = family(c.family);
  Module root;
  for (const Parameter& p : parameters_of(c)) {
    if (p.layer > 0 && p.layer < kHead) continue;  // as layer 0
    const StoredParameter stored = stored_parameter(row, c, p);
    for (const StoredParameter::Part& part : stored.parts) {
      Module* at = &root;
      for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
        end = part.name.find('.', begin);
        at = &at->part(part.name.substr(begin, end == std::string::npos ? end : end - begin));
      }
      const std::int64_t I = p.shape.rank() == 2 ? p.shape[1] : 0;
      at->shape = I == 0 ? fmt::format("({},)", part.rows) : stored.layout == Layout::transposed ? fmt::format("({}, {})", I, part.rows) : fmt::format("({}, {})", part.rows, I);
      if (!p.tied_to.empty()) at->shape += ", the token embedding";
    }
  }
  Tree t;
  t.open(architecture(c));
  print(t, root, c);
  t.close();
  return t.finish();
}

}  // namespace

std::string module_tree(const ModelConfig& config) {
  return config.family == "gpt2" && config.head == HeadKind::causal_lm ? gpt2_tree(config) : tensor_tree(config);
}

std::vector<std::pair<std::string, std::int64_t>> parameters_by_part(const ModelConfig& config) {
  // The first row whose word is in a parameter's name counts it.
  constexpr std::pair<const char*, const char*> kParts[] = {{"embed.tokens", "token embedding"}, {"embed.positions", "position embedding"},
                                                            {"embed.types", "token type embedding"}, {".attn.", "attention"}, {".mlp.", "MLP"},
                                                            {"head.", "head"}, {"norm", "norms"}, {"pool", "pooler"}, {"labels.", "labels"}};
  constexpr std::size_t kShown[] = {0, 1, 2, 3, 4, 6, 7, 8, 5};  // as a text meets them
  std::int64_t elems[std::size(kParts)] = {};
  for (const Parameter& p : parameters_of(config)) {
    const auto* part = std::find_if(std::begin(kParts), std::end(kParts), [&](const auto& row) { return p.name.find(row.first) != std::string::npos; });
    CHECK(part != std::end(kParts), "{} is of no part", p.name);
    if (p.tied_to.empty()) elems[part - std::begin(kParts)] += p.shape.elems();
  }
  std::vector<std::pair<std::string, std::int64_t>> parts;
  for (std::size_t i : kShown)
    if (elems[i] > 0) parts.emplace_back(kParts[i].second, elems[i]);
  return parts;
}

}  // namespace weft
