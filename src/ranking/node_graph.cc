#include "src/ranking/node_graph.h"

#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "src/base/error.h"
#include "src/graph/local_graph.h"
#include "src/graph/partition.h"

namespace whyrec::ranking {

bool Distributes(const config::GraphsConfig& config, int64_t bytes, const train::Team& team) {
  if (config.placement() == config::GraphsConfig::ROWS) return true;
  return config.placement() == config::GraphsConfig::AUTO && team.comm().size() > 1 &&
         bytes > int64_t{config.replicate_mb()} << 20;
}

// Products with A, or with its transpose, and the rows of other ranks that they read.
class NodeGraph::Direction {
 public:
  Direction(Csr a, nn::LayerStorage storage) : rows_(std::move(a), true, storage) {}

  Direction(const Csr& a, const NodeMap& map, cluster::Communicator& comm, nn::LayerStorage storage)
      : Direction(graph::Localise(a, map, comm.rank()), comm, storage) {}

  at::Tensor Mean(const at::Tensor& own, int64_t layers) const {
    if (!halo_) return rows_.LayerMean(own, layers);
    return rows_.PartLayerMean(
        own, layers,
        [this](const at::Tensor& mine, const at::Tensor& others) { halo_->Get(mine, others); });
  }
  const nn::SparseOperator& rows() const { return rows_; }
  int64_t halo_rows() const { return halo_ ? halo_->wanted() : 0; }

 private:
  Direction(graph::LocalGraph local, cluster::Communicator& comm, nn::LayerStorage storage)
      : rows_(std::move(local.matrix), true, storage),
        halo_(std::make_unique<train::RowExchange>(comm, local.halo)) {}

  const nn::SparseOperator rows_;
  const std::unique_ptr<train::RowExchange> halo_;  // null: all rows are here
};

NodeGraph::NodeGraph(Csr a, bool symmetric, int64_t users, nn::LayerStorage storage)
    : edges_(std::move(a)), symmetric_(symmetric), users_(users), storage_(storage) {}

NodeGraph::~NodeGraph() = default;
NodeGraph::NodeGraph(NodeGraph&&) noexcept = default;
NodeGraph& NodeGraph::operator=(NodeGraph&&) noexcept = default;

std::shared_ptr<const NodeMap> NodeGraph::Partition(int parts) const {
  WR_CHECK(edges_, "the graph is in use");
  return std::make_shared<const NodeMap>(
      MakeNodeMap(graph::Partition(*edges_, {.parts = parts}), parts));
}

void NodeGraph::Join(const train::Team& team, std::shared_ptr<const NodeMap> map) {
  WR_CHECK(edges_, "the graph is in use");
  team_ = team;
  map_ = std::move(map);
  if (!map_) return;
  cluster::Communicator& comm = team_.comm();
  forward_ = std::make_unique<Direction>(*edges_, *map_, comm, storage_);
  if (!symmetric_)
    backward_ = std::make_unique<Direction>(Transpose(*edges_), *map_, comm, storage_);
  edges_.reset();
}

std::shared_ptr<const NodeMap> NodeGraph::map() const { return map_; }

nn::Shard NodeGraph::shard() const { return {map_, team_.comm().rank()}; }

const NodeGraph::Direction& NodeGraph::Forward() const {
  if (forward_) return *forward_;
  if (!symmetric_) backward_ = std::make_unique<Direction>(Transpose(*edges_), storage_);
  forward_ = std::make_unique<Direction>(std::move(*edges_), storage_);
  edges_.reset();
  return *forward_;
}

const NodeGraph::Direction& NodeGraph::Backward() const {
  const Direction& forward = Forward();
  return symmetric_ ? forward : *backward_;
}

const nn::SparseOperator& NodeGraph::Whole() const {
  WR_CHECK(!map_ && symmetric_, "all nodes of a distributed table");
  return Forward().rows();
}

at::Tensor NodeGraph::Mean(const at::Tensor& own, int64_t layers) const {
  const c10::NoGradGuard no_grad;
  return Forward().Mean(own.detach(), layers);
}

void NodeGraph::BeginStep(const at::Tensor& own, std::vector<int64_t> nodes, int64_t layers,
                          bool with_start) {
  const c10::NoGradGuard no_grad;
  layers_ = layers;
  const at::Tensor start = own.detach();
  own_options_ = start.options();
  own_rows_ = start.size(0);
  width_ = start.size(1);
  const at::Tensor mean = Forward().Mean(start, layers);
  const auto some = Distinct(std::move(nodes));
  start_ = NodeRows();
  if (map_) {
    fetch_ = std::make_unique<NodeFetch>(some, users_, *map_, team_.comm());
    mean_ = fetch_->Get(mean, true);
    if (with_start) start_ = fetch_->Get(start, true);
  } else {
    mean_ = PickRows(mean, users_, some);
    if (with_start) start_ = PickRows(start, users_, some);
  }
}

at::Tensor NodeGraph::EndStep() {
  const c10::NoGradGuard no_grad;
  const auto bring = [&](const NodeRows& rows) {
    at::Tensor all = at::zeros({own_rows_, width_}, own_options_);
    if (map_)
      fetch_->Add(rows, all);
    else
      AddRows(rows, all, team_.comm());
    return all;
  };
  at::Tensor gradient = Backward().Mean(bring(mean_), layers_);
  if (start_.table().defined()) gradient += bring(start_);
  fetch_.reset();
  return gradient;
}

NodeRows NodeGraph::Rows(const at::Tensor& own, std::vector<int64_t> nodes) const {
  if (!map_) return {own, users_};
  return NodeFetch(Distinct(std::move(nodes)), users_, *map_, team_.comm()).Get(own, false);
}

Facts NodeGraph::facts() const {
  if (!map_) return {{"node table", "on every rank"}};
  cluster::Communicator& comm = team_.comm();
  std::vector<int64_t> most = {std::ssize(map_->nodes[static_cast<size_t>(comm.rank())]),
                               Forward().halo_rows()};
  comm.AllReduce(most.data(), 2, DType::kI64, cluster::Reduce::kMax);
  return {{"node table", Cat("distributed over ", map_->parts(), " ranks")},
          {"rows of a rank, at most", Cat(most[0], " of ", map_->size())},
          {"rows of others that it reads, at most", Cat(most[1])}};
}

}  // namespace whyrec::ranking
