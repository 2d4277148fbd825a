#include <algorithm>
#include <cstdio>
#include <map>

#include "cli/chat_lines.h"
#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/session.h"
#include "cli/stdout.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "core/utf8.h"
#include "formats/families/families.h"
#include "infer/chat_prompt.h"
#include "infer/engine.h"
#include "infer/generation_file.h"
#include "io/files.h"
#include "text/jinja/chat_template.h"

namespace weft {
namespace {

constexpr std::int64_t kMaxNewTokens = 256;  // unless the model's file or a flag says otherwise

struct ChatOptions {
  ModelOptions model;
  GenerationOptions generation;
  std::vector<std::string> prompt;
  std::string system, chat_template, kv_cache_dtype = "auto";
  bool json = false;

  void visit(FieldVisitor& v) {
    model.visit(v);
    v.group("conversation");
    v.field("prompt", prompt,
            "a message to send (repeatable); without any they come from stdin, a line each");
    v.field("system", system, "what the model is told before the conversation");
    v.field("chat_template", chat_template,
            "file with a Jinja template, when none comes with the tokenizer");
    v.field("json", json, "a JSON line an answer on stdout");
    v.field("kv_cache_dtype", kv_cache_dtype, kCacheDTypes, kCacheDTypeHelp);
    generation.visit(v);
  }
};

std::string find_template(const ChatOptions& o, const Tokenizer& tokenizer) {
  if (!o.chat_template.empty()) return read_text_file(o.chat_template);
  return find_chat_template(tokenizer, "--model " + o.model.model);
}

// One conversation, the same on every rank; the first replica answers. Its engine runs from one
// turn to the next, so that what a turn begins with is still in the cache.
class Chat {
 public:
  Chat(const ChatOptions& o, Session& session)
      : options_(o),
        session_(session),
        tokenizer_(session.need_tokenizer()),
        template_(find_template(o, tokenizer_)),
        flags_(o.generation),
        file_(session.generation_file()),
        conversation_(o.system) {
    flags_.seed = o.model.seed;
    if (!file_.options.max_new_tokens && !file_.options.max_length)
      file_.options.max_new_tokens = kMaxNewTokens;
    file_.options.num_return_sequences.reset();
    for (std::int32_t id : turn_ends(tokenizer_, template_))
      if (std::find(file_.eos.begin(), file_.eos.end(), id) == file_.eos.end())
        file_.eos.push_back(id);
    CHECK_USER(
        flags_.num_return_sequences.value_or(1) == 1,
        "--num-return-sequences is {}; allowed: 1, since a conversation goes on from one answer",
        *flags_.num_return_sequences);
    session.cache_dtype(o.kv_cache_dtype);
    // What is wrong with options and template is said before the weights are read.
    const Generation g = request(conversation_, kAnyQuestion).options;
    const std::vector<std::string> unused = unused_options(flags_, g);
    if (!unused.empty() && session.first())
      log_warning("without effect: {}", fmt::join(unused, ", "));
  }

  // To the end of the prompts, or without any of stdin. The log counts from here on. Collective
  // over the world. What ends it early is the same on all ranks.
  void run(JobLog& log) {
    log_ = &log;
    const EngineWatch watch = log.watch_engine();
    log.begin();
    if (options_.prompt.empty()) lines_.emplace(world(), session_.stream);
    // What is free now that the weights are there.
    const EngineLimits limits = {.memory_bytes = session_.free_memory_bytes(),
                                 .kv = session_.cache_dtype(options_.kv_cache_dtype)};
    std::optional<Engine> engine;
    if (session_.grid.dp().rank() == 0)
      engine.emplace(session_.ctx, session_.config, *session_.parameters, &tokenizer_, limits,
                     watch);
    begin_turn();
    while (turn_)
      if (engine)
        serve(*engine);
      else
        end_turn(std::nullopt);
    if (failure_) rethrow(*failure_);
  }

  const JobWork& work() const { return work_; }

