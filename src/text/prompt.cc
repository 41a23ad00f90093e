#include "src/text/prompt.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "src/base/error.h"

namespace whyrec::text {
namespace {

constexpr std::string_view kSlot = "{}";

// What is wrong with a template; empty when nothing is.
std::string Problem(std::string_view text) {
  std::vector<std::string_view> before;
  for (size_t at = text.find(kSlot); at != text.npos; at = text.find(kSlot, at + kSlot.size()))
    before.push_back(text.substr(0, at));
  if (before.size() != 2) return Cat("holds ", before.size(), " {}, not two");
  if (!before[0].ends_with("user_")) return "its first {} does not follow \"user_\"";
  if (!before[1].ends_with("item_")) return "its second {} does not follow \"item_\"";
  return "";
}

std::vector<std::string> ReadList(const nlohmann::json& json, const char* task,
                                  const std::filesystem::path& file) {
  std::vector<std::string> list;
  if (json.contains(task) && json[task].is_array())
    for (const auto& entry : json[task]) {
      list.push_back(entry.is_string() ? entry.get<std::string>() : entry.dump());
      const std::string problem = Problem(list.back());
      if (!problem.empty())
        Fail(Exit::kData, file.string(), ": ", task, " template ", list.size(), " ", problem, ": ",
             list.back());
    }
  if (list.empty())
    Fail(Exit::kData, file.string(), ": no list \"", task,
         "\"; give at least one template, the plain one last");
  return list;
}

std::string Render(const std::vector<std::string>& list, int64_t index, int64_t user,
                   std::span<const int64_t> items) {
  WR_CHECK(index >= kPlain && index < std::ssize(list), index, " of ", list.size());
  const std::string& text = index == kPlain ? list.back() : list[index];
  const size_t first = text.find(kSlot), second = text.find(kSlot, first + kSlot.size());
  std::string prompt = text.substr(0, first) + std::to_string(user);
  prompt += text.substr(first + kSlot.size(), second - first - kSlot.size());
  for (size_t i = 0; i < items.size(); ++i)
    prompt += (i > 0 ? " item_" : "") + std::to_string(items[i]);
  return prompt + text.substr(second + kSlot.size());
}

}  // namespace

Templates::Templates()
    : sequential_{
          "Customer user_{} bought these in order: item_{}. Name what comes next.",
          "Order record of user_{}: item_{}. Which product follows?",
          "Continue the shopping list of user_{}: item_{}",
          "So far user_{} has purchased item_{}, forecast the following purchase.",
          "Past orders for user_{}: item_{}. Give one product to show now.",
          "Looking at user_{} with history item_{}, what is the likely next product?",
          "Extend the sequence of user_{}: item_{} by one product.",
          "user_{} item_{}",
      },
      direct_{
          "From this pool, which product suits user_{} best? item_{}",
          "Candidates to show user_{}: item_{}",
          "Rank the pool for user_{} and return the winner: item_{}",
          "One of these belongs to user_{}: item_{}",
          "user_{} item_{}",
      },
      explanation_{
          "State why user_{} would care about item_{}",
          "Reason of user_{} for choosing item_{}",
          "Speak for user_{} about item_{}",
          "What might user_{} remark on item_{}?",
          "Short review line by user_{} for item_{}",
          "Tell what user_{} noticed in item_{}",
          "Justify the match of user_{} with item_{}",
          "Comment from user_{} regarding item_{}",
          "user_{} item_{}",
      } {}

Templates::Templates(const std::filesystem::path& file) {
  std::ifstream stream(file);
  const auto json = nlohmann::json::parse(stream, nullptr, false);
  if (!json.is_object())
    Fail(Exit::kData, file.string(), ": not a JSON object with sequential, direct and explanation");
  sequential_ = ReadList(json, "sequential", file);
  direct_ = ReadList(json, "direct", file);
  explanation_ = ReadList(json, "explanation", file);
}

std::string Templates::SequentialPrompt(int64_t index, int64_t user,
                                        std::span<const int64_t> items) const {
  return Render(sequential_, index, user, items);
}

std::string Templates::DirectPrompt(int64_t index, int64_t user,
                                    std::span<const int64_t> candidates) const {
  return Render(direct_, index, user, candidates);
}

std::string Templates::ExplanationPrompt(int64_t index, int64_t user, int64_t item) const {
  return Render(explanation_, index, user, {&item, 1});
}

}  // namespace whyrec::text
