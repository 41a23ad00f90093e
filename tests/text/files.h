// Where the tests of this folder find vocabularies and golden records.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/base/text_file.h"

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
  LineReader reader(std::filesystem::path(WHYREC_SOURCE_DIR) / "tests/golden" / name);
  for (std::string line; reader.Next(line);) records.push_back(nlohmann::json::parse(line));
  return records;
}

}  // namespace whyrec::text

// For the start of a test body.
#define WHYREC_NEEDS(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << (path) << " is not there"
