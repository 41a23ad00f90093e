#include "src/lm/json_file.h"

#include <fstream>

#include "src/base/durable_file.h"

namespace whyrec::lm {
namespace {

std::string Listing(const std::filesystem::path& folder) {
  std::string names;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none))
    names += (names.empty() ? "" : ", ") + entry.path().filename().string();
  return names.empty() ? "nothing" : names;
}

}  // namespace

JsonFile::JsonFile(std::filesystem::path file) : path_(std::move(file)) {
  if (!std::filesystem::is_directory(path_.parent_path()))
    Fail(Exit::kData, path_.parent_path().string(),
         ": no such folder; give a local folder in Hugging Face form");
  std::ifstream in(path_);
  if (!in)
    Fail(Exit::kData, path_.string(), ": cannot be read; ", path_.parent_path().string(), " holds ",
         Listing(path_.parent_path()));
  try {
    json_ = nlohmann::json::parse(in);
  } catch (const nlohmann::json::exception& e) {
    Fail(Exit::kData, path_.string(), ": ", e.what());
  }
  if (!json_.is_object()) Fail(Exit::kData, path_.string(), ": is not a JSON object");
}

void WriteJson(const std::filesystem::path& file, const nlohmann::json& json) {
  WriteDurably(file, json.dump(2) + "\n");
}

}  // namespace whyrec::lm
