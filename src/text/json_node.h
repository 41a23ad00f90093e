// A value of a JSON file with its place in it, so that every complaint names both.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/error.h"

namespace whyrec::text {

class JsonNode {
 public:
  using Json = nlohmann::json;
  JsonNode(const Json& json, std::string file, std::string path = "")
      : json_(&json), file_(std::move(file)), path_(std::move(path)) {}

  const Json& json() const { return *json_; }
  const std::string& path() const { return path_; }

  template <typename... Parts>
  [[noreturn]] void Bad(const Parts&... parts) const {
    Fail(Exit::kData, file_, ": ", path_.empty() ? "the file" : path_, ": ", parts...);
  }
  // "... is VALUE, which is not supported; HINT"
  [[noreturn]] void Unsupported(std::string_view hint) const {
    Bad("is ", Short(), ", which is not supported; ", hint);
  }

  std::optional<JsonNode> Find(const std::string& key) const {  // absent and null are alike
    if (!json_->is_object()) Bad("is ", Short(), ", not an object");
    const auto found = json_->find(key);
    if (found == json_->end() || found->is_null()) return std::nullopt;
    return JsonNode(*found, file_, path_.empty() ? key : path_ + "." + key);
  }
  JsonNode At(const std::string& key) const {
    const auto found = Find(key);
    if (!found) Bad("lacks \"", key, "\"");
    return *found;
  }
  std::vector<JsonNode> List() const {
    if (!json_->is_array()) Bad("is ", Short(), ", not a list");
    std::vector<JsonNode> out;
    for (const Json& item : *json_) out.emplace_back(item, file_, Cat(path_, "[", out.size(), "]"));
    return out;
  }
  std::string Text() const {
    if (!json_->is_string()) Bad("is ", Short(), ", not a text");
    return json_->get<std::string>();
  }
  bool Flag() const {
    if (!json_->is_boolean()) Bad("is ", Short(), ", not true or false");
    return json_->get<bool>();
  }
  bool Flag(const std::string& key, bool otherwise) const {
    const auto found = Find(key);
    return found ? found->Flag() : otherwise;
  }
  int64_t Number(int64_t limit) const {  // 0..limit
    if (!json_->is_number_unsigned() || json_->get<uint64_t>() > static_cast<uint64_t>(limit))
      Bad("is ", Short(), ", not a whole number from 0 to ", limit);
    return json_->get<int64_t>();
  }

  // An option that is not listed might change ids: it is refused.
  void AllowOnly(std::initializer_list<std::string_view> keys) const {
    if (!json_->is_object()) Bad("is ", Short(), ", not an object");
    for (const auto& [key, value] : json_->items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end())
        Bad("has \"", key, "\", which is not known");
  }

 private:
  std::string Short() const {
    constexpr size_t kLongest = 60;
    if (json_->is_structured() && json_->size() > 4)
      return Cat(json_->is_array() ? "a list" : "an object", " of ", json_->size());
    const std::string text = json_->dump(-1, ' ', true);  // ASCII: may be cut anywhere
    return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
  }

  const Json* json_;
  std::string file_, path_;
};

}  // namespace whyrec::text