 private:
  // A question and its answer as it is written; the answer is the first replica's.
  struct Turn {
    std::string question;
    GenerationRequest request;
    std::optional<std::size_t> number = std::nullopt;  // the engine's, once it has it
    Completion answer = {};
    bool interrupted = false;
    std::optional<StreamDecoder> decoder = std::nullopt;
    std::string printed = "";
  };

  Communicator& world() const { return session_.grid.world(); }
  bool terminal() const { return lines_ && lines_->terminal(); }
  bool streams() const { return session_.first() && !options_.json; }

  GenerationRequest request(const Conversation& conversation, const std::string& question) const {
    std::vector<ChatMessage> messages = conversation.messages();
    messages.push_back({.role = "user", .content = question});
    GenerationRequest r;
    r.name = "the conversation";
    r.ids = chat_ids(tokenizer_, template_, json_of(messages));
    session_.check_ids("the conversation", r.ids);
    CHECK_USER(!r.ids.empty(), "the chat template makes no prompt of the conversation");
    const PromptPlace place = {.what = "the conversation",
                               .n_tokens = static_cast<std::int64_t>(r.ids.size()),
                               .context = session_.config.context,
                               .vocab = session_.config.vocab};
    r.options = resolve_generation({}, flags_, file_, place, &tokenizer_);
    return r;
  }

  // As many turns as there is room for in the engine's cache: a conversation that outgrows it is
  // read again in a larger one. On the first replica.
  void serve(Engine& engine) {
    InferenceShape shape;
    auto failure = failure_of([&] { shape = engine.growing_shape(turn_->request); });
    if (failure) return end_turn(failure);
    n_served_ = 0;
    failure = engine.serve(
        shape, [&](bool idle) { return orders(shape, idle); },
        [&](std::size_t, std::int64_t sample, const Completion& c) {
          if (sample == 0) turn_->answer = c;
        },
        [&](std::size_t, const ChosenToken& token) { write(token); });
    if (failure) end_turn(failure);
  }

  // What the engine does next. It ends with the conversation, and where the next turn does not fit.
  EngineOrders orders(const InferenceShape& shape, bool idle) {
    EngineOrders told;
    if (!idle) {
      if (interrupted()) {
        turn_->interrupted = true;
        told.drop.push_back(*turn_->number);
      }
      return told;
    }
    if (turn_->number) end_turn(std::nullopt);
    told.end = !turn_ || !fits(session_.config, shape, turn_->request);
    if (told.end) return told;
    turn_->number = n_served_++;
    told.begin.push_back(turn_->request);
    return told;
  }

  // Whether rank 0 heard Ctrl-C. Collective over the first replica.
  bool interrupted() {
    if (!terminal()) return false;
    std::int32_t heard = session_.first() && lines_->interrupted();
    const auto timed = time_as(session_.ctx, TimeShare::comm);
    session_.grid.replica().broadcast(View(&heard, Dims{1}), 0, session_.stream);
    return heard != 0;
  }

  void write(const ChosenToken& token) {
    turn_->answer.ids.push_back(token.id);
    turn_->answer.logprobs.push_back(token.logprob);
    show(turn_->decoder->push(token.id));
  }

  void show(const std::string& piece) {
    turn_->printed += piece;
    if (streams() && !piece.empty()) print(piece);
  }

  void print(const std::string& text) {
    if (!write_error_.empty()) return;
    std::fwrite(text.data(), 1, text.size(), stdout);
    write_error_ = stdout_failure();
  }

  // Ends the turn, with what its replica met, and begins the next: turn_ is none where the
  // conversation ends, failure_ then why. Collective over the world.
  void end_turn(const std::optional<Failure>& failure) {
    go_on([&] { keep(failure); });
    turn_.reset();
    begin_turn();
  }

  void begin_turn() {
    while (!turn_ && !failure_ && !over_) go_on([&] { take_line(); });
  }

