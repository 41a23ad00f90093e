#include "src/text/special_tokens.h"

#include <algorithm>

namespace whyrec::text {

bool SpecialTokens::Has(int64_t id) const {
  return std::any_of(tokens_.begin(), tokens_.end(),
                     [&](const auto& token) { return token.second == id; });
}

std::vector<SpecialTokens::Part> SpecialTokens::Split(std::string_view text) const {
  std::vector<Part> parts;
  auto add = [&](std::string_view piece, int64_t id) {
    if (!piece.empty()) parts.push_back({piece, id});
  };
  const char opening = tokens_.empty() ? '\0' : tokens_.front().first.front();
  size_t done = 0;
  for (size_t at = text.find(opening); at != text.npos; at = text.find(opening, at)) {
    const auto found = std::find_if(tokens_.begin(), tokens_.end(), [&](const auto& token) {
      return text.substr(at).starts_with(token.first);
    });
    if (found == tokens_.end()) {
      ++at;
      continue;
    }
    add(text.substr(done, at - done), -1);
    add(text.substr(at, found->first.size()), found->second);
    done = at += found->first.size();
  }
  add(text.substr(done), -1);
  return parts;
}

}  // namespace whyrec::text
