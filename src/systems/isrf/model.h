// The network of ISRF and of its ancestors POD and ELMRec: T5 with prompt vectors, whole-word
// vectors, two graphs and two alignment losses. Equations are in the paper's order, with its
// numbers. Shapes: B samples, S source tokens, T target tokens, P prompt vectors, d the width of
// T5, M = users + items + 1 nodes.
#pragma once

#include <memory>
#include <optional>

#include "proto/isrf.pb.h"
#include "src/base/csr.h"
#include "src/lm/t5.h"
#include "src/nn/parameters.h"
#include "src/nn/sparse.h"
#include "src/systems/isrf/variants.h"
#include "src/train/team.h"

namespace whyrec::systems {

// Rows of the table of ordinal whole-word vectors.
inline constexpr int64_t kWholeWordRows = 512;

// Frozen inputs. POD has none of them, ELMREC has the interactions, ISRF_CODE has all.
struct IsrfInputs {
  int64_t users = 0, items = 0;
  std::optional<Csr> interactions;  // A_hat, [M, M], M = users + items + 1
  std::optional<Csr> user_graph;    // S_hat, [users + 1, users + 1]
  HostTensor item_vectors;          // C, F32 [items, p]
};

// One batch on the device.
struct IsrfBatch {
  config::IsrfConfig::Task task;
  at::Tensor source, mask, whole_words;  // i64, bool, i64 [B,S]
  at::Tensor target;                     // i64 [B,T]
  at::Tensor users;                      // i64 [B], node rows
};

class IsrfModel {
 public:
  IsrfModel(IsrfVariant variant, const config::IsrfConfig& config, const lm::T5Config& t5,
            const IsrfInputs& inputs, nn::Parameters& parameters);
  void Initialise(uint64_t seed);

  lm::T5& t5() { return t5_; }

  // E: user and item rows after propagation (eq. 2-4) [M, d]; undefined in POD.
  at::Tensor NodeTable() const;
  // G: users after propagation over the user graph (eq. 6, 7) [users + 1, d]; undefined without it.
  at::Tensor UserTable() const;

  struct Encoded {
    at::Tensor memory;                      // [B, P + S, d]
    std::optional<at::Tensor> memory_mask;  // bool [B, P + S], when cross-attention is masked
  };
  // Eq. 1 and 5, then the encoder. `nodes` is NodeTable(), used by the tasks that name graph rows.
  // `draws`: of the batch's samples, in training.
  Encoded Encode(const IsrfBatch& batch, const at::Tensor& nodes, const nn::Draws& draws) const;

  // Eq. 11 without its denominator: the sum of -log p over target tokens, padding included or not.
  at::Tensor TextLossSum(const IsrfBatch& batch, const Encoded& encoded,
                         const nn::Draws& draws) const;
  // Tokens that TextLossSum counts in `target`.
  int64_t CountedTokens(const at::Tensor& target) const;

  // Eq. 8 (explanation, direct) or 9 (sequential), times its weight, over the rows of all ranks;
  // undefined when the variant has no alignment or its weight is 0.
  at::Tensor AlignmentLoss(const IsrfBatch& batch, const at::Tensor& nodes,
                           const train::Team& team) const;

 private:
  double Alpha() const;
  at::Tensor AdaptedItems() const;
  at::Tensor WordTable(config::IsrfConfig::Task task, const at::Tensor& nodes) const;

  const IsrfVariant variant_;
  config::IsrfConfig config_;
  nn::Parameters& parameters_;
  lm::T5 t5_;
  int64_t users_, items_;
  std::unique_ptr<nn::SparseOperator> a_hat_, s_hat_;
  at::Tensor item_vectors_;
};

}  // namespace whyrec::systems
