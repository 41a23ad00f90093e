#include "src/stages/examples.h"

#include "src/base/error.h"

namespace whyrec::stages {
namespace {

data::Phase PhaseOf(const std::string& split) {
  WR_CHECK(split == "validation" || split == "test", split);
  return split == "test" ? data::Phase::kTest : data::Phase::kValidation;
}

}  // namespace

bool Examples::Has(const std::string& split, int64_t user) const {
  return split == "train" ? train_.histories.row(user).size() >= 2 : labels_.Evaluated(user);
}

std::vector<gen::Event> Examples::History(const std::string& split, int64_t user) const {
  WR_CHECK(Has(split, user), "user ", user, " has no example in ", split);
  const bool train = split == "train";
  auto events =
      labels_.InputEvents(train ? data::Phase::kValidation : PhaseOf(split), train_, user);
  if (train) events.pop_back();  // the target
  std::vector<gen::Event> history;
  for (data::Interaction& event : events)
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

// Brand and category stand in for a missing title.
std::string Examples::Title(int64_t row) const {
  const data::Item& item = train_.items.at(static_cast<size_t>(row));
  if (!item.title.empty()) return item.title;
  std::string title = item.brand;
  if (!item.categories.empty()) title += (title.empty() ? "" : " ") + item.categories.back();
  return title.empty() ? "No Title" : title;
}

}  // namespace whyrec::stages
