#include "formats/families/rope_config.h"

#include <cmath>

#include "core/check.h"
#include "formats/families/families.h"

namespace weft {
namespace {

std::vector<double> factors(const JsonReader& rope, const char* key) {
  const Json list = rope.json().value(key, Json::array());
  CHECK_USER(list.is_array(), "{}: {} is not a list", rope.origin(), key);
  std::vector<double> all;
  for (const Json& f : list) {
    CHECK_USER(f.is_number(), "{}: {} holds {}, which is not a number", rope.origin(), key,
               brief(f, 40));
    all.push_back(f.get<double>());
  }
  return all;
}

RopeScaling scaling_of(const std::string& type, const RopeKeys& keys, const std::string& origin) {
  if (type == "default") return RopeScaling::none;
  if (type == "linear") return RopeScaling::linear;
  if (type == "dynamic") return RopeScaling::dynamic;
  if (type == "llama3") return RopeScaling::llama3;
  if (type == "longrope" || type == "su" || (type == "yarn" && keys.yarn_is_longrope))
    return RopeScaling::longrope;
  if (type == "yarn") return RopeScaling::yarn;
  user_error("{}: rope_type is '{}'; allowed: default, linear, dynamic, llama3, yarn, longrope",
             origin, type);
}

// The attention factor that YaRN and LongRoPE infer where none is given.
double inferred_factor(const JsonReader& rope, const Rope& r) {
  const auto mscale = [](double scale, double m) {
    return scale <= 1 ? 1.0 : 0.1 * m * std::log(scale) + 1.0;
  };
  if (r.scaling == RopeScaling::longrope)
    return r.factor <= 1 ? 1.0
                         : std::sqrt(1 + std::log(r.factor) /
                                             std::log(static_cast<double>(r.original_context)));
  const double m = rope.number("mscale", 0, 1e6, 0), all = rope.number("mscale_all_dim", 0, 1e6, 0);
  return m != 0 && all != 0 ? mscale(r.factor, m) / mscale(r.factor, all) : mscale(r.factor, 1);
}

// rope_scaling where there is one, else rope_parameters; an empty object is none. Of parameters by
// kind of layer, those that are all the same.
Json given_parameters(const JsonReader& json) {
  Json given = Json::object();
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const Json value = json.json().value(key, Json());
    CHECK_USER(value.is_null() || value.is_object(), "{}: {} is not an object", json.origin(), key);
    if (value.is_object() && !value.empty()) given = value;
  }
  std::vector<Json> by_layer;
  for (const char* kind : {"full_attention", "sliding_attention"})
    if (given.contains(kind) && given[kind].is_object()) by_layer.push_back(given[kind]);
  if (by_layer.empty()) return given;
  for (const Json& other : by_layer)
    CHECK_USER(other == by_layer[0],
               "{}: rope_parameters differ between kinds of layers ({} and {}); allowed: the same "
               "for all",
               json.origin(), brief(by_layer[0], 80), brief(other, 80));
  return by_layer[0];
}

// The dims of a head that turn, as transformers rounds them: down.
std::int64_t dims_of(double share, std::int64_t head_dim) {
  return static_cast<std::int64_t>(static_cast<double>(head_dim) * share);
}

}  // namespace

void read_rope(const JsonReader& json, ModelConfig& c) {
  const Json& all = json.json();
  const Json given = given_parameters(json);
  const JsonReader rope(given, json.origin() + ": rope_parameters");
  Rope& r = c.rope;
  const RopeKeys& keys = family(c.family).rope;
  r.theta = rope.number("rope_theta", 0, 1e18, json.number(keys.theta, 0, 1e18, r.theta));
  const double share =
      rope.number("partial_rotary_factor", 0, 1, json.number(keys.share, 0, 1, keys.usual_share));
  r.dims = dims_of(share, c.head_dim);
  r.scaling =
      scaling_of(rope.string("rope_type", rope.string("type", "default")), keys, json.origin());
  if (all.contains("rope_factors")) {
    r.scaling = RopeScaling::factors;
    r.short_factors = factors(json, "rope_factors");
    return;
  }
  if (r.scaling == RopeScaling::none) return;
  const std::int64_t declared =
      json.integer("original_max_position_embeddings", 1, 1 << 26,
                   rope.integer("original_max_position_embeddings", 1, 1 << 26, c.context));
  r.original_context = r.scaling == RopeScaling::dynamic ? c.context : declared;
  const bool needs = r.scaling == RopeScaling::linear || r.scaling == RopeScaling::dynamic ||
                     r.scaling == RopeScaling::llama3;
  CHECK_USER(!needs || rope.has("factor"), "{}: factor is missing", rope.origin());
  r.factor = rope.number("factor", 1e-9, 1e9,
                         static_cast<double>(c.context) / static_cast<double>(r.original_context));
  if (r.scaling == RopeScaling::dynamic)
    c.context = static_cast<std::int64_t>(static_cast<double>(c.context) * std::max(1.0, r.factor));
  // Cards that stretch a model leave max_position_embeddings at what it was trained with.
  if (r.scaling == RopeScaling::yarn)
    c.context =
        std::max(c.context, static_cast<std::int64_t>(std::min(
                                0x1p26, static_cast<double>(r.original_context) * r.factor)));
  r.low_freq_factor = rope.number("low_freq_factor", 0, 1e9, r.low_freq_factor);
  r.high_freq_factor = rope.number("high_freq_factor", 0, 1e9, r.high_freq_factor);
  r.beta_fast = rope.number("beta_fast", 0, 1e9, 32);
  r.beta_slow = rope.number("beta_slow", 0, 1e9, 1);
  if (r.beta_fast == 0) r.beta_fast = 32;
  if (r.beta_slow == 0) r.beta_slow = 1;
  // null is Python's None, which is not true.
  r.truncate = rope.has("truncate") ? rope.boolean("truncate", true) : !given.contains("truncate");
  r.short_factors = factors(rope, "short_factor");
  r.long_factors = factors(rope, "long_factor");
  if (r.scaling == RopeScaling::yarn || r.scaling == RopeScaling::longrope)
    r.attention_factor = rope.has("attention_factor") ? rope.number("attention_factor", 0, 1e6, 1)
                                                      : inferred_factor(rope, r);
}

void write_rope(const ModelConfig& c, Json& json) {
  if (c.source.is_object()) return;
  CHECK(c.rope.scaling == RopeScaling::none, "a fresh config has no rope scaling");
  json["rope_theta"] = c.rope.theta;
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", c.rope.theta}};
  const RopeKeys& keys = family(c.family).rope;
  if (c.rope.dims == c.head_dim && keys.usual_share == 1)
    return;  // what readers take where none is named
  double share = static_cast<double>(c.rope.dims) / static_cast<double>(c.head_dim);
  while (dims_of(share, c.head_dim) < c.rope.dims) share = std::nextafter(share, 2.0);
  json["rope_parameters"]["partial_rotary_factor"] = share;
  json[keys.share] = share;
}

}  // namespace weft
