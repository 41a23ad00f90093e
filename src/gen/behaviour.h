// PULSE's behaviour text b_u: what a user did, as the text that reasons are compared with.
#pragma once

#include <string>
#include <vector>

#include "proto/pulse.pb.h"
#include "src/gen/evidence.h"

namespace whyrec::gen {

// "history: TITLE; TITLE chosen: TITLE", newest first, so that an encoder's token limit cuts off
// the oldest; with chosen_first the chosen item comes before the history. `history`: oldest first.
// `target`: null when the text must not show it. With TITLES_REVIEWS an entry is
// "TITLE | stars 5/5 | wrote: REVIEW".
std::string BehaviourText(const std::vector<Event>& history, const Target* target,
                          const config::BehaviourConfig& config);

}  // namespace whyrec::gen
