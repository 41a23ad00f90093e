// Users and items as rows of one table that is propagated over their graph. Graph systems read rows
// and never hold a tensor of all nodes, so that the table can be distributed over ranks.
//
// M = users + items + 1 nodes, numbered as in src/graph/graphs.h: node 0 is isolated, then the
// users, then the items. A is the graph's normalised adjacency.
#pragma once

#include <filesystem>
#include <functional>
#include <span>

#include "src/base/ragged.h"
#include "src/nn/at.h"
#include "src/nn/parameters.h"
#include "src/nn/sparse.h"
#include "src/ranking/recommender.h"
#include "src/ranking/scorer.h"

namespace whyrec::ranking {

// Rows of a table, by row of the catalogue.
class NodeRows {
 public:
  NodeRows() = default;
  NodeRows(at::Tensor table, int64_t users) : table_(std::move(table)), users_(users) {}

  at::Tensor Users(std::span<const int64_t> users) const;  // [n, d], differentiable
  at::Tensor Items(std::span<const int64_t> items) const;  // [n, d], differentiable
  at::Tensor Items(Range items) const;                     // [items.size(), d]
  // Z_u . Z_i of the queries' users, [Q, items.size()].
  at::Tensor Scores(std::span<const Query> queries, Range items) const;

 private:
  friend class NodeTable;
  at::Tensor table_;  // [M, d]
  int64_t users_ = 0;
};

class NodeTable {
 public:
  // Z^0 [M, dim], the parameter "nodes"; edges from the artefact "graphs". In the type and on the
  // device that the configuration names.
  NodeTable(const BuildContext& context, int64_t dim,
            nn::LayerStorage storage = nn::LayerStorage::kAsOperand);

  nn::Parameters& parameters() { return parameters_; }
  void Initialise(uint64_t seed, double stddev);    // normal
  void SetEdges(const Ragged<int64_t>& positives);  // in place of the artefact's

  // Z^k = each(A Z^{k-1}, k); without `each`: A Z^{k-1}. Node n is row n of what `each` gets.
  using EachLayer = std::function<at::Tensor(const at::Tensor& z, int64_t k)>;
  struct Layers {
    NodeRows mean;  // of layers first .. count
    NodeRows kept;  // layer `keep`
  };
  struct Propagation {
    int64_t count = 3, first = 0, keep = 0;
    EachLayer each = {};
  };
  Layers Propagate(const Propagation& propagation) const;
  NodeRows Start() const;  // Z^0

  // Rows for prediction as a file of the training folder, and back.
  void Save(const NodeRows& rows, const std::filesystem::path& folder) const;
  NodeRows Load(const std::filesystem::path& folder) const;

 private:
  int64_t users_, items_;
  nn::Parameters parameters_;
  nn::LayerStorage storage_;
  nn::SparseOperator graph_;
};

}  // namespace whyrec::ranking
