// Tokenised texts concatenated without padding, so that everything but attention runs over real
// tokens only.
#pragma once

#include <cstdint>
#include <vector>

namespace whyrec::lm {

struct TextPack {
  // Texts of one length, one after the other.
  struct Run {
    int64_t first_token = 0, texts = 0, length = 0;
  };
  std::vector<int64_t> ids, positions;  // of every token; positions count from 0 in each text
  std::vector<Run> runs;                // by rising length
  std::vector<int64_t> rows;            // the caller's numbers of the texts, in the pack's order
};

// Texts (ids with their special tokens, none empty) by rising length; a pack is closed once it
// holds `tokens` or more.
std::vector<TextPack> PackTexts(const std::vector<std::vector<int64_t>>& texts, int64_t tokens);

// All of them in one pack.
TextPack PackTexts(const std::vector<std::vector<int64_t>>& texts);

}  // namespace whyrec::lm
