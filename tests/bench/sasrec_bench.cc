// Times epochs of our SASRec on histories from a file; tests/bench/sasrec_bench.py makes them, runs
// this beside a training loop in Python and prints both.
//
// sasrec_bench HISTORIES THREADS EPOCHS   -> a JSON line: "seconds" of an epoch, "last" loss
// HISTORIES: safetensors with offsets i64 [U+1], values i64 [n] item rows, items i64 [1].
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "src/base/log.h"
#include "src/config/run_config.h"
#include "src/nn/numeric.h"
#include "src/store/safetensors.h"
#include "src/systems/system.h"

namespace whyrec {
namespace {

namespace fs = std::filesystem;

// Training histories with two held-out items that nothing asks for.
data::Split ReadSplit(const store::TensorMap& file) {
  data::Split split;
  const auto offsets = file.at("offsets").values<int64_t>();
  const auto values = file.at("values").values<int64_t>();
  const int64_t items = file.at("items").values<int64_t>()[0];
  for (int64_t i = 0; i < items; ++i) split.train.items.push_back({.id = Cat("i", i)});
  for (size_t u = 0; u + 1 < offsets.size(); ++u)
    split.train.histories.Append(values.subspan(static_cast<size_t>(offsets[u]),
                                                static_cast<size_t>(offsets[u + 1] - offsets[u])));
  data::HeldOut held;
  held.items.assign(offsets.size() - 1, 0);
  for (size_t u = 0; u < held.items.size(); ++u) held.candidates.Append(std::vector<int64_t>{0});
  split.labels = data::LabelStore(held, held, {});
  return split;
}

// Seconds of each epoch: of the whole program's training, with the validation on a single user and
// a checkpoint at the end of each.
void Run(const store::TensorMap& file, int64_t epochs) {
  SetProgressMode(ProgressMode::kNone);
  const data::Split split = ReadSplit(file);
  const fs::path folder = fs::temp_directory_path() / Cat("sasrec_bench.", ::getpid());
  fs::create_directories(folder);
  std::ofstream(folder / "run.txtpb")
      << "train { global_batch: 128 learning_rate: 1e-3 beta2: 0.98 validation_users: 1 "
         "patience: 1000000 checkpoint_steps: 1000000 }\n";
  std::vector<double> seconds;
  for (const int64_t count : {int64_t{0}, epochs}) {  // first one epoch that does not count
    const auto config =
        config::Load(folder / "run.txtpb", {Cat("train.epochs=", std::max<int64_t>(1, count))});
    const systems::System& system = systems::FindSystem("sasrec");
    const auto recommender = system.build(
        {.config = config, .train = split.train, .knobs = systems::KnobValues(system, {})});
    const auto self = cluster::MakeSelf();
    const fs::path into = folder / Cat(count);
    fs::create_directories(into);
    ranking::TrainContext context{.labels = split.labels,
                                  .negative_exclusion = split.train.histories,
                                  .comm = *self,
                                  .folder = into};
    const auto begin = std::chrono::steady_clock::now();
    recommender->Train(context);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (count > 0) seconds.push_back(took.count() / static_cast<double>(count));
  }
  std::ifstream losses(folder / Cat(epochs) / "losses.csv");
  std::string line, last;
  while (std::getline(losses, line)) last = line;
  std::cout << nlohmann::json{{"seconds", seconds[0]}, {"last", last}}.dump() << std::endl;
  fs::remove_all(folder);
}

}  // namespace
}  // namespace whyrec

int main(int count, char** words) {
  if (count != 4) {
    std::cerr << "sasrec_bench HISTORIES THREADS EPOCHS\n";
    return 2;
  }
  try {
    whyrec::nn::SetThreads(std::stoi(words[2]));
    whyrec::Run(whyrec::store::ReadSafetensors(words[1]), std::stoll(words[3]));
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
