// Small JSON files of a model folder (config.json and its like), with errors that name file and
// key.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "src/base/error.h"

namespace whyrec::lm {

class JsonFile {
 public:
  // Error(kData) when the file is missing (listing what the folder holds) or is not a JSON object.
  explicit JsonFile(std::filesystem::path file);

  const nlohmann::json& json() const { return json_; }
  const std::filesystem::path& path() const { return path_; }

  // Absent and null are alike.
  bool Has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  template <typename T>
  T Get(const char* key) const {
    if (!Has(key)) Fail(Exit::kData, path_.string(), ": lacks \"", key, "\"");
    try {
      return json_.at(key).get<T>();
    } catch (const nlohmann::json::exception& e) {
      Fail(Exit::kData, path_.string(), ": \"", key, "\": ", e.what());
    }
  }
  template <typename T>
  T Get(const char* key, T fallback) const {
    return Has(key) ? Get<T>(key) : fallback;
  }
  // The network is built for one value of this key only; absent counts as that value.
  template <typename T>
  void Expect(const char* key, const T& value) const {
    if (Get<T>(key, value) != value)
      Fail(Exit::kData, path_.string(), ": \"", key, "\" is ", json_[key].dump(), "; only ",
           nlohmann::json(value).dump(), " is supported");
  }

 private:
  std::filesystem::path path_;
  nlohmann::json json_;
};

// Writes with two spaces of indentation, atomically.
void WriteJson(const std::filesystem::path& file, const nlohmann::json& json);

}  // namespace whyrec::lm
