// Results of a job in the order of its items, whichever replica made them.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "cli/session.h"

namespace weft {

// Rank 0 prints each item as soon as those before it are there; other replicas send it theirs as
// they come.
class ResultWriter {
 public:
  ResultWriter(const Session& session, const std::string& out, std::size_t n_items);
  // Prints nothing: finish() hands all items to `collect`, on rank 0.
  using Collect = std::function<void(std::vector<std::string>)>;
  ResultWriter(const Session& session, Collect collect, std::size_t n_items);
  ~ResultWriter();
  bool mine() const;                             // whether this rank gives its replica's results
  void put(std::size_t item, std::string text);  // on ranks where mine()
  void finish();                                 // collective

 private:
  // Item, or none when the sender has no more, and size of the text that follows.
  struct Header {
    std::uint64_t item = 0, size = 0;
  };
  // A message under way, kept until it has arrived.
  struct Outgoing {
    Header header;
    std::string text;
    std::unique_ptr<Transfer> sends[2];
  };
  // A replica whose results rank 0 awaits.
  struct Source {
    int rank = 0;
    bool ended = false, has_header = false;
    Header header;
    std::string text;
    std::unique_ptr<Transfer> transfer;
  };

  void find_sources();
  void send(std::uint64_t item, std::string text);
  void receive(Source& source, bool wait);
  void flush();

  const Session& session_;
  Stream stream_;
  std::vector<std::optional<std::string>> items_;
  std::size_t printed_ = 0;
  Collect collect_;            // may be empty
  std::string out_;            // empty: stdout
  std::FILE* file_ = nullptr;  // rank 0's; a file appears under its name only when whole
  std::string failure_;        // of the first write that failed
  std::deque<Outgoing> outgoing_;
  std::vector<Source> sources_;
};

}  // namespace weft
