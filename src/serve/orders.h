// What rank 0 tells the other ranks of a server between two passes, since it alone hears clients.
// While nothing is under way they sleep.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/system/stop_signal.h"

namespace weft {

// A request that begins: its body, which every rank reads, and its prompts, which one has read.
struct BegunRequest {
  int route = 0;
  std::string body;
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<std::int64_t> copies;  // of each prompt that came before it: of its draws
};

struct ServeOrders {
  std::vector<BegunRequest> begin;
  std::vector<std::size_t> drop;  // continuations, by the engine's numbers
  bool end = false;
  bool empty() const { return begin.empty() && drop.empty() && !end; }
};

std::string to_text(const ServeOrders& orders);
ServeOrders orders_of(const std::string& text);

// Collective over the group unless it says otherwise.
class OrderWire {
 public:
  OrderWire(Communicator& group, Stream& stream);
  ~OrderWire();  // local; without close() it waits for nobody
  OrderWire(const OrderWire&) = delete;
  OrderWire& operator=(const OrderWire&) = delete;

  // Rank 0's orders, on every rank. idle: the others sleep until rank 0 has something to say.
  ServeOrders share(const ServeOrders& orders, bool idle);
  // Local, on rank 0: whether any rank was told by a signal to stop.
  bool stop_asked();
  // Before the end: what the ranks still expect of one another.
  void close();

 private:
  void report_signal();
  void send_word();
  void sleep_until_woken();

  Communicator& group_;
  Stream& stream_;
  StopSignal signal_;
  // Each other rank sends rank 0 a word, at a signal or at the end.
  struct Words {
    std::int64_t sent = 1;
    std::vector<std::int64_t> received;
    std::vector<std::unique_ptr<Transfer>> from_others;  // rank 0's
    std::unique_ptr<Transfer> to_first;
  };
  std::unique_ptr<Words> words_;
  bool stop_ = false, closed_ = false;
};

}  // namespace weft
