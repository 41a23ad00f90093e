#include "src/lm/bert_pack.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "src/base/error.h"

namespace whyrec::lm {
namespace {

void Append(TextPack& pack, int64_t row, const std::vector<int64_t>& ids) {
  const int64_t length = std::ssize(ids);
  if (pack.runs.empty() || pack.runs.back().length != length)
    pack.runs.push_back({std::ssize(pack.ids), 0, length});
  ++pack.runs.back().texts;
  pack.rows.push_back(row);
  pack.ids.insert(pack.ids.end(), ids.begin(), ids.end());
  for (int64_t p = 0; p < length; ++p) pack.positions.push_back(p);
}

}  // namespace

std::vector<TextPack> PackTexts(const std::vector<std::vector<int64_t>>& texts, int64_t tokens) {
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return texts[a].size() < texts[b].size(); });
  std::vector<TextPack> packs;
  for (const size_t row : order) {
    WR_CHECK(!texts[row].empty(), "text ", row, " has no tokens");
    if (packs.empty() || std::ssize(packs.back().ids) >= tokens) packs.emplace_back();
    Append(packs.back(), static_cast<int64_t>(row), texts[row]);
  }
  return packs;
}

TextPack PackTexts(const std::vector<std::vector<int64_t>>& texts) {
  if (texts.empty()) return {};
  return std::move(PackTexts(texts, std::numeric_limits<int64_t>::max()).front());
}

}  // namespace whyrec::lm
