// Times a step of Phase I (two encoders, InfoNCE, AdamW) on a folder of weights and a file of
// inputs; tests/bench/info_nce_bench.py makes both, runs this beside PyTorch and prints the table.
//
// info_nce_bench FOLDER INPUTS THREADS REPEATS   -> {"ms", "loss"} of the fastest and the first
// step
#include <ATen/Parallel.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

#include "src/lm/bert.h"
#include "src/nn/info_nce.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "src/train/optimizer.h"

namespace whyrec {
namespace {

using Ids = std::vector<std::vector<int64_t>>;

// Rows without their padding.
Ids Texts(const store::TensorMap& inputs, const std::string& name) {
  const HostTensor& ids = inputs.at(name + ".ids");
  const auto lengths = inputs.at(name + ".lengths").values<int64_t>();
  Ids texts;
  for (int64_t i = 0; i < ids.dim(0); ++i) {
    const auto row = ids.row<int64_t>(i);
    texts.emplace_back(row.begin(), row.begin() + lengths[static_cast<size_t>(i)]);
  }
  return texts;
}

void Bench(const std::string& folder, const std::string& file, int64_t repeats) {
  const store::TensorMap inputs = store::ReadSafetensors(file);
  const Ids behaviours = Texts(inputs, "behaviour"), rationales = Texts(inputs, "rationale");
  const at::Tensor negatives = tensor::View(inputs.at("negatives"));
  nn::Parameters parameters;
  const lm::BertConfig config = lm::LoadBertConfig(folder);
  lm::Bert rationale(config, parameters, "rationale."), behaviour(config, parameters, "behaviour.");
  rationale.Load(folder);
  behaviour.Load(folder);
  const at::Tensor log_tau = parameters.Add("log_tau", {});
  nn::Fill(log_tau, std::log(0.07));
  train::AdamW optimizer(parameters, {.learning_rate = 2e-5, .weight_decay = 0.01});
  double fastest = std::numeric_limits<double>::infinity(), first = 0;
  for (int64_t i = 0; i <= repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    optimizer.ZeroGrad();
    const at::Tensor loss =
        nn::InfoNce(behaviour.Forward(behaviours, lm::Pooling::kCls, {}),
                    rationale.Forward(rationales, lm::Pooling::kCls, {}), negatives, log_tau);
    loss.backward();
    optimizer.Step();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (i == 0)
      first = loss.item<double>();
    else
      fastest = std::min(fastest, took.count());
  }
  std::cout << nlohmann::json{{"ms", fastest}, {"loss", first}}.dump() << std::endl;
}

}  // namespace
}  // namespace whyrec

int main(int count, char** words) {
  if (count != 5) {
    std::cerr << "info_nce_bench FOLDER INPUTS THREADS REPEATS\n";
    return 2;
  }
  at::set_num_threads(std::atoi(words[3]));
  whyrec::Bench(words[1], words[2], std::atoll(words[4]));
}
