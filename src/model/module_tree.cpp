#include "model/module_tree.h"

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
  const std::string norm = fmt::format("LayerNorm(({},), eps={:g}, elementwise_affine=True)", c.width, c.norm_eps);
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

}  // namespace

std::string module_tree(const ModelConfig& config) {
  CHECK(config.family == "gpt2", "no module tree for family {}", config.family);
  return gpt2_tree(config);
}

std::vector<std::pair<std::string, std::int64_t>> parameters_by_part(const ModelConfig& config) {
  std::vector<std::pair<std::string, std::int64_t>> parts = {{"token embedding", 0}, {"position embedding", 0}, {"attention", 0}, {"MLP", 0}, {"norms", 0}, {"head", 0}};
  for (const Parameter& p : parameters_of(config)) {
    const std::int64_t n = p.tied_to.empty() ? p.shape.elems() : 0;
    const auto has = [&](const char* word) { return p.name.find(word) != std::string::npos; };
    const std::size_t part = has("embed.tokens") ? 0 : has("embed.positions") ? 1 : has("norm") ? 4 : has(".attn.") ? 2 : has(".mlp.") ? 3 : 5;
    parts[part].second += n;
  }
  return parts;
}

}  // namespace weft
