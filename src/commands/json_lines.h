// A JSON-lines file whose objects have unique "id"s; errors name file and line.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/base/text_file.h"

namespace whyrec::commands {

class JsonLines {
 public:
  explicit JsonLines(const std::filesystem::path& file) : lines_(file) {}

  bool Next();  // empty lines are passed over; Error(kData)
  const nlohmann::json& json() const { return json_; }
  std::string place() const;  // "file:line"

  // The current line's id, a string or an integer, as JSON text; Error(kData) when it occurred
  // before.
  std::string Id();
  std::string Text(const char* key) const;
  std::string Text(const char* key, const std::string& fallback) const;
  std::vector<int64_t> Numbers(const char* key) const;

 private:
  template <typename T>
  T Get(const char* key, const char* kind) const;

  LineReader lines_;
  nlohmann::json json_;
  std::map<std::string, int64_t> line_of_;
};

}  // namespace whyrec::commands
