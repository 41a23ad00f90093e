#include "src/systems/pulse/reasons.h"

#include "src/base/error.h"
#include "src/base/rng.h"

namespace whyrec::systems {

const Ablation& AblationOf(const std::string& variant) {
  for (const Ablation& row : kAblations)
    if (variant == row.name) return row;
  WR_CHECK(variant.empty(), variant);
  return kAblations[0];
}

Reasons::Reasons(const BuildContext& context)
    : withheld_at_test_(!context.config.pulse().scorer().reason_at_test()) {
  const Ablation& row = AblationOf(context.variant);
  const std::string select = row.select;
  if (select.empty()) return;
  const auto file = context.artefacts.at("select." + select) / "selection.h5";
  choices_ = gen::LoadChosen(file);
  for (const auto& [split, rows] : choices_)
    if (std::ssize(rows) != context.train.user_count())
      Fail(Exit::kData, file.string(), ": ", rows.size(), " reasons of the ", split,
           " split; there are ", context.train.user_count(), " users");
  if (std::string(row.name) == "SHUFFLED") Shuffle(context.config.seed());
}

const gen::ChosenReason* Reasons::Of(const std::string& split, int64_t user) const {
  const bool test = split == "test";
  const auto found = choices_.find(split);
  if (found == choices_.end() || (test && withheld_at_test_)) return nullptr;
  if (test && !others_.empty()) user = others_.at(static_cast<size_t>(user));
  const gen::ChosenReason& choice = found->second.at(static_cast<size_t>(user));
  return choice.text.empty() ? nullptr : &choice;
}

// One random cycle through all users with a reason, so that nobody keeps their own.
void Reasons::Shuffle(uint64_t seed) {
  const std::vector<gen::ChosenReason>& rows = choices_["test"];
  std::vector<int64_t> cycle;
  for (int64_t user = 0; user < std::ssize(rows); ++user) {
    others_.push_back(user);
    if (!rows[static_cast<size_t>(user)].text.empty()) cycle.push_back(user);
  }
  Rng(seed, "shuffled reasons").Shuffle(cycle);
  for (size_t i = 0; i < cycle.size(); ++i)
    others_[static_cast<size_t>(cycle[i])] = cycle[(i + 1) % cycle.size()];
}

}  // namespace whyrec::systems
