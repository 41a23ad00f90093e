// Configurations, initial values and published checkpoints of the BERT family.
#include <cmath>
#include <utility>

#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include "src/lm/bert.h"
#include "src/lm/json_file.h"
#include "src/store/safetensors.h"

namespace whyrec::lm {
namespace {

using Family = BertConfig::Family;
using Head = BertConfig::Head;

// Of config.json, by family: the same sizes under two sets of names.
struct Keys {
  const char *type, *architecture;
  const char *width, *inner, *layers, *heads, *dropout, *attention_dropout, *activation;
};

constexpr Keys kKeys[] = {
    {"bert", "BertModel", "hidden_size", "intermediate_size", "num_hidden_layers",
     "num_attention_heads", "hidden_dropout_prob", "attention_probs_dropout_prob", "hidden_act"},
    {"distilbert", "DistilBertModel", "dim", "hidden_dim", "n_layers", "n_heads", "dropout",
     "attention_dropout", "activation"},
    {"roberta", "RobertaModel", "hidden_size", "intermediate_size", "num_hidden_layers",
     "num_attention_heads", "hidden_dropout_prob", "attention_probs_dropout_prob", "hidden_act"}};

const Keys& KeysOf(Family family) { return kKeys[static_cast<size_t>(family)]; }

Family ReadFamily(const JsonFile& file) {
  const auto type = file.Get<std::string>("model_type");
  for (const Family family : {Family::kBert, Family::kDistilBert, Family::kRoberta})
    if (type == KeysOf(family).type) return family;
  Fail(Exit::kData, file.path().string(), ": \"model_type\" is \"", type,
       "\"; the encoders are bert, distilbert and roberta");
}

int64_t Size(const JsonFile& file, const char* key) {
  const auto value = file.Get<int64_t>(key);
  if (value < 1) Fail(Exit::kData, file.path().string(), ": \"", key, "\" is ", value);
  return value;
}

double Probability(const JsonFile& file, const char* key) {
  const double value = file.Get<double>(key, 0.1);
  if (!(value >= 0 && value <= 1))
    Fail(Exit::kData, file.path().string(), ": \"", key, "\" is ", value, ", not from 0 to 1");
  return value;
}

// Options of the reference that would make another network.
void ExpectOurNetwork(const JsonFile& file, const Keys& keys) {
  file.Expect<std::string>(keys.activation, "gelu");
  file.Expect<std::string>("position_embedding_type", "absolute");
  for (const char* key : {"is_decoder", "add_cross_attention"}) file.Expect(key, false);
  if (file.Has("pruned_heads") && !file.json()["pruned_heads"].empty())
    Fail(Exit::kData, file.path().string(), ": \"pruned_heads\" is not supported");
  if (file.Has("quantization_config"))
    Fail(Exit::kData, file.path().string(),
         ": \"quantization_config\" is not supported; give the weights as floats");
}

// Which layer the folder's weights hold; none where it has no weights yet.
Head FindHead(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "model.safetensors") &&
      !std::filesystem::exists(folder / "model.safetensors.index.json"))
    return Head::kNone;
  Head head = Head::kNone;
  for (const auto& [name, tensor] : store::ReadSafetensors(folder)) {
    if (name.ends_with("mlp.dense.weight")) return Head::kMlp;
    if (name.ends_with("pooler.dense.weight")) head = Head::kPooler;
  }
  return head;
}

