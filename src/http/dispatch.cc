#include "src/http/dispatch.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>

#include "src/base/log.h"
#include "src/base/stop.h"

namespace whyrec::http {
namespace {

namespace asio = boost::asio;
using Verdict = Attempt::Verdict;

constexpr std::chrono::seconds kLostFor{60};       // then a lost endpoint is tried again
constexpr std::chrono::milliseconds kLookUp{500};  // for stop signals

}  // namespace

Dispatch::Dispatch(const Options& options) : options_(options), ring_(options.endpoints) {
  for (const auto& url : options_.endpoints)
    lanes_.push_back(std::make_unique<Lane>(io_, options_, url));
}

// Runs `work` for every endpoint that is not lost, until all have ended.
void Dispatch::RunAll(Coroutine (Dispatch::*work)(Lane&)) {
  over_ = false;
  failure_ = nullptr;
  io_.restart();
  for (auto& lane : lanes_) {
    if (lane->lost) continue;
    lane->endpoint.Resume();
    asio::co_spawn(io_, (this->*work)(*lane), [this](std::exception_ptr problem) {
      if (problem) Stop(problem);
    });
  }
  io_.run();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

// Aborted requests return at once; none may outlive the call.
void Dispatch::Stop(std::exception_ptr why) {
  if (!failure_) failure_ = why;
  over_ = true;
  for (auto& lane : lanes_) {
    lane->endpoint.Abort();
    lane->wake.cancel();
  }
}

void Dispatch::Prepare() {
  const auto now = Clock::now();
  const bool all_lost =
      std::all_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane->lost; });
  bool any_new = false;
  for (auto& lane : lanes_) {
    if (lane->lost && !lane->for_good && (all_lost || now - lane->lost_at > kLostFor)) {
      lane->lost = false;
      lane->suspect = true;
    }
    if (now - lane->examined_at > Seconds(options_.examine_s)) lane->suspect = true;
    any_new = any_new || (!lane->lost && lane->suspect);
  }
  if (any_new) RunAll(&Dispatch::ExamineLane);
  const Lane* first = nullptr;
  for (const auto& lane : lanes_) {
    if (lane->lost) continue;
    if (first == nullptr) first = lane.get();
    if (lane->endpoint.model() != first->endpoint.model())
      Fail(Exit::kUsage, first->endpoint.url(), " answers as ", first->endpoint.model(), ", ",
           lane->endpoint.url(), " as ", lane->endpoint.model(),
           "; all endpoints of a run must serve one model");
  }
  if (first == nullptr) FailUnavailable();
  model_ = first->endpoint.model();
}

asio::awaitable<void> Dispatch::ExamineLane(Lane& lane) {
  std::optional<EndpointGone> gone;
  try {
    if (lane.suspect) {
      co_await lane.endpoint.Examine();
      lane.suspect = false;
      lane.examined_at = Clock::now();
    }
    if (sampling_.top_k > 0 && sampling_.temperature > 0) co_await lane.endpoint.TestTopK();
  } catch (const EndpointGone& problem) {
    gone = problem;
  }
  if (gone && !over_) Lose(lane, *gone);
}

std::vector<gen::Reply> Dispatch::Run(const std::vector<gen::Request>& requests,
                                      const gen::TextSampling& sampling) {
  sampling_ = sampling;
  Prepare();
  std::vector<gen::Reply> replies(requests.size());
  left_ = requests.size();
  for (auto& lane : lanes_) lane->queue.clear();
  for (size_t i = 0; i < requests.size(); ++i) Place({&requests[i], &replies[i]}, false);
  if (left_ > 0) RunAll(&Dispatch::Serve);
  return replies;
}

void Dispatch::Place(const Job& job, bool in_front) {
  std::vector<bool> lives;
  for (const auto& lane : lanes_) lives.push_back(!lane->lost);
  const int64_t owner = ring_.Owner(job.request->PrefixGroup(), lives);
  if (owner < 0) FailUnavailable();
  auto& lane = *lanes_[static_cast<size_t>(owner)];
  if (in_front)
    lane.queue.push_front(job);
  else
    lane.queue.push_back(job);
  lane.wake.cancel();
}

