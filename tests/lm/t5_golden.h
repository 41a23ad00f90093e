// The tiny T5 models of tests/golden/make_t5.py and what transformers computes with them.
#pragma once

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "src/lm/t5.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "tests/golden/bound.h"
#include "tests/golden/difference.h"
#include "tests/golden/folder.h"

namespace whyrec::lm {

constexpr int64_t kEos = 1;  // as in every T5

// `form`: "t5" is v1.0, "t5_v11" is v1.1.
struct T5Golden {
  explicit T5Golden(const std::string& form = "t5", at::ScalarType dtype = at::kFloat)
      : tensors(store::ReadSafetensors(kGolden / (form + "_golden.safetensors"))),
        parameters(dtype),
        model(LoadT5Config(kGolden / form), parameters) {
    at::set_num_threads(1);  // operators this small only lose by a second thread
    model.Load(kGolden / form);
  }
  at::Tensor Get(const std::string& name) const { return tensor::View(tensors.at(name)); }
  at::Tensor Mask() const { return Get("mask").to(at::kBool); }
  at::Tensor Memory() const {
    return model.Encode(model.Embed(Get("ids")) + Get("added").to(parameters.dtype()), Mask(), {});
  }

  // Of a difference between two ways to compute the same logits, as Difference measures it: both
  // are sums of the reference's logits in other orders.
  double LogitBound() const {
    if (parameters.dtype() == at::kDouble) return 1e-12;
    const double largest = Get("masked.logits").abs().max().item<double>();
    return Fp32Bound(tensors, "masked.logits", largest) / std::max(1.0, largest);
  }

  store::TensorMap tensors;
  nn::Parameters parameters;
  T5 model;
};

}  // namespace whyrec::lm
