#include "src/lm/encoder.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "src/nn/at.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "src/tensor/parallel.h"
#include "src/text/tokenizer.h"

namespace whyrec::lm {
namespace {

// Texts of a pack lie end to end without padding, so all but attention runs over tokens alone.
constexpr int64_t kPackTokens = 1024;

struct BertConfig {
  int64_t width = 0, layers = 0, heads = 0, positions = 0;
  double epsilon = 1e-12;
};

struct Linear {
  at::Tensor weight, bias;
  at::Tensor operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }
};

struct Layer {
  Linear qkv, attention_out, up, down;
  Linear attention_norm, norm;  // weight and bias of layer norms
};

// Texts of one length, one after the other.
struct Run {
  int64_t first_token = 0, texts = 0, length = 0;
};

struct Pack {
  std::vector<int64_t> ids, positions, texts;
  std::vector<Run> runs;
};

class Bert final : public Encoder {
 public:
  Bert(const BertConfig& config, const store::TensorMap& weights,
       std::unique_ptr<text::Tokenizer> tokenizer, int64_t max_tokens)
      : config_(config), tokenizer_(std::move(tokenizer)), max_tokens_(max_tokens) {
    const std::string root =
        weights.contains("bert.embeddings.word_embeddings.weight") ? "bert." : "";
    const auto get = [&](const std::string& name) {
      const auto found = weights.find(root + name);
      if (found == weights.end()) Fail(Exit::kData, "model.safetensors lacks '", root, name, "'");
      return tensor::View(found->second).to(at::kFloat);
    };
    const auto linear = [&](const std::string& name) {
      return Linear{get(name + ".weight"), get(name + ".bias")};
    };
    words_ = get("embeddings.word_embeddings.weight");
    // Every token is of type 0, so its vector joins the positions'.
    positions_ = get("embeddings.position_embeddings.weight") +
                 get("embeddings.token_type_embeddings.weight").narrow(0, 0, 1);
    norm_ = linear("embeddings.LayerNorm");
    for (int64_t i = 0; i < config.layers; ++i) {
      const std::string layer = Cat("encoder.layer.", i, ".");
      const Linear q = linear(layer + "attention.self.query"),
                   k = linear(layer + "attention.self.key"),
                   v = linear(layer + "attention.self.value");
      layers_.push_back(
          {{at::cat({q.weight, k.weight, v.weight}), at::cat({q.bias, k.bias, v.bias})},
           linear(layer + "attention.output.dense"),
           linear(layer + "intermediate.dense"),
           linear(layer + "output.dense"),
           linear(layer + "attention.output.LayerNorm"),
           linear(layer + "output.LayerNorm")});
    }
    WR_CHECK(words_.size(0) >= tokenizer_->size(), words_.size(0), " rows for ",
             tokenizer_->size());
  }

  int64_t width() const override { return config_.width; }

  HostTensor Encode(const std::vector<std::string>& texts) override {
    std::vector<std::vector<int64_t>> ids;
    for (const std::string& text : texts) ids.push_back(Tokens(text));
    std::vector<int64_t> order(texts.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return ids[static_cast<size_t>(a)].size() < ids[static_cast<size_t>(b)].size();
    });
    std::vector<Pack> packs;
    for (const int64_t text : order) {
      if (packs.empty() || static_cast<int64_t>(packs.back().ids.size()) >= kPackTokens) {
        packs.emplace_back();
      }
      Append(packs.back(), text, ids[static_cast<size_t>(text)]);
    }
    HostTensor out = HostTensor::Zeros(DType::kF32, {static_cast<int64_t>(texts.size()), width()});
    // A thread does whole packs by itself: threads that share every operator wait for each other at
    // each, which costs a fifth, and half on a busy machine.
    std::atomic<size_t> next = 0;
    tensor::ParallelForSerialOps(static_cast<int64_t>(packs.size()), [&](int64_t, int64_t) {
      const c10::NoGradGuard no_grad;
      for (size_t p = next++; p < packs.size(); p = next++) {
        tensor::View(out).index_copy_(0, at::tensor(packs[p].texts), Forward(packs[p]));
      }
    });
    return out;
  }

 private:
  std::vector<int64_t> Tokens(const std::string& text) const {
    std::vector<int64_t> ids = tokenizer_->Encode("[CLS]"), own = tokenizer_->Encode(text);
    own.resize(std::min(own.size(), static_cast<size_t>(max_tokens_ - 2)));
    ids.insert(ids.end(), own.begin(), own.end());
    ids.push_back(tokenizer_->Encode("[SEP]").front());
    return ids;
  }

  static void Append(Pack& pack, int64_t text, const std::vector<int64_t>& ids) {
    const auto length = static_cast<int64_t>(ids.size());
    if (pack.runs.empty() || pack.runs.back().length != length) {
      pack.runs.push_back({static_cast<int64_t>(pack.ids.size()), 0, length});
    }
    ++pack.runs.back().texts;
    pack.texts.push_back(text);
    pack.ids.insert(pack.ids.end(), ids.begin(), ids.end());
    for (int64_t p = 0; p < length; ++p) pack.positions.push_back(p);
  }

