#include <algorithm>
#include <cmath>

#include "cli/command.h"
#include "cli/inspect/choice_list.h"
#include "cli/options.h"
#include "cli/page_results.h"
#include "cli/results.h"
#include "cli/run_facts.h"
#include "cli/text_inputs.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/utf8.h"
#include "inspect/attention_capture.h"
#include "inspect/attention_file.h"
#include "io/files.h"
#include "io/hub_cache.h"

namespace weft {
namespace {

struct AttentionOptions {
  ModelOptions model;
  TextOptions texts;
  FlagWord truncation = {"", {"right", "left"}};
  std::vector<std::string> text_pair;
  std::string pair_field, layers, heads, out, compare, h5, exported;

  void visit(FieldVisitor& v) {
    model.visit(v);
    texts.visit_inputs(v, false);
    v.field("text_pair", text_pair,
            "the second text of a pair, one for each text (repeatable); in files: --pair-field");
    v.field("pair_field", pair_field,
            "JSONL field or table column of the second text; unset: text_pair, where there is one");
    v.field("json", texts.json, "JSON lines on stdout");
    v.group("attention");
    v.field("truncation", truncation,
            "cut texts that are longer than the model's context, at their right or left end");
    v.field("layers", layers, "layers to look at, like 0,3-5; unset: all");
    v.field("heads", heads, "heads to look at, likewise");
    v.field("out", out, "an HTML page (F.html) to look at the maps in; instead of the table");
    v.field("compare", compare, "a second model, whose maps --out shows beside the first's");
    v.field("h5", h5, "write the maps to this HDF5 file, for h5py; instead of the table");
    v.field("export", exported,
            "what --h5 holds besides the maps (attention): hidden, logits, or hidden,logits");
  }
  bool prints() const { return texts.json || (h5.empty() && out.empty()); }
};

// Logits are made and written so many bytes at a time.
constexpr std::int64_t kLogitBytes = std::int64_t{64} << 20;

struct Exported {
  bool hidden = false, logits = false;
};

Exported read_exported(const AttentionOptions& o) {
  Exported all;
  CHECK_USER(o.exported.empty() || !o.h5.empty(),
             "--export is '{}', but --h5 is not given; it names the file to write",
             printable(o.exported));
  for (std::size_t begin = 0; !o.exported.empty() && begin <= o.exported.size();) {
    const std::size_t end = std::min(o.exported.find(',', begin), o.exported.size());
    const std::string word = o.exported.substr(begin, end - begin);
    check_allowed("--export", word, Words{"hidden", "logits", "attention"});
    all.hidden = all.hidden || word == "hidden";
    all.logits = all.logits || word == "logits";
    begin = end + 1;
  }
  return all;
}

std::string objection_to(const Encoding& e) {
  const bool own = std::any_of(e.added.begin(), e.added.end(), [](auto added) { return !added; });
  return own ? "" : "is empty: it has no tokens whose attention could be seen";
}

std::vector<std::string> spelled(const Tokenizer& tokenizer, const Encoding& e) {
  std::vector<std::string> tokens;
  for (const std::int32_t id : e.ids) tokens.push_back(made_utf8(tokenizer.token(id)));
  return tokens;
}

// What a model's views are of the command's page.
struct PageShare {
  PageModel model;
  PageRoom room;
};

// A command's texts, each captured by the replica that it was dealt to; replicas go from text to
// text together, since they may write one file.
class AttentionJob {
 public:
  // page: what the results' views are for; none: no page is written.
  AttentionJob(const AttentionOptions& o, Session& session, TextInputs& in, CaptureChoice choice,
               const std::optional<PageShare>& page)
      : o_(o), session_(session), in_(in), choice_(std::move(choice)), page_(page) {}

