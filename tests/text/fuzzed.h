// The fuzzed strings of tests/golden/make_bpe.py, drawn again instead of stored.
#pragma once

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "src/base/rng.h"
#include "src/text/unicode.h"

namespace whyrec::text {

inline constexpr int64_t kFuzzedStrings = 20000;

// Blocks that Unicode tables of different years know or not (make_bpe.py).
inline bool IsUnsettled(int32_t c) {
  constexpr int32_t kBlocks[][2] = {{0x10f00, 0x10fff}, {0x11c00, 0x11d8f}, {0x13460, 0x143ff},
                                    {0x1cf00, 0x1cfcf}, {0x2ebf0, 0x2ee5f}, {0x31350, 0x323af}};
  return std::any_of(std::begin(kBlocks), std::end(kBlocks),
                     [c](const auto& block) { return c >= block[0] && c <= block[1]; });
}

// The same steps, in the same order, as fuzzed() of make_bpe.py.
inline std::string Fuzzed(const nlohmann::json& parts, uint64_t sample) {
  Rng rng(7, "fuzzed texts", 0, sample);
  std::string text;
  const auto pick = [&](const char* list) -> const nlohmann::json& {
    return parts[list][rng.Below(parts[list].size())];
  };
  const auto run = [&](uint64_t longest, int32_t low, uint64_t count) {
    for (uint64_t n = 1 + rng.Below(longest); n > 0; --n)
      AppendUtf8(low + static_cast<int32_t>(rng.Below(count)), text);
  };
  for (uint64_t n = rng.Below(24); n > 0; --n) {
    const uint64_t kind = rng.Below(16);
    if (kind < 4) {
      if (rng.Below(4) > 0) text += ' ';
      text += pick("words").get<std::string>();
    } else if (kind < 8) {
      text += pick("odd").get<std::string>();
    } else if (kind < 9) {
      text += pick("added").get<std::string>();
    } else if (kind < 10) {
      run(6, '0', 10);
    } else if (kind < 11) {
      run(8, ' ', 0x5f);
    } else if (kind < 12) {
      const char space = " \n"[rng.Below(2)];
      text.append(1 + rng.Below(4), space);
    } else if (kind < 15) {
      const auto& range = pick("ranges");
      const int32_t low = range[0], high = range[1];
      run(4, low, static_cast<uint64_t>(high - low + 1));
    } else {  // any plane, surrogates left out
      auto c = static_cast<int32_t>(rng.Below(0x110000 - 0x800));
      c += c < 0xd800 ? 0 : 0x800;
      AppendUtf8(IsUnsettled(c) ? 0xfffd : c, text);
    }
  }
  return text;
}

}  // namespace whyrec::text
