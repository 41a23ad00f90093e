#include "cluster/lease_client.h"

#include <algorithm>

#include "cluster/lease_service.h"

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
}

void LeaseClient::Receive(const wire::FromCoordinator& message, Micros now) {
  if (message.has_welcome()) {
    welcome_ = true;
    folder_ = message.welcome().folder();
    heartbeat_ = std::max<Micros>(1, message.welcome().heartbeat_ms()) * 1000;
  }
  if (message.has_refusal()) refusal_ = message.refusal();
  for (const auto& answer : message.answer()) {
    const auto it = held_.find({answer.fence(), answer.unit()});
    if (it == held_.end()) continue;
    held_bytes_ -= it->second.bytes;
    held_.erase(it);
  }
  if (message.has_grant() && welcome_ && !leaving_ &&
      seen_.insert(message.grant().fence()).second) {
    for (const int64_t unit : message.grant().unit())
      queue_.push_back({unit, message.grant().fence()});
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
  return at_work_;
}

void LeaseClient::Finish(const Task& task, wire::UnitOutcome outcome) {
  at_work_.reset();
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
