// ISRF in micro-batches: the same run as with whole batches, in fp64, and bf16 gradients near it.
#include <gtest/gtest.h>

#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

Trained TrainTiny(int ranks, const std::vector<std::string>& more) {
  std::vector<std::string> overrides = {"train.dtype=FP64", "train.steps=12"};
  overrides.insert(overrides.end(), more.begin(), more.end());
  const World world(
      config::Load(fs::path(WHYREC_SOURCE_DIR) / "configs/tiny/isrf.txtpb", overrides));
  return TrainOn(world, "isrf", ranks);
}

double FurthestWeight(const Trained& a, const Trained& b) {
  double far = 0;
  for (const auto& [path, values] : a.weights)
    far = std::max(far, Furthest(values, b.weights.at(path)));
  return far;
}

TEST(MicroBatch, PartsGiveTheSameRun) {
  const Trained whole = TrainTiny(1, {});
  for (const int ranks : {1, 2})
    for (const char* option : {"train.micro_batch=1", "train.micro_batch=2"}) {
      const Trained parts = TrainTiny(ranks, {option});
      const double losses = Furthest(whole.total, parts.total),
                   weights = FurthestWeight(whole, parts);
      std::printf("%d ranks, %s: losses %.1e, weights %.1e\n", ranks, option, losses, weights);
      EXPECT_LT(losses, 1e-8) << ranks << " ranks, " << option;  // digits of losses.csv
      EXPECT_LT(weights, 1e-9) << ranks << " ranks, " << option;
    }
}

TEST(MicroBatch, OptionsOfTheReducerGiveTheSameRun) {
  const Trained usual = TrainTiny(2, {});
  for (const char* option : {"train.overlap=false", "train.row_gradients=false"}) {
    const Trained other = TrainTiny(2, {option});
    EXPECT_EQ(other.sums, usual.sums) << option;  // to the bit
    EXPECT_EQ(other.weights, usual.weights) << option;
  }
  const Trained rounded = TrainTiny(2, {"train.bf16_gradients=true"});
  EXPECT_LT(Furthest(usual.total, rounded.total), 0.02);
  EXPECT_NE(rounded.weights, usual.weights);
}

}  // namespace
}  // namespace whyrec::systems
