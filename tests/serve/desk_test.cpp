// Routes, keys and limits, without sockets: a thread stands for the engine.
#include "serve/desk.h"

#include <gtest/gtest.h>

#include <thread>

#include "serve/orders.h"
#include "tests/mpi_main.h"
#include "tests/serve/served.h"

namespace weft {
namespace {

using test::Served;

struct Desk {
  Served served;
  ServeMetrics metrics;
  WorkQueue queue{2};
  ServeDesk desk;
  explicit Desk(DeskSettings settings = {})
      : desk(served.model, std::move(settings), queue, metrics) {}

  HttpAnswer ask(const std::string& method, const std::string& path, const std::string& body = "",
                 const std::string& authorization = "") {
    HttpRequest r;
    r.method = method;
    r.path = path;
    r.body = body;
    r.authorization = authorization;
    return desk.answer(r);
  }
};

Json error_of(const HttpAnswer& answer) { return parse_json(answer.body).at("error"); }

// The engine's side of one request: `n` tokens "a", or a failure.
void answer_one(WorkQueue& queue, int n) {
  WorkPtr work;
  while (!(work = queue.take(true))) queue.wait(0.01);
  for (int i = 0; i < n; ++i) {
    WorkEvent token;
    token.token.id = 35;
    work->give(token);
  }
  WorkEvent last;
  last.kind = n > 0 ? WorkEvent::Kind::done : WorkEvent::Kind::failed;
  last.finish = "length";
  last.error = {.status = 500, .message = "the machine broke", .type = "server_error"};
  work->give(last);
}

TEST(Desk, RoutesAndMethods) {
  Desk d;
  EXPECT_EQ(d.ask("GET", "/health").status, 200);
  EXPECT_EQ(parse_json(d.ask("GET", "/v1/models").body)["data"][0]["id"], "tiny");
  EXPECT_EQ(parse_json(d.ask("GET", "/v1/models/tiny").body)["id"], "tiny");
  EXPECT_EQ(d.ask("GET", "/nothing").status, 404);
  EXPECT_EQ(d.ask("GET", "/v1/completions").status, 405);
  EXPECT_EQ(d.ask("DELETE", "/health").status, 405);
  const HttpAnswer bad = d.ask("POST", "/v1/completions", R"({"prompt": "a", "n": 0})");
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(error_of(bad)["param"], "n");
  const std::string metrics = d.ask("GET", "/metrics").body;
  EXPECT_NE(metrics.find("weft_http_requests_total{path=\"/v1/completions\",status=\"400\"} 1\n"),
            std::string::npos);
  EXPECT_NE(metrics.find("weft_http_requests_total{path=\"other\",status=\"404\"} 1\n"),
            std::string::npos);
  EXPECT_TRUE(metrics.ends_with("# EOF\n"));
}

TEST(Desk, Keys) {
  Desk d({.api_keys = {"one", "two"}});
  EXPECT_EQ(d.ask("GET", "/health").status, 200);
  EXPECT_EQ(d.ask("GET", "/v1/models").status, 401);
  EXPECT_EQ(d.ask("GET", "/v1/models", "", "Bearer three").status, 401);
  EXPECT_EQ(d.ask("GET", "/v1/models", "", "Bearer on").status, 401);
  EXPECT_EQ(error_of(d.ask("POST", "/v1/completions", "{}"))["code"], "invalid_api_key");
  EXPECT_EQ(d.ask("GET", "/v1/models", "", "Bearer two").status, 200);
}

TEST(Desk, AnswersAndStreams) {
  Desk d;
  std::thread engine([&] { answer_one(d.queue, 3); });
  const HttpAnswer whole = d.ask("POST", "/v1/completions", R"({"prompt": "a"})");
  engine.join();
  EXPECT_EQ(whole.status, 200);
  const Json json = parse_json(whole.body);
  EXPECT_EQ(json["usage"]["completion_tokens"], 3);
  EXPECT_EQ(json["choices"][0]["finish_reason"], "length");

  std::thread again([&] { answer_one(d.queue, 3); });
  const HttpAnswer streamed =
      d.ask("POST", "/v1/completions", R"({"prompt": "a", "stream": true})");
  again.join();
  ASSERT_TRUE(streamed.stream);
  std::string text;
  int n_events = 0;
  bool last = false;
  streamed.stream([&](const std::string& piece) {
    last = piece == kLastEvent;
    if (!last) text += parse_json(piece.substr(6))["choices"][0]["text"].get<std::string>();
    return ++n_events > 0;
  });
  EXPECT_TRUE(last);
  EXPECT_EQ(n_events, 5);
  EXPECT_EQ(text, json["choices"][0]["text"]);
}

TEST(Desk, WhatFails) {
  Desk d;
  std::thread engine([&] { answer_one(d.queue, 0); });
  const HttpAnswer failed = d.ask("POST", "/v1/completions", R"({"prompt": "a", "stream": true})");
  engine.join();
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(error_of(failed)["message"], "the machine broke");

  Desk slow({.api_keys = {}, .request_timeout_s = 0.05});
  EXPECT_EQ(slow.ask("POST", "/v1/completions", R"({"prompt": "a"})").status, 504);
  EXPECT_EQ(slow.queue.take(true), nullptr);  // it has left

  HttpRequest gone;
  gone.method = "POST";
  gone.path = "/v1/completions";
  gone.body = R"({"prompt": "a"})";
  gone.gone = [] { return true; };
  EXPECT_EQ(d.desk.answer(gone).status, 499);
  EXPECT_EQ(d.queue.take(true), nullptr);

  for (int i = 0; i < 2; ++i) {
    const auto waits = std::make_shared<ServedWork>(d.served.read(R"({"prompt": "a"})"), "");
    EXPECT_EQ(d.queue.put(waits), WorkQueue::Put::waits);
  }
  EXPECT_EQ(d.ask("POST", "/v1/completions", R"({"prompt": "a"})").status, 429);
  EXPECT_EQ(d.queue.close().size(), 2u);
  EXPECT_EQ(d.ask("POST", "/v1/completions", R"({"prompt": "a"})").status, 503);
  EXPECT_EQ(d.ask("GET", "/health").status, 503);
}

TEST(Desk, NoContinuationsRoomIsForThoseWhoNeedNone) {
  WorkQueue queue(5);
  const Served s;
  const auto writes = std::make_shared<ServedWork>(s.read(R"({"prompt": "a"})"), ""),
             reads = std::make_shared<ServedWork>(
                 s.read(R"({"input": "a"})", ServedRoute::embeddings), "");
  queue.put(writes);
  queue.put(reads);
  EXPECT_EQ(queue.take(false), reads);
  EXPECT_EQ(queue.take(false), nullptr);
  EXPECT_EQ(queue.take(true), writes);
}

// Rank 0's orders arrive as they were sent, from ranks that sleep and from those that do not.
TEST(Orders, ReachEveryRank) {
  const auto world = test_mpi().world();
  Stream stream;
  OrderWire wire(*world, stream);
  const ServeOrders sent = {.begin = {{.route = 1,
                                       .body = "{\"prompt\": \"é\"}",
                                       .ids = {{5, 6}, {7}},
                                       .copies = {0, 3}}},
                            .drop = {2, 9},
                            .end = true};
  for (const bool idle : {true, false, true}) {
    const ServeOrders got = wire.share(world->rank() == 0 ? sent : ServeOrders(), idle);
    ASSERT_EQ(got.begin.size(), 1u);
    EXPECT_EQ(got.begin[0].body, sent.begin[0].body);
    EXPECT_EQ(got.begin[0].ids, sent.begin[0].ids);
    EXPECT_EQ(got.begin[0].copies, sent.begin[0].copies);
    EXPECT_EQ(got.drop, sent.drop);
    EXPECT_TRUE(got.end);
    EXPECT_TRUE(wire.share({}, false).empty());
  }
  wire.close();
}

}  // namespace
}  // namespace weft
