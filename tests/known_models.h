// Models that are widely known, for tests of counts and predictions.
#pragma once

#include "model/config.h"

namespace weft::test {

inline ModelConfig gpt2_1_5b() {
  ModelConfig c;  // the defaults are GPT-2's of 124M
  c.layers = 48;
  c.width = 1600;
  c.heads = c.kv_heads = 25;
  c.ffn = 6400;
  return c;
}

inline ModelConfig llama3_8b() {
  ModelConfig c;
  c.family = "llama";
  c.layers = 32;
  c.width = 4096;
  c.heads = 32;
  c.kv_heads = 8;
  c.head_dim = 128;
  c.ffn = 14336;
  c.vocab = 128256;
  c.context = 8192;
  c.norm = NormKind::rms;
  c.positions = Positions::rope;
  c.gated = true;
  c.qkv_bias = c.out_bias = c.mlp_bias = false;
  c.tied_head = false;
  return c;
}

}  // namespace weft::test