  at::Tensor Norm(const at::Tensor& x, const Linear& norm) const {
    return at::layer_norm(x, {config_.width}, norm.weight, norm.bias, config_.epsilon);
  }

  // x [tokens, width] -> [tokens, width]: each text attends to itself.
  at::Tensor Attend(const at::Tensor& x, const Layer& layer, const std::vector<Run>& runs) const {
    const at::Tensor qkv = layer.qkv(x);
    std::vector<at::Tensor> read;
    for (const Run& run : runs) {
      const auto parts = qkv.narrow(0, run.first_token, run.texts * run.length)
                             .view({run.texts, run.length, 3, config_.heads, -1})
                             .permute({2, 0, 3, 1, 4})
                             .unbind(0);  // 3 x [texts, heads, length, width/heads]
      read.push_back(at::scaled_dot_product_attention(parts[0], parts[1], parts[2])
                         .transpose(1, 2)
                         .reshape({-1, config_.width}));
    }
    return layer.attention_out(at::cat(read));
  }

  at::Tensor Forward(const Pack& pack) const {
    at::Tensor x = at::embedding(words_, at::tensor(pack.ids)) +
                   at::embedding(positions_, at::tensor(pack.positions));
    x = Norm(x, norm_);
    for (const Layer& layer : layers_) {
      x = Norm(x + Attend(x, layer, pack.runs), layer.attention_norm);
      x = Norm(x + layer.down(at::gelu(layer.up(x))), layer.norm);
    }
    std::vector<at::Tensor> means;
    for (const Run& run : pack.runs) {
      means.push_back(x.narrow(0, run.first_token, run.texts * run.length)
                          .view({run.texts, run.length, config_.width})
                          .mean(1));
    }
    const at::Tensor mean = at::cat(means);
    return mean / at::linalg_vector_norm(mean, 2, {1}, true).clamp_min(1e-12);
  }

  BertConfig config_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  int64_t max_tokens_;
  at::Tensor words_, positions_;
  Linear norm_;
  std::vector<Layer> layers_;
};

nlohmann::json ReadJson(const std::filesystem::path& file) {
  std::ifstream in(file);
  try {
    return nlohmann::json::parse(in);
  } catch (const nlohmann::json::exception& e) {
    Fail(Exit::kData, file.string(), ": ", e.what());
  }
}

BertConfig ReadBertConfig(const std::filesystem::path& file) {
  const nlohmann::json json = ReadJson(file);
  if (json.value("model_type", "") != "bert" || json.value("hidden_act", "") != "gelu" ||
      json.value("position_embedding_type", "absolute") != "absolute") {
    Fail(Exit::kData, file.string(),
         ": not BERT (model_type bert, hidden_act gelu, absolute positions)");
  }
  try {
    return {json.at("hidden_size"), json.at("num_hidden_layers"), json.at("num_attention_heads"),
            json.at("max_position_embeddings"), json.value("layer_norm_eps", 1e-12)};
  } catch (const nlohmann::json::exception& e) {
    Fail(Exit::kData, file.string(), ": ", e.what());
  }
}

}  // namespace

std::unique_ptr<Encoder> LoadEncoder(const std::filesystem::path& folder, int64_t max_tokens) {
  std::string missing;
  for (const char* name :
       {"config.json", "model.safetensors", "vocab.txt", "1_Pooling/config.json"}) {
    if (!std::filesystem::exists(folder / name)) missing += Cat(missing.empty() ? "" : ", ", name);
  }
  if (!missing.empty()) {
    Fail(Exit::kData, folder.string(), ": lacks ", missing,
         "; give a sentence-transformers folder of a BERT model");
  }
  const auto pooling = folder / "1_Pooling/config.json";
  if (!ReadJson(pooling).value("pooling_mode_mean_tokens", false)) {
    Fail(Exit::kData, pooling.string(),
         ": pooling_mode_mean_tokens is not true; only the mean is known");
  }
  const BertConfig config = ReadBertConfig(folder / "config.json");
  int64_t limit = config.positions;
  if (const auto file = folder / "sentence_bert_config.json"; std::filesystem::exists(file)) {
    limit = std::min<int64_t>(limit, ReadJson(file).value("max_seq_length", limit));
  }
  if (max_tokens < 3 || max_tokens > limit) {
    Fail(Exit::kUsage, "max_tokens is ", max_tokens, "; ", folder.string(), " takes 3 to ", limit);
  }
  bool lower_case = true;
  if (const auto file = folder / "tokenizer_config.json"; std::filesystem::exists(file)) {
    lower_case = ReadJson(file).value("do_lower_case", true);
  }
  return std::make_unique<Bert>(config, store::ReadSafetensors(folder / "model.safetensors"),
                                text::LoadWordPiece(folder / "vocab.txt", lower_case), max_tokens);
}

}  // namespace whyrec::lm
