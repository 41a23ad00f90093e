// Parses Protobuf text format into a message and reports every error with its place. Protobuf's own
// parser stops at the first error and reports the position after it, so we parse the structure
// ourselves and let Protobuf read tokens and values. Used inside src/config only.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "src/config/fields.h"

namespace whyrec::config {

struct Parsed {
  std::vector<std::string> problems;  // "file:line:column: message"
  // "file:line:column" of every scalar and message, by its path; "PATH.NAME.name" and
  // "PATH.NAME.value" of a named value.
  std::map<std::string, std::string> place_of;
};

// `shown`: the file's name in messages. Relative paths are resolved against `folder`.
Parsed ParseText(std::string_view text, const std::string& shown,
                 const std::filesystem::path& folder, Message& out);

}  // namespace whyrec::config