  // Memory for the longest text, or an Error. Collective, as all of these.
  void plan() {
    const auto longest = static_cast<std::size_t>(
        std::max_element(in_.lengths.begin(), in_.lengths.end()) - in_.lengths.begin());
    const std::int64_t T = in_.lengths[longest], free = session_.free_memory_bytes();
    const std::size_t planned =
        AttentionCapture::plan_bytes(session_.ctx, session_.config, choice_, T);
    throw_together(
        session_.grid.world(), failure_of([&] {
          CHECK_MACHINE(planned <= static_cast<std::size_t>(std::max<std::int64_t>(free, 0)),
                        "text {} of {} tokens needs {:.2f} GB on a rank for its pass "
                        "and its maps, but {:.2f} GB is free; choose fewer layers or "
                        "heads (--layers, --heads) or give more ranks (--tp, --pp)",
                        printable(in_.documents[longest].id), T, static_cast<double>(planned) / 1e9,
                        static_cast<double>(free) / 1e9);
          capture_.emplace(session_.ctx, session_.config, *session_.parameters, choice_, T);
        }),
        session_.stream);
  }

  void open_file(const std::vector<AttentionFileText>& texts) {
    file_.emplace(session_.ctx, o_.h5, o_.model.model, session_.config, choice_, texts);
  }

  // What the job ended with before all texts were done, the same on all ranks.
  std::optional<Failure> run(ResultWriter& results, JobLog& log) {
    const auto dp = static_cast<std::size_t>(session_.grid.shape().dp);
    session_.limit->begin();
    for (std::size_t round = 0; round * dp < in_.documents.size(); ++round) {
      const std::optional<std::size_t> text =
          round < in_.texts.size() ? std::optional(round) : std::nullopt;
      std::vector<HeadStatistics> heads;
      std::string view;
      const auto mine = caught_together([&] { heads = capture(text, results.mine(), view); });
      if (const auto ended =
              failure_of([&] { throw_together(session_.grid.world(), mine, session_.stream); }))
        return ended;
      if (file_) {
        const auto timed = time_as(session_.ctx, TimeShare::data);
        file_->write(text ? std::optional(in_.numbers[*text]) : std::nullopt, *capture_);
      }
      if (!text || !results.mine()) continue;
      const std::string printed = o_.texts.json ? line(*text, heads) : table(*text, heads);
      results.put(in_.numbers[*text], page_ ? with_view(o_.prints() ? printed : "", view) : printed,
                  in_.work(*text));
      log.progress(results.work());
    }
    return std::nullopt;
  }

  void finish_file() {
    if (file_) file_->put_in_place();
  }

 private:
  // The text's heads, and where `packs` its view of the page.
  std::vector<HeadStatistics> capture(std::optional<std::size_t> text, bool packs,
                                      std::string& packed) {
    if (const auto ended = session_.limit->ended(session_.grid.replica(), session_.stream))
      rethrow(*ended);
    if (!text) return {};
    const auto timed = time_as(session_.ctx, TimeShare::forward);
    const TokenizedText& t = in_.texts[*text];
    capture_->run(t.ids, t.types);
    std::optional<AttentionView> view;
    if (page_ && packs) view.emplace(session_.config, page_->room, shown(*text));
    std::vector<HeadStatistics> heads = capture_->collect([&](const LayerCapture& layer) {
      if (view) view->add_layer(layer);
    });
    std::int32_t broken = 0;
    for (const HeadStatistics& h : heads)
      broken |= !std::isfinite(h.entropy + h.first_share + h.distance);
    capture_->each_own_hidden([&](std::int64_t, std::int64_t, ConstView rows) {
      const float* x = rows.as<float>();
      broken |= !std::all_of(x, x + rows.elems(), [](float v) { return std::isfinite(v); });
    });
    if (session_.grid.replica().all_reduce_value(broken, ReduceOp::max, session_.stream) != 0)
      throw NotFinite(
          fmt::format("{}: the model's results are not finite (NaN or infinity)", t.name));
    if (view) packed = view->packed(heads);
    return heads;
  }

  AttentionText shown(std::size_t text) const {
    const Document& d = in_.documents[in_.numbers[text]];
    return attention_text(*session_.tokenizer, d.id, d.text, d.pair, in_.encodings[text]);
  }