  // `step` throws on all ranks or on none. In a terminal a user's mistake ends nothing.
  template <class Step>
  void go_on(const Step& step) {
    failure_ = failure_of(step);
    if (!failure_ || failure_->kind != FailureKind::user || !terminal()) return;
    if (session_.first()) log_line(LogLevel::error, "weft: " + failure_->text);
    failure_.reset();
  }

  // The answer into the history, which stays as it was where there is none.
  void keep(std::optional<Failure> failure) {
    Turn& turn = *turn_;
    Completion& answer = turn.answer;
    const bool beams = turn.request.options.num_beams > 1;
    if (turn.decoder) {
      for (std::size_t i = 0; beams && i < answer.ids.size(); ++i)
        show(turn.decoder->push(answer.ids[i]));
      show(turn.decoder->finish());
    }
    if (turn.interrupted) answer.finish = "interrupted";
    const bool written = streams() && !turn.printed.empty();
    if (written && (failure || !answer.error.empty())) print("\n");
    if (!answer.error.empty()) failure = Failure{FailureKind::user, answer.error};
    throw_together(world(), failure, session_.stream);
    share(turn);
    const auto n_prompt = static_cast<std::int64_t>(turn.request.ids.size());
    work_.add({.items = 1,
               .prompt_tokens = n_prompt,
               .new_tokens = static_cast<std::int64_t>(answer.ids.size())});
    log_->progress(work_);
    if (turn.interrupted && answer.ids.empty()) {
      if (session_.first())
        log_line(LogLevel::info, "stopped before a word: the question is taken back");
      return;
    }
    const std::string content = tokenizer_.decode(answer.ids, true);
    conversation_.add(turn.question, content);
    if (streams()) print("\n");
    if (session_.first() && options_.json) {
      OrderedJson line = {{"role", "assistant"},  {"content", made_utf8(content)},
                          {"ids", answer.ids},    {"finish", answer.finish},
                          {"n_prompt", n_prompt}, {"n_new", answer.ids.size()}};
      if (turn.request.options.logprobs) line["logprobs"] = answer.logprobs;
      print(json_text(line) + "\n");
    }
    on_first_rank(world(), session_.stream, [&] {
      if (!write_error_.empty()) throw Error(write_error_);
    });
  }

  // Rank 0's answer to those that did not write it.
  void share(Turn& turn) {
    if (world().size() == 1) return;
    std::vector<std::int32_t>& ids = turn.answer.ids;
    std::int64_t head[2] = {static_cast<std::int64_t>(ids.size()), turn.interrupted ? 1 : 0};
    world().broadcast(View(head, Dims{2}), 0, session_.stream);
    ids.resize(static_cast<std::size_t>(head[0]));
    turn.interrupted = head[1] != 0;
    world().broadcast(View(ids.data(), Dims{head[0]}), 0, session_.stream);
  }

  // Does what the next line asks for; a message becomes the turn. Collective over the world.
  void take_line() {
    std::optional<std::string> text;
    if (lines_) {
      const auto timed = time_as(session_.ctx, TimeShare::data);
      text = lines_->next();
    } else if (n_prompts_ < options_.prompt.size()) {
      text = options_.prompt[n_prompts_++];
    }
    over_ = !text;
    if (!text) return;
    throw_together(world(), failure_of([&] {
                     if (lines_)
                       obey(read_chat_line(*text));
                     else
                       ask(*text);
                   }),
                   session_.stream);
  }

  // Not collective.
  void obey(const ChatLine& line) {
    switch (line.command) {
      case ChatCommand::nothing:
        return;
      case ChatCommand::message:
        return ask(line.text);
      case ChatCommand::reset:
        return conversation_.reset();
      case ChatCommand::undo:
        return conversation_.undo();
      case ChatCommand::system:
        return line.text.empty() ? say(conversation_.system().empty() ? "there is no system message"
                                                                      : conversation_.system())
                                 : set_system(line.text);
      case ChatCommand::save:
        return save(line.text);
      case ChatCommand::help:
        return say(chat_help());
      case ChatCommand::quit:
        over_ = true;
        return;
    }
  }