asio::awaitable<void> Dispatch::Serve(Lane& lane) {
  while (!over_ && left_ > 0 && !lane.lost) {
    if (StopRequested()) Fail(Exit::kStoppedEarly, "stopped before ", left_, " texts had arrived");
    if (Clock::now() - lane.examined_at > Seconds(std::max(options_.examine_s, 1.0)))
      lane.suspect = true;
    const bool untested = sampling_.top_k > 0 && sampling_.temperature > 0;
    if (!lane.queue.empty() && (lane.suspect || untested)) co_await ExamineLane(lane);
    if (over_ || lane.lost) break;
    Launch(lane);
    lane.wake.expires_at(NextTime(lane));
    boost::system::error_code woken;
    co_await lane.wake.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
}

// Wakes up for things that no answer triggers: due retries, lost endpoints, stop signals.
Dispatch::Clock::time_point Dispatch::NextTime(const Lane& lane) const {
  auto next = Clock::now() + kLookUp;
  if (lane.under_way < lane.window.size())
    for (const auto& job : lane.queue)
      next = std::min(next, std::max(job.not_before, lane.pause_until));
  return next;
}

void Dispatch::Launch(Lane& lane) {
  const auto now = Clock::now();
  if (now < lane.pause_until) return;
  for (auto job = lane.queue.begin();
       job != lane.queue.end() && lane.under_way < lane.window.size();) {
    if (job->not_before > now) {
      ++job;
      continue;
    }
    ++lane.under_way;
    asio::co_spawn(io_, Send(lane, *job), [this](std::exception_ptr problem) {
      if (problem) Stop(problem);
    });
    job = lane.queue.erase(job);
  }
}

asio::awaitable<void> Dispatch::Send(Lane& lane, Job job) {
  const int64_t window = lane.window.number();
  const Attempt tried = co_await lane.endpoint.Try(*job.request, sampling_);
  const int64_t under_way = lane.under_way--;
  if (over_) co_return;
  lane.wake.cancel();
  if (tried.verdict == Verdict::kDone) {
    lane.window.Success(under_way);
    Finish(lane, job, tried);
  } else if (tried.verdict == Verdict::kNever) {
    Fail(tried.code, lane.endpoint.url(), ": ", tried.why, " (", job.request->Name(), ")");
  } else if (lane.lost) {  // by another request, meanwhile
    job.tries = 0;
    Place(job, true);
  } else {
    if (tried.verdict == Verdict::kTooMuch) lane.window.TooMuch(window);
    Postpone(lane, job, tried);
  }
}

void Dispatch::Finish(Lane& lane, const Job& job, const Attempt& tried) {
  const Completion& completion = tried.completion;
  *job.reply = {.text = completion.text,
                .model = completion.model.empty() ? model_ : completion.model,
                .seed = SeedOf(options_.seed, *job.request),
                .tokens_in = completion.tokens_in,
                .tokens_out = completion.tokens_out,
                .finished = completion.finished,
                .sampling_differs = lane.endpoint.SamplingDiffers(sampling_)};
  if (--left_ == 0)
    for (auto& other : lanes_) other->wake.cancel();
}

void Dispatch::Postpone(Lane& lane, Job job, const Attempt& tried) {
  const auto now = Clock::now();
  if (tried.wait_s > 0) lane.pause_until = std::max(lane.pause_until, now + Seconds(tried.wait_s));
  job.not_before = now + Seconds(lane.endpoint.WaitOf(job.request->Name(), job.tries));
  if (tried.unreachable) lane.suspect = true;
  const bool is_last = ++job.tries > options_.retries;
  if (!is_last && tried.verdict != Verdict::kGone) {
    lane.queue.push_front(job);
    return;
  }
  lane.queue.push_front({job.request, job.reply});
  Lose(lane,
       {is_last ? Cat(tried.why, ", ", job.tries, " tries of ", job.request->Name()) : tried.why,
        tried.for_good});
}

// Moves a lost endpoint's queue to the others; its running requests follow when they return.
void Dispatch::Lose(Lane& lane, const EndpointGone& gone) {
  lane.lost = true;
  lane.for_good = gone.for_good;
  lane.why = gone.why;
  lane.lost_at = Clock::now();
  lane.endpoint.Abort();
  lane.wake.cancel();
  const auto jobs = std::exchange(lane.queue, {});
  const auto lives = std::count_if(lanes_.begin(), lanes_.end(), [](auto& l) { return !l->lost; });
  if (lives == 0) FailUnavailable();
  Warn(Cat("text endpoint ", lane.endpoint.url(), " is no longer used: ", lane.why, "; ", lives,
           " others remain"));
  for (Job job : jobs) {
    job.tries = 0;
    job.not_before = {};
    Place(job, false);
  }
}

void Dispatch::FailUnavailable() const {
  std::string causes;
  for (const auto& lane : lanes_)
    causes += Cat(causes.empty() ? "" : "; ", lane->endpoint.url(), ": ", lane->why);
  const bool changed =
      std::any_of(lanes_.begin(), lanes_.end(), [](auto& lane) { return lane->for_good; });
  Fail(Exit::kUnavailable, "no text endpoint is left: ", causes,
       changed
           ? "; serve the model that the run began with, or start over"
           : "; check that the server is running and that rationales.http.endpoint is its address "
             "(curl ENDPOINT/models should answer)",
       ". Finished work is kept: run the same command again");
}

}  // namespace whyrec::http
