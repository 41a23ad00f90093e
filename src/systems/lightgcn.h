// LightGCN as a scorer, for its registration and its tests.
#pragma once

#include "src/ranking/node_table.h"
#include "src/ranking/scorer.h"

namespace whyrec::systems {

class LightGcn final : public ranking::Scorer {
 public:
  explicit LightGcn(const ranking::BuildContext& context);

  nn::Parameters& parameters() override { return nodes_.parameters(); }
  void Join(const train::Team& team) override { nodes_.Join(team); }
  void Initialise(uint64_t seed) override { nodes_.Initialise(seed, init_); }
  Loss loss() const override { return Loss::kBpr; }

  bool distributes() const override { return true; }
  void BeginStep(const ranking::Examples& pairs) override;
  at::Tensor LossSum(const ranking::Examples& pairs, const nn::Draws& draws) override;
  void EndStep() override { nodes_.EndStep(); }

  void Prepare() override { nodes_.KeepMean(layers_); }
  at::Tensor Scores(std::span<const ranking::Query> queries, ranking::Range items) override {
    return nodes_.Scores(queries, items);
  }
  void Save(const std::filesystem::path& folder) override;
  void Load(const std::filesystem::path& folder) override { nodes_.Load(folder); }
  Facts facts() const override { return nodes_.facts(); }

  void SetEdges(const Ragged<int64_t>& positives) { nodes_.SetEdges(positives); }

 private:
  const int64_t layers_;
  const double init_, l2_;
  ranking::NodeTable nodes_;
};

}  // namespace whyrec::systems
