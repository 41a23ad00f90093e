#include "src/ranking/node_table.h"

#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>

#include "src/base/ragged.h"
#include "src/graph/graphs.h"
#include "src/store/hdf5_file.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::ranking {
namespace {

constexpr char kFile[] = "propagated.safetensors";

at::Tensor Chosen(const at::Tensor& table, std::span<const int64_t> rows, int64_t first) {
  const at::Tensor numbers = at::tensor(at::IntArrayRef(rows.data(), rows.size()), at::kLong);
  return table.index_select(0, (numbers + first).to(table.device()));
}

}  // namespace

at::Tensor NodeRows::Users(std::span<const int64_t> users) const {
  return Chosen(table_, users, 1);
}

at::Tensor NodeRows::Items(std::span<const int64_t> items) const {
  return Chosen(table_, items, users_ + 1);
}

at::Tensor NodeRows::Items(Range items) const {
  return table_.narrow(0, users_ + 1 + items.begin, items.size());
}

at::Tensor NodeRows::Scores(std::span<const Query> queries, Range items) const {
  std::vector<int64_t> users;
  for (const Query& query : queries) users.push_back(query.user);
  return at::matmul(Users(users), Items(items).t());
}

NodeTable::NodeTable(const BuildContext& context, int64_t dim, nn::LayerStorage storage)
    : users_(context.train.user_count()),
      items_(context.train.item_count()),
      parameters_(TypeOf(context), DeviceOf(context)),
      storage_(storage),
      graph_(graph::LoadCsr(store::Hdf5Reader(context.artefacts.at("graphs") / "graph.h5"),
                            "interactions"),
             true, storage) {
  parameters_.Add("nodes", {users_ + items_ + 1, dim});
}

void NodeTable::Initialise(uint64_t seed, double stddev) {
  nn::FillNormal(parameters_.Get("nodes"), "nodes", seed, stddev);
}

void NodeTable::SetEdges(const Ragged<int64_t>& positives) {
  graph_ = nn::SparseOperator(graph::InteractionGraph(positives, items_), true, storage_);
}

NodeTable::Layers NodeTable::Propagate(const Propagation& propagation) const {
  at::Tensor layer = parameters_.Get("nodes"), sum, kept = layer;
  if (!propagation.each && propagation.first == 0 && propagation.keep == 0)
    return {NodeRows(graph_.LayerMean(layer, propagation.count), users_), NodeRows(kept, users_)};
  if (propagation.first == 0) sum = layer;
  for (int64_t k = 1; k <= propagation.count; ++k) {
    layer = graph_.Multiply(layer);
    if (propagation.each) layer = propagation.each(layer, k);
    if (k >= propagation.first) sum = sum.defined() ? sum + layer : layer;
    if (k == propagation.keep) kept = layer;
  }
  WR_CHECK(sum.defined(), "layers ", propagation.first, " to ", propagation.count);
  const auto count = static_cast<double>(propagation.count - propagation.first + 1);
  return {NodeRows(sum / count, users_), NodeRows(kept, users_)};
}

NodeRows NodeTable::Start() const { return {parameters_.Get("nodes"), users_}; }

void NodeTable::Save(const NodeRows& rows, const std::filesystem::path& folder) const {
  store::WriteSafetensors(folder / kFile, {{"nodes", tensor::ToHost(rows.table_)}});
}

NodeRows NodeTable::Load(const std::filesystem::path& folder) const {
  const HostTensor table = store::ReadSafetensors(folder / kFile).at("nodes");
  return {tensor::View(table).to(parameters_.device()), users_};
}

}  // namespace whyrec::ranking
