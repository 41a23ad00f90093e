// Phi against transformers on tiny random weights (tests/golden/make_phi.py), and against itself.
#include "src/lm/phi.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::lm {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(WHYREC_SOURCE_DIR) / "tests/golden";

struct Loaded {
  explicit Loaded(const std::string& folder = "phi", at::ScalarType dtype = at::kFloat)
      : parameters(dtype), model(LoadPhiConfig(kGolden / folder), parameters, "", true) {
    at::set_num_threads(1);  // operators this small only lose by a second thread
    model.Load(kGolden / folder);
  }
  // One sequence from position 0.
  at::Tensor Run(const at::Tensor& ids) const {
    return model.Hidden(ids, at::arange(ids.size(0)), CausalAttention({ids.size(0)}), ids.size(0));
  }

  nn::Parameters parameters;
  Phi model;
};

// Largest difference relative to the largest entry.
double Difference(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.sizes(), want.sizes());
  const at::Tensor difference = (got.detach().to(at::kDouble) - want.to(at::kDouble)).abs().max();
  return difference.item<double>() / std::max(1.0, want.abs().max().item<double>());
}

at::Tensor SomeRows(const at::Tensor& x) {
  return x.index_select(0, at::tensor(std::vector<int64_t>{0, 17, x.size(0) - 1}));
}

TEST(Phi, LogitsLossAndGradientsAreTheReferences) {
  const auto golden = store::ReadSafetensors(kGolden / "phi_golden.safetensors");
  for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, 1e-5}, {at::kDouble, 1e-9}}) {
    double most = 0;
    for (const std::string kind : {"tied", "untied"}) {
      Loaded loaded(kind == "tied" ? "phi" : "phi_untied", dtype);
      for (const std::string length : {"40", "100"}) {  // short and long rotary factors
        const auto want = [&](const std::string& name) {
          return tensor::View(golden.at(Cat(kind, ".", length, ".", name)));
        };
        const auto check = [&](const at::Tensor& got, const std::string& name) {
          const double difference = Difference(got, want(name));
          EXPECT_LT(difference, tolerance) << kind << length << " " << name;
          most = std::max(most, difference);
        };
        const at::Tensor ids = want("ids");
        const at::Tensor logits = loaded.model.Logits(loaded.Run(ids));
        check(SomeRows(logits), "logits");
        const at::Tensor loss =
            at::cross_entropy_loss(logits.narrow(0, 0, ids.size(0) - 1),
                                   ids.narrow(0, 1, ids.size(0) - 1), {}, at::Reduction::Sum);
        check(loss.unsqueeze(0), "loss");
        for (const auto& [path, p] : loaded.parameters.all()) p.mutable_grad() = at::Tensor();
        loss.backward();
        for (const auto& [path, p] : loaded.parameters.all()) {
          if (p.dim() == 1) {
            check(p.grad(), "grad." + path);
          } else {
            check(p.grad().slice(0, 0, {}, 37), "grad." + path + ".rows");
            check(p.grad().sum(0), "grad." + path + ".sum");
          }
        }
      }
    }
    RecordProperty(dtype == at::kFloat ? "fp32" : "fp64", Cat(most));
  }
}

// Two implementations in bf16 differ by some roundings of 2^-8 on the way.
TEST(Phi, Bf16LogitsAreNearTheReferences) {
  const auto golden = store::ReadSafetensors(kGolden / "phi_golden.safetensors");
  double most = 0;
  for (const std::string kind : {"tied", "untied"}) {
    Loaded loaded(kind == "tied" ? "phi" : "phi_untied", at::kBFloat16);
    for (const std::string length : {"40", "100"}) {
      const auto want = [&](const std::string& name) {
        return tensor::View(golden.at(Cat(kind, ".", length, ".", name)));
      };
      const at::Tensor logits = loaded.model.Logits(loaded.Run(want("ids")));
      EXPECT_EQ(logits.scalar_type(), at::kBFloat16);
      most = std::max(most, Difference(SomeRows(logits), want("bf16")));
      EXPECT_LT(Difference(SomeRows(logits), want("bf16")), 0.02) << kind << length;
    }
  }
  RecordProperty("bf16", Cat(most));
}

}  // namespace
}  // namespace whyrec::lm
