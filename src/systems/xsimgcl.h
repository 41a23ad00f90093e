// XSimGCL as a scorer, for its registration and its tests.
#pragma once

#include "src/ranking/node_table.h"
#include "src/ranking/scorer.h"

namespace whyrec::systems {

class XSimGcl final : public ranking::Scorer {
 public:
  explicit XSimGcl(const ranking::BuildContext& context);

  nn::Parameters& parameters() override { return nodes_.parameters(); }
  void Initialise(uint64_t seed) override;
  Loss loss() const override { return Loss::kBpr; }
  bool contrasts() const override { return true; }
  at::Tensor LossSum(const ranking::Examples& pairs, const nn::Draws& draws) override;
  void Prepare() override { table_ = nodes_.Propagate({.count = layers_, .first = 1}).mean; }
  at::Tensor Scores(std::span<const ranking::Query> queries, ranking::Range items) override {
    return table_.Scores(queries, items);
  }

  // In place of drawn noise: uniform numbers of layer k, of the shape of `z`.
  using Uniform = std::function<at::Tensor(const at::Tensor& z, int64_t k)>;
  void UseNoise(Uniform uniform) { given_ = std::move(uniform); }

 private:
  const int64_t layers_, view_;
  const double init_, eps_, tau_, weight_, l2_;
  uint64_t seed_;
  ranking::NodeTable nodes_;
  ranking::NodeRows table_;
  Uniform given_;
};

}  // namespace whyrec::systems
