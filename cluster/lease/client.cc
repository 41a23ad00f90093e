#include "cluster/lease/client.h"

#include <algorithm>

#include "cluster/lease/service.h"

namespace whyrec::cluster {

wire::FromWorker LeaseClient::Greet(Micros now) {
  welcome_ = false;
  queue_.clear();
  asked_.reset();
  wait_until_ = now;
  beat_ = now;
  unsent_.clear();
  for (const auto& [key, held] : held_) unsent_.push_back(key);
  wire::FromWorker out;
  auto& hello = *out.mutable_hello();
  hello.set_version(kWireVersion);
  hello.set_token(introduction_.token);
  hello.set_job(introduction_.job);
  hello.set_worker(introduction_.worker);
  hello.set_name(introduction_.name);
  return out;
}

void LeaseClient::Disconnected() {
  welcome_ = false;
  queue_.clear();
  if (saved_ == Saved::kWaiting) saved_ = Saved::kInVain;
}

void LeaseClient::Hear(const wire::Answer& answer) {
  if (answer.has_step()) {
    if (saved_ != Saved::kWaiting || answer.unit() != partial_.unit() ||
        answer.fence() != partial_.fence() || answer.step() != partial_.step())
      return;
    saved_ = answer.status() == wire::Answer::ACCEPTED       ? Saved::kKept
             : answer.status() == wire::Answer::ALREADY_DONE ? Saved::kNeedless
                                                             : Saved::kInVain;
    return;
  }
  const auto it = held_.find({answer.fence(), answer.unit()});
  if (it == held_.end()) return;
  held_bytes_ -= it->second.bytes;
  held_.erase(it);
}

void LeaseClient::Receive(const wire::FromCoordinator& message, Micros now) {
  if (message.has_welcome()) {
    welcome_ = true;
    folder_ = message.welcome().folder();
    heartbeat_ = std::max<Micros>(1, message.welcome().heartbeat_ms()) * 1000;
  }
  if (message.has_refusal()) refusal_ = message.refusal();
  for (const auto& answer : message.answer()) Hear(answer);
  if (message.has_grant() && welcome_ && !leaving_ &&
      seen_.insert(message.grant().fence()).second) {
    std::map<int64_t, std::shared_ptr<const wire::UnitPartial>> begun;
    for (const auto& partial : message.grant().begun())
      begun[partial.unit()] = std::make_shared<wire::UnitPartial>(partial);
    for (const int64_t unit : message.grant().unit()) {
      const auto it = begun.find(unit);
      queue_.push_back({unit, message.grant().fence(), it == begun.end() ? nullptr : it->second});
    }
  }
  if (message.has_grant() || message.has_wait_ms()) asked_.reset();
  if (message.has_wait_ms()) wait_until_ = now + Micros{message.wait_ms()} * 1000;
  const auto among = [](const auto& values, auto value) {
    return std::find(values.begin(), values.end(), value) != values.end();
  };
  if (message.ended_lease_size() > 0 || message.skip_size() > 0) {
    std::erase_if(queue_, [&](const Task& task) {
      return among(message.ended_lease(), task.fence) || among(message.skip(), task.unit);
    });
    if (at_work_ && among(message.skip(), at_work_->unit)) saved_ = Saved::kNeedless;
    if (at_work_ && saved_ == Saved::kWaiting && among(message.ended_lease(), at_work_->fence))
      saved_ = Saved::kInVain;
  }
  if (message.has_end()) {
    end_ = message.end().reason();
    queue_.clear();
  }
}

std::optional<LeaseClient::Task> LeaseClient::Next() {
  if (queue_.empty()) return std::nullopt;
  at_work_ = queue_.front();
  queue_.pop_front();
  saved_ = Saved::kKept;
  return at_work_;
}

void LeaseClient::Save(wire::UnitPartial partial) {
  if (saved_ == Saved::kNeedless) return;
  partial_ = std::move(partial);
  partial_sent_ = 0;
  // Without a connection there is no lease any more that it could be saved under.
  saved_ = welcome_ ? Saved::kWaiting : Saved::kInVain;
}

void LeaseClient::Abandon() {
  at_work_.reset();
  saved_ = Saved::kKept;
}

void LeaseClient::Finish(const Task& task, wire::UnitOutcome outcome) {
  Abandon();  // drops the partial result
  outcome.set_unit(task.unit);
  outcome.set_fence(task.fence);
  const Key key{task.fence, task.unit};
  const size_t bytes = outcome.ByteSizeLong();
  held_[key] = {std::move(outcome), bytes, 0};
  held_bytes_ += bytes;
  unsent_.push_back(key);
}

void LeaseClient::CollectOutcomes(Micros now, wire::FromWorker& out) {
  if (now >= look_again_) {  // answers that never came
    look_again_ = now + kPatience / 4;
    for (const auto& [key, held] : held_)
      if (held.sent != 0 && now - held.sent > kPatience) unsent_.push_back(key);
  }
  for (size_t bytes = 0; !unsent_.empty() && bytes < kMessageBytes; unsent_.pop_front()) {
    const auto it = held_.find(unsent_.front());
    if (it == held_.end()) continue;
    it->second.sent = now;
    bytes += it->second.bytes;
    *out.add_outcome() = it->second.outcome;
  }
}

void LeaseClient::CollectPartial(Micros now, wire::FromWorker& out) {
  if (saved_ != Saved::kWaiting) return;
  if (partial_sent_ != 0 && now - partial_sent_ <= kPatience) return;
  partial_sent_ = now;
  *out.add_partial() = partial_;
}

void LeaseClient::CollectHeartbeat(Micros now, wire::FromWorker& out) {
  if (now - beat_ < heartbeat_) return;
  beat_ = now;
  std::set<uint64_t> fences;
  for (const Task& task : queue_) fences.insert(task.fence);
  if (at_work_) fences.insert(at_work_->fence);
  for (const auto& [key, held] : held_) fences.insert(key.first);
  out.mutable_heartbeat()->Add(fences.begin(), fences.end());
}

wire::FromWorker LeaseClient::Collect(Micros now) {
  wire::FromWorker out;
  if (!welcome_) return out;
  CollectOutcomes(now, out);
  CollectPartial(now, out);
  if (end_ || leaving_) return out;
  CollectHeartbeat(now, out);
  const bool idle = queue_.empty() && !at_work_ && now >= wait_until_;
  if (idle && (!asked_ || now - *asked_ > kPatience)) {
    asked_ = now;
    out.set_want(true);
  }
  return out;
}

}  // namespace whyrec::cluster
