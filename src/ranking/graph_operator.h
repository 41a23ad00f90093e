// A stored graph (Csr) as a sparse operator on node tables.
#pragma once

#include "src/graph/csr.h"
#include "src/nn/sparse.h"

namespace whyrec::ranking {

inline nn::SparseOperator Operator(const graph::Csr& a, bool symmetric) {
  return {HostTensor::From(a.offsets, {static_cast<int64_t>(a.offsets.size())}),
          HostTensor::From(a.indices, {static_cast<int64_t>(a.indices.size())}),
          HostTensor::From(a.weights, {static_cast<int64_t>(a.weights.size())}), a.columns,
          symmetric};
}

}  // namespace whyrec::ranking
