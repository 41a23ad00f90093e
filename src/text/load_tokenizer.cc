// Finds the tokenizer of a model folder; vocab.json with merges.txt is RoBERTa's older form.
#include <set>

#include "src/base/error.h"
#include "src/base/text_file.h"
#include "src/text/byte_level.h"
#include "src/text/json_node.h"
#include "src/text/tokenizer.h"
#include "src/text/tokenizer_files.h"

namespace whyrec::text {
namespace {

namespace fs = std::filesystem;

// One pair a line in the order they were learnt: "a b".
void ReadMerges(const fs::path& file, const Vocabulary& vocabulary, BytePairs& pairs) {
  LineReader reader(file);
  for (std::string line; reader.Next(line);) {
    if (line.starts_with("#version") || line.empty()) continue;
    const auto bad = [&](const std::string& what) {
      Fail(Exit::kData, file.string(), ":", reader.line_number(), ": ", what);
    };
    const size_t space = line.find(' ');
    if (space == line.npos || line.find(' ', space + 1) != line.npos)
      bad("\"" + line + "\" is not two pieces with a space between");
    AddMerge(vocabulary, line.substr(0, space), line.substr(space + 1), pairs,
             [&](const std::string& piece) { bad("\"" + piece + "\" is not in vocab.json"); });
  }
}

std::unique_ptr<Tokenizer> LoadRoberta(const fs::path& vocab, const fs::path& merges) {
  const nlohmann::json json = ReadJson(vocab);
  Vocabulary vocabulary = ReadVocabulary(JsonNode(json, vocab.string()));
  BytePairs pairs(vocabulary, {});
  ReadMerges(merges, vocabulary, pairs);
  std::vector<AddedToken> added;
  for (const char* token : {"<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"})
    if (const auto id = vocabulary.Id(token))
      added.push_back({.content = token, .id = *id, .lstrip = token == std::string("<mask>")});
  ByteLevelRules rules{.vocabulary = std::move(vocabulary),
                       .added = AddedTokens(std::move(added)),
                       .words = GptWords(),
                       .pairs = std::move(pairs)};
  return MakeByteLevel(std::move(rules));
}

// vocab.txt does not say whether the model knows capitals.
bool LowerCase(const fs::path& config) {
  if (!fs::exists(config)) return true;
  const nlohmann::json json = ReadJson(config);
  return JsonNode(json, config.string()).Flag("do_lower_case", true);
}

}  // namespace

std::unique_ptr<Tokenizer> LoadTokenizer(const fs::path& folder) {
  const auto has = [&](const char* name) { return fs::exists(folder / name); };
  if (has("spiece.model")) return LoadSentencePiece(folder / "spiece.model");
  if (has("tokenizer.json")) return LoadTokenizerJson(folder / "tokenizer.json");
  if (has("vocab.txt"))
    return LoadWordPiece(folder / "vocab.txt", LowerCase(folder / "tokenizer_config.json"));
  if (has("vocab.json") && has("merges.txt"))
    return LoadRoberta(folder / "vocab.json", folder / "merges.txt");
  std::set<std::string> names;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none))
    names.insert(entry.path().filename().string());
  std::string there;
  for (const std::string& name : names) there += (there.empty() ? "" : ", ") + name;
  Fail(Exit::kData, folder.string(),
       ": no tokenizer; needed is spiece.model, tokenizer.json, vocab.txt, or vocab.json with "
       "merges.txt; there is: ",
       there.empty() ? "nothing" : there);
}

}  // namespace whyrec::text
