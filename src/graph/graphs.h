// The two graphs of ISRF, normalised.
#pragma once

#include <string>

#include "src/base/csr.h"
#include "src/base/host_tensor.h"
#include "src/base/ragged.h"

namespace whyrec::store {
class Hdf5Reader;
class Hdf5Writer;
}  // namespace whyrec::store

namespace whyrec::graph {

// ISRF equation 3: A_hat = D^-1/2 A D^-1/2, [M, M] over M = users + items + 1 nodes. Node 0 ("no
// id") is isolated, node u + 1 is user row u, node users + 1 + i is item row i. One edge per
// training interaction (repeats add up), no self loops. Error(kData) beyond 2^31 - 1 nodes.
Csr InteractionGraph(const Ragged<int64_t>& train_histories, int64_t items);

// ISRF equations 6 and 7 as the published code has them: S_hat, [users + 1, users + 1]. Row 0 has
// its self loop only; every other row u + 1 has itself and the K neighbours of user row u, each
// with weight 1/(K + 1). `neighbours` I32 [users, K] holds user rows. Not symmetric.
Csr UserGraph(const HostTensor& neighbours);

// The group `name` of an HDF5 file; docs/formats.md lists its datasets.
void Save(const Csr& graph, store::Hdf5Writer& file, const std::string& name);
Csr LoadCsr(const store::Hdf5Reader& file, const std::string& name);

}  // namespace whyrec::graph