  std::string table(std::size_t text, std::span<const HeadStatistics> heads) const {
    std::string out = fmt::format("{}, {} tokens\nlayer  head   entropy     first  distance\n",
                                  printable(in_.texts[text].name), in_.texts[text].ids.size());
    for (std::size_t l = 0; l < choice_.layers.size(); ++l)
      for (std::size_t s = 0; s < choice_.heads.size(); ++s) {
        const HeadStatistics& h = heads[l * choice_.heads.size() + s];
        out += fmt::format("{:>5} {:>5} {:>9.4f} {:>9.4f} {:>9.2f}\n", choice_.layers[l],
                           choice_.heads[s], h.entropy, h.first_share, h.distance);
      }
    return out;
  }

  std::string line(std::size_t text, std::span<const HeadStatistics> heads) const {
    OrderedJson fields = {{"layers", choice_.layers},
                          {"heads", choice_.heads},
                          {"tokens", spelled(*session_.tokenizer, in_.encodings[text])}};
    const auto put = [&](const char* name, double HeadStatistics::*number) {
      OrderedJson rows = OrderedJson::array();
      for (std::size_t i = 0; i < heads.size(); ++i) {
        if (i % choice_.heads.size() == 0) rows.push_back(OrderedJson::array());
        rows.back().push_back(heads[i].*number);
      }
      fields[name] = std::move(rows);
    };
    put("entropy", &HeadStatistics::entropy);
    put("first_share", &HeadStatistics::first_share);
    put("distance", &HeadStatistics::distance);
    return result_line(in_.documents[in_.numbers[text]], fields);
  }

