#include "src/stages/pulse_users.h"

#include <algorithm>

namespace whyrec::stages {

std::vector<data::Interaction> PulseUsers::Events(const std::string& split, int64_t user) const {
  if (split != "train") {
    if (!labels_.Evaluated(user)) return {};
    const auto phase = split == "test" ? data::Phase::kTest : data::Phase::kValidation;
    return labels_.InputEvents(phase, train_, user);
  }
  auto events = labels_.InputEvents(data::Phase::kValidation, train_, user);  // of training alone
  if (!events.empty()) events.pop_back();
  return events;
}

std::vector<gen::Event> PulseUsers::History(const std::string& split, int64_t user) const {
  std::vector<gen::Event> history;
  for (data::Interaction& event : Events(split, user))
    history.push_back({.title = train_.items[event.item].title,
                       .rating = event.rating,
                       .review = std::move(event.review)});
  return history;
}

gen::Target PulseUsers::TrainTarget(int64_t user) const {
  return {train_.items[train_.histories.row(user).back()].title};
}

int64_t PulseUsers::TargetTime(const std::string& split, int64_t user) const {
  if (split == "validation") return labels_.TargetTime(data::Phase::kValidation, user);
  if (split == "test") return labels_.TargetTime(data::Phase::kTest, user);
  return train_.times.empty() ? 0 : train_.times[train_.histories.offsets[user + 1] - 1];
}

std::vector<std::string> PulseUsers::NewestTitles(int64_t user, int64_t count,
                                                  int64_t before) const {
  std::vector<std::string> titles;
  const int64_t first = train_.histories.offsets[user];
  for (int64_t i = train_.histories.offsets[user + 1] - 1; i >= first; --i) {
    if (std::ssize(titles) == count) break;
    if (before > 0 && !train_.times.empty() && train_.times[i] >= before) continue;
    titles.push_back(train_.items[train_.histories.values[i]].title);
  }
  return titles;
}

}  // namespace whyrec::stages
