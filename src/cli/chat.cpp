#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>

#include "cli/command.h"
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

// One conversation, the same on every rank; the first replica answers.
class Chat {
 public:
  Chat(const ChatOptions& o, Session& session)
      : options_(o),
        session_(session),
        tokenizer_(session.need_tokenizer()),
        template_(find_template(o, tokenizer_)),
        flags_(o.generation),
        file_(session.generation_file()) {
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
    reset();
    // What is wrong with options and template is said before the weights are read.
    const Generation g = request(with({.role = "user", .content = "?"})).options;
    const std::vector<std::string> unused = unused_options(flags_, g);
    if (!unused.empty() && session.first())
      log_warning("without effect: {}", fmt::join(unused, ", "));
  }

  // The log counts from here on. Collective.
  void begin(JobLog& log) {
    log_ = &log;
    watch_ = log.watch_engine();
    log.begin();
  }

  void reset() {
    messages_.clear();
    if (!options_.system.empty())
      messages_.push_back({.role = "system", .content = options_.system});
  }

  // Collective over the world. Prints the answer, on rank 0 as it is written. UserErrors leave the
  // conversation as it was.
  void answer(const std::string& text) {
    const std::vector<ChatMessage> messages = with({.role = "user", .content = text});
    GenerationRequest r = request(messages);
    r.stream = draw_stream(r.ids, copies_[r.ids]++);
    const bool prints = session_.first(), streams = prints && !options_.json;
    Completion answer;
    std::optional<Failure> failure;
    std::string printed;
    if (session_.grid.dp().rank() == 0) {
      const EngineLimits limits = {.memory_bytes = available_bytes_once(),
                                   .kv = session_.cache_dtype(options_.kv_cache_dtype)};
      StreamDecoder decoder(tokenizer_);
      const auto show = [&](const std::string& piece) {
        printed += piece;
        if (streams && !piece.empty()) print(piece);
      };
      Engine engine(session_.ctx, session_.config, *session_.parameters, &tokenizer_, limits,
                    watch_);
      failure = engine.try_run(
          {&r, 1},
          [&](std::size_t, std::int64_t sample, const Completion& c) {
            if (sample == 0) answer = c;
          },
          [&](std::size_t, const ChosenToken& token) { show(decoder.push(token.id)); });
      if (r.options.num_beams > 1)
        for (std::int32_t id : answer.ids) show(decoder.push(id));
      show(decoder.finish());
    } else {
      available_bytes_once();
    }
    // Only one replica answers, so the others hear from it what went wrong before anybody catches.
    if (streams && !printed.empty() && (failure || !answer.error.empty())) print("\n");
    if (!answer.error.empty()) failure = Failure{FailureKind::user, answer.error};
    throw_together(session_.grid.world(), failure, session_.stream);
    share(answer.ids);
    work_.add({.items = 1,
               .prompt_tokens = static_cast<std::int64_t>(r.ids.size()),
               .new_tokens = static_cast<std::int64_t>(answer.ids.size())});
    if (log_) log_->progress(work_);
    const std::string content = tokenizer_.decode(answer.ids, true);
    messages_ = messages;
    messages_.push_back({.role = "assistant", .content = content});
    if (streams) print("\n");
    if (!prints || !options_.json) return;
    OrderedJson line = {{"role", "assistant"},      {"content", made_utf8(content)},
                        {"ids", answer.ids},        {"finish", answer.finish},
                        {"n_prompt", r.ids.size()}, {"n_new", answer.ids.size()}};
    if (r.options.logprobs) line["logprobs"] = answer.logprobs;
    print(json_text(line) + "\n");
  }

  const std::string& write_error() const { return write_error_; }
  const JobWork& work() const { return work_; }

 private:
  static OrderedJson as_json(const std::vector<ChatMessage>& messages) {
    OrderedJson list = OrderedJson::array();
    for (const ChatMessage& m : messages)
      list.push_back({{"role", m.role}, {"content", m.content}});
    return list;
  }

  std::vector<ChatMessage> with(ChatMessage message) const {
    std::vector<ChatMessage> all = messages_;
    all.push_back(std::move(message));
    return all;
  }

  GenerationRequest request(const std::vector<ChatMessage>& messages) const {
    GenerationRequest r;
    r.name = "the conversation";
    r.ids = chat_ids(tokenizer_, template_, as_json(messages));
    session_.check_ids("the conversation", r.ids);
    CHECK_USER(!r.ids.empty(), "the chat template makes no prompt of the conversation");
    const PromptPlace place = {.what = "the conversation",
                               .n_tokens = static_cast<std::int64_t>(r.ids.size()),
                               .context = session_.config.context,
                               .vocab = session_.config.vocab};
    r.options = resolve_generation({}, flags_, file_, place, &tokenizer_);
    return r;
  }

