#include "inspect/torch_module.h"

#include "core/check.h"
#include "formats/families/families.h"

namespace weft::torch {
namespace {

std::string indented(const std::string& text) {
  std::string out;
  for (char c : text) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out;
}

const char* python_bool(bool x) { return x ? "True" : "False"; }

}  // namespace

std::string printed(const Module& module) {
  std::string out = module.type + "(" + module.arguments;
  std::vector<std::string> texts;
  for (const Part& part : module.parts) texts.push_back(printed(part.module));
  for (std::size_t first = 0, end = 0; first < texts.size(); first = end) {
    end = first + 1;
    while (module.type == "ModuleList" && end < texts.size() && texts[end] == texts[first]) ++end;
    const std::string &name = module.parts[first].name, &last = module.parts[end - 1].name;
    out += end == first + 1 ? fmt::format("\n  ({}): ", name)
                            : fmt::format("\n  ({}-{}): {} x ", name, last, end - first);
    out += indented(texts[first]);
  }
  return out + (texts.empty() ? ")" : "\n)");
}

std::string python_number(const Json& number) {
  if (!number.is_number_float()) return json_text(number);
  std::string text = fmt::format("{}", number.get<double>());
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

Module linear(std::int64_t in, std::int64_t out, bool bias) {
  return {"Linear",
          {},
          fmt::format("in_features={}, out_features={}, bias={}", in, out, python_bool(bias))};
}

Module conv1d(std::int64_t in, std::int64_t out) {
  return {"Conv1D", {}, fmt::format("nf={}, nx={}", out, in)};
}

Module embedding(std::int64_t rows, std::int64_t width) {
  return {"Embedding", {}, fmt::format("{}, {}", rows, width)};
}

Module layer_norm(std::int64_t width, const std::string& eps) {
  return {"LayerNorm",
          {},
          fmt::format("({},), eps={}, elementwise_affine=True, bias=True", width, eps)};
}

Module dropout(const std::string& p) {
  return {"Dropout", {}, fmt::format("p={}, inplace=False", p)};
}

Module activation(const std::string& name) {
  for (const ActivationName& a : activation_names())
    if (name == a.name) return {a.class_name, {}};
  user_error("activation '{}' has no class in transformers", name);
}

}  // namespace weft::torch
