// Text format into a message, with every error of the text and its place. Protobuf's own parser
// ends at the first error and points behind it, so the walk over the structure is ours; tokens and
// values are read by Protobuf. Used inside config only.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "src/config/fields.h"

namespace whyrec::config {

struct Parsed {
  std::vector<std::string> problems;            // "file:line:column: message"
  std::map<std::string, std::string> place_of;  // path of a set scalar -> "file:line:column"
};

// `shown` is the file's name in messages; paths are taken against `folder`.
Parsed ParseText(std::string_view text, const std::string& shown,
                 const std::filesystem::path& folder, Message& out);

}  // namespace whyrec::config
