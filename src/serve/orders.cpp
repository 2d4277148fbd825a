#include "serve/orders.h"

#include <chrono>
#include <thread>

#include "core/json.h"

namespace weft {
namespace {

constexpr int kWakeTag = 1, kSignalTag = 2;
constexpr auto kNap = std::chrono::milliseconds(1);

}  // namespace

std::string to_text(const ServeOrders& orders) {
  Json begin = Json::array();
  for (const BegunRequest& b : orders.begin)
    begin.push_back({{"route", b.route}, {"body", b.body}, {"ids", b.ids}, {"copies", b.copies}});
  return json_text(Json{{"begin", begin}, {"drop", orders.drop}, {"end", orders.end}});
}

ServeOrders orders_of(const std::string& text) {
  ServeOrders orders;
  const Json json = parse_json(text);
  for (const Json& b : json.at("begin"))
    orders.begin.push_back({.route = b.at("route").get<int>(),
                            .body = b.at("body").get<std::string>(),
                            .ids = b.at("ids").get<std::vector<std::vector<std::int32_t>>>(),
                            .copies = b.at("copies").get<std::vector<std::int64_t>>()});
  orders.drop = json.at("drop").get<std::vector<std::size_t>>();
  orders.end = json.at("end").get<bool>();
  return orders;
}

OrderWire::OrderWire(Communicator& group, Stream& stream)
    : group_(group), stream_(stream), words_(std::make_unique<Words>()) {
  if (group.rank() != 0) return;
  words_->received.resize(static_cast<std::size_t>(group.size()));
  for (int r = 1; r < group.size(); ++r)
    words_->from_others.push_back(group.start_recv(
        View(&words_->received[static_cast<std::size_t>(r)], Dims{1}), r, kSignalTag, stream));
}

// What is under way where the run failed stays so, and its memory with it: to end it is to wait.
OrderWire::~OrderWire() {
  if (!closed_) static_cast<void>(words_.release());
}

bool OrderWire::stop_asked() {
  stop_ = stop_ || signal_.received();
  for (const auto& word : words_->from_others) stop_ = stop_ || word->test();
  return stop_;
}

void OrderWire::report_signal() {
  if (!words_->to_first && signal_.received()) send_word();
}

void OrderWire::send_word() {
  words_->to_first = group_.start_send(ConstView(&words_->sent, Dims{1}), 0, kSignalTag, stream_);
}

void OrderWire::sleep_until_woken() {
  std::int64_t word = 0;
  const auto woken = group_.start_recv(View(&word, Dims{1}), 0, kWakeTag, stream_);
  while (!woken->test()) {
    report_signal();
    std::this_thread::sleep_for(kNap);
  }
}

ServeOrders OrderWire::share(const ServeOrders& orders, bool idle) {
  if (group_.size() == 1) return orders;
  const bool first = group_.rank() == 0;
  for (int r = 1; first && idle && r < group_.size(); ++r)
    group_.send(ConstView(&words_->sent, Dims{1}), r, kWakeTag, stream_);
  if (!first && idle) sleep_until_woken();
  if (!first) report_signal();
  std::string text = first && !orders.empty() ? to_text(orders) : "";
  auto size = static_cast<std::int64_t>(text.size());
  group_.broadcast(View(&size, Dims{1}), 0, stream_);
  if (size == 0) return {};
  text.resize(static_cast<std::size_t>(size));
  group_.broadcast(View(static_cast<void*>(text.data()), DType::u8, {size}), 0, stream_);
  return first ? orders : orders_of(text);
}

void OrderWire::close() {
  if (group_.rank() != 0 && !words_->to_first) send_word();
  if (words_->to_first) words_->to_first->wait();
  for (const auto& word : words_->from_others) word->wait();
  closed_ = true;
}

}  // namespace weft
