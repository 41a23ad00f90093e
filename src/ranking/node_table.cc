#include "src/ranking/node_table.h"

#include <c10/core/GradMode.h>

#include <numeric>

#include "src/base/error.h"
#include "src/graph/graphs.h"
#include "src/store/hdf5_file.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "src/train/tensor_files.h"

namespace whyrec::ranking {
namespace {

constexpr char kFile[] = "propagated.safetensors", kNodes[] = "nodes";

}  // namespace

NodeTable::NodeTable(const BuildContext& context, int64_t dim, nn::LayerStorage storage)
    : users_(context.train.user_count()),
      items_(context.train.item_count()),
      graphs_(context.config.graphs()),
      storage_(storage),
      parameters_(TypeOf(context), DeviceOf(context)),
      graph_(graph::LoadCsr(store::Hdf5Reader(context.artefacts.at("graphs") / "graph.h5"),
                            "interactions"),
             true, users_, storage) {
  parameters_.Add(kNodes, {users_ + items_ + 1, dim});
}

void NodeTable::Join(const train::Team& team) {
  team_ = team;
  // The table, its gradient and two moments.
  const auto bytes = static_cast<int64_t>(4 * parameters_.Get(kNodes).nbytes());
  if (!Distributes(graphs_, bytes, team)) {
    graph_.Join(team);
    parameters_.MarkSummed(kNodes);
    return;
  }
  graph_.Join(team, graph_.Partition(team.comm().size()));
  parameters_.Distribute(kNodes, graph_.shard());
}

void NodeTable::Initialise(uint64_t seed, double stddev) {
  nn::FillNormal(parameters_.Get(kNodes), kNodes, seed, stddev, parameters_.ShardOf(kNodes));
}

void NodeTable::SetEdges(const Ragged<int64_t>& positives) {
  const std::shared_ptr<const NodeMap> map = graph_.map();
  graph_ = NodeGraph(graph::InteractionGraph(positives, items_), true, users_, storage_);
  graph_.Join(team_, map);
}

NodeTable::Layers NodeTable::Propagate(const Propagation& propagation) const {
  at::Tensor layer = parameters_.Get(kNodes), sum, kept = layer;
  if (!propagation.each && propagation.first == 0 && propagation.keep == 0)
    return {NodeRows(graph_.Whole().LayerMean(layer, propagation.count), users_),
            NodeRows(kept, users_)};
  if (propagation.first == 0) sum = layer;
  for (int64_t k = 1; k <= propagation.count; ++k) {
    layer = graph_.Whole().Multiply(layer);
    if (propagation.each) layer = propagation.each(layer, k);
    if (k >= propagation.first) sum = sum.defined() ? sum + layer : layer;
    if (k == propagation.keep) kept = layer;
  }
  WR_CHECK(sum.defined(), "layers ", propagation.first, " to ", propagation.count);
  const auto count = static_cast<double>(propagation.count - propagation.first + 1);
  return {NodeRows(sum / count, users_), NodeRows(kept, users_)};
}

void NodeTable::BeginStep(std::span<const int64_t> users, std::span<const int64_t> items,
                          int64_t layers) {
  graph_.BeginStep(parameters_.Get(kNodes), NodesOf(users, items, users_), layers,
                   /*with_start=*/true);
}

void NodeTable::EndStep() { parameters_.Get(kNodes).mutable_grad() = graph_.EndStep(); }

void NodeTable::KeepMean(int64_t layers) { kept_ = graph_.Mean(parameters_.Get(kNodes), layers); }

at::Tensor NodeTable::Scores(std::span<const Query> queries, Range items) const {
  std::vector<int64_t> users, range(static_cast<size_t>(items.size()));
  for (const Query& query : queries) users.push_back(query.user);
  std::iota(range.begin(), range.end(), items.begin);
  return graph_.Rows(kept_, NodesOf(users, range, users_)).Scores(queries, items);
}

void NodeTable::Save(const std::filesystem::path& folder) const {
  train::SaveTensors({{kNodes, kept_, parameters_.ShardOf(kNodes)}}, folder / kFile, team_.comm());
}

void NodeTable::Load(const std::filesystem::path& folder) {
  const HostTensor table = store::ReadSafetensors(folder / kFile).at(kNodes);
  kept_ = tensor::View(table).to(parameters_.device());
}

Facts NodeTable::facts() const { return graph_.facts(); }

}  // namespace whyrec::ranking
