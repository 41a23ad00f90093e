#include "src/lm/bert_folder.h"

#include <array>
#include <fstream>

#include "src/lm/json_file.h"

namespace whyrec::lm {
namespace {

constexpr const char* kModules = "modules.json";
constexpr const char* kLimit = "sentence_bert_config.json";
constexpr std::array<const char*, 6> kOtherPoolings = {"pooling_mode_max_tokens",
                                                       "pooling_mode_mean_sqrt_len_tokens",
                                                       "pooling_mode_weightedmean_tokens",
                                                       "pooling_mode_lasttoken",
                                                       "pooling_mode_max",
                                                       "pooling_mode_last"};

bool Exists(const std::filesystem::path& file) { return std::filesystem::exists(file); }

// The Pooling module's folder; nothing when there is no list of modules.
std::optional<std::filesystem::path> PoolingFolder(const std::filesystem::path& folder) {
  const auto file = folder / kModules;
  if (!Exists(file)) {
    if (Exists(folder / "1_Pooling/config.json")) return folder / "1_Pooling";
    return {};
  }
  std::optional<std::filesystem::path> pooling;
  try {
    std::ifstream in(file);
    for (const nlohmann::json& module : nlohmann::json::parse(in)) {
      const auto type = module.at("type").get<std::string>();
      const std::string name = type.substr(type.rfind('.') + 1);
      const auto path = module.at("path").get<std::string>();
      if (name == "Pooling")
        pooling = folder / path;
      else if (name == "Transformer" ? !path.empty() : name != "Normalize")
        Fail(Exit::kData, file.string(), ": module \"", type, "\" at \"", path,
             "\" is not supported; Transformer in the folder itself, Pooling and Normalize are");
    }
  } catch (const nlohmann::json::exception& e) {
    Fail(Exit::kData, file.string(), ": ", e.what());
  }
  return pooling;
}

Pooling ReadPooling(const JsonFile& file) {
  for (const char* key : kOtherPoolings) file.Expect(key, false);
  const auto named = file.Get<std::string>("pooling_mode", "");  // newer files have one name
  const bool mean = named == "mean" || file.Get<bool>("pooling_mode_mean_tokens", false);
  const bool cls = named == "cls" || file.Get<bool>("pooling_mode_cls_token", false);
  if (mean == cls || !(named.empty() || named == "mean" || named == "cls"))
    Fail(Exit::kData, file.path().string(),
         ": one of \"pooling_mode_mean_tokens\" and \"pooling_mode_cls_token\" must be true; no "
         "other pooling is known");
  return mean ? Pooling::kMean : Pooling::kCls;
}

// sentence-transformers can lower-case texts before the tokenizer; here only the tokenizer's own
// file decides, so the two settings must agree.
void CheckLowerCase(const JsonFile& file, const std::filesystem::path& folder) {
  if (!file.Get<bool>("do_lower_case", false)) return;
  const auto tokenizer = folder / "tokenizer_config.json";
  if (!Exists(tokenizer) || !JsonFile(tokenizer).Get<bool>("do_lower_case", true))
    Fail(
        Exit::kData, file.path().string(),
        ": \"do_lower_case\" is true, the tokenizer keeps case; only equal settings are supported");
}

}  // namespace

Pooling ChoosePooling(Pooling asked, const BertConfig& config,
                      const std::filesystem::path& folder) {
  using Head = BertConfig::Head;
  if (asked == Pooling::kEasyRec && config.head == Head::kNone)
    Fail(Exit::kUsage, folder.string(),
         ": pooling EASYREC needs mlp.dense or pooler.dense in the weights; give EasyRec's model, "
         "or MEAN or CLS");
  if (asked != Pooling::kAuto) return asked;
  if (const auto pooling = PoolingFolder(folder))
    return ReadPooling(JsonFile(*pooling / "config.json"));
  if (config.head == Head::kMlp) return Pooling::kEasyRec;
  if (config.family == BertConfig::Family::kDistilBert) return Pooling::kCls;
  Fail(Exit::kUsage, folder.string(),
       ": no 1_Pooling/config.json says how texts become vectors; give pooling MEAN, CLS or "
       "EASYREC, or a sentence-transformers folder");
}

std::optional<int64_t> SentenceLimit(const std::filesystem::path& folder) {
  if (!Exists(folder / kLimit)) return {};
  const JsonFile file(folder / kLimit);
  CheckLowerCase(file, folder);
  if (!file.Has("max_seq_length")) return {};
  return file.Get<int64_t>("max_seq_length");
}

void SaveSentenceFiles(const std::filesystem::path& folder, Pooling pooling, int64_t width,
                       int64_t max_tokens, bool normalise) {
  WR_CHECK(pooling != Pooling::kAuto, "AUTO is no pooling");
  std::filesystem::create_directories(folder);
  WriteJson(folder / kLimit, {{"max_seq_length", max_tokens}, {"do_lower_case", false}});
  if (pooling == Pooling::kEasyRec) return;
  std::filesystem::create_directories(folder / "1_Pooling");
  WriteJson(folder / "1_Pooling/config.json",
            {{"word_embedding_dimension", width},
             {"pooling_mode_cls_token", pooling == Pooling::kCls},
             {"pooling_mode_mean_tokens", pooling == Pooling::kMean}});
  const auto module = [](int index, const char* path, const char* type) -> nlohmann::json {
    return {{"idx", index},
            {"name", Cat(index)},
            {"path", path},
            {"type", Cat("sentence_transformers.models.", type)}};
  };
  nlohmann::json modules = {module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")};
  if (normalise) modules.push_back(module(2, "2_Normalize", "Normalize"));
  WriteJson(folder / kModules, modules);
}

}  // namespace whyrec::lm
