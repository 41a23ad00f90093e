// Times one gradient step of a T5-small on several ranks: forward and backward alone, then with the
// gradients summed one after the other, during the backward pass, by rows, and as bf16.
//
// mpirun -n 2 reducer_bench [USERS SAMPLES REPEATS]   or   reducer_bench ... : two Thread ranks
#include <ATen/Parallel.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <vector>

#include "src/base/rng.h"
#include "src/lm/t5.h"
#include "src/nn/losses.h"
#include "src/train/reducer.h"

namespace whyrec {
namespace {

struct Sizes {
  int64_t users = 22364, samples = 4, repeats = 5;
};

// T5-small's parameters and a table of users of which each sample reads one row.
class Step {
 public:
  Step(const Sizes& sizes, int rank) : model_({.dropout = 0}, parameters_, "t5.") {
    const auto draw = [&](int64_t rows, int64_t columns, int64_t below, const char* what) {
      Rng rng(1, what, static_cast<uint64_t>(rank));
      std::vector<int64_t> ids(static_cast<size_t>(rows * columns));
      for (int64_t& id : ids) id = rng.Between(2, below - 1);
      return at::tensor(ids).view({rows, columns});
    };
    table_ = parameters_.Add("users", {sizes.users, model_.config().d_model});
    model_.Initialise(1);
    ids_ = draw(sizes.samples, 64, 32128, "ids");
    users_ = draw(sizes.samples, 1, sizes.users, "users");
    targets_ = draw(sizes.samples, 8, 32128, "targets");
  }

  void Gradients() {
    for (const auto& [path, p] : parameters_.all()) p.mutable_grad() = at::Tensor();
    const at::Tensor mask = at::ones_like(ids_).eq(1);
    const at::Tensor memory =
        model_.Encode(model_.Embed(ids_) + at::embedding(table_, users_), mask, {});
    nn::CrossEntropySum(model_.Decode(targets_, memory, mask, {}), targets_, false).sum.backward();
  }

  nn::Parameters& parameters() { return parameters_; }

 private:
  nn::Parameters parameters_;
  lm::T5 model_;
  at::Tensor table_, ids_, users_, targets_;
};

// Fastest and median, and what one step makes the rank receive.
void Time(const char* name, Step& step, cluster::Communicator& comm, const Sizes& sizes,
          const train::ReducerOptions* options) {
  std::optional<train::Reducer> reducer;
  if (options) reducer.emplace(step.parameters(), comm, *options);
  std::vector<double> times;
  train::Traffic before, after;
  for (int64_t i = -2; i < sizes.repeats; ++i) {  // two that do not count: the plan is made there
    comm.Barrier();
    const auto begin = std::chrono::steady_clock::now();
    if (reducer) before = reducer->traffic(), reducer->Begin("bench");
    step.Gradients();
    if (reducer) reducer->Finish(), after = reducer->traffic();
    comm.Barrier();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (i >= 0) times.push_back(took.count());
  }
  std::sort(times.begin(), times.end());
  if (comm.rank() != 0) return;
  const auto megabytes = [](int64_t now, int64_t then) {
    return static_cast<double>(now - then) / 1e6;
  };
  std::printf(
      "%-28s %6.0f ms, median %6.0f, %7.1f MB dense %7.3f MB rows %3lld of %lld buckets early\n",
      name, times.front(), times[times.size() / 2],
      megabytes(after.dense_bytes, before.dense_bytes),
      megabytes(after.row_bytes, before.row_bytes),
      static_cast<long long>(after.early_buckets - before.early_buckets),
      static_cast<long long>(after.buckets - before.buckets));
  std::fflush(stdout);
}

void Bench(cluster::Communicator& comm, const Sizes& sizes) {
  at::set_num_threads(1);
  Step step(sizes, comm.rank());
  Time("no sums", step, comm, sizes, nullptr);
  const std::vector<std::pair<const char*, train::ReducerOptions>> cases = {
      {"dense, after backward", {.overlap = false, .by_rows = false}},
      {"dense, during backward", {.by_rows = false}},
      {"rows, after backward", {.overlap = false}},
      {"rows, during backward", {}},
      {"bf16 rows, during backward", {.bf16 = true}}};
  for (const auto& [name, options] : cases) Time(name, step, comm, sizes, &options);
}

}  // namespace
}  // namespace whyrec

int main(int argc, char** argv) {
  using namespace whyrec;
  Sizes sizes;
  if (argc == 4) sizes = {std::atoll(argv[1]), std::atoll(argv[2]), std::atoll(argv[3])};
  const cluster::Launch launch = cluster::ReadLaunch();
  const auto body = [&](cluster::Communicator& comm) { Bench(comm, sizes); };
  if (launch.size > 1)
    body(*cluster::Connect(launch));
  else
    cluster::RunThreads(2, body);
}
