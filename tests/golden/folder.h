// Where the golden files of the scripts beside this file are.
#pragma once

#include <filesystem>

namespace whyrec {

inline const std::filesystem::path kGolden =
    std::filesystem::path(WHYREC_SOURCE_DIR) / "tests/golden";

}  // namespace whyrec
