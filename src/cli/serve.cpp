#include <algorithm>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/served_model.h"
#include "cli/stdout.h"
#include "comm/agreement.h"
#include "core/log.h"
#include "infer/likely.h"
#include "io/files.h"
#include "serve/desk.h"
#include "serve/run.h"

namespace weft {
namespace {

struct ServeOptions {
  ModelOptions model;
  std::string host = "127.0.0.1", api_key_file, served_model_name, chat_template,
              kv_cache_dtype = "auto";
  std::int64_t port = 8000, max_queue = 256, max_batch = 32;
  double request_timeout = 600;

  void visit(FieldVisitor& v) {
    model.visit(v);
    v.group("server");
    v.field("host", host,
            "address to listen on: this machine's own processes alone can reach 127.0.0.1");
    v.field("port", port, Integers{0, 65535, "any that is free"}, "port to listen on");
    v.field("api_key_file", api_key_file,
            "file with the keys that clients must show one of, a line each; unset: anybody is "
            "served");
    v.field("served_model_name", served_model_name,
            "the model's name for clients; unset: --model as it is given");
    v.field("chat_template", chat_template,
            "file with a Jinja template, when none comes with the tokenizer");
    v.field("max_batch", max_batch, Integers{1, 100'000}, "continuations at once");
    v.field("kv_cache_dtype", kv_cache_dtype, kCacheDTypes, kCacheDTypeHelp);
    v.field("max_queue", max_queue, Integers{1, 1'000'000},
            "requests that wait at once; more are refused with status 429");
    v.field("request_timeout", request_timeout, Reals{0, 1e9, true},
            "seconds after which a request that is not done is dropped");
  }
};

std::vector<std::string> read_keys(const std::string& file) {
  std::vector<std::string> keys;
  if (file.empty()) return keys;
  std::string line;
  for (const char c : read_text_file(file) + "\n") {
    if (c != '\n') {
      line += c;
      continue;
    }
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) keys.push_back(line);
    line.clear();
  }
  CHECK_USER(!keys.empty(), "--api-key-file {} holds no key; it must have one a line", file);
  return keys;
}

void check_serving(const Session& session) {
  const GridShape& grid = session.grid.shape();
  CHECK_USER(grid.dp == 1,
             "--dp is {}; allowed: 1, since weft serve has one replica: share it among the ranks "
             "with --tp or --pp, or start a server for each",
             grid.dp);
  CHECK_USER(session.config.causal,
             "--model {}: reads in both directions; weft serve needs a causal language model",
             session.options.model);
}

std::string url_of(const std::string& host, int port) {
  return host.find(':') == std::string::npos ? fmt::format("http://{}:{}", host, port)
                                             : fmt::format("http://[{}]:{}", host, port);
}

}  // namespace

void run_serve(const Invocation& invocation) {
  ServeOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options({"serve",
                      "The model behind HTTP, by the names of OpenAI's API: /v1/completions, "
                      "/v1/chat/completions, /v1/embeddings, /v1/models, /health, /metrics.",
                      nullptr, ""},
                     invocation.args, fields, invocation.mpi.rank() == 0))
    return;
  Session session(invocation, o.model, ModelUse::generate);
  check_serving(session);
  const ServedModel model = served_model(
      session, o.served_model_name.empty() ? o.model.model : o.served_model_name, o.chat_template);
  ServeMetrics metrics;
  WorkQueue queue(static_cast<std::size_t>(o.max_queue));
  // Rank 0's alone; clients that come before the model is there wait.
  std::optional<ServeDesk> desk;
  std::optional<HttpServer> server;
  Communicator& world = session.grid.world();
  on_first_rank(world, session.stream, [&] {
    desk.emplace(model, DeskSettings{read_keys(o.api_key_file), o.request_timeout}, queue, metrics);
    server.emplace(
        HttpSettings{o.host, static_cast<int>(o.port)},
        [&](const HttpRequest& request) { return desk->answer(request); }, ServeDesk::refusal);
  });
  JobLog log = session.open_log(invocation, "serve", fields, 0);
  const std::optional<DType> kv = session.cache_dtype(o.kv_cache_dtype);
  session.load_weights();
  session.time = find_run_time(world, session.stream, o.model.walltime);
  const DType weights = o.model.held_dtype();
  const auto beside =
      static_cast<std::int64_t>(score_with_likely_bytes(session.ctx, session.config, weights));
  // Most of what is free: the machine lives on beside a server.
  const std::int64_t free = session.free_memory_bytes();
  const EngineLimits limits = {.max_batch = o.max_batch,
                               .memory_bytes = std::max<std::int64_t>(free / 10 * 9 - beside, 1),
                               .weights = weights,
                               .kv = kv};
  const EngineWatch watch = log.watch_engine();
  const InferenceShape shape = plan_serving(session.ctx, session.config, limits);
  ServeRun run(session.ctx, model, *session.parameters, limits, session.time.deadline,
               {queue, metrics}, watch);
  log.begin();
  if (server) {
    server->start();
    const std::string url = url_of(o.host, server->port());
    write_stdout(url + "\n");
    flush_stdout();
    log_info("serving '{}' at {}: {} continuations at once, {} pages of {} tokens for them",
             model.name, url, shape.slots, shape.pages, kPageTokens);
  }
  const Failure stopped = run.run();
  if (server) server->stop();
  log.stop();
  log.end(end_reason(stopped), {});
  throw Interrupted(stopped.text);
}

}  // namespace weft
