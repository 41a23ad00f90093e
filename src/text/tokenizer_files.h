// What the readers of tokenizer.json and of vocab.json with merges.txt share.
#pragma once

#include <filesystem>
#include <string>

#include "src/text/byte_pairs.h"
#include "src/text/json_node.h"
#include "src/text/vocabulary.h"

namespace whyrec::text {

nlohmann::json ReadJson(const std::filesystem::path& file);  // Error(kData)
Vocabulary ReadVocabulary(const JsonNode& node);             // {"piece": id, ...}; Error(kData)

// Calls `missing(piece)`, which throws, for a piece that is not in the vocabulary.
template <typename Missing>
void AddMerge(const Vocabulary& vocabulary, const std::string& left, const std::string& right,
              BytePairs& pairs, Missing missing) {
  const auto id = [&](const std::string& piece) {
    const auto found = vocabulary.Id(piece);
    if (!found) missing(piece);
    return *found;
  };
  const int64_t first = id(left), second = id(right);
  pairs.AddMerge(first, second, id(left + right));
}

}  // namespace whyrec::text
