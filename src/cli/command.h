// A command of weft: one short file each, listed in main.cpp.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"

namespace weft {

struct Invocation {
  Mpi& mpi;
  std::vector<std::string> args;  // after the command's name
};

void run_train(const Invocation& invocation);
void run_data(const Invocation& invocation);
void run_tokenizer(const Invocation& invocation);
void run_tokenize(const Invocation& invocation);
void run_generate(const Invocation& invocation);
void run_score(const Invocation& invocation);
void run_classify(const Invocation& invocation);
void run_embed(const Invocation& invocation);
void run_neighbors(const Invocation& invocation);
void run_search(const Invocation& invocation);
void run_fill(const Invocation& invocation);
void run_info(const Invocation& invocation);
void run_bench(const Invocation& invocation);
void run_convert(const Invocation& invocation);
void run_report(const Invocation& invocation);
void run_serve(const Invocation& invocation);
void run_chat(const Invocation& invocation);
void run_lint(const Invocation& invocation);
void run_attention(const Invocation& invocation);

}  // namespace weft
