// Users and items as rows of one table that is propagated over their graph. Graph systems read rows
// and never hold a tensor of all nodes, so that the table can be distributed over ranks
// (graphs.placement). A is the graph's normalised adjacency.
#pragma once

#include <filesystem>
#include <functional>
#include <span>

#include "src/base/facts.h"
#include "src/base/ragged.h"
#include "src/ranking/node_graph.h"

namespace whyrec::ranking {

class NodeTable {
 public:
  // Z^0 [M, dim], the parameter "nodes"; edges from the artefact "graphs". In the type and on the
  // device that the configuration names.
  NodeTable(const BuildContext& context, int64_t dim,
            nn::LayerStorage storage = nn::LayerStorage::kAsOperand);

  nn::Parameters& parameters() { return parameters_; }
  // Under ROWS every rank keeps the rows of its part of the graph from here on. By all ranks,
  // before Initialise.
  void Join(const train::Team& team);
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
  // On one rank, of all nodes.
  Layers Propagate(const Propagation& propagation) const;

  // The mean over k = 0 .. layers of A^k Z^0, and Z^0, for training. BeginStep, with the users and
  // items that the step's losses read on this rank, propagates once; the losses take Mean and
  // Start; EndStep, after all passes, propagates their gradients back and adds up the ranks': the
  // rows that were read, not the table. By all ranks together.
  void BeginStep(std::span<const int64_t> users, std::span<const int64_t> items, int64_t layers);
  void EndStep();
  const NodeRows& Mean() const { return graph_.Mean(); }
  const NodeRows& Start() const { return graph_.Start(); }

  // For prediction: the mean kept, scores from it, and the file of the training folder. By all
  // ranks together, but for Load.
  void KeepMean(int64_t layers);
  at::Tensor Scores(std::span<const Query> queries, Range items) const;
  void Save(const std::filesystem::path& folder) const;
  void Load(const std::filesystem::path& folder);
  Facts facts() const;

 private:
  int64_t users_, items_, layers_ = 0;
  config::GraphsConfig graphs_;
  nn::LayerStorage storage_;
  nn::Parameters parameters_;
  NodeGraph graph_;
  train::Team team_ = train::Team::Alone();
  at::Tensor kept_;  // for prediction; under ROWS this rank's rows
};

}  // namespace whyrec::ranking
