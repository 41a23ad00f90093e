// AdamW against the update of Loshchilov & Hutter 2019 (algorithm 2) written as a plain loop.
#include "src/train/optimizer.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>

#include "src/base/rng.h"

namespace whyrec::train {
namespace {

constexpr double kRate = 0.01, kDecay = 0.1;

struct Plain {
  double value, mean = 0, square = 0;
  int steps = 0;

  void Step(double gradient) {
    ++steps;
    value -= kRate * kDecay * value;
    mean = 0.9 * mean + 0.1 * gradient;
    square = 0.999 * square + 0.001 * gradient * gradient;
    const double unbiased = std::sqrt(square / (1 - std::pow(0.999, steps)));
    value -= kRate * mean / (1 - std::pow(0.9, steps)) / (unbiased + 1e-8);
  }
};

// Parameters "a" and "b" of three values each; "b" has gradients in every third step only.
struct Pair {
  explicit Pair(at::ScalarType dtype = at::kDouble) : parameters(dtype) {
    for (const char* path : {"a", "b"}) {
      nn::FillNormal(parameters.Add(path, {3}), path, 1, 1);
    }
    optimizer.emplace(parameters, AdamWOptions{.learning_rate = kRate, .weight_decay = kDecay});
  }

  static bool HasGradient(const std::string& path, int step) {
    return path == "a" || step % 3 == 0;
  }
  static double Gradient(const std::string& path, int step, int i) {
    return Rng(2, path, static_cast<uint64_t>(step), static_cast<uint64_t>(i)).Normal();
  }

  void Step(int step) {
    optimizer->ZeroGrad();
    for (const auto& [path, p] : parameters.all()) {
      if (!HasGradient(path, step)) continue;
      std::vector<double> g;
      for (int i = 0; i < 3; ++i) g.push_back(Gradient(path, step, i));
      p.mutable_grad() = at::tensor(g).to(p.scalar_type());
    }
    optimizer->Step();
  }

  nn::Parameters parameters;
  std::optional<AdamW> optimizer;
};

double Value(const nn::Parameters& parameters, const std::string& path, int i) {
  return parameters.Get(path)[i].item<double>();
}

TEST(AdamW, EqualsThePlainLoop) {
  Pair pair;
  std::map<std::string, std::vector<Plain>> plain;
  for (const char* path : {"a", "b"})
    for (int i = 0; i < 3; ++i) plain[path].push_back({Value(pair.parameters, path, i)});
  for (int step = 0; step < 20; ++step) {
    pair.Step(step);
    for (auto& [path, values] : plain)
      for (int i = 0; i < 3; ++i) {
        if (Pair::HasGradient(path, step)) values[i].Step(Pair::Gradient(path, step, i));
        EXPECT_NEAR(Value(pair.parameters, path, i), values[i].value, 1e-12) << path << step;
      }
  }
  std::map<std::string, at::Tensor> state;
  for (const NamedTensor& t : pair.optimizer->State()) state[t.name] = t.value;
  EXPECT_EQ(state.at("a.steps").item<double>(), 20);
  EXPECT_EQ(state.at("b.steps").item<double>(), 7);
}

// Skipped, as in torch, which is not the same as a gradient of zero (decay, moments).
TEST(AdamW, ParametersWithoutGradientStay) {
  Pair pair;
  pair.Step(0);
  const at::Tensor before = pair.parameters.Get("b").detach().clone();
  pair.Step(1);
  EXPECT_TRUE(before.equal(pair.parameters.Get("b")));
  pair.parameters.Get("b").mutable_grad() = before * 0;
  pair.optimizer->Step();
  EXPECT_FALSE(before.equal(pair.parameters.Get("b"))) << "momentum and decay move it";
}

// An optimiser that is given another's moments and step counts goes on as that one.
TEST(AdamW, StateIsAllThereIs) {
  Pair one, two;
  for (int step = 0; step < 5; ++step) one.Step(step);
  const auto from = one.optimizer->State(), to = two.optimizer->State();
  ASSERT_EQ(from.size(), 6u);
  for (size_t i = 0; i < from.size(); ++i) {
    EXPECT_EQ(from[i].name, to[i].name);
    at::Tensor(to[i].value).copy_(from[i].value);
  }
  for (const char* path : {"a", "b"})
    two.parameters.Get(path).detach().copy_(one.parameters.Get(path).detach());
  for (int step = 5; step < 10; ++step) {
    one.Step(step);
    two.Step(step);
  }
  for (const char* path : {"a", "b"})
    EXPECT_TRUE(one.parameters.Get(path).equal(two.parameters.Get(path))) << path;
}

}  // namespace
}  // namespace whyrec::train
