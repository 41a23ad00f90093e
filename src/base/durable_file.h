// The one way in which this program puts a finished file or folder in its place.
//
// Guarantee: whoever opens `file` sees the former bytes or the new ones, never a part, even when
// the process is killed or the machine stops at any moment; and once a function has returned, the
// new bytes outlive both. A failure is Error(kCannotWrite) and leaves the former file as it was.
// Two processes may write the same file (the last one wins); two threads of one process may not.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace whyrec {

// Writes a draft beside the file (".<name>.<process>"), syncs it, renames it and syncs the folder.
// Readable by the owner alone when `secret`.
void WriteDurably(const std::filesystem::path& file, std::string_view bytes, bool secret = false);
void WriteDurably(const std::filesystem::path& file,
                  const std::vector<std::string_view>& parts);  // one after the other

// For files that were written by other means: what a file or a folder (its list of names) holds is
// on the disk.
void SyncToDisk(const std::filesystem::path& file_or_folder);

// Renames within one file system and syncs the target's folder. The bytes of `from` must have been
// synced before.
void RenameDurably(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace whyrec
