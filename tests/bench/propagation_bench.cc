// LightGCN's layer mean, forward and backward: ours beside LibTorch's COO and CSR products, and
// beside the bare reading of the same rows.
//
// propagation_bench THREADS REPEATS [P5_FILE]   P5_FILE: lines "user item item ...", of which the
// last two items are held out; default: made-up graphs of the sizes of Beauty and Sports.
//
// Each figure is the median of REPEATS runs, which take turns. The peers get what helps them: the
// symmetric matrix for the backward pass, sorted entries, no copies. "reading": every row that an
// edge names is read and added to one row, which is what the kernel does without writing results.
#include <ATen/Parallel.h>
#include <ATen/ops/_sparse_csr_tensor_unsafe.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>
#include <unordered_map>

#include "src/base/rng.h"
#include "src/graph/graphs.h"
#include "src/nn/gather_sum.h"
#include "src/nn/sparse.h"
#include "src/tensor/linear_map.h"
#include "src/tensor/parallel.h"

namespace whyrec {
namespace {

struct Histories {
  Ragged<int64_t> rows;
  int64_t items = 0;
};

Histories Read(const std::string& file) {
  std::ifstream in(file);
  Histories out;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::vector<int64_t> row;
    int64_t number = 0;
    for (words >> number; words >> number;) row.push_back(number - 1);
    row.resize(row.size() > 2 ? row.size() - 2 : 0);
    for (const int64_t item : row) out.items = std::max(out.items, item + 1);
    out.rows.Append(row);
  }
  return out;
}

// Items by Zipf's law, as sales are.
Histories MakeUp(int64_t users, int64_t items, int64_t edges) {
  Rng rng(1, "bench");
  std::vector<double> sums;
  double sum = 0;
  for (int64_t i = 0; i < items; ++i) sums.push_back(sum += 1 / std::pow(10.0 + i, 0.8));
  Histories out{{}, items};
  for (int64_t u = 0; u < users; ++u) {
    std::vector<int64_t> row(static_cast<size_t>((u + 1) * edges / users - u * edges / users));
    for (int64_t& item : row)
      item = std::lower_bound(sums.begin(), sums.end(), rng.Uniform() * sum) - sums.begin();
    out.rows.Append(row);
  }
  return out;
}

double Milliseconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

at::Tensor PeerMean(const at::Tensor& a, const at::Tensor& x, int64_t layers) {
  at::Tensor layer = x, sum = x.clone();
  for (int64_t l = 0; l < layers; ++l) sum += (layer = at::mm(a, layer));
  return sum / static_cast<double>(layers + 1);
}

// Reads every row that an entry names, in panels as the kernel does.
void ReadRows(const std::vector<Csr>& shares, const at::Tensor& x, at::Tensor& sums) {
  const int64_t width = x.size(1), panel = std::min<int64_t>(width, 64);
  for (int64_t at = 0; at < width; at += panel)
    tensor::ParallelFor(std::ssize(shares), [&](int64_t begin, int64_t end) {
      for (int64_t share = begin; share < end; ++share)
        nn::Run(
            nn::GatherSum<float, float, float>{
                .matrix = &shares[static_cast<size_t>(share)],
                .source = {x.const_data_ptr<float>() + at * x.size(0), panel, panel},
                .add = {},
                .out = {sums.mutable_data_ptr<float>() + share * panel, panel, panel}},
            0, 1);
    });
}

void Bench(const std::string& name, const Histories& histories, int64_t width, int64_t layers,
           int repeats) {
  const Csr graph = graph::InteractionGraph(histories.rows, histories.items);
  const nn::SparseOperator ours(graph, true), half(graph, true, nn::LayerStorage::kBF16);
  std::vector<float> weights;
  std::vector<Csr> shares(16);
  for (int64_t row = 0; row < graph.rows(); ++row)
    for (int64_t k = graph.offsets[static_cast<size_t>(row)];
         k < graph.offsets[static_cast<size_t>(row) + 1]; ++k) {
      weights.push_back(static_cast<float>(graph.Weight(row, k)));
      Csr& share = shares[static_cast<size_t>(16 * k / graph.entries())];
      share.indices.push_back(graph.indices[static_cast<size_t>(k)]);
    }
  for (Csr& share : shares) share.offsets.push_back(share.entries());
  const at::Tensor csr = at::_sparse_csr_tensor_unsafe(
      at::tensor(graph.offsets, at::kInt), at::tensor(graph.indices, at::kInt), at::tensor(weights),
      {graph.rows(), graph.columns}, at::TensorOptions(at::kFloat).layout(at::kSparseCsr));
  const at::Tensor coo = csr.to_sparse()._coalesced_(true);
  const at::Tensor x = at::randn({graph.rows(), width}).set_requires_grad(true);
  const at::Tensor weight = at::randn({graph.rows(), width});
  at::Tensor sums = at::randn({16, 64});
  const auto step = [&](const std::function<at::Tensor(const at::Tensor&)>& mean) {
    return [&, mean] { mean(x).backward(weight); };
  };
  const auto peer = [&](const at::Tensor& a) {
    const auto mean = [&a, layers](const at::Tensor& v) { return PeerMean(a, v, layers); };
    return step([mean](const at::Tensor& v) { return tensor::ApplyLinear(v, mean, mean); });
  };
  const std::vector<std::function<void()>> works = {
      step([&](const at::Tensor& v) { return ours.LayerMean(v, layers); }),
      step([&](const at::Tensor& v) { return half.LayerMean(v, layers); }), peer(coo), peer(csr),
      [&] {
        for (int64_t l = 0; l < 2 * layers; ++l) ReadRows(shares, x, sums);
      }};
  std::vector<std::vector<double>> times(works.size());
  for (int repeat = -1; repeat < repeats; ++repeat)
    for (size_t i = 0; i < works.size(); ++i) {
      const double took = Milliseconds(works[i]);
      if (repeat >= 0) times[i].push_back(took);
    }
  std::vector<double> medians;
  for (auto& of : times) {
    std::ranges::sort(of);
    medians.push_back(of[of.size() / 2]);
  }
  const double bytes = 2.0 * static_cast<double>(layers * graph.entries() * width) * sizeof(float);
  std::printf(
      "%-8s d=%3lld L=%lld: ours %7.1f ms (%5.1f GB/s), bf16 layers %7.1f, COO %8.1f (x%.1f), CSR "
      "%8.1f (x%.1f), reading %7.1f (%.0f %% of ours)\n",
      name.c_str(), static_cast<long long>(width), static_cast<long long>(layers), medians[0],
      bytes / medians[0] / 1e6, medians[1], medians[2], medians[2] / medians[0], medians[3],
      medians[3] / medians[0], medians[4], 100 * medians[4] / medians[0]);
}

}  // namespace
}  // namespace whyrec

int main(int count, char** words) {
  if (count != 3 && count != 4) {
    std::cerr << "propagation_bench THREADS REPEATS [P5_FILE]\n";
    return 2;
  }
  mallopt(M_MMAP_THRESHOLD, 1 << 30);  // as the program does
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  at::set_num_threads(std::atoi(words[1]));
  const int repeats = std::atoi(words[2]);
  std::vector<std::pair<std::string, whyrec::Histories>> graphs;
  if (count == 4) {
    graphs = {{"file", whyrec::Read(words[3])}};
  } else {
    graphs.emplace_back("Beauty", whyrec::MakeUp(22363, 12101, 153776));
    graphs.emplace_back("Sports", whyrec::MakeUp(35598, 18357, 225141));
  }
  for (const auto& [name, histories] : graphs) {
    whyrec::Bench(name, histories, 64, 3, repeats);
    whyrec::Bench(name, histories, 512, 4, repeats);
  }
}
