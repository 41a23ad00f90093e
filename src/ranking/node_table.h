// Users and items as rows of one table that is propagated over their graph. Graph systems read rows
// and never hold a tensor of all nodes, so that the table can be distributed over ranks
// (graphs.placement). A is the graph's normalised adjacency.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "src/base/csr.h"
#include "src/base/facts.h"
#include "src/base/ragged.h"
#include "src/nn/parameters.h"
#include "src/nn/sparse.h"
#include "src/ranking/node_rows.h"
#include "src/train/team.h"

namespace whyrec::ranking {

class NodeTable {
 public:
  // Z^0 [M, dim], the parameter "nodes"; edges from the artefact "graphs". In the type and on the
  // device that the configuration names.
  NodeTable(const BuildContext& context, int64_t dim,
            nn::LayerStorage storage = nn::LayerStorage::kAsOperand);
  ~NodeTable();

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
  const NodeRows& Mean() const { return mean_; }
  const NodeRows& Start() const { return start_; }

  // For prediction: the mean kept, scores from it, and the file of the training folder. By all
  // ranks together, but for Load.
  void KeepMean(int64_t layers);
  at::Tensor Scores(std::span<const Query> queries, Range items) const;
  void Save(const std::filesystem::path& folder) const;
  void Load(const std::filesystem::path& folder);
  Facts facts() const;

 private:
  class Part;                               // what this rank holds under ROWS
  const nn::SparseOperator& Graph() const;  // of all nodes; made when it is first asked for

  int64_t users_, items_, layers_ = 0;
  mutable std::optional<Csr> edges_;  // until graph_ or part_ is made of them
  nn::LayerStorage storage_;
  config::GraphsConfig::Placement placement_;
  int64_t replicate_bytes_;
  nn::Parameters parameters_;
  mutable std::optional<nn::SparseOperator> graph_;
  train::Team team_ = train::Team::Alone();
  std::unique_ptr<Part> part_;
  NodeRows mean_, start_;  // of the step under way: what it reads
  NodeRows kept_;          // for prediction; under ROWS this rank's rows
};

}  // namespace whyrec::ranking