  void print(const std::string& text) {
    if (!write_error_.empty()) return;
    std::fwrite(text.data(), 1, text.size(), stdout);
    write_error_ = stdout_failure();
  }

  // What is free now that the weights are there. Collective over the world the first time.
  std::int64_t available_bytes_once() {
    if (free_bytes_ < 0) free_bytes_ = session_.free_memory_bytes();
    return free_bytes_;
  }

  // Rank 0's to those that did not write it.
  void share(std::vector<std::int32_t>& ids) {
    Communicator& world = session_.grid.world();
    if (world.size() == 1) return;
    ids.resize(static_cast<std::size_t>(world.all_reduce_value(
        static_cast<std::int64_t>(ids.size()), ReduceOp::max, session_.stream)));
    world.broadcast(View(ids.data(), Dims{static_cast<std::int64_t>(ids.size())}), 0,
                    session_.stream);
  }

  const ChatOptions& options_;
  Session& session_;
  const Tokenizer& tokenizer_;
  std::string template_;
  GenerationOptions flags_;
  GenerationFile file_;
  std::vector<ChatMessage> messages_;
  std::map<std::vector<std::int32_t>, std::int64_t>
      copies_;             // of each prompt so far: the same question again gets another draw
  JobLog* log_ = nullptr;  // from begin() on
  EngineWatch watch_;
  JobWork work_;  // so far
  std::int64_t free_bytes_ = -1;
  std::string write_error_;  // rank 0's
};

// The next line of rank 0's stdin, on every rank; none at its end. Collective.
std::optional<std::string> next_line(Communicator& world, Stream& stream, bool terminal) {
  std::string line;
  std::int64_t size = -1;
  if (world.rank() == 0) {
    if (terminal) std::fputs("> ", stderr);
    if (std::getline(std::cin, line)) {
      if (line.ends_with('\r')) line.pop_back();
      size = static_cast<std::int64_t>(line.size());
    } else if (terminal) {
      std::fputs("\n", stderr);
    }
  }
  world.broadcast(View(&size, Dims{1}), 0, stream);
  if (size < 0) return std::nullopt;
  line.resize(static_cast<std::size_t>(size));
  if (size > 0)
    world.broadcast(View(static_cast<void*>(line.data()), DType::u8, {size}), 0, stream);
  return line;
}

}  // namespace

void run_chat(const Invocation& invocation) {
  ChatOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  std::vector<std::string> flags;
  const CommandLine command = {
      .name = "chat",
      .summary =
          "A conversation with the model. Lines that begin with a slash: /reset begins "
          "anew, /quit ends (as the end of stdin does).",
      .positionals = nullptr,
      .positional_name = "",
      .flags = &flags,
      .lacking = lacking_flags()};
  if (!parse_options(command, invocation.args, fields, invocation.mpi.rank() == 0)) return;
  check_temperature(o.generation, flags);
  Session session(invocation, o.model, ModelUse::chat);
  Chat chat(o, session);
  session.watch_time(false);  // Ctrl-C ends a conversation at once
  JobLog log = session.open_log(invocation, "chat", fields, o.prompt.size());
  session.load_weights();
  chat.begin(log);
  const auto end_log = [&](const std::string& reason) {
    log.stop();
    log.end(reason, chat.work());
  };
  Communicator& world = session.grid.world();
  const auto check_stdout = [&] {
    on_first_rank(world, session.stream, [&] {
      if (!chat.write_error().empty()) throw Error(chat.write_error());
    });
  };
  const auto answer = [&](const std::string& text) {  // throws on every rank or on none
    try {
      chat.answer(text);
    } catch (const Interrupted& error) {
      end_log(end_reason({FailureKind::interrupted, error.what()}));
      throw;
    }
  };
  for (const std::string& prompt : o.prompt) {
    answer(prompt);
    check_stdout();
  }
  if (!o.prompt.empty()) return end_log("done");
  const bool terminal =
      world.all_reduce_value<std::int32_t>(session.first() && ::isatty(STDIN_FILENO) == 1,
                                           ReduceOp::max, session.stream) != 0;
  const auto next = [&] {
    const auto timed = time_as(session.ctx, TimeShare::data);
    return next_line(world, session.stream, terminal);
  };
  while (const auto text = next()) {
    if (*text == "/quit") break;
    if (*text == "/reset") chat.reset();
    if (*text == "/reset" || text->find_first_not_of(" \t") == std::string::npos) continue;
    try {
      answer(*text);
    } catch (const UserError& error) {
      if (!terminal) throw;
      if (session.first())
        log_line(LogLevel::error, fmt::format("weft: {}; /reset begins anew", error.what()));
    }
    check_stdout();
  }
  end_log("done");
}

}  // namespace weft