// sin and cos of position / 10000^(2i/d) at columns 2i and 2i + 1 (Vaswani et al. 2017, 3.5).
void FillSines(const at::Tensor& table) {
  const int64_t d = table.size(1);
  std::vector<double> values;
  for (int64_t p = 0; p < table.size(0); ++p)
    for (int64_t j = 0; j < d; ++j) {
      const double angle =
          static_cast<double>(p) /
          std::pow(10000.0, static_cast<double>(j - j % 2) / static_cast<double>(d));
      values.push_back(j % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  table.detach().copy_(at::tensor(values, at::kDouble).view_as(table));
}

}  // namespace

BertConfig LoadBertConfig(const std::filesystem::path& folder) {
  const JsonFile file(folder / "config.json");
  BertConfig config;
  config.family = ReadFamily(file);
  const Keys& keys = KeysOf(config.family);
  ExpectOurNetwork(file, keys);
  const bool distil = config.family == Family::kDistilBert;
  config.vocabulary = Size(file, "vocab_size");
  config.width = Size(file, keys.width);
  config.inner = Size(file, keys.inner);
  config.layers = Size(file, keys.layers);
  config.heads = Size(file, keys.heads);
  config.positions = Size(file, "max_position_embeddings");
  config.types = distil ? 0 : Size(file, "type_vocab_size");
  config.pad = file.Get<int64_t>("pad_token_id", config.family == Family::kRoberta ? 1 : 0);
  config.dropout = Probability(file, keys.dropout);
  config.attention_dropout = Probability(file, keys.attention_dropout);
  if (!distil) config.epsilon = file.Get<double>("layer_norm_eps", config.epsilon);
  config.spread = file.Get<double>("initializer_range", config.spread);
  config.sinusoidal = distil && file.Get<bool>("sinusoidal_pos_embds", false);
  if (config.width % config.heads != 0)
    Fail(Exit::kData, file.path().string(), ": \"", keys.heads, "\" (", config.heads,
         ") does not divide \"", keys.width, "\" (", config.width, ")");
  if (config.pad < 0 || config.pad >= config.vocabulary)
    Fail(Exit::kData, file.path().string(), ": \"pad_token_id\" is ", config.pad, " of ",
         config.vocabulary);
  if (config.longest() < 1)
    Fail(Exit::kData, file.path().string(), ": \"max_position_embeddings\" is ", config.positions,
         "; the first position of a text is ", config.first_position());
  config.head = FindHead(folder);
  return config;
}

void Bert::Initialise(uint64_t seed) {
  for (const auto& [name, tensor] : table_) {
    if (name.ends_with(".bias"))
      nn::Fill(tensor, 0);
    else if (name.ends_with("LayerNorm.weight") || name.ends_with("layer_norm.weight"))
      nn::Fill(tensor, 1);
    else
      nn::FillNormal(tensor, prefix_ + name, seed, config_.spread);
  }
  const c10::NoGradGuard no_grad;
  words_.select(0, config_.pad).zero_();
  if (config_.family == Family::kRoberta) positions_.select(0, config_.pad).zero_();
  if (config_.sinusoidal) FillSines(positions_);
}

void Bert::Load(const std::filesystem::path& folder) {
  Dialect dialect = {
      .prefixes = {"bert.", "distilbert.", "roberta."},
      .endings = {{".gamma", ".weight"}, {".beta", ".bias"}},
      .ignored = {"embeddings.position_ids", "embeddings.token_type_ids", "cls.*", "vocab_*",
                  "lm_head.*", "classifier.*", "pre_classifier.*", "qa_outputs.*"}};
  if (config_.head != Head::kPooler) dialect.ignored.push_back("pooler.*");
  if (config_.head != Head::kMlp) dialect.ignored.push_back("mlp.*");
  LoadWeights(folder, table_, dialect);
}

void Bert::Save(const std::filesystem::path& folder) const {
  const Keys& keys = KeysOf(config_.family);
  const bool easyrec = config_.head == Head::kMlp;
  nlohmann::json json = {{"model_type", keys.type},
                         {"architectures", {easyrec ? "Easyrec" : keys.architecture}},
                         {"torch_dtype", TorchTypeName(parameters_->dtype())},
                         {"vocab_size", config_.vocabulary},
                         {keys.width, config_.width},
                         {keys.inner, config_.inner},
                         {keys.layers, config_.layers},
                         {keys.heads, config_.heads},
                         {"max_position_embeddings", config_.positions},
                         {"pad_token_id", config_.pad},
                         {keys.dropout, config_.dropout},
                         {keys.attention_dropout, config_.attention_dropout},
                         {keys.activation, "gelu"},
                         {"initializer_range", config_.spread}};
  if (config_.family == Family::kDistilBert) {
    json["sinusoidal_pos_embds"] = config_.sinusoidal;
  } else {
    json["type_vocab_size"] = config_.types;
    json["layer_norm_eps"] = config_.epsilon;
    json["position_embedding_type"] = "absolute";
  }
  NameTable table = table_;
  for (auto& [name, tensor] : table)  // EasyRec's "mlp." gets no prefix
    if (easyrec && !name.starts_with("mlp.")) name = Cat(keys.type, ".", name);
  SaveWeights(folder, table);
  WriteJson(folder / "config.json", json);  // last: a folder that has it is whole
}

}  // namespace whyrec::lm
