// What a generation job's log says, against what was asked for: sums of tokens, the cache, the
// bytes that passes read, times and shares, on every grid of the ranks at hand.
#include "infer/statistics.h"

#include "infer/job_log.h"
#include "model/sizes.h"
#include "tests/infer/golden.h"
#include "tests/io/shared_folder.h"

namespace weft::test {
namespace {

const std::string kModel = "gpt2_h5";

std::vector<GenerationRequest> requests_of(const std::vector<Ids>& prompts, const Generation& g) {
  std::vector<GenerationRequest> list;
  for (const Ids& p : prompts)
    list.push_back({.ids = p, .options = g, .stream = draw_stream(p, 0)});
  return list;
}

std::int64_t tokens_of(const std::vector<Ids>& texts) {
  std::int64_t n = 0;
  for (const Ids& ids : texts) n += static_cast<std::int64_t>(ids.size());
  return n;
}

std::vector<Ids> run(Loaded& m, const std::vector<GenerationRequest>& requests,
                     const EngineLimits& limits, const EngineWatch& watch) {
  std::vector<Ids> texts(requests.size());
  Engine engine(m.ctx, m.config, m.parameters, nullptr, limits, watch);
  engine.run(requests, [&](std::size_t r, std::int64_t, const Completion& c) { texts[r] = c.ids; });
  return texts;
}

TEST(TimeHistogram, QuantilesAreWithinHalfAPerCent) {
  TimeHistogram times;
  EXPECT_EQ(times.quantile(0.5), 0);
  for (int ms = 1000; ms > 0; --ms) times.add(1e-3 * ms);
  EXPECT_EQ(times.count(), 1000);
  for (const double q : {0.001, 0.5, 0.95, 0.99, 1.0})
    EXPECT_NEAR(times.quantile(q), q, 0.0051 * q) << q;
  TimeHistogram odd;
  odd.add(0);
  odd.add(-1);
  odd.add(1e9);
  EXPECT_LT(odd.quantile(0.5), 1.1e-6);
  EXPECT_GT(odd.quantile(1), 8e4);
}

TEST(TimeHistogram, RanksAddUp) {
  const SharedFolder ranks;
  TimeHistogram times;
  times.add(ranks.rank() == 0 ? 1.0 : 4.0);
  times.add_over_ranks(ranks.world(), ranks.stream());
  EXPECT_EQ(times.count(), ranks.size());
  EXPECT_NEAR(times.quantile(0.01), 1, 0.01);
  EXPECT_NEAR(times.quantile(1), ranks.size() > 1 ? 4 : 1, 0.04);
}

TEST(EngineStatistics, AreThoseOfTheRequestsOnEveryGrid) {
  on_every_grid(kModel, [&](Loaded& m, const std::string& name) {
    const std::vector<Ids> prompts = prompts_of(kModel);
    const auto requests = requests_of(prompts, greedy_options(9));
    const auto n = static_cast<std::int64_t>(prompts.size());
    for (const EngineLimits& limits :
         {EngineLimits{}, EngineLimits{.max_batch = 2, .max_rows = 5}}) {
      EngineStatistics mine;
      std::int64_t chosen = 0;
      double last_s = 0;
      const std::vector<Ids> texts = run(m, requests, limits, {&mine, [&](double elapsed_s) {
                                                                 EXPECT_GE(elapsed_s, last_s);
                                                                 last_s = elapsed_s;
                                                                 ++chosen;
                                                               }});
      EXPECT_EQ(texts, run(m, requests, limits, {})) << name << ": watching changes the text";
      const EngineStatistics all = over_replicas(m.grid, mine, m.stream);
      const GenerationCounts& c = all.counts;
      const std::int64_t dp = m.grid.shape().dp;  // each replica ran all of the requests
      EXPECT_EQ(c.requests, dp * n) << name;
      EXPECT_EQ(c.prompt_tokens, dp * tokens_of(prompts)) << name;
      EXPECT_EQ(c.new_tokens, dp * tokens_of(texts)) << name;
      // The last token of each is chosen and not read.
      EXPECT_EQ(c.rows, c.prompt_tokens + c.new_tokens - dp * n) << name;
      EXPECT_EQ(c.passes, dp * mine.counts.passes) << name;
      EXPECT_GE(mine.counts.passes, chosen) << name;
      EXPECT_EQ(all.first_token.count(), dp * n) << name;
      EXPECT_EQ(all.inter_token.count(), c.new_tokens - dp * n) << name;
      EXPECT_GT(all.occupancy(), 0) << name;
      EXPECT_LE(all.occupancy(), 1) << name;
      EXPECT_GT(all.cache_use(), 0) << name;
      EXPECT_LE(all.cache_use(), all.occupancy()) << name;
    }
  });
}

// A pass reads the weights, its head where a token is chosen, and what is cached before its rows.
TEST(EngineStatistics, CountTheBytesThatPassesRead) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Loaded m(make_self_communicator(), {}, kModel, dtype);
    const Ids prompt = {5, 6, 7, 8, 9, 10, 11};
    const auto bytes_of = [&](std::int64_t max_rows) {
      EngineStatistics s;
      run(m, requests_of({prompt}, greedy_options(3)), {.max_batch = 1, .max_rows = max_rows},
          {&s, {}});
      return s.counts.streamed_bytes;
    };
    const auto cache = [&](std::int64_t n) { return decode_cache_bytes(m.config, m.ctx.act, n); };
    const std::int64_t all = decode_weight_bytes(m.config, dtype),
                       body = decode_weight_bytes(m.config, dtype, false);
    EXPECT_LT(body, all);
    const std::int64_t writing = 2 * all + cache(7) + cache(8);
    EXPECT_EQ(bytes_of(7), all + cache(6) + writing);
    EXPECT_EQ(bytes_of(4), body + cache(3) + all + cache(6) + writing);  // the prompt in two pieces
  }
}

