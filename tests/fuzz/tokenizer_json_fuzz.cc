// tokenizer.json: whatever the file holds, it is read or refused, and what is read encodes and
// decodes any text.
#include <nlohmann/json.hpp>

#include "src/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace whyrec::fuzz {
namespace {

using Json = nlohmann::json;

// A fixture with its first `pieces` pieces only, so that an input is read in no time.
std::string Shrunk(const char* name, int64_t pieces) {
  const auto path = std::filesystem::path(WHYREC_SOURCE_DIR) / "tests/golden/tokenizers" / name;
  Json file = Json::parse(ReadBytes(path));
  Json vocab = Json::object(), merges = Json::array();
  for (const auto& [piece, id] : file["model"]["vocab"].items())
    if (id < pieces) vocab[piece] = id;
  if (file["model"].contains("merges")) {
    for (const Json& merge : file["model"]["merges"]) {
      const std::string line = merge.is_array() ? "" : merge.get<std::string>();
      const size_t space = line.find(' ');
      const std::string left =
          merge.is_array() ? merge[0].get<std::string>() : line.substr(0, space);
      const std::string right =
          merge.is_array() ? merge[1].get<std::string>() : line.substr(space + 1);
      if (vocab.contains(left) && vocab.contains(right) && vocab.contains(left + right))
        merges.push_back(merge);
    }
    file["model"]["merges"] = merges;
  }
  file["model"]["vocab"] = vocab;
  return file.dump();
}

}  // namespace

Corpus MakeCorpus() {
  return {.seeds = {Shrunk("roberta.json", 290), Shrunk("phi.json", 290), Shrunk("bert.json", 120)},
          .words = {"null",
                    "true",
                    "false",
                    "-1",
                    "0",
                    "1e99",
                    "18446744073709551616",
                    "2097151",
                    "2097152",
                    "\"\"",
                    "[]",
                    "{}",
                    "[[[[",
                    "\"NFC\"",
                    "\"ByteLevel\"",
                    "\"Split\"",
                    "\"BPE\"",
                    "\"WordPiece\"",
                    "\"Sequence\"",
                    "\"Removed\"",
                    "{\"type\":\"NFC\"}",
                    "{\"Regex\":\"a*\"}",
                    "{\"Regex\":\"(?<=a)|b\"}",
                    "{\"Regex\":\"\\\\s+(?!\\\\S)|.\"}",
                    "{\"Regex\":\"(?i:\\\\p{L}|)+?\"}",
                    "\"\\u0000\"",
                    "\"\\ud83d\"",
                    "\"a b\"",
                    "[\"a\",\"b\"]",
                    "\"\\u0120\"",
                    "\"#version: 0.2\"",
                    "\"<mask>\"",
                    ",",
                    "\\"}};
}

void TryFile(const std::filesystem::path& file) {
  const auto tokenizer = text::LoadTokenizerJson(file);
  for (std::string_view text : {"", " ", "gift cards don't <mask>  yay\n\n",
                                "\xff\xf0\x9f\x98 e\xcc\x81 \xe4\xbb\x8a", "aaaaaaaaaaaaa"}) {
    const auto ids = tokenizer->Encode(text);
    for (int64_t id : ids)
      WR_CHECK(id >= 0 && id < tokenizer->size(), "id ", id, " of ", tokenizer->size());
    tokenizer->Decode(ids);
    WR_CHECK(tokenizer->Pieces(text).size() == ids.size());
  }
}

}  // namespace whyrec::fuzz
