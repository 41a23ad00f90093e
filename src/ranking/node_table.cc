#include "src/ranking/node_table.h"

#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <numeric>

#include "src/base/error.h"
#include "src/graph/graphs.h"
#include "src/graph/local_graph.h"
#include "src/graph/partition.h"
#include "src/store/hdf5_file.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "src/train/tensor_files.h"

namespace whyrec::ranking {
namespace {

constexpr char kFile[] = "propagated.safetensors", kNodes[] = "nodes";

}  // namespace

// This rank's rows of the graph, what they read of others, and what a step has fetched.
class NodeTable::Part {
 public:
  Part(const Csr& graph, std::shared_ptr<const NodeMap> map, cluster::Communicator& comm,
       nn::LayerStorage storage)
      : map(std::move(map)),
        comm(comm),
        local(graph::Localise(graph, *this->map, comm.rank())),
        halo(comm, local.halo),
        rows(local.matrix, true, storage) {}

  at::Tensor Mean(const at::Tensor& own, int64_t layers) {
    return rows.PartLayerMean(
        own, layers,
        [this](const at::Tensor& mine, const at::Tensor& others) { halo.Get(mine, others); });
  }

  const std::shared_ptr<const NodeMap> map;
  cluster::Communicator& comm;
  const graph::LocalGraph local;
  train::RowExchange halo;
  const nn::SparseOperator rows;
  std::unique_ptr<NodeFetch> fetch;  // of the step under way
};

NodeTable::NodeTable(const BuildContext& context, int64_t dim, nn::LayerStorage storage)
    : users_(context.train.user_count()),
      items_(context.train.item_count()),
      edges_(graph::LoadCsr(store::Hdf5Reader(context.artefacts.at("graphs") / "graph.h5"),
                            "interactions")),
      storage_(storage),
      placement_(context.config.graphs().placement()),
      replicate_bytes_(int64_t{context.config.graphs().replicate_mb()} << 20),
      parameters_(TypeOf(context), DeviceOf(context)) {
  parameters_.Add(kNodes, {users_ + items_ + 1, dim});
}

NodeTable::~NodeTable() = default;

const nn::SparseOperator& NodeTable::Graph() const {
  if (!graph_) graph_.emplace(std::move(*edges_), true, storage_);
  edges_.reset();
  return *graph_;
}

void NodeTable::Join(const train::Team& team) {
  team_ = team;
  const at::Tensor nodes = parameters_.Get(kNodes);
  // The table, its gradient and two moments.
  const auto bytes = static_cast<int64_t>(4 * nodes.nbytes());
  const bool rows = placement_ == config::GraphsConfig::ROWS ||
                    (placement_ == config::GraphsConfig::AUTO && team.comm().size() > 1 &&
                     bytes > replicate_bytes_);
  if (!rows) {
    parameters_.MarkSummed(kNodes);
    return;
  }
  const int parts = team.comm().size();
  const auto map = std::make_shared<const NodeMap>(
      MakeNodeMap(graph::Partition(*edges_, {.parts = parts}), parts));
  const int64_t dim = nodes.size(1);
  parameters_ = nn::Parameters(parameters_.dtype(), parameters_.device());
  parameters_.AddShard(kNodes, {map, team.comm().rank()}, dim);
  part_ = std::make_unique<Part>(*edges_, map, team.comm(), storage_);
  edges_.reset();
}

void NodeTable::Initialise(uint64_t seed, double stddev) {
  nn::FillNormal(parameters_.Get(kNodes), kNodes, seed, stddev, parameters_.ShardOf(kNodes));
}

void NodeTable::SetEdges(const Ragged<int64_t>& positives) {
  edges_ = graph::InteractionGraph(positives, items_);
  graph_.reset();
  if (!part_) return;
  part_ = std::make_unique<Part>(*edges_, part_->map, team_.comm(), storage_);
  edges_.reset();
}

NodeTable::Layers NodeTable::Propagate(const Propagation& propagation) const {
  WR_CHECK(!part_, "all nodes of a distributed table");
  at::Tensor layer = parameters_.Get(kNodes), sum, kept = layer;
  if (!propagation.each && propagation.first == 0 && propagation.keep == 0)
    return {NodeRows(Graph().LayerMean(layer, propagation.count), users_), NodeRows(kept, users_)};
  if (propagation.first == 0) sum = layer;
  for (int64_t k = 1; k <= propagation.count; ++k) {
    layer = Graph().Multiply(layer);
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
  layers_ = layers;
  const c10::NoGradGuard no_grad;
  const at::Tensor own = parameters_.Get(kNodes).detach();
  if (!part_) {
    const auto some = Distinct(users, items, users_);
    mean_ = PickRows(Graph().LayerMean(own, layers), users_, some);
    start_ = PickRows(own, users_, some);
    return;
  }
  part_->fetch = std::make_unique<NodeFetch>(users, items, users_, *part_->map, part_->comm);
  mean_ = part_->fetch->Get(part_->Mean(own, layers), true);
  start_ = part_->fetch->Get(own, true);
}

// With g the gradient of the means that were read, in the table's rows, and h that of the starts:
// mean^T g + h, where the mean is its own transpose.
void NodeTable::EndStep() {
  const c10::NoGradGuard no_grad;
  at::Tensor own = parameters_.Get(kNodes);
  const at::Tensor means = at::zeros_like(own.detach());
  if (part_) {
    part_->fetch->Add(mean_, means);
    own.mutable_grad() = part_->Mean(means, layers_);
    part_->fetch->Add(start_, own.grad());
    return;
  }
  AddRows(mean_, means, team_.comm());
  own.mutable_grad() = Graph().LayerMean(means, layers_);
  const at::Tensor starts = at::zeros_like(means);
  AddRows(start_, starts, team_.comm());
  own.mutable_grad() += starts;
}

void NodeTable::KeepMean(int64_t layers) {
  if (part_)
    kept_ = NodeRows(part_->Mean(parameters_.Get(kNodes).detach(), layers), users_);
  else
    kept_ = Propagate({.count = layers}).mean;
}

at::Tensor NodeTable::Scores(std::span<const Query> queries, Range items) const {
  if (!part_) return kept_.Scores(queries, items);
  std::vector<int64_t> users, range(static_cast<size_t>(items.size()));
  for (const Query& query : queries) users.push_back(query.user);
  std::iota(range.begin(), range.end(), items.begin);
  return NodeFetch(users, range, users_, *part_->map, part_->comm)
      .Get(kept_.table(), false)
      .Scores(queries, items);
}

void NodeTable::Save(const std::filesystem::path& folder) const {
  train::SaveTensors({{kNodes, kept_.table(), parameters_.ShardOf(kNodes)}}, folder / kFile,
                     team_.comm());
}

void NodeTable::Load(const std::filesystem::path& folder) {
  const HostTensor table = store::ReadSafetensors(folder / kFile).at(kNodes);
  kept_ = NodeRows(tensor::View(table).to(parameters_.device()), users_);
}

Facts NodeTable::facts() const {
  if (!part_) return {{"node table", "on every rank"}};
  const int64_t parts = part_->map->parts();
  std::vector<int64_t> most = {
      std::ssize(part_->map->nodes[static_cast<size_t>(part_->comm.rank())]),
      std::ssize(part_->local.halo)};
  part_->comm.AllReduce(most.data(), 2, DType::kI64, cluster::Reduce::kMax);
  return {{"node table", Cat("distributed over ", parts, " ranks")},
          {"rows of a rank, at most", Cat(most[0], " of ", part_->map->size())},
          {"rows of others that it reads, at most", Cat(most[1])}};
}

}  // namespace whyrec::ranking
