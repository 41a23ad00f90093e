// Rows of a table of nodes, by row of the catalogue, wherever they are.
//
// M = users + items + 1 nodes, numbered as in src/graph/graphs.h: node 0 is isolated, then the
// users, then the items.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "src/base/node_map.h"
#include "src/nn/at.h"
#include "src/ranking/recommender.h"
#include "src/ranking/scorer.h"
#include "src/train/row_exchange.h"

namespace whyrec::ranking {

class NodeRows {
 public:
  NodeRows() = default;
  NodeRows(at::Tensor table, int64_t users) : table_(std::move(table)), users_(users) {}
  // Only these nodes, ascending: row at[i] of `rows` is that of nodes[i].
  struct Some {
    std::vector<int64_t> nodes, at;
  };
  NodeRows(at::Tensor rows, int64_t users, std::shared_ptr<const Some> some)
      : table_(std::move(rows)), users_(users), some_(std::move(some)) {}

  at::Tensor Users(std::span<const int64_t> users) const;  // [n, d], differentiable
  at::Tensor Items(std::span<const int64_t> items) const;  // [n, d], differentiable
  at::Tensor Items(Range items) const;                     // [items.size(), d]
  at::Tensor Nodes(const at::Tensor& nodes) const;         // [..] -> [.., d], differentiable
  // Z_u . Z_i of the queries' users, [Q, items.size()].
  at::Tensor Scores(std::span<const Query> queries, Range items) const;
  const at::Tensor& table() const { return table_; }
  const Some* some() const { return some_.get(); }

 private:
  at::Tensor Chosen(std::span<const int64_t> rows, int64_t first) const;

  at::Tensor table_;  // [M, d], or [some, d]
  int64_t users_ = 0;
  std::shared_ptr<const Some> some_;
};

std::vector<int64_t> NodesOf(std::span<const int64_t> users, std::span<const int64_t> items,
                             int64_t user_count);
// Each node once, ascending, and its row.
std::shared_ptr<NodeRows::Some> Distinct(std::vector<int64_t> nodes);
// Rows of a table that this rank holds, as a leaf that requires a gradient.
NodeRows PickRows(const at::Tensor& table, int64_t user_count,
                  std::shared_ptr<const NodeRows::Some> some);
// table += the gradients of `rows` (of PickRows), of every rank in rank order: equal on all. Only
// the rows travel. By all ranks together.
void AddRows(const NodeRows& rows, const at::Tensor& table, cluster::Communicator& comm);

// A set of nodes, fetched from their owners; gradients go the other way. All ranks together.
class NodeFetch {
 public:
  NodeFetch(std::shared_ptr<NodeRows::Some> some, int64_t user_count, const NodeMap& map,
            cluster::Communicator& comm);
  // own [rows of this rank, d] -> the wanted rows, a leaf that requires a gradient if `trainable`.
  NodeRows Get(const at::Tensor& own, bool trainable);
  // own += the gradients of `rows`, of every rank.
  void Add(const NodeRows& rows, const at::Tensor& own);

 private:
  int64_t users_;
  std::shared_ptr<NodeRows::Some> some_;
  std::unique_ptr<train::RowExchange> exchange_;
};

}  // namespace whyrec::ranking
