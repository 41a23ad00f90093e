// Held-out targets and the permissions to read them; see split.h.
#include "src/base/error.h"
#include "src/base/ragged.h"
#include "src/data/split.h"

namespace whyrec::data {
namespace {

// values[at], or `none` where the source gives no values.
template <typename T>
T AtOr(const std::vector<T>& values, size_t at, T none) {
  return values.empty() ? none : values.at(at);
}

}  // namespace

std::optional<PublishedProtocol> PublishedProtocol::ForProfiles(
    const config::RationalesConfig& config) {
  // An unset enum reads as its first value, so only a stated one counts.
  if (config.has_history() && config.history() == config::RationalesConfig::LAST20_FULL)
    return PublishedProtocol();
  return std::nullopt;
}

std::optional<PublishedProtocol> PublishedProtocol::ForNegatives(
    const config::SplitConfig& config) {
  if (config.has_negative_exclude() && config.negative_exclude() == config::SplitConfig::FULL)
    return PublishedProtocol();
  return std::nullopt;
}

std::optional<PublishedProtocol> PublishedProtocol::ForAnchor(
    const config::BehaviourConfig& config) {
  if (config.has_anchor() && config.anchor() == config::BehaviourConfig::WITH_TARGET)
    return PublishedProtocol();
  return std::nullopt;
}

LabelStore::LabelStore(HeldOut validation, HeldOut test,
                       std::vector<ExplanationRecord> validation_explanations)
    : validation_(std::move(validation)),
      test_(std::move(test)),
      explanations_(std::move(validation_explanations)) {
  WR_CHECK(validation_.items.size() == test_.items.size(), "labels of different users");
}

std::vector<int64_t> LabelStore::EvaluatedUsers(Phase phase) const {
  std::vector<int64_t> users;
  for (int64_t user = 0; user < user_count(); ++user)
    if (Evaluated(phase, user)) users.push_back(user);
  return users;
}

int64_t LabelStore::Target(Phase phase, int64_t user) const {
  return Of(phase).items.at(static_cast<size_t>(user));
}

int64_t LabelStore::TargetTime(Phase phase, int64_t user) const {
  return AtOr<int64_t>(Of(phase).times, static_cast<size_t>(user), 0);
}

std::span<const int64_t> LabelStore::Candidates(Phase phase, int64_t user) const {
  return Of(phase).candidates.row(user);
}

std::vector<int64_t> LabelStore::InputHistory(Phase phase, const TrainView& train,
                                              int64_t user) const {
  const auto row = train.histories.row(user);
  std::vector<int64_t> out(row.begin(), row.end());
  const int64_t validated = Target(Phase::kValidation, user);
  if (phase == Phase::kTest && validated >= 0) out.push_back(validated);
  return out;
}

std::vector<Interaction> LabelStore::InputEvents(Phase phase, const TrainView& train,
                                                 int64_t user) const {
  std::vector<Interaction> out;
  const auto row = train.histories.row(user);
  const auto begin = static_cast<size_t>(train.histories.offsets[static_cast<size_t>(user)]);
  for (size_t i = 0; i < row.size(); ++i)
    out.push_back({row[i], AtOr<int64_t>(train.times, begin + i, 0),
                   AtOr(train.ratings, begin + i, 0.0f),
                   AtOr<std::string>(train.reviews, begin + i, "")});
  if (phase == Phase::kTest && Evaluated(Phase::kValidation, user)) {
    const auto at = static_cast<size_t>(user);
    out.push_back({validation_.items[at], AtOr<int64_t>(validation_.times, at, 0),
                   AtOr(validation_.ratings, at, 0.0f),
                   AtOr<std::string>(validation_.reviews, at, "")});
  }
  return out;
}

Ragged<int64_t> LabelStore::FullHistories(const PublishedProtocol&, const TrainView& train) const {
  Ragged<int64_t> out;
  for (int64_t user = 0; user < user_count(); ++user) {
    std::vector<int64_t> row = InputHistory(Phase::kTest, train, user);
    if (Evaluated(Phase::kTest, user)) row.push_back(Target(Phase::kTest, user));
    out.Append(row);
  }
  return out;
}

}  // namespace whyrec::data
