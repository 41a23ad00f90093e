// SASRec's network (Kang & McAuley, ICDM 2018) as A-LLMRec and PULSE's public code run it (pulse
// 3.1). There, histories are left-padded to L slots, and only the causal mask hides: a padded
// slot's key and value are the biases of their maps. Nothing is computed for padding here: p such
// slots weigh as much as one whose score has log p added. B sequences of N events in all, width d,
// H heads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/nn/dropout.h"
#include "src/nn/parameters.h"

namespace whyrec::systems {

struct SasRecConfig {
  enum class Form {
    kOriginal,      // Q = LN(x), K = V = x; padding is silenced after every block
    kPostNorm2025,  // x = LN(x + f(x)); padded slots live on, with item 0 and position 0
    kPreNorm2025,   // x = x + f(LN(x)); likewise
  };
  int64_t items = 0;  // I; item i has row i + 1 of the table
  int64_t dim = 50, blocks = 2, heads = 2;
  int64_t length = 50;  // L
  double dropout = 0.5;
  Form form = Form::kOriginal;
};

// Sequences behind each other, oldest event first.
struct SasRecBatch {
  struct Sequence {
    int64_t first, count;  // events, of N
    int64_t pads;          // p, silent padded slots before them
  };
  std::vector<Sequence> sequences;  // [B]
  std::vector<int64_t> rows;        // [N] of the item table; 0: a padded slot that lives
  std::vector<int64_t> slots;       // [N] rows of the position table

  int64_t events() const { return static_cast<int64_t>(rows.size()); }
};

class SasRecNetwork {
 public:
  // Registers its parameters under the names of the public code. Error(kUsage) where the heads do
  // not divide the width.
  SasRecNetwork(const SasRecConfig& config, nn::Parameters& parameters);

  // Xavier's normal on every parameter of two or more dimensions; the 2025 forms zero the rows of
  // padding.
  void Initialise(uint64_t seed);

  // The newest L items in the slots L-n..L-1; with `padded` off in 0..n-1 and alone, as the public
  // code compares users. Items must not be empty.
  void Append(std::span<const int64_t> items, bool padded, SasRecBatch& batch) const;

  // i64 of any shape -> [.., d] of the table; no gradient reaches row 0.
  at::Tensor Rows(const at::Tensor& rows) const;
  // Items' rows as Rows gives them for batch.rows, [N, d] -> [N, d]. `draws`: one stream for each
  // of the B sequences in training, else none.
  at::Tensor States(const at::Tensor& rows, const SasRecBatch& batch, const nn::Draws& draws) const;
  // States at the last events, [B, d].
  at::Tensor LastStates(const SasRecBatch& batch) const;
  // states [n, d] -> scores of all items, [n, I].
  at::Tensor ItemScores(const at::Tensor& states) const;

  const SasRecConfig& config() const { return config_; }
  at::Tensor Indices(std::span<const int64_t> values) const;  // on the parameters' device

 private:
  struct LengthGroup;
  std::vector<LengthGroup> Groups(const SasRecBatch& batch, std::vector<int64_t>& places) const;
  at::Tensor Linear(const at::Tensor& x, const std::string& weight, const std::string& bias) const;
  at::Tensor Norm(const at::Tensor& x, const std::string& name) const;
  at::Tensor Dropout(const at::Tensor& x, const nn::RowKeys& keys) const;
  at::Tensor KeptWeights(const at::Tensor& weights, const LengthGroup& group,
                         const nn::RowKeys& keys) const;
  at::Tensor Attention(const at::Tensor& queries, const at::Tensor& x, int64_t block,
                       const std::vector<LengthGroup>& groups, const at::Tensor& back,
                       const nn::RowKeys& keys) const;
  at::Tensor OfGroup(const at::Tensor& q, const at::Tensor& kv, const at::Tensor& pad,
                     const LengthGroup& group, const nn::RowKeys& keys) const;
  at::Tensor FeedForward(const at::Tensor& x, int64_t block, const nn::RowKeys& keys) const;

  SasRecConfig config_;
  nn::Parameters& parameters_;
};

}  // namespace whyrec::systems
