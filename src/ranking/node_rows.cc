#include "src/ranking/node_rows.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <numeric>

#include "src/base/error.h"
#include "src/train/row_sums.h"

namespace whyrec::ranking {

at::Tensor NodeRows::Chosen(std::span<const int64_t> rows, int64_t first) const {
  if (!some_) {
    const at::Tensor numbers = at::tensor(at::IntArrayRef(rows.data(), rows.size()), at::kLong);
    return table_.index_select(0, (numbers + first).to(table_.device()));
  }
  std::vector<int64_t> places;
  for (const int64_t row : rows) {
    const auto found = std::ranges::lower_bound(some_->nodes, row + first);
    WR_CHECK(found != some_->nodes.end() && *found == row + first, "node ", row + first,
             " was not fetched");
    places.push_back(some_->at[static_cast<size_t>(found - some_->nodes.begin())]);
  }
  return table_.index_select(0, at::tensor(places, at::kLong).to(table_.device()));
}

at::Tensor NodeRows::Users(std::span<const int64_t> users) const { return Chosen(users, 1); }

at::Tensor NodeRows::Items(std::span<const int64_t> items) const {
  return Chosen(items, users_ + 1);
}

at::Tensor NodeRows::Items(Range items) const {
  if (!some_) return table_.narrow(0, users_ + 1 + items.begin, items.size());
  std::vector<int64_t> all(static_cast<size_t>(items.size()));
  std::iota(all.begin(), all.end(), items.begin);
  return Items(all);
}

at::Tensor NodeRows::Scores(std::span<const Query> queries, Range items) const {
  std::vector<int64_t> users;
  for (const Query& query : queries) users.push_back(query.user);
  return at::matmul(Users(users), Items(items).t());
}

at::Tensor NodeRows::Nodes(const at::Tensor& nodes) const {
  if (!some_) return at::embedding(table_, nodes);
  const at::Tensor known = at::tensor(some_->nodes, at::kLong), wanted = nodes.cpu().contiguous();
  const at::Tensor found = at::searchsorted(known, wanted).clamp_max(known.size(0) - 1);
  WR_CHECK(known.index_select(0, found.view(-1)).view_as(wanted).equal(wanted),
           "a node was not fetched");
  const at::Tensor rows = at::tensor(some_->at, at::kLong).index_select(0, found.view(-1));
  return at::embedding(table_, rows.view_as(wanted).to(table_.device()));
}

std::vector<int64_t> NodesOf(std::span<const int64_t> users, std::span<const int64_t> items,
                             int64_t user_count) {
  std::vector<int64_t> nodes;
  nodes.reserve(users.size() + items.size());
  for (const int64_t user : users) nodes.push_back(user + 1);
  for (const int64_t item : items) nodes.push_back(user_count + 1 + item);
  return nodes;
}

std::shared_ptr<NodeRows::Some> Distinct(std::vector<int64_t> nodes) {
  auto some = std::make_shared<NodeRows::Some>();
  std::ranges::sort(nodes);
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  some->nodes = std::move(nodes);
  some->at.resize(some->nodes.size());
  std::iota(some->at.begin(), some->at.end(), 0);
  return some;
}

NodeRows PickRows(const at::Tensor& table, int64_t user_count,
                  std::shared_ptr<const NodeRows::Some> some) {
  at::Tensor rows =
      table.index_select(0, at::tensor(some->nodes, at::kLong).to(table.device())).detach();
  rows.set_requires_grad(true);
  return {rows, user_count, std::move(some)};
}

void AddRows(const NodeRows& rows, const at::Tensor& table, cluster::Communicator& comm) {
  const at::Tensor nodes = at::tensor(rows.some()->nodes, at::kLong).to(table.device());
  const at::Tensor gradient = rows.table().grad();
  if (gradient.defined()) at::Tensor(table).index_add_(0, nodes, gradient);
  if (comm.size() == 1) return;
  cluster::Sizes counts(static_cast<size_t>(comm.size()));
  const int64_t own = nodes.size(0);
  comm.AllGatherInto(&own, counts.data(), cluster::Sizes(counts.size(), sizeof own));
  train::SumRows(table, nodes, counts, table.scalar_type(), comm);
}

NodeFetch::NodeFetch(std::shared_ptr<NodeRows::Some> some, int64_t user_count, const NodeMap& map,
                     cluster::Communicator& comm)
    : users_(user_count), some_(std::move(some)) {
  const std::vector<int64_t>& nodes = some_->nodes;
  std::vector<size_t> order(nodes.size());  // of the places
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return map.Of(nodes[i]); });
  std::vector<Place> wanted;
  for (const size_t i : order) {
    some_->at[i] = std::ssize(wanted);
    wanted.push_back(map.Of(nodes[i]));
  }
  exchange_ = std::make_unique<train::RowExchange>(comm, wanted);
}

NodeRows NodeFetch::Get(const at::Tensor& own, bool trainable) {
  at::Tensor rows = at::empty({exchange_->wanted(), own.size(1)}, own.options());
  exchange_->Get(own, rows);
  rows.set_requires_grad(trainable);
  return {rows, users_, some_};
}

void NodeFetch::Add(const NodeRows& rows, const at::Tensor& own) {
  const at::Tensor gradient = rows.table().grad();
  exchange_->Add(gradient.defined() ? gradient : at::zeros_like(rows.table().detach()), own);
}

}  // namespace whyrec::ranking
