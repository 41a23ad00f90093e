// Real data for tests: where it stands, or what to say when it does not. And small files.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>

#include "src/base/error.h"
#include "src/base/facts.h"
#include "src/data/catalogue.h"
#include "tests/base/error_of.h"

namespace whyrec::data {

namespace fs = std::filesystem;

inline std::optional<fs::path> SharedData(const std::string& name) {
  const char* set = std::getenv("WHYREC_SHARED");
  const fs::path shared = set ? fs::path(set) : fs::path(WHYREC_SOURCE_DIR) / "../shared";
  for (const fs::path& folder :
       {shared / "data" / name, fs::path(WHYREC_SOURCE_DIR) / "examples" / name,
        fs::path(WHYREC_SOURCE_DIR) / "examples" / name / "data"})
    if (fs::exists(folder / "sequential.txt") || fs::exists(folder / "reviews.jsonl.gz"))
      return folder;
  return std::nullopt;
}

#define WR_SHARED_DATA(variable, name)    \
  const auto variable = SharedData(name); \
  if (!variable) GTEST_SKIP() << "the real data set " << name << " is not here; set WHYREC_SHARED"

inline config::CatalogueConfig GiftCards(const fs::path& folder) {
  config::CatalogueConfig config;
  config.set_reviews((folder / "reviews.jsonl.gz").string());
  config.set_items((folder / "items.jsonl.gz").string());
  config.mutable_fields()->set_user("user");
  config.mutable_fields()->set_time("time");
  config.mutable_fields()->set_rating("rating");
  config.mutable_fields()->set_text("text");
  return config;
}

inline config::CatalogueConfig Folder(const fs::path& folder) {
  config::CatalogueConfig config;
  config.set_folder(folder.string());
  return config;
}

// A folder of its own, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "whyrec_data_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path = name;
  }
  ~TemporaryFolder() { fs::remove_all(path); }
  TemporaryFolder(const TemporaryFolder&) = delete;

  fs::path Write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
    return path / name;
  }

  fs::path path;
};

inline std::string FactOf(const Facts& facts, const std::string& name) {
  for (const auto& [key, value] : facts)
    if (key == name) return value;
  return "no fact " + name;
}

}  // namespace whyrec::data
