#include "src/commands/json_lines.h"

#include "src/base/error.h"

namespace whyrec::commands {

bool JsonLines::Next() {
  std::string line;
  do {
    if (!lines_.Next(line)) return false;
  } while (line.empty());
  try {
    json_ = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& e) {
    Fail(Exit::kData, place(), ": ", e.what());
  }
  if (!json_.is_object()) Fail(Exit::kData, place(), ": is not a JSON object");
  return true;
}

std::string JsonLines::place() const {
  return Cat(lines_.file().string(), ":", lines_.line_number());
}

std::string JsonLines::Id() {
  if (!json_.contains("id") || !(json_["id"].is_string() || json_["id"].is_number_integer()))
    Fail(Exit::kData, place(), ": \"id\" is missing, or neither a string nor an integer");
  const std::string id = json_["id"].dump();
  const auto [before, is_new] = line_of_.try_emplace(id, lines_.line_number());
  if (!is_new)
    Fail(Exit::kData, place(), ": id ", id, " occurred before, in line ", before->second);
  return id;
}

template <typename T>
T JsonLines::Get(const char* key, const char* kind) const {
  try {
    return json_.at(key).get<T>();
  } catch (const nlohmann::json::exception&) {
    Fail(Exit::kData, place(), ": \"", key, "\" is missing or not ", kind);
  }
}

std::string JsonLines::Text(const char* key) const { return Get<std::string>(key, "a text"); }

std::string JsonLines::Text(const char* key, const std::string& fallback) const {
  return json_.contains(key) ? Text(key) : fallback;
}

std::vector<int64_t> JsonLines::Numbers(const char* key) const {
  const auto values = Get<std::vector<nlohmann::json>>(key, "a list of integers");
  std::vector<int64_t> numbers;
  for (const nlohmann::json& value : values) {
    if (!value.is_number_integer())  // 1.5 would be cut to 1 silently
      Fail(Exit::kData, place(), ": \"", key, "\" holds ", value.dump(), ", not an integer");
    numbers.push_back(value.get<int64_t>());
  }
  return numbers;
}

}  // namespace whyrec::commands
