// Regular expressions of tokenizer.json, run by Oniguruma as in the reference: other engines differ
// in look-ahead, in Unicode classes or on unassigned characters.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct re_pattern_buffer;  // Oniguruma's compiled expression

namespace whyrec::text {

class Pattern {
 public:
  explicit Pattern(const std::string& regex);  // Error(kData) with the engine's reason

  struct Piece {
    std::string_view text;
    bool matched;  // false: between two matches
  };
  // The whole text, cut at the boundaries of all matches from left to right; no piece is empty. The
  // text must be UTF-8. Error(kData) when the engine gives up (too much backtracking). Thread-safe.
  std::vector<Piece> Cut(std::string_view text) const;

 private:
  std::unique_ptr<re_pattern_buffer, void (*)(re_pattern_buffer*)> regex_;
};

bool IsWordCharacter(int32_t code);  // \w of Unicode: letters, marks, digits, "_" and its like
bool IsSpaceCharacter(int32_t code);

}  // namespace whyrec::text
