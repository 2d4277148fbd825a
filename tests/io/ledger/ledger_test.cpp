// A job's ledger: blocks go to one worker at a time and to another where that one is gone, every
// result stands in OUT once, and who comes with other terms is told so.
#include "io/ledger/ledger.h"

#include "io/files.h"
#include "tests/io/ledger/job_folder.h"

namespace weft::test {
namespace {

std::string mistake(const std::function<void()>& body) {
  const auto failure = failure_of(body);
  return failure && failure->kind == FailureKind::user ? failure->text : "";
}

class LedgerTest : public JobFolder {};

TEST_F(LedgerTest, TwoWorkersShareABlockEach) {
  ASSERT_EQ(begin_or_join(terms(7)), JobState::under_way);
  const auto a = ledger(), b = ledger();
  std::vector<OpenBlock> blocks;
  for (Ledger* l : {a.get(), b.get(), a.get()}) {
    auto block = l->claim();
    ASSERT_TRUE(block);
    EXPECT_EQ(block->number, blocks.size());
    blocks.push_back(std::move(*block));
  }
  EXPECT_FALSE(a->claim());
  EXPECT_FALSE(b->claim());
  EXPECT_EQ(blocks[2].texts.documents.size(), 1u);
  EXPECT_EQ(blocks[2].texts.documents[0].id, "6");
  EXPECT_TRUE(a->others_work({a->worker().token()}));
  EXPECT_FALSE(a->others_work({a->worker().token(), b->worker().token()}));
  Assembly assembly(*a, false);
  serve(*b, blocks[1]);
  b->close(blocks[1]);
  EXPECT_TRUE(assembly.advance({}));
  EXPECT_EQ(get(out()), "") << "the block before it is not done";
  for (const std::size_t i : {0, 2}) {
    serve(*a, blocks[i]);
    a->close(blocks[i]);
  }
  EXPECT_TRUE(assembly.advance({}));
  EXPECT_EQ(get(out()), lines_of_all(7));
  ASSERT_TRUE(assembly.is_whole());
  assembly.finish("7.pbs");
  const JobPlaces places(out());
  EXPECT_FALSE(fs::exists(places.folder));
  EXPECT_FALSE(a->is_there());
  const Json manifest = parse_json(get(places.done_manifest));
  EXPECT_EQ(manifest["results"], 7);
  EXPECT_EQ(manifest["texts"], 7);
  EXPECT_EQ(manifest["new_tokens"], 14);
  JobTerms again = terms(7);
  again.job = "8.pbs";
  EXPECT_EQ(begin_or_join(again), JobState::done);
  put(out(), lines_of_all(6));
  EXPECT_EQ(begin_or_join(again), JobState::under_way) << "OUT is not what was written";
}

TEST_F(LedgerTest, WhatAKilledWorkerWroteIsAnothers) {
  ASSERT_EQ(begin_or_join(terms(7)), JobState::under_way);
  in_a_killed_process([&] {
    auto* l = ledger().release();
    auto* block = new std::optional<OpenBlock>(l->claim());
    serve(*l, **block, 2);
    // A line that was being written.
    (*block)->journal->write("2\t0\tr\t0\t0\t{\"of\":\"tex");
  });
  const auto l = ledger();
  auto block = l->claim();
  ASSERT_TRUE(block);
  EXPECT_EQ(block->number, 0u);
  EXPECT_EQ(block->records.size(), 2u);
  serve(*l, *block);
  l->close(*block);
  for (auto next = l->claim(); next; next = l->claim()) {
    serve(*l, *next);
    l->close(*next);
  }
  Assembly assembly(*l, false);
  assembly.advance({});
  EXPECT_EQ(get(out()), lines_of_all(7));
}

// Each state in which a process that writes OUT can be killed.
TEST_F(LedgerTest, OutIsWrittenOnceWhateverItsWriterLeft) {
  ASSERT_EQ(begin_or_join(terms(6)), JobState::under_way);
  const auto serve_all = [&](bool assembles) {
    auto* l = ledger().release();
    for (;;) {
      auto* block = new std::optional<OpenBlock>(l->claim());
      if (!*block) break;
      serve(*l, **block);
      l->close(**block);
      auto* assembly = new Assembly(*l, false);
      if (assembles) assembly->advance({});
      if (assembles) break;
    }
  };
  in_a_killed_process([&] { serve_all(true); });
  EXPECT_EQ(get(out()), lines_of_all(3));
  in_a_killed_process([&] { serve_all(false); });
  put(out(), lines_of_all(3) + "{\"of\":\"text 3\"}\n{\"of\"");  // half a block, half a line
  const JobPlaces places(out());
  put(places.assembled, get(places.assembled) + "{\"block\":1,\"te");
  const auto l = ledger();
  Assembly assembly(*l, false);
  assembly.advance({});
  EXPECT_EQ(get(out()), lines_of_all(6));
  ASSERT_TRUE(assembly.is_whole());
  assembly.finish("7.pbs");
  EXPECT_EQ(parse_json(get(places.done_manifest))["results"], 6);
}

TEST_F(LedgerTest, ResultsOfTheFrontBlockComeAsTheyAre) {
  ASSERT_EQ(begin_or_join(terms(6)), JobState::under_way);
  const auto l = ledger();
  auto first = l->claim(), second = l->claim();
  const std::vector<std::int64_t> ones = {1, 1, 1};
  const std::vector<Assembly::Front> fronts = {{&*second, &ones}, {&*first, &ones}};
  {
    Assembly assembly(*l, false);
    serve(*l, *second);
    l->put(*first, {1, 0}, {.line = line_of(first->texts.documents[1])});
    assembly.advance(fronts);
    EXPECT_EQ(get(out()), "") << "the first is missing";
    l->put(*first, {0, 0}, {.line = line_of(first->texts.documents[0])});
    assembly.advance(fronts);
    EXPECT_EQ(get(out()), lines_of_all(2));
    // It stops: what there is stands in OUT, and goes on from the ledger.
    const AssembledTotals all = assembly.write_rest();
    EXPECT_EQ(all.results, 5);
    std::string five = lines_of_all(6);
    five.erase(five.find("{\"of\":\"text 2\"}\n"), 16);
    EXPECT_EQ(get(out()), five);
  }
  l->worker().give_back("assembly");
  Assembly again(*l, false);
  again.advance(fronts);
  EXPECT_EQ(get(out()), lines_of_all(2));
  l->put(*first, {2, 0}, {.kind = RecordKind::reject, .line = "{\"line\":3}"});
  l->close(*first);
  l->close(*second);
  again.advance({});
  std::string five = lines_of_all(6);
  five.erase(five.find("{\"of\":\"text 2\"}\n"), 16);
  EXPECT_EQ(get(out()), five);
  EXPECT_EQ(get(JobPlaces(out()).rejects), "{\"line\":3}\n");
}

TEST_F(LedgerTest, UnorderedResultsDoNotWait) {
  ASSERT_EQ(begin_or_join(terms(6)), JobState::under_way);
  const auto l = ledger();
  auto first = l->claim(), second = l->claim();
  Assembly assembly(*l, true);
  serve(*l, *second);
  l->close(*second);
  assembly.advance({});
  EXPECT_EQ(get(out()), lines_of_all(6).substr(lines_of_all(3).size()));
  serve(*l, *first);
  l->close(*first);
  assembly.advance({});
  EXPECT_EQ(get(out()).size(), lines_of_all(6).size());
  EXPECT_TRUE(assembly.is_whole());
}

TEST_F(LedgerTest, OfTwoWhoServeABlockOneCounts) {
  ASSERT_EQ(begin_or_join(terms(3)), JobState::under_way);
  const auto a = ledger(), b = ledger();
  auto mine = a->claim();
  ASSERT_TRUE(mine);
  // b holds a for gone: as it would of a process that was stopped for long, on another host.
  fs::remove(JobPlaces(out()).folder / Worker::kClaims / "00000000");
  auto its = b->claim();
  ASSERT_TRUE(its);
  serve(*a, *mine);
  serve(*b, *its);
  b->close(*its);
  a->close(*mine);
  Assembly assembly(*b, false);
  assembly.advance({});
  EXPECT_EQ(get(out()), lines_of_all(3));
  EXPECT_FALSE(a->claim());
}

TEST_F(LedgerTest, OtherTermsAreToldApart) {
  JobTerms mine = terms(6);
  ASSERT_EQ(begin_or_join(mine), JobState::under_way);
  mine.identity["--top-k"] = "7";
  EXPECT_EQ(begin_or_join(mine), JobState::under_way) << "nobody has done anything yet";
  {
    const auto l = ledger();
    auto block = l->claim();
    serve(*l, *block, 1);
    mine.identity["--top-k"] = "9";
    const std::string busy = mistake([&] { begin_or_join(mine); });
    EXPECT_NE(busy.find("works on it, but --top-k was 7, now it is 9"), std::string::npos) << busy;
  }
  const std::string other = mistake([&] { begin_or_join(mine); });
  EXPECT_NE(other.find("--top-k was 7, now it is 9; remove that folder"), std::string::npos)
      << other;
  fs::remove(out());
  EXPECT_EQ(begin_or_join(mine), JobState::under_way) << "who removes OUT begins anew";
  mine.identity["--beams"] = "2";
  EXPECT_EQ(begin_or_join(mine), JobState::under_way);
  put(mine.input, "");
  fs::remove(out());
  EXPECT_NE(mistake([&] { begin_or_join(mine); }), "") << "no text";
}

TEST_F(LedgerTest, AnInputThatChangesIsAnError) {
  const JobTerms mine = terms(6);
  ASSERT_EQ(begin_or_join(mine), JobState::under_way);
  const auto l = ledger();
  put(mine.input, "another\n");
  const auto failure = failure_of([&] { l->claim(); });
  ASSERT_TRUE(failure);
  EXPECT_NE(failure->text.find("has changed"), std::string::npos) << failure->text;
}

}  // namespace
}  // namespace weft::test