  const AttentionOptions& o_;
  Session& session_;
  TextInputs& in_;
  const CaptureChoice choice_;
  const std::optional<PageShare>& page_;
  std::optional<AttentionCapture> capture_;
  std::optional<AttentionFile> file_;
};

// All texts on every rank: each replica has the tokens of its own. Collective.
std::vector<AttentionFileText> file_texts(const Session& session, const TextInputs& in) {
  Json own = Json::array();
  for (std::size_t t = 0; t < in.numbers.size() && session.grid.replica().rank() == 0; ++t)
    own.push_back({in.numbers[t], spelled(*session.tokenizer, in.encodings[t])});
  std::vector<AttentionFileText> texts;
  for (const Document& d : in.documents) texts.push_back({d.text, d.pair, {}});
  Stream stream;
  for (const std::string& list : gather_texts(session.grid.world(), json_text(own), stream))
    for (const Json& entry : parse_json(list))
      texts[entry[0].get<std::size_t>()].tokens = entry[1].get<std::vector<std::string>>();
  return texts;
}

constexpr std::int64_t kLongestShown = 65'534;  // tokens: the page counts them in 16 bits

PageShare share_of_page(const Session& session, const TextInputs& in, const CaptureChoice& choice,
                        double share) {
  for (std::size_t i = 0; i < in.documents.size(); ++i)
    CHECK_USER(in.lengths[i] <= kLongestShown,
               "text {} has {} tokens; --out shows texts of up to {}",
               printable(in.documents[i].id), in.lengths[i], kLongestShown);
  PageShare page = {{session.options.model, choice.layers, choice.heads}, {}};
  page.room = page_room(page.model, session.config, in.lengths, share);
  return page;
}

// The command for one model; with its page where there is one, whose views this model adds. That
// texts were rejected is returned, the same on all ranks; all else throws. Collective.
std::optional<Failure> attend(const Invocation& invocation, const AttentionOptions& o,
                              const VisitFields& fields, PageResults* page) {
  const Exported exported = read_exported(o);
  Session session(invocation, o.model, exported.logits ? ModelUse::score : ModelUse::states);
  CaptureChoice choice;
  choice.layers = parse_choice("--layers", o.layers, session.config.layers);
  choice.heads = parse_choice("--heads", o.heads, session.config.heads);
  choice.whole_layers = page != nullptr;
  choice.hidden = exported.hidden;
  InputRules rules = {.pairs = o.text_pair, .pair_field = o.pair_field};
  rules.truncation = o.truncation.value;
  rules.way_out = "--truncation cuts it";
  rules.objection = objection_to;
  TextInputs in = read_inputs(session, o.texts, rules);
  if (exported.logits)
    choice.logit_rows =
        std::clamp<std::int64_t>(kLogitBytes / (4 * session.config.vocab), 1,
                                 *std::max_element(in.lengths.begin(), in.lengths.end()));
  std::optional<PageShare> share;
  if (page) {
    share = share_of_page(session, in, choice, page->share());
    page->begin_model(share->model, session.config, in.documents);
  }
  AttentionJob job(o, session, in, choice, share);
  session.watch_time(true);
  JobLog log = session.open_log(invocation, "attention", fields, in.documents.size());
  session.load_weights();
  job.plan();
  if (!o.h5.empty()) job.open_file(file_texts(session, in));
  const ResultWriter::Write take = [&](std::size_t item, const std::string& text) {
    if (page) page->take(item, text);
  };
  ResultWriter results = !page && o.prints() ? ResultWriter(session, "", in.documents.size())
                                             : ResultWriter(session, take, in.documents.size());
  log.begin();
  const std::optional<Failure> ended = job.run(results, log);
  if (!ended) job.finish_file();
  std::optional<Failure> stopped = results.finish(ended, log);
  if (ended && !o.h5.empty())
    stopped = {ended->kind, fmt::format("{}; --h5 {} is not made", ended->text, printable(o.h5))};
  const auto told = failure_of([&] { in.rejects.finish(session, "", in.n_texts, stopped); });
  if (stopped) rethrow(*told);
  return told;
}

}  // namespace

void run_attention(const Invocation& invocation) {
  AttentionOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine about = {
      "attention",
      "Who attends to whom: entropy, weight on the first token and mean distance of each layer and "
      "head; the maps themselves with --out and --h5.",
      nullptr, ""};
  const bool first = invocation.mpi.rank() == 0;
  if (!parse_options(about, invocation.args, fields, first)) return;
  CHECK_USER(o.compare.empty() || !o.out.empty(),
             "--compare is '{}', but --out is not given; it names the page to show both in",
             printable(o.compare));
  CHECK_USER(o.compare.empty() || o.texts.in != "-",
             "--compare reads its texts twice, and stdin can be read once: give --in a file");
  Stream stream;
  on_first_rank(*invocation.mpi.world(), stream, [&] {
    check_place("--out", o.out);
    find_model(o.compare, "--compare");
  });
  if (o.out.empty()) {
    if (const auto rejection = attend(invocation, o, fields, nullptr)) rethrow(*rejection);
    return;
  }
  const PageSource source = {
      .title = o.compare.empty() ? o.model.model : o.model.model + " and " + o.compare,
      .command = command_line(invocation, "attention"),
      .file = o.out,
      .n_models = o.compare.empty() ? 1 : 2};
  PageResults page(source, first);
  std::optional<Failure> rejection;
  const auto ended = failure_of([&] {
    rejection = attend(invocation, o, fields, &page);
    if (o.compare.empty()) return;
    AttentionOptions other = o;
    other.model.model = o.compare;
    other.model.tokenizer = other.model.log = other.h5 = other.exported = "";
    other.texts.json = false;
    const auto of_other = attend(
        invocation, other, [&](FieldVisitor& v) { other.visit(v); }, &page);
    if (!rejection) rejection = of_other;
  });
  if (ended && ended->kind != FailureKind::interrupted) rethrow(*ended);
  // Rejected texts, or a model that ended early, leave a page of the texts that there are.
  on_first_rank(*invocation.mpi.world(), stream, [&] { page.write(); });
  if (ended) rethrow(*ended);
  if (rejection) rethrow(*rejection);
}

}  // namespace weft
