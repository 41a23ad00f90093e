#include "src/stages/examples.h"

#include "src/base/error.h"
#include "src/gen/behaviour.h"

namespace whyrec::stages {
namespace {

data::Phase PhaseOf(const std::string& split) {
  WR_CHECK(split == "validation" || split == "test", split);
  return split == "test" ? data::Phase::kTest : data::Phase::kValidation;
}

}  // namespace

bool Examples::Has(const std::string& split, int64_t user) const {
  return split == "train" ? train_.histories.row(user).size() >= 2
                          : labels_.Evaluated(PhaseOf(split), user);
}

std::vector<data::Interaction> Examples::Events(const std::string& split, int64_t user) const {
  WR_CHECK(Has(split, user), "user ", user, " has no example in ", split);
  const bool train = split == "train";
  auto events =
      labels_.InputEvents(train ? data::Phase::kValidation : PhaseOf(split), train_, user);
  if (train) events.pop_back();  // the target
  return events;
}

std::vector<gen::Event> Examples::History(const std::string& split, int64_t user) const {
  std::vector<gen::Event> history;
  for (data::Interaction& event : Events(split, user))
    history.push_back(
        {.title = Title(event.item), .rating = event.rating, .review = std::move(event.review)});
  return history;
}

gen::Target Examples::TrainTarget(int64_t user) const {
  WR_CHECK(Has("train", user), "user ", user, " has no training example");
  return {.title = Title(train_.histories.row(user).back())};
}

gen::Target Examples::Target(const data::PublishedProtocol&, const std::string& split,
                             int64_t user) const {
  if (split == "train") return TrainTarget(user);
  return {.title = Title(labels_.Target(PhaseOf(split), user))};
}

int64_t Examples::TargetTime(const std::string& split, int64_t user) const {
  if (split != "train") return labels_.TargetTime(PhaseOf(split), user);
  return train_.times.empty() ? 0 : train_.times[train_.histories.offsets[user + 1] - 1];
}

gen::Evidence Examples::EvidenceOf(const std::string& split, int64_t user,
                                   std::span<const int32_t> neighbours,
                                   const config::NeighboursConfig& config) const {
  gen::Evidence of{.split = split, .user = user};
  if (!Has(split, user)) return of;
  of.history = History(split, user);
  const int64_t before = config.time_cut() ? TargetTime(split, user) : 0;
  for (const int32_t other : neighbours)
    if (auto titles = NewestTitles(other, config.titles(), before); !titles.empty())
      of.neighbours.push_back(std::move(titles));
  return of;
}

std::string Examples::AnchorOf(const std::string& split, int64_t user,
                               const config::BehaviourConfig& config) const {
  const auto history = History(split, user);
  const auto published = data::PublishedProtocol::ForAnchor(config);
  if (!published) return gen::BehaviourText(history, nullptr, config);
  const gen::Target target = Target(*published, split, user);
  return gen::BehaviourText(history, &target, config);
}

std::vector<std::string> Examples::NewestTitles(int64_t user, int64_t count, int64_t before) const {
  std::vector<std::string> titles;
  const int64_t first = train_.histories.offsets[user];
  for (int64_t i = train_.histories.offsets[user + 1] - 1; i >= first; --i) {
    if (std::ssize(titles) == count) break;
    if (before > 0 && !train_.times.empty() && train_.times[i] >= before) continue;
    titles.push_back(Title(train_.histories.values[i]));
  }
  return titles;
}

// Brand and category replace a missing title.
std::string Examples::Title(int64_t row) const {
  const data::Item& item = train_.items.at(static_cast<size_t>(row));
  if (!item.title.empty()) return item.title;
  std::string title = item.brand;
  if (!item.categories.empty()) title += (title.empty() ? "" : " ") + item.categories.back();
  return title.empty() ? "No Title" : title;
}

}  // namespace whyrec::stages
