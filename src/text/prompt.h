// Prompts of the T5 systems' three tasks, from templates with a slot for the user and one for the
// items: "Shopping list of user_{}: item_{}". The built-in lists are our own wording, since POD's
// code comes without a licence. Numbers are those the split assigned.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace whyrec::text {

inline constexpr int64_t kPlain = -1;  // the last template of a list; validation and test use it

class Templates {
 public:
  Templates();  // the built-in lists
  // JSON {"sequential": [...], "direct": [...], "explanation": [...]}; each template holds exactly
  // two {}, the first after "user_", the second after "item_". Error(kData) otherwise.
  explicit Templates(const std::filesystem::path& json);

  int64_t sequential_count() const { return std::ssize(sequential_); }
  int64_t direct_count() const { return std::ssize(direct_); }
  int64_t explanation_count() const { return std::ssize(explanation_); }

  // `index` is below the list's count, or kPlain. Items are joined by " item_".
  std::string SequentialPrompt(int64_t index, int64_t user, std::span<const int64_t> items) const;
  std::string DirectPrompt(int64_t index, int64_t user, std::span<const int64_t> candidates) const;
  std::string ExplanationPrompt(int64_t index, int64_t user, int64_t item) const;

 private:
  std::vector<std::string> sequential_, direct_, explanation_;
};

}  // namespace whyrec::text
