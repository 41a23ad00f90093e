// A graph whose nodes' vectors are averaged over layers, wherever its rows are: all of them on
// every rank, or each on one (graphs.placement). The systems' equations are written on top of it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "src/base/csr.h"
#include "src/base/facts.h"
#include "src/nn/parameters.h"
#include "src/nn/sparse.h"
#include "src/ranking/node_rows.h"
#include "src/train/team.h"

namespace whyrec::ranking {

// Whether graphs.placement distributes tables of `bytes` bytes, training state included.
bool Distributes(const config::GraphsConfig& config, int64_t bytes, const train::Team& team);

class NodeGraph {
 public:
  // A, square; nodes are numbered as in NodeRows. A is moved into the product's form when it is
  // first multiplied, so a graph that only waits for Load costs no more than its file.
  NodeGraph(Csr a, bool symmetric, int64_t users,
            nn::LayerStorage storage = nn::LayerStorage::kAsOperand);
  ~NodeGraph();
  NodeGraph(NodeGraph&&) noexcept;
  NodeGraph& operator=(NodeGraph&&) noexcept;

  // Owners for as many ranks, such that few neighbours are apart. Before the first product.
  std::shared_ptr<const NodeMap> Partition(int parts) const;
  // From here on this rank holds the rows that `map` gives it, or all without a map. By all ranks,
  // before the first product.
  void Join(const train::Team& team, std::shared_ptr<const NodeMap> map = nullptr);
  std::shared_ptr<const NodeMap> map() const;  // null: all rows are here
  nn::Shard shard() const;                     // of a table with a map

  // A itself, for systems that do more between layers than to multiply. Not where there is a map.
  const nn::SparseOperator& Whole() const;

  // M own with M = (1 / (layers + 1)) sum_k A^k, k = 0..layers: of this rank's rows [own, d]. Not
  // differentiable. By all ranks together where there is a map.
  at::Tensor Mean(const at::Tensor& own, int64_t layers) const;

  // A training step. BeginStep, with the nodes that this rank's losses read, propagates once and
  // fetches their rows: of M own and, if asked for, of `own`. The losses take Mean and Start, which
  // are leaves. EndStep, after all of them, returns the gradient of `own`: M^T of the means'
  // gradients plus the starts', summed over the ranks. What travels is the rows that were read, not
  // the table. By all ranks together.
  void BeginStep(const at::Tensor& own, std::vector<int64_t> nodes, int64_t layers,
                 bool with_start = false);
  const NodeRows& Mean() const { return mean_; }
  const NodeRows& Start() const { return start_; }
  at::Tensor EndStep();

  // Rows of a table whose rows this rank holds as `own`. By all ranks together.
  NodeRows Rows(const at::Tensor& own, std::vector<int64_t> nodes) const;

  Facts facts() const;  // for the manifest. By all ranks together.

 private:
  class Direction;  // A or its transpose, this rank's rows
  const Direction& Forward() const;
  const Direction& Backward() const;

  mutable std::optional<Csr> edges_;  // until forward_ is made of them
  bool symmetric_;
  int64_t users_, layers_ = 0;
  nn::LayerStorage storage_;
  std::shared_ptr<const NodeMap> map_;
  train::Team team_ = train::Team::Alone();
  mutable std::unique_ptr<Direction> forward_, backward_;
  std::unique_ptr<NodeFetch> fetch_;  // of the step under way, where there is a map
  NodeRows mean_, start_;
  at::TensorOptions own_options_;  // of the step's table
  int64_t own_rows_ = 0, width_ = 0;
};

}  // namespace whyrec::ranking
