#include "src/gen/behaviour.h"

#include "src/base/error.h"

namespace whyrec::gen {
namespace {

std::string EntryText(const Event& event, config::BehaviourConfig::Fields fields) {
  std::string text = event.title;
  if (fields == config::BehaviourConfig::TITLES) return text;
  if (event.rating > 0) text += Cat(" | stars ", event.rating, "/5");
  if (!event.review.empty()) text += " | wrote: " + event.review;
  return text;
}

}  // namespace

std::string BehaviourText(const std::vector<Event>& history, const Target* target,
                          const config::BehaviourConfig& config) {
  std::string past = "history:";
  for (auto event = history.rbegin(); event != history.rend(); ++event)
    past += (event == history.rbegin() ? " " : "; ") + EntryText(*event, config.fields());
  if (!target) return past;
  const std::string chosen = "chosen: " + target->title;
  return config.chosen_first() ? chosen + " " + past : past + " " + chosen;
}

}  // namespace whyrec::gen
