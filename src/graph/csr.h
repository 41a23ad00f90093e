// Sparse matrices in compressed rows (CSR), and the two graphs of ISRF.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "src/base/host_tensor.h"
#include "src/base/ragged.h"

namespace whyrec::store {
class Hdf5Reader;
class Hdf5Writer;
}  // namespace whyrec::store

namespace whyrec::graph {

// Row r holds the entries offsets[r] .. offsets[r + 1] of `indices` and `weights`.
struct Csr {
  int64_t columns = 0;
  std::vector<int64_t> offsets{0};  // [rows + 1]
  std::vector<int64_t> indices;     // column of each entry, ascending within a row
  std::vector<float> weights;       // parallel to indices

  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

Csr Transpose(const Csr& a);

// ISRF equation 3: A_hat = D^-1/2 A D^-1/2, [M, M] over M = users + items + 1 nodes. Node 0 ("no
// id") is isolated, node u + 1 is user row u, node users + 1 + i is item row i. One edge per
// training interaction (repeats add up), no self loops.
Csr InteractionGraph(const Ragged<int64_t>& train_histories, int64_t items);

// ISRF equations 6 and 7 as the published code has them: S_hat, [users + 1, users + 1]. Row 0 has
// its self loop only; every other row u + 1 has itself and the K neighbours of user row u, each
// with weight 1/(K + 1). `neighbours` I32 [users, K] holds user rows. Not symmetric.
Csr UserGraph(const HostTensor& neighbours);

// The group `name` of an HDF5 file: <name>/offsets, indices, weights, columns.
void Save(const Csr& graph, store::Hdf5Writer& file, const std::string& name);
Csr LoadCsr(const store::Hdf5Reader& file, const std::string& name);

}  // namespace whyrec::graph
