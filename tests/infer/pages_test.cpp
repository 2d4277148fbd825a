// The paged cache: its pool, which pages texts hold on their way, and that nothing depends on them.
#include "infer/page_pool.h"

#include <numeric>
#include <random>

#include "core/allocations.h"
#include "tests/infer/golden.h"

namespace weft::test {
namespace {

const std::string kModel = "gpt2_h5";

GenerationRequest request_of(const Ids& ids, const Generation& g) {
  return {.ids = ids, .options = g, .stream = draw_stream(ids, 0)};
}

Ids some_ids(std::int64_t n, std::int32_t first = 3) {
  Ids ids;
  for (std::int64_t i = 0; i < n; ++i)
    ids.push_back(static_cast<std::int32_t>((first + 37 * i + i * i) % 900));
  return ids;
}

TEST(PagePool, GivesPagesOnceAndTakesThemBackFromTheLastHolder) {
  PagePool pool(3);
  const std::int32_t a = pool.take(), b = pool.take(), c = pool.take();
  EXPECT_EQ((std::vector<std::int32_t>{a, b, c}), (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_THROW(pool.take(), Error);
  pool.hold(b);
  EXPECT_EQ(pool.holders(b), 2);
  EXPECT_EQ(pool.n_shared(), 1);
  pool.give_back(b);
  EXPECT_EQ(pool.n_free(), 0);
  EXPECT_EQ(pool.n_shared(), 0);
  pool.give_back(b);
  EXPECT_EQ(pool.n_free(), 1);
  EXPECT_EQ(pool.take(), b);
  pool.give_back(a);
  EXPECT_THROW(pool.give_back(a), Error);
  EXPECT_THROW(pool.hold(a), Error);
  EXPECT_THROW(pool.holders(3), Error);
}

TEST(PagePool, PromisesNoMoreThanIsFree) {
  PagePool pool(5);
  pool.promise(3);
  EXPECT_EQ(pool.n_unpromised(), 2);
  EXPECT_THROW(pool.promise(3), Error);
  const std::int32_t page = pool.take();
  EXPECT_EQ(pool.n_unpromised(), 1);
  pool.release(1);  // it was one of those
  EXPECT_EQ(pool.n_unpromised(), 2);
  EXPECT_THROW(pool.release(3), Error);
  pool.give_back(page);
  EXPECT_EQ(pool.n_unpromised(), 3);
}

TEST(PagePool, RemembersWhatPagesHoldUntilTheyAreTaken) {
  PagePool pool(3);
  const Ids a = {1, 2}, b = {3, 4};
  const std::int32_t first = pool.take(), second = pool.take();
  EXPECT_FALSE(pool.find(0, a));
  const PageChain one = pool.remember(0, a, first), two = pool.remember(one, b, second);
  EXPECT_NE(one, two);
  EXPECT_EQ(pool.find(0, a)->page, first);
  EXPECT_EQ(pool.find(one, b)->page, second);
  EXPECT_FALSE(pool.find(0, b));  // not behind these
  EXPECT_FALSE(pool.find(two, a));
  const std::int32_t other = pool.take();  // the same text, read by itself
  EXPECT_EQ(pool.remember(0, a, other), one);
  EXPECT_EQ(pool.find(0, a)->page, first);

  pool.give_back(other);
  pool.give_back(second);
  pool.give_back(first);
  pool.hold(second);  // found while nobody held it
  EXPECT_EQ(pool.n_free(), 2);
  EXPECT_EQ(pool.n_shared(), 0);
  EXPECT_EQ(pool.take(), other);  // which nobody finds
  EXPECT_TRUE(pool.find(0, a));
  EXPECT_EQ(pool.take(), first);
  EXPECT_FALSE(pool.find(0, a));
  EXPECT_THROW(pool.take(), Error);
  EXPECT_THROW(pool.remember(two, a, second), Error);  // it holds b
}

// The cache of a run is for what its requests need, however long the longest is.
TEST(Pages, AreForWhatRequestsNeed) {
  Loaded m(make_self_communicator(), {}, kModel);
  std::vector<GenerationRequest> requests = {request_of(some_ids(70), greedy_options(10))};
  for (int i = 0; i < 9; ++i) requests.push_back(request_of({5}, greedy_options(10)));
  const auto pages = [&](std::int64_t max_batch) {
    return plan_inference(m.ctx, m.config, requests, {.max_batch = max_batch}).pages;
  };
  EXPECT_EQ(pages(32), 2 + 9);
  EXPECT_EQ(pages(4), 2 + 3);  // whichever four
  EXPECT_EQ(pages(1), 2);
  Generation beams = greedy_options(10);
  beams.num_beams = 4;
  requests = {request_of(some_ids(60), beams)};
  EXPECT_EQ(most_pages(m.config, requests[0]), 4 * 2);
  requests = {request_of(some_ids(66), beams)};
  EXPECT_EQ(most_pages(m.config, requests[0]), 1 + 4);  // the prompt's full page is shared
  EXPECT_EQ(pages(32), 1 + 4);
}

// Requests wait for pages, and get the same text.
TEST(Pages, FewerOfThemChangeNoText) {
  on_every_grid(kModel, [&](Loaded& m, const std::string& name) {
    std::vector<GenerationRequest> requests;
    for (int i = 0; i < 7; ++i)
      requests.push_back(request_of(some_ids(i % 2 ? 3 : 61, 3 + i), greedy_options(20)));
    const auto expected = m.complete(requests);
    EngineLimits limits = {.max_batch = 6, .max_rows = 70};
    InferenceShape shape = plan_inference(m.ctx, m.config, requests, limits);
    EXPECT_EQ(shape.pages, 2 * 4 + 2) << name;
    shape.pages = 5;
    limits.memory_bytes = m.grid.replica().all_reduce_value(
        static_cast<std::int64_t>(InferencePass::plan_bytes(m.config, m.grid, shape) +
                                  InferencePass::kept_bytes(m.ctx, m.config, shape)),
        ReduceOp::max, m.stream);
    const InferenceShape few = plan_inference(m.ctx, m.config, requests, limits);
    EXPECT_EQ(few.slots, 6) << name;
    EXPECT_LT(few.pages, 2 * 4 + 2) << name;
    const auto all = m.complete(requests, limits);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(all[i][0].ids, expected[i][0].ids) << name << " request " << i;
      EXPECT_EQ(all[i][0].finish, "length");
    }
  });
}

std::vector<std::vector<Completion>> complete(ModelOnGrid& m,
                                              const std::vector<GenerationRequest>& requests,
                                              const EngineLimits& limits,
                                              EngineStatistics& statistics) {
  std::vector<std::vector<Completion>> all(requests.size());
  Engine engine(m.ctx, m.config, m.parameters, nullptr, limits, {&statistics, {}});
  engine.run(requests,
             [&](std::size_t r, std::int64_t, const Completion& c) { all[r].push_back(c); });
  return all;
}

// A Llama of any context.
ModelOnGrid llama(std::int64_t context) {
  const auto dir = data_dir() / "families" / "llama2";
  ModelConfig c = read_hf_config(dir);
  c.context = context;
  return {make_self_communicator(), {}, c, dir};
}

Ids prompt_for(const ModelConfig& config, std::int64_t n, std::int32_t first = 3) {
  Ids ids = some_ids(n, first);
  for (std::int32_t& id : ids) id %= static_cast<std::int32_t>(config.vocab);
  return ids;
}

// Requests of one beginning: the whole prompt, two pages of it and then others, and all but its
// last page's last token.
TEST(Pages, TextsThatBeginAlikeShareTheirFirst) {
  ModelOnGrid m = llama(512);
  const Ids prompt = prompt_for(m.config, 200), other = prompt_for(m.config, 70, 11);
  std::vector<GenerationRequest> requests;
  Generation g = greedy_options(40);
  g.do_sample = true;
  for (int i = 0; i < 6; ++i) requests.push_back({prompt, g, draw_stream(prompt, i)});
  Ids apart(prompt.begin(), prompt.begin() + 128);
  apart.insert(apart.end(), other.begin(), other.end());
  requests.push_back(request_of(apart, g));
  requests.push_back(request_of({prompt.begin(), prompt.begin() + 192}, g));
  Generation beams = greedy_options(40);
  beams.num_beams = beams.num_return_sequences = 3;
  requests.push_back(request_of(prompt, beams));
  EngineStatistics statistics;
  const auto together = complete(m, requests, {}, statistics);
  // Of the last but one two pages: the third would leave it nothing to read.
  EXPECT_EQ(statistics.counts.shared_tokens, 64 * (5 * 3 + 2 + 2 + 3));
  EXPECT_GT(statistics.cache_shared(), 0.4);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EngineStatistics alone;
    const auto own = complete(m, {requests[i]}, {}, alone);
    EXPECT_EQ(alone.counts.shared_tokens, 0);
    ASSERT_EQ(together[i].size(), own[0].size());
    for (std::size_t s = 0; s < own[0].size(); ++s)
      EXPECT_EQ(together[i][s].ids, own[0][s].ids) << "request " << i << ", result " << s;
  }
}

TEST(Pages, ManySamplesOfAPromptHoldLittleBesideTheirOwn) {
  if (test_mpi().size() > 1) GTEST_SKIP() << "each rank would do the same by itself";
  ModelOnGrid m = llama(1024);
  const Ids prompt = prompt_for(m.config, 500);
  Generation g = greedy_options(256);
  g.do_sample = true;
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 64; ++i) requests.push_back({prompt, g, draw_stream(prompt, i)});
  EngineStatistics statistics;
  complete(m, requests, {.max_batch = 64}, statistics);
  EXPECT_LE(static_cast<double>(statistics.counts.most_pages * kPageTokens), 1.3 * 64 * 256);
}

// All begin, since their prompts fit; then there are no pages for what they write.
TEST(Pages, ThatRunOutPutTheYoungestTextOff) {
  if (test_mpi().size() > 1) GTEST_SKIP() << "each rank would do the same by itself";
  ModelOnGrid m = llama(512);
  std::vector<GenerationRequest> requests;
  Generation g = greedy_options(150);
  g.do_sample = true;
  for (int i = 0; i < 6; ++i)
    requests.push_back(request_of(prompt_for(m.config, 10 + i, 3 + i), g));
  requests[3].options.num_beams = 2;
  requests[3].options.do_sample = false;
  EngineStatistics statistics;
  const auto expected = complete(m, requests, {}, statistics);
  EXPECT_EQ(statistics.counts.preemptions, 0);
  InferenceShape shape = plan_inference(m.ctx, m.config, requests, {.max_rows = 40});
  EXPECT_EQ(shape.pages, 7 * 3);
  for (const std::int64_t pages : {11, 13}) {
    shape.pages = pages;
    const auto bytes =
        static_cast<std::int64_t>(InferencePass::plan_bytes(m.config, m.grid, shape) +
                                  InferencePass::kept_bytes(m.ctx, m.config, shape));
    EngineStatistics few;
    const auto all = complete(m, requests, {.max_rows = 40, .memory_bytes = bytes}, few);
    EXPECT_GT(few.counts.preemptions, 0) << pages;
    EXPECT_LE(few.counts.most_pages, pages);
    EXPECT_EQ(few.counts.requests, 6);
    for (std::size_t i = 0; i < requests.size(); ++i)
      EXPECT_EQ(all[i][0].ids, expected[i][0].ids) << pages << " pages, request " << i;
  }
}

// log p of the last `n` tokens of a text, read whole.
std::vector<float> whole_logprobs(ModelOnGrid& m, const Ids& ids, std::int64_t n) {
  const auto T = static_cast<std::int64_t>(ids.size());
  InferencePass pass(m.ctx, m.config, m.parameters, {.S = T, .max_rows = T, .max_logit_rows = T});
  const CacheSlice whole = {.first_row = 0, .n_rows = T};
  const ConstView hidden =
      pass.hidden({.ids = ids, .types = {}, .slices = std::span(&whole, 1), .text_lengths = {}});
  std::vector<std::int32_t> labels(ids.begin() + 1, ids.end());
  labels.push_back(0);
  HostCopy copy;
  const ConstView losses = copy.of(pass.losses(hidden, labels), m.stream);
  std::vector<float> values;
  for (std::int64_t t = T - 1 - n; t < T - 1; ++t) values.push_back(-losses.as<float>()[t]);
  return values;
}

struct FoundBeams {
  std::vector<Completion> beams;
  EngineStatistics statistics;
};
FoundBeams find_beams(ModelOnGrid& m, const Ids& prompt, std::int64_t max_new_tokens) {
  Generation g = greedy_options(max_new_tokens);
  g.num_beams = g.num_return_sequences = 4;
  g.logprobs = true;
  FoundBeams found;
  Engine engine(m.ctx, m.config, m.parameters, nullptr, {}, {&found.statistics, {}});
  engine.run(std::vector{request_of(prompt, g)},
             [&](std::size_t, std::int64_t, const Completion& c) { found.beams.push_back(c); });
  return found;
}

// What each beam reads is its own text, as the model sees it who reads it whole; of its new tokens
// those from `first` on.
void expect_own_text(ModelOnGrid& m, const Ids& prompt, const FoundBeams& found,
                     std::size_t first) {
  ASSERT_EQ(found.beams.size(), 4u);
  for (std::size_t s = 0; s < 4; ++s) {
    const Completion& beam = found.beams[s];
    Ids text = prompt;
    text.insert(text.end(), beam.ids.begin(), beam.ids.end());
    const std::vector<float> whole =
        whole_logprobs(m, text, static_cast<std::int64_t>(beam.ids.size()));
    ASSERT_EQ(beam.logprobs.size(), whole.size());
    for (std::size_t t = first; t < whole.size(); ++t)
      EXPECT_NEAR(beam.logprobs[t], whole[t], 2e-4)
          << "prompt of " << prompt.size() << ", result " << s << ", token " << t;
  }
}

// They go apart before, in and behind the page that their prompt ends in.
TEST(Pages, BeamsThatShareThemReadTheirOwnText) {
  Loaded m(make_self_communicator(), {}, kModel);
  for (const std::int64_t n_prompt : {40, 60, 63, 64, 66}) {
    const Ids prompt = some_ids(n_prompt);
    const FoundBeams found = find_beams(m, prompt, 24);
    expect_own_text(m, prompt, found, 0);
    EXPECT_LE(found.statistics.cache_use(), 1);
  }
}

// A text that is read again from its start, because it has outgrown its rope regime, leaves what it
// shared to others.
TEST(Pages, BeamsThatAreReadAgainHavePagesOfTheirOwn) {
  const auto dir = data_dir() / "families" / "phi3_longrope";
  ModelConfig c = read_hf_config(dir);
  c.context = 128;
  c.rope.original_context = 70;
  ModelOnGrid m(make_self_communicator(), {}, c, dir);
  Ids prompt = some_ids(66);
  for (std::int32_t& id : prompt) id %= 80;
  const FoundBeams found = find_beams(m, prompt, 20);
  expect_own_text(m, prompt, found, 5);  // of 71 tokens and more
}

struct Cached {
  std::vector<float> hidden;
  bool operator==(const Cached&) const = default;
};

// Two texts of 70 and 90 tokens in pieces, their pages as `table` says.
Cached in_pages(Loaded& m, std::int64_t n_pages, const std::vector<std::int32_t>& table) {
  InferencePass pass(m.ctx, m.config, m.parameters,
                     {.slots = 2, .S = 90, .max_rows = 80, .max_logit_rows = 2, .pages = n_pages});
  const Ids first = some_ids(70), second = some_ids(90, 11);
  Cached result;
  HostCopy copy;
  std::int64_t at = 0;
  for (const std::int64_t n : {30, 33, 1, 1, 5}) {  // of the first text; the second has four more
    const std::int64_t begin = at == 0 ? 0 : at + 20, more = at == 0 ? n + 20 : n;
    Ids ids(first.begin() + at, first.begin() + at + n);
    ids.insert(ids.end(), second.begin() + begin, second.begin() + begin + more);
    const CacheSlice slices[] = {{0, n, at, 0}, {n, more, begin, 1}};
    const ConstView hidden = copy.of(
        pass.hidden(
            {.ids = ids, .types = {}, .slices = slices, .text_lengths = {}, .pages = table}),
        m.stream);
    m.stream.synchronize();
    result.hidden.insert(result.hidden.end(), hidden.as<float>(),
                         hidden.as<float>() + hidden.elems());
    at += n;
  }
  return result;
}

TEST(Pages, AnyOfThemGiveTheSameBits) {
  Loaded m(make_self_communicator(), {}, kModel);
  const Cached expected = in_pages(m, 0, {});
  EXPECT_EQ(in_pages(m, 4, {0, 1, 2, 3}), expected);
  EXPECT_EQ(in_pages(m, 7, {6, 0, 3, 5}), expected);
}

TEST(Pages, ATableThatLeavesTheCacheIsNotRead) {
  Loaded m(make_self_communicator(), {}, kModel);
  for (const std::vector<std::int32_t>& table : std::vector<std::vector<std::int32_t>>{
           {0, 1, 2, 4}, {0, -1, 2, 3}, {0, 1, 2}, {}, {0, 1, 2, 3, 0, 1}})
    EXPECT_THROW(in_pages(m, 4, table), Error) << fmt::format("{}", fmt::join(table, " "));
}

// Scratch, staging and what the host reads are as large as the largest pass needs before the first:
// two rows then, all slots being for a short prompt's beams; later long prompts and more texts.
TEST(Pages, NothingIsAllocatedAfterTheFirstPass) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Precision precision : {Precision::fp32, Precision::fp32_fixed, Precision::bf16}) {
      Loaded m(make_self_communicator(), {}, kModel, dtype);
      m.ctx.precision = precision;
      std::vector<GenerationRequest> requests = {request_of({5, 6}, greedy_options(4))};
      for (int i = 0; i < 6; ++i)
        requests.push_back(request_of(some_ids(40 + 5 * i, 3 + i), greedy_options(20)));
      requests[0].options.num_beams = 6;
      requests[3].options.num_beams = 5;
      std::vector<std::int64_t> after;
      Engine engine(m.ctx, m.config, m.parameters, nullptr, {.max_batch = 6, .max_rows = 50},
                    {nullptr, [&](double) { after.push_back(allocations(m.device.type)); }});
      engine.run(requests, [](std::size_t, std::int64_t, const Completion&) {});
      ASSERT_GT(after.size(), 20u);
      EXPECT_EQ(after.front(), after.back())
          << dtype_name(dtype) << ", precision " << static_cast<int>(precision);
    }
}

}  // namespace
}  // namespace weft::test
