#include "src/text/whole_word.h"

#include <algorithm>
#include <charconv>

#include "src/base/error.h"

namespace whyrec::text {
namespace {

bool AllDigits(const std::string& piece) {
  return !piece.empty() &&
         std::all_of(piece.begin(), piece.end(), [](char c) { return c >= '0' && c <= '9'; });
}

int64_t Number(const std::string& digits) {
  int64_t n = 0;
  const auto end = digits.data() + digits.size();
  WR_CHECK(std::from_chars(digits.data(), end, n).ptr == end && !digits.empty(), digits);
  return n;
}

}  // namespace

std::vector<int64_t> WholeWordIds(const std::vector<std::string>& pieces, WholeWordRule rule,
                                  int64_t users) {
  std::vector<int64_t> ids(pieces.size(), 0);
  int64_t mentions = 0;
  for (size_t at = 1; at < pieces.size(); ++at) {
    if (pieces[at] != "_") continue;
    ++mentions;
    size_t end = at + 1;
    std::string digits;
    while (end < pieces.size() && AllDigits(pieces[end])) digits += pieces[end++];
    int64_t id = mentions;
    if (rule == WholeWordRule::kNode)
      id = digits.empty() ? 0 : Number(digits) + (pieces[at - 1] == "▁user" ? 0 : users);
    std::fill(ids.begin() + at - 1, ids.begin() + end, id);
  }
  return ids;
}

}  // namespace whyrec::text