// With beams a step of the search is a token of the request; its results' tokens are the new ones.
TEST(EngineStatistics, OfABeamSearch) {
  Loaded m(make_self_communicator(), {}, kModel);
  Generation g = greedy_options(6);
  g.num_beams = 3;
  g.num_return_sequences = 2;
  EngineStatistics s;
  std::int64_t results = 0;
  Engine engine(m.ctx, m.config, m.parameters, nullptr, {}, {&s, {}});
  engine.run(requests_of({{5, 6, 7}}, g), [&](std::size_t, std::int64_t, const Completion& c) {
    results += static_cast<std::int64_t>(c.ids.size());
  });
  EXPECT_EQ(s.counts.requests, 1);
  EXPECT_EQ(s.counts.prompt_tokens, 3);
  EXPECT_EQ(s.counts.new_tokens, results);
  EXPECT_EQ(s.first_token.count(), 1);
  EXPECT_EQ(s.inter_token.count(), s.counts.passes - 1);
  EXPECT_EQ(s.occupancy(), 1);
}

std::vector<Json> lines_of(const std::filesystem::path& file) {
  std::vector<Json> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(parse_json(line));
  return lines;
}

TEST(JobLog, SaysWhatAllRanksDid) {
  const SharedFolder folder;
  on_every_grid(kModel, [&](Loaded& m, const std::string& name) {
    ShareClock clock;
    m.ctx.clock = &clock;
    const auto file = folder / (name + ".jsonl");
    JobLog log(m.ctx, clock, file, {{"what", "generate"}});
    ASSERT_TRUE(log.on());
    const EngineWatch watch = log.watch_engine();
    log.begin();
    const std::vector<Ids> prompts = prompts_of(kModel),
                           texts = run(m, requests_of(prompts, greedy_options(9)), {}, watch);
    log.stop();
    const std::int64_t dp = m.grid.shape().dp;
    const JobWork work = {.items = dp * static_cast<std::int64_t>(prompts.size()),
                          .prompt_tokens = dp * tokens_of(prompts),
                          .new_tokens = dp * tokens_of(texts)};
    log.end("done", work);
    folder.barrier();
    const std::vector<Json> lines = lines_of(file);
    ASSERT_EQ(lines.size(), 2u) << name;
    EXPECT_EQ(lines[0]["event"], "start");
    EXPECT_EQ(lines[0]["what"], "generate");
    const Json& end = lines[1];
    EXPECT_EQ(end["event"], "end");
    EXPECT_EQ(end["reason"], "done");
    EXPECT_EQ(end["items"], work.items);
    const auto number = [&](const char* key) { return end.at(key).get<double>(); };
    const double seconds = number("job_s");
    EXPECT_LE(seconds, number("elapsed_s"));
    EXPECT_NEAR(number("new_tokens_per_s") * seconds, static_cast<double>(work.new_tokens), 1e-6);
    EXPECT_NEAR(number("tokens_per_s"), number("prompt_tokens_per_s") + number("new_tokens_per_s"),
                1e-6);
    double sum = 0;
    for (const auto& [key, share] : end["shares"].items()) {
      EXPECT_GE(share.get<double>(), 0) << key;
      sum += share.get<double>();
    }
    EXPECT_NEAR(sum, 1, 1e-9) << name;
    EXPECT_GT(end["shares"]["forward"].get<double>(), 0) << name;
    EXPECT_EQ(end["comm_share"], end["shares"]["comm"]);
    const GridShape& shape = m.grid.shape();
    EXPECT_EQ(number("comm_bytes") > 0, shape.tp * shape.pp > 1) << name;
    // job_s is the mean over the ranks, the slowest of which may take as much as all together.
    const double most = 1.01 * seconds * m.grid.world().size();
    for (const char* key : {"queue_s", "ttft_s", "inter_token_s"}) {
      EXPECT_GT(end[key]["p50"].get<double>(), 0) << name << key;
      EXPECT_LE(end[key]["p50"], end[key]["p95"]) << name << key;
      EXPECT_LE(end[key]["p95"], end[key]["p99"]) << name << key;
      EXPECT_LT(end[key]["p99"].get<double>(), most) << name << key;
    }
    EXPECT_EQ(number("graph_launches") > 0, m.device.type == DeviceType::cuda) << name;
    EXPECT_GT(number("peak_share"), 0) << name;
    EXPECT_LE(number("peak_share"), 1) << name;
    EXPECT_NEAR(number("streamed_bytes_per_s") * seconds, number("streamed_bytes"), 1e-3);
    EXPECT_NEAR(number("peak_share") * number("read_peak_bytes_per_s"),
                number("streamed_bytes_per_s"), 1e-6 * number("streamed_bytes_per_s"));
  });
}

TEST(JobLog, WithoutAFileDoesNothing) {
  JobLog log;
  EXPECT_FALSE(log.on());
  EXPECT_EQ(log.watch_engine().statistics, nullptr);
  log.begin();
  log.progress({});
  log.stop();
  log.end("done", {});
}

}  // namespace
}  // namespace weft::test
