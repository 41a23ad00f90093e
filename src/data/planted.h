// A made-up catalogue with a planted signal: only review texts tell what a user buys next. A run on
// it shows whether the chain of stages carries information from texts to ranking.
//
// Items: `tastes` x `items_per_taste`, of shuffled rows, titled "TASTE NOUN NUMBER" ("lavender soap
// 17"), the noun uniform.
// Users: `events` distinct items each, a uniform draw in uniform order. The negatives of a split
// are uniform over the other items, so given the titles, numbers and counts of everything, every
// candidate is equally likely to be the target: whatever does not read reviews is at chance.
// Reviews: a remark that a user makes once, and wishes for the tastes of the last three items,
// which are the targets of training, validation and test: the review 1, 2 and 3 events before a
// target names its taste 3, 2 and 1 times. Thus in the history of each split the taste of its
// target is in the last three reviews and no other word is in more; the two other wishes are in as
// many at most, and end earlier or have come up less often. Two wishes of one taste (once in
// `tastes`) add up and may mislead whoever only counts.
// Times rise by 1 to 30 days; ratings are 3, 4 or 5, uniform. All draws are functions of `seed`.
#pragma once

#include <span>
#include <string_view>

#include "src/data/catalogue.h"

namespace whyrec::data {

Catalogue MakePlanted(const config::PlantedConfig& config);

// The words that may be tastes; a catalogue uses the first `tastes`.
std::span<const std::string_view> PlantedTastes();

// Best possible HR@1 with `candidates` per user, for a ranker that knows the target's taste:
// negatives of the same taste cannot be told from the target. With I items, m a taste, T tastes and
// K candidates (a uniform subset): mean number of tastes among candidates / K = T/K (1 - C(I-m,
// K)/C(I, K)).
double PlantedCeiling(const config::PlantedConfig& config, int64_t candidates);

}  // namespace whyrec::data
