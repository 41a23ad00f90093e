// tokenizer.json of the Hugging Face tokenizers library (0.21). The file names its rules by type;
// unknown rules are refused, because ids that are nearly right are worse than an error.
#include <fstream>

#include "src/base/error.h"
#include "src/text/byte_level.h"
#include "src/text/json_node.h"
#include "src/text/tokenizer.h"
#include "src/text/tokenizer_files.h"
#include "src/text/unicode.h"
#include "src/text/wordpiece.h"

namespace whyrec::text {
namespace {

using Json = nlohmann::json;

std::string TypeOf(const JsonNode& node) { return node.At("type").Text(); }

[[noreturn]] void UnknownType(const JsonNode& node, std::string_view known) {
  node.At("type").Unsupported(Cat("known: ", known));
}

// The oldest files do not name the type of their model.
std::string ModelType(const JsonNode& model) {
  if (model.Find("type")) return TypeOf(model);
  return model.Find("merges") ? "BPE" : "WordPiece";
}

// Adds them to the vocabulary, too.
std::vector<AddedToken> ReadAddedTokens(const JsonNode& file, Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  const auto list = file.Find("added_tokens");
  if (!list) return tokens;
  TextMap<bool> seen;
  for (const JsonNode& node : list->List()) {
    node.AllowOnly({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    AddedToken token{.content = node.At("content").Text(),
                     .id = node.At("id").Number(Vocabulary::kMaxId),
                     .single_word = node.At("single_word").Flag(),
                     .lstrip = node.At("lstrip").Flag(),
                     .rstrip = node.At("rstrip").Flag(),
                     .normalized = node.At("normalized").Flag(),
                     .special = node.At("special").Flag()};
    if (token.content.empty()) node.At("content").Bad("is empty");
    if (!seen.try_emplace(token.content, true).second)
      node.At("content").Bad("\"", token.content, "\" is listed twice");
    const auto known = vocabulary.Id(token.content);
    if (known && *known != token.id)
      node.At("id").Bad("is ", token.id, "; model.vocab has \"", token.content, "\" at ", *known);
    if (!known && vocabulary.Has(token.id))
      node.At("id").Bad("is ", token.id, ", as is \"", vocabulary.Piece(token.id), "\"");
    vocabulary.Add(token.content, token.id);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// --- byte-level BPE --------------------------------------------------------------------------

AddedTokens::Normalizer ByteLevelNormalizer(const JsonNode& file) {
  const auto node = file.Find("normalizer");
  if (!node) return nullptr;
  if (TypeOf(*node) != "NFC") UnknownType(*node, "NFC or null with a BPE model");
  node->AllowOnly({"type"});
  return [](std::string_view text) { return Compose(text); };
}

ByteLevelRules::Split ReadSplit(const JsonNode& node) {
  node.AllowOnly({"type", "pattern", "behavior", "invert"});
  const JsonNode pattern = node.At("pattern");
  pattern.AllowOnly({"Regex"});
  const JsonNode regex = pattern.At("Regex"), behavior = node.At("behavior");
  const bool invert = node.Flag("invert", false), removes = behavior.Text() == "Removed";
  if (!removes && behavior.Text() != "Isolated") behavior.Unsupported("known: Isolated, Removed");
  try {
    return {.pattern = Pattern(regex.Text()),
            .keep_matches = !removes || invert,
            .keep_rest = !removes || !invert};
  } catch (const Error& e) {
    regex.Bad(e.what());
  }
}

void ReadByteLevel(const JsonNode& node, ByteLevelRules& rules) {
  node.AllowOnly({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  rules.prefix_space = node.At("add_prefix_space").Flag();
  if (node.Flag("use_regex", true)) rules.words = GptWords();
}

// ByteLevel alone, or Split rules and then ByteLevel.
void ReadPreTokenizer(const JsonNode& node, ByteLevelRules& rules) {
  if (TypeOf(node) == "ByteLevel") return ReadByteLevel(node, rules);
  if (TypeOf(node) != "Sequence") UnknownType(node, "ByteLevel, Sequence");
  node.AllowOnly({"type", "pretokenizers"});
  const auto steps = node.At("pretokenizers").List();
  for (size_t i = 0; i < steps.size(); ++i) {
    const bool last = i + 1 == steps.size();
    const std::string type = TypeOf(steps[i]);
    if (type == "Split" && !last)
      rules.splits.push_back(ReadSplit(steps[i]));
    else if (type == "ByteLevel" && last)
      return ReadByteLevel(steps[i], rules);
    else if (type == "Split" || type == "ByteLevel")
      steps[i].Bad("is ", type, "; only Split rules and then one ByteLevel are supported");
    else
      UnknownType(steps[i], "Split, ByteLevel");
  }
  node.At("pretokenizers").Bad("is empty");
}

// "a b" in older files, ["a", "b"] in newer ones, which may hold spaces.
std::pair<std::string, std::string> MergeOf(const JsonNode& node) {
  if (node.json().is_array()) {
    const auto pair = node.List();
    if (pair.size() != 2) node.Bad("has ", pair.size(), " pieces, not two");
    return {pair[0].Text(), pair[1].Text()};
  }
  const std::string line = node.Text();
  const size_t space = line.find(' ');
  if (space == line.npos || line.find(' ', space + 1) != line.npos)
    node.Bad("\"", line, "\" is not two pieces with a space between");
  return {line.substr(0, space), line.substr(space + 1)};
}

void CheckNoAffix(const JsonNode& model, const char* key) {
  const auto affix = model.Find(key);
  if (affix && !affix->Text().empty()) affix->Unsupported("byte-level BPE has none");
}

BytePairs ReadPairs(const JsonNode& model, const Vocabulary& vocabulary) {
  model.AllowOnly({"type", "dropout", "unk_token", "continuing_subword_prefix",
                   "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab",
                   "merges"});
  const auto dropout = model.Find("dropout");
  if (dropout && dropout->json() != 0) dropout->Unsupported("ids must not depend on chance");
  CheckNoAffix(model, "continuing_subword_prefix");
  CheckNoAffix(model, "end_of_word_suffix");
  if (model.Flag("byte_fallback", false))
    model.At("byte_fallback").Unsupported("byte-level BPE has a piece for every byte");
  int64_t unknown = -1;
  if (const auto token = model.Find("unk_token")) {
    const auto id = vocabulary.Id(token->Text());
    if (!id) token->Bad("\"", token->Text(), "\" is not in model.vocab");
    unknown = *id;
  }
  BytePairs pairs(vocabulary, {.unknown = unknown,
                               .join_unknown = model.Flag("fuse_unk", false),
                               .whole_words = model.Flag("ignore_merges", false)});
  for (const JsonNode& node : model.At("merges").List()) {
    if (node.json().is_string() && node.Text().starts_with("#version")) continue;
    const auto [left, right] = MergeOf(node);
    AddMerge(vocabulary, left, right, pairs,
             [&](const std::string& piece) { node.Bad("\"", piece, "\" is not in model.vocab"); });
  }
  return pairs;
}

std::unique_ptr<Tokenizer> ReadByteLevelBpe(const JsonNode& file, const JsonNode& model) {
  const JsonNode decoder = file.At("decoder");
  if (TypeOf(decoder) != "ByteLevel") UnknownType(decoder, "ByteLevel with a BPE model");
  Vocabulary vocabulary = ReadVocabulary(model.At("vocab"));
  BytePairs pairs = ReadPairs(model, vocabulary);
  AddedTokens added(ReadAddedTokens(file, vocabulary), ByteLevelNormalizer(file));
  ByteLevelRules rules{
      .vocabulary = std::move(vocabulary), .added = std::move(added), .pairs = std::move(pairs)};
  ReadPreTokenizer(file.At("pre_tokenizer"), rules);
  return MakeByteLevel(std::move(rules));
}

// --- WordPiece -------------------------------------------------------------------------------

AddedTokens::Normalizer BertNormalizer(const JsonNode& node) {
  if (TypeOf(node) != "BertNormalizer") UnknownType(node, "BertNormalizer with a WordPiece model");
  node.AllowOnly({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
  const bool lower_case = node.At("lowercase").Flag();
  for (const char* key : {"clean_text", "handle_chinese_chars"})
    if (!node.At(key).Flag()) node.At(key).Unsupported("BERT has true");
  if (node.Flag("strip_accents", lower_case) != lower_case)
    node.At("strip_accents").Unsupported("BERT strips accents when it lowers the case, only then");
  return [lower_case](std::string_view text) {
    return BertNormal(text, lower_case, BertReference::kFast);
  };
}

std::unique_ptr<Tokenizer> ReadWordPiece(const JsonNode& file, const JsonNode& model) {
  model.AllowOnly(
      {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
  WordPieceRules rules;
  rules.model = rules.vocabulary = ReadVocabulary(model.At("vocab"));
  const JsonNode unknown = model.At("unk_token");
  if (!rules.vocabulary.Id(unknown.Text()))
    unknown.Bad("\"", unknown.Text(), "\" is not in model.vocab");
  rules.unknown = *rules.vocabulary.Id(unknown.Text());
  rules.inner = model.At("continuing_subword_prefix").Text();
  if (rules.inner.empty()) model.At("continuing_subword_prefix").Unsupported("BERT has ##");
  rules.longest_word = static_cast<size_t>(model.At("max_input_chars_per_word").Number(INT32_MAX));
  const JsonNode splitter = file.At("pre_tokenizer"), decoder = file.At("decoder");
  if (TypeOf(splitter) != "BertPreTokenizer")
    UnknownType(splitter, "BertPreTokenizer with a WordPiece model");
  if (TypeOf(decoder) != "WordPiece") UnknownType(decoder, "WordPiece with a WordPiece model");
  if (decoder.At("prefix").Text() != rules.inner)
    decoder.At("prefix").Unsupported("it must be model.continuing_subword_prefix");
  rules.added =
      AddedTokens(ReadAddedTokens(file, rules.vocabulary), BertNormalizer(file.At("normalizer")));
  return MakeWordPiece(std::move(rules));
}

// --- the whole file --------------------------------------------------------------------------

// It adds special tokens at the ends, which Encode leaves to the models; only its kind is checked.
void CheckPostProcessor(const JsonNode& node) {
  const std::string type = TypeOf(node);
  if (type == "Sequence") {
    for (const JsonNode& step : node.At("processors").List()) {
      if (TypeOf(step) == "Sequence") UnknownType(step, "the four kinds below a Sequence");
      CheckPostProcessor(step);
    }
    return;
  }
  for (const char* known :
       {"TemplateProcessing", "RobertaProcessing", "BertProcessing", "ByteLevel"})
    if (type == known) return;
  UnknownType(node, "TemplateProcessing, RobertaProcessing, BertProcessing, ByteLevel, Sequence");
}

}  // namespace

Vocabulary ReadVocabulary(const JsonNode& node) {
  Vocabulary vocabulary;
  if (!node.json().is_object()) node.Bad("is not an object of pieces and ids");
  for (const auto& [piece, value] : node.json().items()) {
    const JsonNode entry = node.At(piece);
    const int64_t id = entry.Number(Vocabulary::kMaxId);
    if (piece.empty()) node.Bad("has an empty piece");
    if (vocabulary.Has(id)) entry.Bad("is id ", id, ", as is \"", vocabulary.Piece(id), "\"");
    vocabulary.Add(piece, id);
  }
  if (vocabulary.size() == 0) node.Bad("has no pieces");
  return vocabulary;
}

nlohmann::json ReadJson(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file))
    Fail(Exit::kData, file.string(), ": cannot be read");
  try {
    return Json::parse(in);
  } catch (const Json::exception& e) {
    Fail(Exit::kData, file.string(), ": ", e.what(), "; is the file truncated?");
  }
}

std::unique_ptr<Tokenizer> LoadTokenizerJson(const std::filesystem::path& path) {
  const Json json = ReadJson(path);
  const JsonNode file(json, path.string());
  file.AllowOnly({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                  "post_processor", "decoder", "model"});
  const auto version = file.Find("version");
  if (version && version->Text() != "1.0") version->Unsupported("known: 1.0");
  if (const auto last = file.Find("post_processor")) CheckPostProcessor(*last);
  const JsonNode model = file.At("model");
  const std::string type = ModelType(model);
  if (type == "BPE") return ReadByteLevelBpe(file, model);
  if (type == "WordPiece") return ReadWordPiece(file, model);
  UnknownType(model, "BPE (byte-level), WordPiece");
}

}  // namespace whyrec::text