  void say(const std::string& text) const {
    if (session_.first()) std::fputs((text + (text.ends_with('\n') ? "" : "\n")).c_str(), stderr);
  }

  void ask(const std::string& question) {
    Turn turn = {.question = question, .request = {}};
    auto failure = failure_of([&] { turn.request = request(conversation_, question); });
    if (failure && terminal()) failure->text += "; /reset begins anew, /undo goes back";
    if (failure) rethrow(*failure);
    std::vector<std::int32_t>& ids = turn.request.ids;
    turn.request.stream = draw_stream(ids, copies_[ids]++);
    if (session_.grid.dp().rank() == 0) turn.decoder.emplace(tokenizer_);
    turn_ = std::move(turn);
  }

  // A template may know no system message, and a context may have no room for it.
  void set_system(const std::string& text) {
    Conversation changed = conversation_;
    changed.set_system(text);
    request(changed, kAnyQuestion);
    conversation_ = changed;
  }

  // Somebody who talks can name another file, whatever is wrong with this one.
  void save(const std::string& file) const {
    if (!session_.first()) return;
    auto failure = failure_of([&] {
      OrderedJson list = json_of(conversation_.messages());
      for (OrderedJson& m : list) m["content"] = made_utf8(m["content"].get<std::string>());
      write_file_atomically(file, json_text(list, 2) + "\n");
    });
    if (!failure) return;
    if (terminal()) failure->kind = FailureKind::user;
    rethrow(*failure);
  }

  static constexpr const char* kAnyQuestion = "?";

  const ChatOptions& options_;
  Session& session_;
  const Tokenizer& tokenizer_;
  std::string template_;
  GenerationOptions flags_;
  GenerationFile file_;
  Conversation conversation_;
  std::optional<ChatLines> lines_;  // none where the prompts are options
  std::size_t n_prompts_ = 0;       // of those, taken
  std::optional<Turn> turn_;        // the one under way
  std::size_t n_served_ = 0;        // turns of the engine's run
  bool over_ = false;
  std::optional<Failure> failure_;  // that ends the conversation
  std::map<std::vector<std::int32_t>, std::int64_t>
      copies_;               // of each prompt so far: the same question again gets another draw
  JobLog* log_ = nullptr;    // from run() on
  JobWork work_;             // so far
  std::string write_error_;  // rank 0's
};

}  // namespace

void run_chat(const Invocation& invocation) {
  ChatOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  std::vector<std::string> flags;
  const CommandLine command = {
      .name = "chat",
      .summary =
          "A conversation with the model. Lines of stdin that begin with a slash are commands: "
          "/reset begins anew, /undo takes back the last question, /system TEXT sets the system "
          "message, /save FILE writes the conversation as JSON, /help lists them, /quit ends (as "
          "the end of stdin does); //TEXT sends /TEXT. In a terminal Ctrl-C ends an answer, which "
          "stays as far as it came, and twice at the prompt the conversation (exit code 3); "
          "elsewhere it ends the command at once.",
      .positionals = nullptr,
      .positional_name = "",
      .flags = &flags,
      .lacking = lacking_flags()};
  if (!parse_options(command, invocation.args, fields, invocation.mpi.rank() == 0)) return;
  check_temperature(o.generation, flags);
  Session session(invocation, o.model, ModelUse::chat);
  Chat chat(o, session);
  session.watch_time(false);
  JobLog log = session.open_log(invocation, "chat", fields, o.prompt.size());
  session.load_weights();
  const auto end_log = [&](const std::string& reason) {
    log.stop();
    log.end(reason, chat.work());
  };
  try {
    chat.run(log);
  } catch (const Interrupted& error) {
    end_log(end_reason({FailureKind::interrupted, error.what()}));
    throw;
  }
  end_log("done");
}

}  // namespace weft
