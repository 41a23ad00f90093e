// Files that survive a crash: written under a temporary name, synced, renamed, the folder synced.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace whyrec::cluster {

// Readable by the owner alone when `secret`. Error(kCannotWrite).
void WriteDurably(const std::filesystem::path& file, std::string_view bytes, bool secret = false);
// "" when it cannot be read.
std::string ReadWhole(const std::filesystem::path& file);

}  // namespace whyrec::cluster
