// The text of a behaviour, letter by letter.
#include "src/gen/behaviour.h"

#include <gtest/gtest.h>

namespace whyrec::gen {
namespace {

using config::BehaviourConfig;

const std::vector<Event> kHistory = {{.title = "Old card", .rating = 4, .review = "Too plain."},
                                     {.title = "Tin box", .rating = 0, .review = ""},
                                     {.title = "New card", .rating = 4.5, .review = ""}};
const Target kTarget = {.title = "Gift set"};

BehaviourConfig Config(BehaviourConfig::Fields fields, bool chosen_first) {
  BehaviourConfig config;
  config.set_fields(fields);
  config.set_chosen_first(chosen_first);
  return config;
}

TEST(BehaviourText, TitlesNewestFirst) {
  EXPECT_EQ(BehaviourText(kHistory, &kTarget, Config(BehaviourConfig::TITLES, false)),
            "history: New card; Tin box; Old card chosen: Gift set");
  EXPECT_EQ(BehaviourText(kHistory, &kTarget, Config(BehaviourConfig::TITLES, true)),
            "chosen: Gift set history: New card; Tin box; Old card");
}

TEST(BehaviourText, WithoutTargetBothOrdersAreOne) {
  for (const bool first : {false, true})
    EXPECT_EQ(BehaviourText(kHistory, nullptr, Config(BehaviourConfig::TITLES, first)),
              "history: New card; Tin box; Old card");
}

TEST(BehaviourText, ReviewsWhereThereAreAny) {
  EXPECT_EQ(BehaviourText(kHistory, &kTarget, Config(BehaviourConfig::TITLES_REVIEWS, false)),
            "history: New card | stars 4.5/5; Tin box; Old card | stars 4/5 | wrote: Too plain. "
            "chosen: Gift set");
}

TEST(BehaviourText, AnEmptyHistory) {
  EXPECT_EQ(BehaviourText({}, &kTarget, Config(BehaviourConfig::TITLES, false)),
            "history: chosen: Gift set");
}

}  // namespace
}  // namespace whyrec::gen
