#include "serve/desk.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "serve/progress.h"

namespace weft {
namespace {

constexpr double kLook_s = 0.1;  // how often a client that waits is looked after

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

HttpAnswer json_answer(const OrderedJson& json) { return {.body = json_text(json)}; }

HttpAnswer error_response(const HttpError& error) {
  HttpAnswer answer = {.status = error.status, .body = json_text(error_answer(error))};
  if (error.status == 401) answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (error.status == 429 || error.status == 503) answer.headers.emplace_back("Retry-After", "1");
  return answer;
}

// Nobody is there to be told.
class ClientGone : public std::exception {};

HttpError overloaded() {
  return {.status = 429,
          .message = "too many requests wait already; try again later",
          .type = "rate_limit_error",
          .code = "queue_full"};
}

HttpError stopping() {
  return {.status = 503,
          .message = "the server is stopping",
          .type = "service_unavailable_error",
          .code = "stopping"};
}

HttpError not_allowed(const std::string& method, const std::string& path,
                      const std::string& allowed) {
  return {.status = 405,
          .message = fmt::format("{} {} is not allowed; allowed: {}", method, path, allowed)};
}

// In a time that does not tell how much of it is right.
bool same(const std::string& a, const std::string& b) {
  unsigned different = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i)
    different |=
        static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(i < b.size() ? b[i] : '\0');
  return different == 0;
}

std::string answer_id(ServedRoute route, std::uint64_t number) {
  static const std::uint64_t mine = std::random_device()();
  const char* kind = route == ServedRoute::chat ? "chatcmpl" : "cmpl";
  return fmt::format("{}-{:08x}{:08x}", kind, mine & 0xffffffffu, number);
}

// By which an answer is counted: clients do not choose what a metric is called.
const char* counted_path(const std::string& path) {
  for (const char* known : {"/v1/completions", "/v1/chat/completions", "/v1/embeddings",
                            "/v1/models", "/health", "/metrics"})
    if (path == known) return known;
  return path.starts_with("/v1/models/") ? "/v1/models" : "other";
}

std::int64_t seconds_since_1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

ServeDesk::ServeDesk(const ServedModel& model, DeskSettings settings, WorkQueue& queue,
                     ServeMetrics& metrics)
    : model_(model),
      settings_(std::move(settings)),
      queue_(queue),
      metrics_(metrics),
      began_(seconds_since_1970()) {}

HttpAnswer ServeDesk::refusal(int status) {
  const char* what = status == 413   ? "the body is larger than 16 MiB"
                     : status == 408 ? "the body did not come in time"
                     : status == 415 ? "the body must be JSON"
                     : status == 414 ? "the URL is too long"
                     : status == 404 ? "there is no such path"
                     : status >= 500 ? "the server failed"
                                     : "the request is not HTTP that is understood here";
  return error_response({.status = status, .message = what});
}

HttpAnswer ServeDesk::answer(const HttpRequest& request) {
  const auto begin = Clock::now();
  HttpAnswer answer;
  try {
    answer = route(request);
  } catch (const RequestRefused& refused) {
    answer = error_response(refused.error);
  } catch (const ClientGone&) {
    metrics_.dropped();
    answer = {.status = 499};  // as nginx logs it
  } catch (...) {
    answer =
        error_response({.status = 500, .message = current_failure().text, .type = "server_error"});
  }
  metrics_.answered(counted_path(request.path), answer.status, since(begin));
  return answer;
}

void ServeDesk::check_key(const HttpRequest& request) const {
  if (settings_.api_keys.empty()) return;
  const std::string& given = request.authorization;
  bool right = false;
  for (const std::string& key : settings_.api_keys) right |= same(given, "Bearer " + key);
  if (!right)
    throw RequestRefused({.status = 401,
                          .message = given.empty()
                                         ? "no API key is given; allowed: Authorization: Bearer KEY"
                                         : "the API key is not known here",
                          .code = "invalid_api_key"});
}

HttpAnswer ServeDesk::route(const HttpRequest& request) {
  const std::string& path = request.path;
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const bool posts =
      path == "/v1/completions" || path == "/v1/chat/completions" || path == "/v1/embeddings";
  const std::string one = "/v1/models/" + model_.name;
  const bool gets = path == "/health" || path == "/metrics" || path == "/v1/models" || path == one;
  if (!posts && !gets)
    throw RequestRefused({.status = 404,
                          .message = "there is no such path here; allowed: /v1/completions, "
                                     "/v1/chat/completions, /v1/embeddings, /v1/models, /health, "
                                     "/metrics",
                          .type = "not_found_error"});
  if (gets && !reads) throw RequestRefused(not_allowed(request.method, path, "GET"));
  if (posts && request.method != "POST")
    throw RequestRefused(not_allowed(request.method, path, "POST"));
  if (path == "/health") {
    if (queue_.closed()) throw RequestRefused(stopping());
    return json_answer({{"status", "ok"}});
  }
  if (path == "/metrics") return {.type = kMetricsType, .body = metrics_.text(queue_.size())};
  check_key(request);
  const OrderedJson models = models_answer(model_.name, model_.config.context, began_);
  if (path == one) return json_answer(models["data"][0]);
  if (path == "/v1/models") return json_answer(models);
  if (path == "/v1/embeddings") return embed(request);
  return generate(path == "/v1/completions" ? ServedRoute::completions : ServedRoute::chat,
                  request);
}

WorkPtr ServeDesk::queued(ServedRequest request, const std::string& body) {
  auto work = std::make_shared<ServedWork>(std::move(request), body);
  switch (queue_.put(work)) {
    case WorkQueue::Put::full:
      throw RequestRefused(overloaded());
    case WorkQueue::Put::closed:
      throw RequestRefused(stopping());
    case WorkQueue::Put::waits:
      break;
  }
  return work;
}

// Throws RequestRefused where the request failed or its time is over, ClientGone; then its work is
// dropped. Clients are looked after while events come, too.
WorkEvent ServeDesk::next_event(ServedWork& work, const HttpRequest& request) const {
  const auto leave = [&] {
    work.leave();
    queue_.wake();
  };
  for (;;) {
    std::optional<WorkEvent> event = work.next(kLook_s);
    if (event && event->kind == WorkEvent::Kind::failed) {
      leave();  // its other choices are nobody's
      throw RequestRefused(event->error);
    }
    if (work.look_due(kLook_s) && request.gone()) {
      leave();
      throw ClientGone();
    }
    if (since(work.came) >= settings_.request_timeout_s) {
      leave();
      metrics_.dropped();
      throw RequestRefused({.status = 504,
                            .message = fmt::format("not done within {} s (--request-timeout)",
                                                   settings_.request_timeout_s),
                            .type = "timeout_error",
                            .code = "timeout"});
    }
    if (event) return std::move(*event);
  }
}

HttpAnswer ServeDesk::generate(ServedRoute route, const HttpRequest& request) {
  ServedRequest asked = read_request(route, request.body, model_);
  const bool waits = asked.generates || asked.scores_prompts();
  const WorkPtr work = waits ? queued(std::move(asked), request.body)
                             : std::make_shared<ServedWork>(std::move(asked), request.body);
  const ServedRequest& r = work->request;
  if (r.stream) {
    std::optional<WorkEvent> first;  // the status is said when it is certain
    if (waits) first = next_event(*work, request);
    return {.type = "text/event-stream; charset=utf-8",
            .body = "",
            .headers = {{"Cache-Control", "no-cache"}},
            .stream = [this, work, request, first](const HttpWrite& write) {
              stream(work, request, first, write);
            }};
  }
  AnswerProgress progress(r, model_.tokenizer);
  std::vector<ChoicePart> choices(r.n_choices());
  for (std::size_t c = 0; c < choices.size(); ++c) choices[c].index = c;
  for (ChoicePart& part : progress.begin()) append(choices[part.index], std::move(part));
  while (!progress.over())
    for (ChoicePart& part : progress.add(next_event(*work, request)))
      append(choices[part.index], std::move(part));
  metrics_.tokens(progress.usage().prompt_tokens, progress.usage().completion_tokens);
  const AnswerForms forms(r, model_.tokenizer,
                          {answer_id(route, ++answers_), seconds_since_1970(), model_.name});
  return json_answer(forms.whole(choices, progress.usage()));
}

void ServeDesk::stream(const WorkPtr& work, const HttpRequest& request,
                       const std::optional<WorkEvent>& first, const HttpWrite& write) {
  const ServedRequest& r = work->request;
  AnswerProgress progress(r, model_.tokenizer);
  const AnswerForms forms(r, model_.tokenizer,
                          {answer_id(r.route, ++answers_), seconds_since_1970(), model_.name});
  const auto send = [&](const OrderedJson& data) {
    if (!write(server_sent_event(data))) throw ClientGone();
  };
  const auto send_parts = [&](const std::vector<ChoicePart>& parts) {
    for (const ChoicePart& p : parts)
      if (!p.text.empty() || !p.finish.empty() || !p.logprobs.empty()) send(forms.event(p));
  };
  try {
    for (std::size_t c = 0; r.route == ServedRoute::chat && c < r.n_choices(); ++c)
      send(forms.begin_event(c));
    send_parts(progress.begin());
    if (first) send_parts(progress.add(*first));
    while (!progress.over()) {
      WorkEvent event = next_event(*work, request);
      send_parts(progress.add(event));
    }
    if (r.include_usage) send(forms.usage_event(progress.usage()));
    write(kLastEvent);
  } catch (const RequestRefused& refused) {
    write(server_sent_event(error_answer(refused.error)));
  } catch (const ClientGone&) {
    work->leave();
    queue_.wake();
    metrics_.dropped();
  } catch (...) {
    work->leave();
    write(server_sent_event(
        error_answer({.status = 500, .message = current_failure().text, .type = "server_error"})));
  }
  metrics_.tokens(progress.usage().prompt_tokens, progress.usage().completion_tokens);
}

HttpAnswer ServeDesk::embed(const HttpRequest& request) {
  const WorkPtr work =
      queued(read_request(ServedRoute::embeddings, request.body, model_), request.body);
  std::vector<std::vector<float>> vectors(work->request.prompts.size());
  std::int64_t n_tokens = 0;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    WorkEvent event = next_event(*work, request);
    n_tokens += static_cast<std::int64_t>(work->request.prompts[event.index].ids.size());
    vectors[event.index] = std::move(event.vector);
  }
  metrics_.tokens(n_tokens, 0);
  return json_answer(embeddings_answer(work->request, model_.name, vectors));
}

}  // namespace weft
