// Sparse graphs in compressed rows, and the two of ISRF.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "src/base/host_tensor.h"
#include "src/store/hdf5_file.h"

namespace whyrec::graph {

struct Csr {
  int64_t columns = 0;
  std::vector<int64_t> offsets{0};
  std::vector<int64_t> indices;  // ascending within a row
  std::vector<float> weights;

  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

Csr Transpose(const Csr& a);

// A_hat = D^-1/2 A D^-1/2 of isrf 6.4 over M = users + items + 1 nodes: row 0 isolated, row u+1
// user row u, row users+1+i item row i; one edge per training interaction (repeats add up), no self
// loops.
Csr InteractionGraph(const store::Ragged<int64_t>& train_histories, int64_t items);

// S_hat of isrf 6.5: `neighbours` is I32 [users, K] (user rows); row 0 has its self loop only;
// every other row u+1 has itself and its K neighbours with weight 1/(K+1).
Csr UserGraph(const HostTensor& neighbours);

void Save(const Csr& graph, store::Hdf5Writer& file, const std::string& name);
Csr LoadCsr(const store::Hdf5Reader& file, const std::string& name);

}  // namespace whyrec::graph
