// Times our T5 on a folder of weights and a file of inputs; tests/bench/t5_bench.py makes both,
// runs this beside the peers and prints the table.
//
// t5_bench FOLDER INPUTS THREADS REPEATS   -> a JSON line a case: {"name", "ms"} per batch
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

#include "src/base/error.h"
#include "src/decode/beam_search.h"
#include "src/lm/candidate_scores.h"
#include "src/lm/t5.h"
#include "src/nn/losses.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "src/train/optimizer.h"

namespace whyrec {
namespace {

constexpr int64_t kNewTokens = 8;

// One run that does not count, then the fastest of `repeats`.
double FastestMs(int64_t repeats, const std::function<void()>& body) {
  double fastest = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i <= repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (i > 0) fastest = std::min(fastest, took.count());
  }
  return fastest;
}

class Bench {
 public:
  Bench(const std::string& folder, const std::string& inputs, int64_t repeats)
      : inputs_(store::ReadSafetensors(inputs)),
        model_(lm::LoadT5Config(folder), parameters_),
        repeats_(repeats) {
    model_.Load(folder);
    const auto numbers = inputs_.at("numbers").values<int64_t>();  // pieces of item numbers
    for (const int64_t piece : numbers)
      if (piece > 1 && std::ranges::find(pieces_, piece) == pieces_.end()) pieces_.push_back(piece);
    decode::Trie::Builder builder;
    for (int64_t row = 0; row < inputs_.at("numbers").dim(0); ++row) {
      std::vector<int64_t> columns;
      for (const int64_t piece : inputs_.at("numbers").row<int64_t>(row))
        if (piece > 1) columns.push_back(std::ranges::find(pieces_, piece) - pieces_.begin());
      builder.Insert(columns);
      items_.push_back(std::move(columns));
    }
    trie_ = builder.Build();
  }

  void Beams(const std::string& task, int64_t beams, bool restricted) const {
    const c10::NoGradGuard no_grad;
    const at::Tensor ids = tensor::View(inputs_.at(task + ".ids")), mask = at::ones_like(ids).eq(1);
    const decode::BeamOptions options{
        .beams = beams, .returned = 10, .max_new_tokens = kNewTokens, .length_penalty = 1};
    const at::Tensor pieces = at::tensor(pieces_);
    std::vector<std::vector<decode::Hypothesis>> found;
    const auto run = [&] {
      const at::Tensor memory = model_.Encode(model_.Embed(ids), mask, {});
      lm::T5::Cache cache = model_.Start(memory, std::nullopt, restricted ? pieces : at::Tensor());
      const auto step = [&](const decode::StepInput& input) {
        if (!restricted) return model_.Step(cache, input);
        decode::StepInput in_vocabulary = input;
        in_vocabulary.tokens = pieces.index_select(0, input.tokens);
        at::Tensor logits = model_.Step(cache, in_vocabulary);
        logits.select(1, 0).fill_(-std::numeric_limits<float>::infinity());
        return logits;
      };
      const std::vector<const decode::Trie*> tries(
          restricted ? static_cast<size_t>(ids.size(0)) : size_t{0}, &trie_);
      found = decode::BeamSearch(step, ids.size(0), options, tries);
    };
    nlohmann::json line = {{"name", Cat(task, restricted ? ".trie" : ".free")},
                           {"ms", FastestMs(repeats_, run)}};
    for (const auto& of_sample : found)
      line["best"].push_back(of_sample.empty() ? std::vector<int64_t>() : of_sample[0].tokens);
    std::cout << line.dump() << std::endl;
  }

  // A hundred candidates a user.
  void Exact() const {
    const c10::NoGradGuard no_grad;
    const at::Tensor ids = tensor::View(inputs_.at("direct.ids")), mask = at::ones_like(ids).eq(1);
    std::vector<lm::Candidates> candidates(static_cast<size_t>(ids.size(0)));
    for (size_t b = 0; b < candidates.size(); ++b)
      for (size_t c = 0; c < 100; ++c)
        candidates[b].push_back(items_[(b * 100 + c) * 7 % items_.size()]);
    const auto run = [&] {
      const at::Tensor memory = model_.Encode(model_.Embed(ids), mask, {});
      lm::RankCandidates(model_, memory, std::nullopt, candidates, {.pieces = pieces_});
    };
    std::cout << nlohmann::json{{"name", "direct.exact"}, {"ms", FastestMs(repeats_, run)}}.dump()
              << std::endl;
  }

  void TrainingStep() {
    const at::Tensor ids = tensor::View(inputs_.at("sequential.ids"));
    const at::Tensor targets = tensor::View(inputs_.at("targets")), mask = at::ones_like(ids).eq(1);
    const at::Tensor start = at::zeros({targets.size(0), 1}, targets.options());
    const at::Tensor read = at::cat({start, targets.narrow(1, 0, targets.size(1) - 1)}, 1);
    train::AdamW optimizer(parameters_, {.learning_rate = 1e-4, .weight_decay = 0.01});
    int64_t step = 0;
    const auto run = [&] {
      const nn::Draws draws = nn::DrawsOf(1, step++, 0, ids.size(0));
      const at::Tensor memory = model_.Encode(model_.Embed(ids), mask, draws);
      const at::Tensor logits = model_.Decode(read, memory, std::nullopt, draws);
      const nn::LossSum loss = nn::CrossEntropySum(logits, targets, true);
      (loss.sum / loss.count).backward();
      optimizer.Step();
      optimizer.ZeroGrad();
    };
    std::cout << nlohmann::json{{"name", "train"}, {"ms", FastestMs(repeats_, run)}}.dump()
              << std::endl;
  }

 private:
  store::TensorMap inputs_;
  nn::Parameters parameters_;
  lm::T5 model_;
  int64_t repeats_;
  std::vector<int64_t> pieces_ = {0, 1};
  lm::Candidates items_;
  decode::Trie trie_;
};

}  // namespace
}  // namespace whyrec

int main(int count, char** words) {
  if (count != 5) {
    std::cerr << "t5_bench FOLDER INPUTS THREADS REPEATS\n";
    return 2;
  }
  try {
    at::set_num_threads(std::stoi(words[3]));
    whyrec::Bench bench(words[1], words[2], std::stoll(words[4]));
    for (const bool restricted : {false, true}) {
      bench.Beams("sequential", 30, restricted);
      bench.Beams("direct", 20, restricted);
    }
    bench.Exact();
    bench.TrainingStep();
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
