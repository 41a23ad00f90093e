// Made-up evidence.
#pragma once

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/gen/evidence.h"

namespace whyrec::gen {

// A user whose reviews keep naming `taste`, in titles that do not.
inline Evidence EvidenceOf(int64_t user, const std::string& taste = "lavender") {
  Rng rng(7, "evidence", 0, static_cast<uint64_t>(user));
  const std::vector<std::string> kinds{"Soap", "Candle", "Tea", "Towel", "Brush", "Cream"};
  const std::vector<std::string> asides{"My neighbour borrowed it.", "The lid jams a little.",
                                        "It came wrapped as a gift.", "Our cat sleeps beside it.",
                                        "The garden door stayed open."};
  const std::vector<std::string> praises{"I bought this for the ", "You cannot beat real ",
                                         "Anything of ours has ", "Never without "};
  Evidence evidence{.split = "validation", .user = user};
  for (int i = 0; i < 5; ++i) {
    Event event{Cat("Plain ", kinds[rng.Below(6)], " No. ", rng.Below(100)),
                static_cast<float>(1 + rng.Below(5)), ""};
    event.review = Cat(praises[rng.Below(4)], taste, ". ", asides[rng.Below(5)]);
    evidence.history.push_back(event);
  }
  evidence.neighbours = {{"Plain Tea No. 5", "Plain Soap No. 9"}, {"Plain Brush No. 2"}};
  return evidence;
}

}  // namespace whyrec::gen
