// T5's initial values and published checkpoints.
#include <ATen/ops/equal.h>

#include <cmath>

#include "src/lm/json_file.h"
#include "src/lm/t5.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::lm {
namespace {

constexpr char kHead[] = "lm_head.weight";
// A table in the first published files that cross-attention never uses.
constexpr char kUnusedBias[] =
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";

std::vector<std::string> Copies(const T5Config& config) {
  std::vector<std::string> names = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"};
  if (config.tied) names.emplace_back(kHead);
  return names;
}

void CheckCopies(const std::filesystem::path& folder, const T5Config& config) {
  const store::TensorMap found = store::ReadSafetensors(folder);
  const at::Tensor shared = tensor::View(found.at("shared.weight"));
  for (const std::string& name : Copies(config)) {
    const auto at = found.find(name);
    if (at == found.end()) continue;
    const at::Tensor copy = tensor::View(at->second);
    if (copy.sizes() != shared.sizes() || !at::equal(copy.to(shared.scalar_type()), shared))
      Fail(Exit::kData, folder.string(), ": '", name,
           "' differs from 'shared.weight', which the configuration puts in its place",
           name == kHead ? "; a head of its own needs \"tie_word_embeddings\": false" : "");
  }
}

}  // namespace

T5Config LoadT5Config(const std::filesystem::path& folder) {
  const JsonFile file(folder / "config.json");
  file.Expect<std::string>("model_type", "t5");
  const auto projection = file.Get<std::string>("feed_forward_proj", "relu");
  T5Config config;
  config.gated = projection == "gated-gelu";
  if (!config.gated && projection != "relu")
    Fail(Exit::kData, file.path().string(), ": \"feed_forward_proj\" is \"", projection,
         "\"; only \"relu\" (T5 v1.0) and \"gated-gelu\" (v1.1) are supported");
  file.Expect<bool>("is_gated_act", config.gated);
  file.Expect<std::string>("dense_act_fn", config.gated ? "gelu_new" : "relu");
  config.vocabulary = file.Get<int64_t>("vocab_size");
  config.d_model = file.Get<int64_t>("d_model");
  config.d_kv = file.Get<int64_t>("d_kv");
  config.d_ff = file.Get<int64_t>("d_ff");
  config.heads = file.Get<int64_t>("num_heads");
  config.encoder_layers = file.Get<int64_t>("num_layers");
  config.decoder_layers = file.Get<int64_t>("num_decoder_layers", config.encoder_layers);
  config.buckets = file.Get<int64_t>("relative_attention_num_buckets", config.buckets);
  config.max_distance = file.Get<int64_t>("relative_attention_max_distance", config.max_distance);
  config.dropout = file.Get<double>("dropout_rate", config.dropout);
  config.epsilon = file.Get<double>("layer_norm_epsilon", config.epsilon);
  config.pad = file.Get<int64_t>("pad_token_id", config.pad);
  config.eos = file.Get<int64_t>("eos_token_id", config.eos);
  config.start = file.Get<int64_t>("decoder_start_token_id", config.pad);
  config.tied = file.Get<bool>("tie_word_embeddings", true);
  config.scaled_head = file.Get<bool>("scale_decoder_outputs", config.tied);
  // Newer libraries write "tie_word_embeddings": true for every T5 and leave the rest to the file.
  if (config.tied && !config.scaled_head)
    config.tied = !store::ReadSafetensors(folder).contains(kHead);
  return config;
}

void T5::Initialise(uint64_t seed) {
  const auto scale = [](int64_t n) { return std::pow(static_cast<double>(n), -0.5); };
  const int64_t d = config_.d_model;
  const std::vector<std::pair<std::string, double>> normals = {
      {"shared.weight", 1.0},
      {kHead, 1.0},
      {".q.weight", scale(d * config_.d_kv)},
      {".k.weight", scale(d)},
      {".v.weight", scale(d)},
      {".o.weight", scale(config_.heads * config_.d_kv)},
      {".wi.weight", scale(d)},
      {".wi_0.weight", scale(d)},
      {".wi_1.weight", scale(d)},
      {".wo.weight", scale(config_.d_ff)},
      {".relative_attention_bias.weight", scale(d)}};
  for (const auto& [name, tensor] : table_) {
    if (name.ends_with("norm.weight")) nn::Fill(tensor, 1.0);
    for (const auto& [ending, stddev] : normals)
      if (name.ends_with(ending)) nn::FillNormal(tensor, prefix_ + name, seed, stddev);
  }
}

void T5::Load(const std::filesystem::path& folder) {
  Dialect dialect{.ignored = Copies(config_)};
  dialect.ignored.emplace_back(kUnusedBias);
  LoadWeights(folder, table_, dialect);
  CheckCopies(folder, config_);
}

void T5::Save(const std::filesystem::path& folder) const {
  SaveWeights(folder, table_);
  const nlohmann::json ids = {{"decoder_start_token_id", config_.start},
                              {"eos_token_id", config_.eos},
                              {"pad_token_id", config_.pad}};
  nlohmann::json json = ids;
  json.update({{"architectures", {"T5ForConditionalGeneration"}},
               {"model_type", "t5"},
               {"is_encoder_decoder", true},
               {"vocab_size", config_.vocabulary},
               {"d_model", config_.d_model},
               {"d_kv", config_.d_kv},
               {"d_ff", config_.d_ff},
               {"num_heads", config_.heads},
               {"num_layers", config_.encoder_layers},
               {"num_decoder_layers", config_.decoder_layers},
               {"relative_attention_num_buckets", config_.buckets},
               {"relative_attention_max_distance", config_.max_distance},
               {"dropout_rate", config_.dropout},
               {"layer_norm_epsilon", config_.epsilon},
               {"feed_forward_proj", config_.gated ? "gated-gelu" : "relu"},
               {"is_gated_act", config_.gated},
               {"dense_act_fn", config_.gated ? "gelu_new" : "relu"},
               {"tie_word_embeddings", config_.tied},
               {"scale_decoder_outputs", config_.scaled_head},
               {"torch_dtype", TorchTypeName(shared_.scalar_type())}});
  WriteJson(folder / "generation_config.json", ids);
  WriteJson(folder / "config.json", json);
}

}  // namespace whyrec::lm
