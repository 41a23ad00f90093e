// The BERT family: BERT and MiniLM, DistilBERT, RoBERTa. Post-norm Transformer encoders with
// learned positions and erf GELU (Devlin et al. 2019, Sanh et al. 2019, Liu et al. 2019); their
// differences are data in BertConfig. Parameters have their published names. Shapes: N tokens of a
// pack, d = width.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "src/lm/bert_pack.h"
#include "src/lm/bert_pooling.h"
#include "src/lm/weights.h"
#include "src/nn/dropout.h"
#include "src/nn/parameters.h"

namespace whyrec::lm {

struct BertConfig {
  enum class Family { kBert, kDistilBert, kRoberta };
  // The dense layer that EASYREC pooling needs: none, BERT's "pooler.dense", EasyRec's "mlp.dense".
  enum class Head { kNone, kPooler, kMlp };

  Family family = Family::kBert;
  Head head = Head::kNone;
  int64_t vocabulary = 30522, width = 768, inner = 3072, layers = 12, heads = 12;
  int64_t positions = 512;  // rows of the table; RoBERTa's first text position is pad + 1
  int64_t types = 2;        // DistilBERT knows none; every token is of type 0
  int64_t pad = 0;
  double dropout = 0.1, attention_dropout = 0.1, epsilon = 1e-12, spread = 0.02;
  bool sinusoidal = false;  // DistilBERT: positions are sines and stay as they are

  int64_t first_position() const { return family == Family::kRoberta ? pad + 1 : 0; }
  int64_t longest() const { return positions - first_position(); }  // tokens of a text
};

// config.json. Error(kData) names the key that is missing, out of range, or asks for a network that
// this is not. `head` is what the folder's weights hold.
BertConfig LoadBertConfig(const std::filesystem::path& folder);

class Bert {
 public:
  // Registers its parameters under `prefix`. `compute`: matrix products run in this type over
  // copies of the weights, sums and norms in the parameters' (fp32 masters with bf16 products);
  // undefined: in the parameters' type.
  Bert(const BertConfig& config, nn::Parameters& parameters, const std::string& prefix = "",
       bool trainable = true, at::ScalarType compute = at::ScalarType::Undefined);
  void Initialise(uint64_t seed);  // N(0, spread), norms 1, biases and padding 0
  // Weights of a published folder; those of a language-model or classifier head are ignored.
  // Errors as LoadWeights.
  void Load(const std::filesystem::path& folder);
  // config.json and weights as transformers reads them; EasyRec's names where the head is its.
  void Save(const std::filesystem::path& folder) const;

  const BertConfig& config() const { return config_; }
  const NameTable& table() const { return table_; }

  // `draws`: one stream for each of the caller's texts in training, else none. Returns [N,d],
  // tokens in the pack's order.
  at::Tensor Hidden(const TextPack& pack, const nn::Draws& draws) const;
  // hidden [N,d] -> [texts,d] in the pack's order (row i is the caller's text pack.rows[i]), in
  // fp32 where hidden is a half type
  at::Tensor Pool(const at::Tensor& hidden, const TextPack& pack, Pooling pooling) const;
  // Token ids of each text, special tokens included -> [texts,d] in the order given.
  at::Tensor Forward(const std::vector<std::vector<int64_t>>& texts, Pooling pooling,
                     const nn::Draws& draws) const;

 private:
  struct Affine {
    at::Tensor weight, bias;
  };
  struct Layer {
    Affine q, k, v, out, norm, up, down, last_norm;
  };
  at::Tensor Add(const std::string& name, at::IntArrayRef shape, bool trainable);
  Affine AddDense(const std::string& name, int64_t out, int64_t in);
  Affine AddNorm(const std::string& name);
  Layer AddLayer(int64_t i);

  at::Tensor Dense(const Affine& map, const at::Tensor& x) const;
  at::Tensor Norm(const Affine& norm, const at::Tensor& x) const;
  at::Tensor Dropout(const at::Tensor& x, const nn::RowKeys& keys) const;
  nn::RowKeys DropoutKeys(const nn::Draws& draws, const TextPack& pack) const;  // [N]
  at::Tensor Embed(const TextPack& pack, const nn::RowKeys& keys) const;
  at::Tensor Read(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const nn::RowKeys& keys) const;
  at::Tensor Attend(const at::Tensor& x, const Layer& layer, const TextPack& pack,
                    const nn::RowKeys& keys) const;

  BertConfig config_;
  nn::Parameters* parameters_;
  std::string prefix_;
  bool trainable_;
  at::ScalarType compute_;
  NameTable table_;  // published names, without the prefix
  at::Tensor words_, positions_, types_;
  Affine norm_, head_;
  std::vector<Layer> layers_;
};

// Rows of length 1; zeros stay. [n,d] -> [n,d]
at::Tensor UnitRows(const at::Tensor& x);

}  // namespace whyrec::lm
