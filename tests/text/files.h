// Where the tests of this folder find vocabularies and golden records.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/base/text_file.h"
#include "tests/golden/folder.h"

namespace whyrec::text {

inline std::filesystem::path Variable(const char* name, const std::filesystem::path& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::filesystem::path(value);
}

inline std::filesystem::path SentencePieceModel() {
  const std::filesystem::path source = WHYREC_SOURCE_DIR;
  const auto example = source / "examples/t5-tokenizer/spiece.model";
  if (std::filesystem::exists(example)) return example;
  return Variable("WHYREC_SHARED", source / "../shared") / "data/t5-tokenizer/spiece.model";
}

inline std::filesystem::path BertVocab() {
  const auto home = Variable("HOME", "/") / ".cache";
  return Variable("WHYREC_CACHE", Variable("XDG_CACHE_HOME", home) / "whyrec") / "minilm/vocab.txt";
}

inline std::vector<nlohmann::json> GoldenRecords(const std::string& name) {
  std::vector<nlohmann::json> records;
  LineReader reader(kGolden / name);
  for (std::string line; reader.Next(line);) records.push_back(nlohmann::json::parse(line));
  return records;
}

inline std::filesystem::path GoldenTokenizer(const std::string& name) {
  return kGolden / "tokenizers" / name;
}

inline nlohmann::json Fixture(const std::string& name) {
  return nlohmann::json::parse(std::ifstream(GoldenTokenizer(name)));
}

// A folder of its own for each test process, removed with what it holds.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "whyrec_text_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path Write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) : path_(folder_.Write("t.json", content)) {}
  const std::filesystem::path& path() const { return path_; }

 private:
  TemporaryFolder folder_;
  std::filesystem::path path_;
};

}  // namespace whyrec::text

// For the start of a test body.
#define WHYREC_NEEDS(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << (path) << " is not there"
