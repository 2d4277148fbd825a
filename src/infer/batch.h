// The requests of one Engine::run on their way through a decoder: admitted as pages of the cache
// are free, read in passes, continued a token at a time. Texts that begin alike share the pages of
// their beginning; where pages run out the youngest text gives its own back and is read again
// later. Every rank of a replica holds the same.
#pragma once

#include <chrono>
#include <list>
#include <map>
#include <optional>
#include <set>

#include "core/host_copy.h"
#include "infer/beam.h"
#include "infer/engine.h"
#include "infer/page_pool.h"

namespace weft {

// A text in the cache; which one, its ActiveRequest knows.
struct CachedText {
  std::vector<std::int32_t> pages;  // where its tokens are, in order
  std::int64_t cached = 0;          // tokens of the text in the cache
  int regime = 0;                   // rope_regime() that they were read in
  PageChain chain = 0;              // of its full pages that others find …
  std::int64_t n_remembered = 0;    // … and how many those are
};

// A request under way: one lane, or one a running beam; guidance has a second one.
struct ActiveRequest {
  std::size_t request = 0;                   // its number
  const GenerationRequest* asked = nullptr;  // what it is
  std::vector<CachedText> lanes;
  bool shares = false;                 // its pages with texts that begin alike
  std::int64_t promised = 0;           // pages that it may still take, where it reserves()
  Continuation text;                   // without beams
  std::vector<std::int32_t> guidance;  // the second lane's text: guidance_text() and the new tokens
  std::optional<BeamSearch> beams;
  double begun_s = -1;                 // when it was first admitted, by the chooser's clock
  bool over = false, put_off = false;  // put off: its pages are another's, it begins again later
  double came_s = 0;                   // where it was fed: when
  double admitted_s = -1,
         token_s = -1;  // when it was first, and when its last token was chosen (-1: not yet)

  const std::vector<std::int32_t>& ids(std::size_t lane) const {
    if (beams) return beams->running()[lane].text.ids;
    return lane == 0 ? text.ids : guidance;
  }
  std::int64_t length(std::size_t lane) const {
    return static_cast<std::int64_t>(ids(lane).size());
  }
  std::int64_t waiting(std::size_t lane) const {  // tokens of a lane that are still to be read
    return length(lane) - lanes[lane].cached;
  }
  std::int64_t waiting() const;  // of all lanes
  bool writes() const {          // all but each text's newest token has been read
    return waiting() == static_cast<std::int64_t>(lanes.size());
  }
  // Of several lanes: all they may need is kept for them; a text takes what is free.
  bool reserves() const { return beams || !guidance.empty(); }
  std::int64_t n_choices() const { return beams ? beams->n_candidates() : 1; }
};

// What texts of a pass are reading into a page, behind which chain.
using PagesBeingRead = std::set<std::pair<PageChain, std::vector<std::int32_t>>>;

// The rows of one pass through the model.
struct Pass {
  std::vector<std::int32_t> ids;
  std::vector<CacheSlice> slices;
  std::vector<std::int64_t> lengths;  // of each slice's text
  std::vector<std::int32_t> pages;    // of each slice's text: its row of the page table
  std::vector<ActiveRequest*> ready;  // all of whose lanes end in this pass
  std::vector<std::int64_t> last;     // the rows in which they do, lane by lane, work by work
};

// What the choosing rank tells the others of its replica after a pass.
struct Choices {
  double elapsed_s = 0;
  std::optional<Failure> failure;         // what it met; then there are no candidates
  std::vector<BeamCandidate> candidates;  // n_choices() of each ready work; beam -1: none
  std::vector<LikelyToken> likely;        // n_likely of each that is no beam search
};

// Who is told what.
struct BatchListeners {
  const Engine::Done& done;
  const Engine::Token& token;
  const EngineWatch& watch;
};

class Batch {
 public:
  Batch(const EngineModel& model, const InferenceShape& shape,
        std::span<const GenerationRequest> requests, const BatchListeners& listeners,
        Engine::Feed feed = {});

  // Until all requests are done; with a feed until it ends them. Collective over a replica; the
  // failure is the same on all its ranks.
  std::optional<Failure> run();
  std::int64_t passes() const { return passes_; }

 private:
  bool begin_pass();
  bool take_orders();
  EngineOrders ask_feed();
  void drop(std::size_t request);
  struct Coming {
    std::size_t number;
    const GenerationRequest* asked;  // null: none
    double came_s;                   // with a feed: when it was fed
  };
  Coming coming() const;
  void admit();
  ActiveRequest begin(const Coming& coming) const;
  bool admits(ActiveRequest& work);
  std::int64_t still_to_read() const;
  void forget_outgrown(ActiveRequest& work);
  std::int64_t share_pages(ActiveRequest& work);
  void remember_pages(ActiveRequest& work);
  bool make_room(const ActiveRequest& work, std::int64_t n_pages);
  void keep_promise(ActiveRequest& work);
  bool add_rows(Pass& pass, ActiveRequest& work, std::size_t lane, std::int64_t n);
  bool waits_for_another(const ActiveRequest& work, PagesBeingRead& read) const;
  void put_off();
  Pass fill();
  Choices choose(const Pass& pass, ConstView hidden);
  void choose_for(const ActiveRequest& work, std::span<const std::span<const float>> logits,
                  std::span<BeamCandidate> choices, std::span<LikelyToken> likely);
  std::int64_t n_likely(const ActiveRequest& work) const;
  void share(Choices& choices);
  void advance(const Pass& pass, const Choices& choices);
  void advance_text(ActiveRequest& work, std::span<const BeamCandidate> candidates,
                    std::span<const LikelyToken> likely, double elapsed_s);
  void advance_beams(ActiveRequest& work, std::span<const BeamCandidate> candidates,
                     double elapsed_s);
  void move_beams(ActiveRequest& work, std::span<const std::int32_t> parents);
  CachedText fork(const CachedText& text);
  void drop_pages(CachedText& text);
  void report_beams(const ActiveRequest& work);
  void report(const ActiveRequest& work, std::int64_t sample, const BeamSearch::Beam& beam);
  void report_error(const ActiveRequest& work, std::int64_t sample, const std::string& sentence);
  void release();
  double elapsed_s() const;
  void count(const Pass& pass);
  void count_choice(ActiveRequest& work, double now_s);

  const GenerationRequest& request_of(const ActiveRequest& work) const { return *work.asked; }
  std::string name_of(const ActiveRequest& work) const;

  const EngineModel& model_;
  InferenceShape shape_;
  std::span<const GenerationRequest> requests_;  // without a feed
  Engine::Feed feed_;                            // empty: there is none
  struct Fed {
    GenerationRequest asked;
    double came_s;
  };
  std::map<std::size_t, Fed> fed_;  // by number, until they are done
  std::size_t n_fed_ = 0;           // so far
  BatchListeners tell_;
  EngineStatistics* statistics_;                        // null: nobody counts
  std::int64_t body_bytes_ = 0, all_weight_bytes_ = 0;  // that a pass reads
  InferencePass inference_;
  GraphCounts graphs_counted_;
  HostCopy logits_;
  Stream host_stream_;  // where choices are made
  Sampler sampler_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::size_t begun_ = 0;                     // the number of the next request
  std::list<ActiveRequest> works_, waiting_;  // in the order of their requests
  PagePool pool_;
  std::int64_t slots_used_ = 0;
  double now_s_ = 0;  // the chooser's clock after the last choices: the same on all ranks
  std::int64_t passes_ = 0;
};

}  // namespace weft
