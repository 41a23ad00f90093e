// Pieces and their ids; ids may have gaps.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace whyrec::text {

struct TextHash {
  using is_transparent = void;  // finds a string_view without a copy
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <typename T>
using TextMap = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

class Vocabulary {
 public:
  static constexpr int64_t kMaxId = (1 << 21) - 1;  // published ones end below 300,000

  void Add(const std::string& piece, int64_t id) {  // 0 <= id <= kMaxId; the last one counts
    if (id >= size()) pieces_.resize(static_cast<size_t>(id) + 1);
    pieces_[static_cast<size_t>(id)] = piece;
    ids_[piece] = id;
  }
  std::optional<int64_t> Id(std::string_view piece) const {
    const auto found = ids_.find(piece);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  bool Has(int64_t id) const { return !Piece(id).empty(); }
  // Empty for an id that has none: a model's table may have more rows than there are pieces.
  const std::string& Piece(int64_t id) const {
    static const std::string kNone;
    return id >= 0 && id < size() ? pieces_[static_cast<size_t>(id)] : kNone;
  }
  int64_t size() const { return static_cast<int64_t>(pieces_.size()); }  // largest id + 1

 private:
  std::vector<std::string> pieces_;
  TextMap<int64_t> ids_;
};

}  // namespace whyrec::text
