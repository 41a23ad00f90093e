// The network of ISRF and of its ancestors POD and ELMRec: T5 with prompt vectors, whole-word
// vectors, two graphs and two alignment losses. Equations are in the paper's order, with its
// numbers. Shapes: B samples, S source tokens, T target tokens, P prompt vectors, d the width of
// T5, M = users + items + 1 nodes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "proto/isrf.pb.h"
#include "src/base/csr.h"
#include "src/base/facts.h"
#include "src/lm/t5.h"
#include "src/nn/parameters.h"
#include "src/ranking/node_graph.h"
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
            IsrfInputs inputs, nn::Parameters& parameters);
  void Initialise(uint64_t seed);

  lm::T5& t5() { return t5_; }

  // Before Initialise, by all ranks: under graphs.placement ROWS, or AUTO for large graphs, this
  // rank keeps its rows of the graphs, of the users' tables and of C.
  void Join(const train::Team& team, const config::GraphsConfig& graphs);

  // Rows that a batch reads: of E, users and items after propagation over the interactions (eq.
  // 2-4), and of G, users after propagation over the user graph (eq. 6, 7).
  struct Rows {
    ranking::NodeRows nodes, users;
  };
  // A training step: BeginStep propagates once for all passes over `slice`, this rank's samples of
  // the step, and EndStep brings the gradients of its rows to the parameters. By all ranks
  // together.
  Rows BeginStep(const IsrfBatch& slice);
  void EndStep();

  // E for prediction: kept, written and read. By all ranks together, but for Load.
  void KeepNodes();
  ranking::NodeRows Nodes(const IsrfBatch& batch) const;
  void Save(const std::filesystem::path& folder) const;
  void Load(const std::filesystem::path& folder);
  Facts facts() const;

  struct Encoded {
    at::Tensor memory;                      // [B, P + S, d]
    std::optional<at::Tensor> memory_mask;  // bool [B, P + S], when cross-attention is masked
  };
  // Eq. 1 and 5, then the encoder. `nodes`: rows of E, read by the tasks that name graph rows.
  // `draws`: of the batch's samples, in training.
  Encoded Encode(const IsrfBatch& batch, const ranking::NodeRows& nodes,
                 const nn::Draws& draws) const;

  // Eq. 11 without its denominator: the sum of -log p over target tokens, padding included or not.
  at::Tensor TextLossSum(const IsrfBatch& batch, const Encoded& encoded,
                         const nn::Draws& draws) const;
  // Tokens that TextLossSum counts in `target`.
  int64_t CountedTokens(const at::Tensor& target) const;

  // Eq. 8 (explanation, direct) or 9 (sequential), times its weight, over the rows of all ranks;
  // undefined when the variant has no alignment or its weight is 0.
  at::Tensor AlignmentLoss(const IsrfBatch& batch, const Rows& rows, const train::Team& team) const;

 private:
  double Alpha() const;
  bool Ordinal(config::IsrfConfig::Task task) const;            // else whole words are node rows
  double AlignmentWeight(config::IsrfConfig::Task task) const;  // 0 where there is none
  at::Tensor AdaptedItems(const at::Tensor& vectors) const;
  at::Tensor StartTable() const;

  const IsrfVariant variant_;
  config::IsrfConfig config_;
  nn::Parameters& parameters_;
  lm::T5 t5_;
  int64_t users_, items_;
  std::optional<ranking::NodeGraph> a_hat_, s_hat_;
  at::Tensor item_vectors_;  // C, or under ROWS its rows of this rank's items
  train::Team team_ = train::Team::Alone();
  bool reads_nodes_ = false, reads_users_ = false;  // the step under way reads E, G
  std::optional<at::Tensor> kept_;                  // E for prediction, this rank's rows
};

}  // namespace whyrec::systems
