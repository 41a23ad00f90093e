#include "src/eval/published.h"

#include <cctype>

namespace whyrec::eval {
namespace {

// arXiv 2510.08626, HR@1. Its setting "history and candidates" is in two tables with two
// values (table 3, "SLM+SFT": 0.6100, 0.5700, 0.6757).
struct PulseRow {
  const char *system, *variant, *source;
  double luxury_beauty, prime_pantry, video_games;
};
constexpr PulseRow kPulse[] = {
    {"sasrec", "", "PULSE, table 3", 0.5612, 0.3702, 0.6117},
    {"pulse", "THOUGHT", "PULSE, table 3", 0.9339, 0.8373, 0.9170},
    {"pulse", "DISTILBERT", "PULSE, table 4", 0.7920, 0.6284, 0.8896},
    {"pulse", "SBERT", "PULSE, table 4", 0.8636, 0.7182, 0.8046},
    {"pulse", "NONE", "PULSE, table 5, row 1", 0.6111, 0.5748, 0.6757},
    {"pulse", "BASE", "PULSE, table 5, row 2", 0.7186, 0.7718, 0.8883},
    {"pulse", "LOG_LIKELIHOOD", "PULSE, table 5, row 3", 0.8559, 0.7548, 0.8647},
};

std::string Letters(const std::string& name) {
  std::string out;
  for (const unsigned char c : name)
    if (std::isalnum(c)) out += static_cast<char>(std::tolower(c));
  return out;
}

}  // namespace

std::vector<Published> PublishedOf(const std::string& dataset) {
  const std::string name = Letters(dataset);
  double PulseRow::*value = name == "luxurybeauty"  ? &PulseRow::luxury_beauty
                            : name == "primepantry" ? &PulseRow::prime_pantry
                            : name == "videogames"  ? &PulseRow::video_games
                                                    : nullptr;
  std::vector<Published> rows;
  if (value == nullptr) return rows;
  for (const PulseRow& row : kPulse)
    rows.push_back({row.system, row.variant, "HR@1", row.*value, row.source});
  return rows;
}

}  // namespace whyrec::eval
