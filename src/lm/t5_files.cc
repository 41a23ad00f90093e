// T5's initial values and published checkpoints.
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "src/lm/t5.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::lm {
namespace {

// Copies of the tied table, and a table that cross-attention never reads, stand in published files.
bool Redundant(const std::string& name) {
  static const std::set<std::string> names = {
      "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight",
      "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"};
  return names.contains(name);
}

}  // namespace

T5Config LoadT5Config(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  std::ifstream in(file);
  if (!in) Fail(Exit::kData, file.string(), ": cannot be read; a Hugging Face T5 folder has it");
  try {
    const nlohmann::json json = nlohmann::json::parse(in);
    if (json.value("model_type", "") != "t5" || json.value("feed_forward_proj", "relu") != "relu" ||
        !json.value("tie_word_embeddings", true)) {
      Fail(Exit::kData, file.string(),
           ": not T5 v1.0 (model_type t5, feed_forward_proj relu, tied head); use t5-small, "
           "t5-base");
    }
    T5Config config;
    json.at("vocab_size").get_to(config.vocabulary);
    json.at("d_model").get_to(config.d_model);
    json.at("d_kv").get_to(config.d_kv);
    json.at("d_ff").get_to(config.d_ff);
    json.at("num_heads").get_to(config.heads);
    json.at("num_layers").get_to(config.encoder_layers);
    config.decoder_layers = json.value("num_decoder_layers", config.encoder_layers);
    config.buckets = json.value("relative_attention_num_buckets", config.buckets);
    config.max_distance = json.value("relative_attention_max_distance", config.max_distance);
    config.dropout = json.value("dropout_rate", config.dropout);
    config.epsilon = json.value("layer_norm_epsilon", config.epsilon);
    return config;
  } catch (const nlohmann::json::exception& e) {
    Fail(Exit::kData, file.string(), ": ", e.what());
  }
}

void T5::Initialise(uint64_t seed) {
  const auto scale = [](int64_t n) { return std::pow(static_cast<double>(n), -0.5); };
  const int64_t d = config_.d_model;
  const std::vector<std::pair<std::string, double>> normals = {
      {"shared.weight", 1.0},
      {".q.weight", scale(d * config_.d_kv)},
      {".k.weight", scale(d)},
      {".v.weight", scale(d)},
      {".o.weight", scale(config_.heads * config_.d_kv)},
      {".wi.weight", scale(d)},
      {".wo.weight", scale(config_.d_ff)},
      {".relative_attention_bias.weight", scale(d)}};
  for (const auto& [path, tensor] : parameters_->all()) {
    if (!path.starts_with(prefix_ + "shared.") && !path.starts_with(prefix_ + "encoder.") &&
        !path.starts_with(prefix_ + "decoder.")) {
      continue;  // another model's
    }
    if (path.ends_with("norm.weight")) nn::Fill(tensor, 1.0);
    for (const auto& [ending, stddev] : normals) {
      if (path.ends_with(ending)) nn::FillNormal(tensor, path, seed, stddev);
    }
  }
}

void T5::Load(const std::filesystem::path& folder) {
  const store::TensorMap found = store::ReadSafetensors(folder);
  for (const auto& [name, host] : found) {
    if (!Redundant(name) && !parameters_->Has(prefix_ + name)) {
      Fail(Exit::kData, folder.string(), ": unknown tensor '", name, "'; is it a T5 v1.0 model?");
    }
  }
  for (const auto& [path, tensor] : parameters_->all()) {
    // Other models may have registered theirs beside ours.
    const std::string name = path.starts_with(prefix_) ? path.substr(prefix_.size()) : "";
    if (!name.starts_with("shared.") && !name.starts_with("encoder.") &&
        !name.starts_with("decoder.")) {
      continue;
    }
    const auto at = found.find(name);
    if (at == found.end()) Fail(Exit::kData, folder.string(), ": lacks tensor '", name, "'");
    if (at->second.shape() != tensor.sizes().vec()) {
      Fail(Exit::kData, folder.string(), ": '", name, "' is ", ShapeString(at->second.shape()),
           ", the configuration asks for ", ShapeString(tensor.sizes().vec()));
    }
    tensor.detach().copy_(tensor::View(at->second));
  }
}

}  // namespace whyrec::lm
