#include "src/tensor/dist_ops.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <cstring>
#include <memory>
#include <vector>

#include "src/base/error.h"
#include "src/tensor/linear_map.h"

namespace whyrec::tensor {

cluster::Place PlaceOf(const at::Tensor& tensor) {
  if (!tensor.is_cuda()) return {};
  return {.kind = cluster::Place::Kind::kCuda, .index = tensor.get_device(), .stream = nullptr};
}

at::Tensor AllGatherGrad(const at::Tensor& rows, cluster::Communicator& communicator) {
  const int64_t own = rows.size(0);
  const auto first = std::make_shared<int64_t>(0);  // our rows' place; known once all have sent
  const auto gather = [&communicator, first](const at::Tensor& x) {
    const at::Tensor host = x.cpu().contiguous();
    const auto blocks = communicator.AllGather(host.const_data_ptr(), host.nbytes());
    std::vector<int64_t> shape = host.sizes().vec();
    shape[0] = 1;
    const size_t row_bytes =
        static_cast<size_t>(c10::multiply_integers(shape)) * host.element_size();
    std::vector<at::Tensor> parts;
    for (size_t rank = 0; rank < blocks.size(); ++rank) {
      WR_CHECK(blocks[rank].size() % row_bytes == 0, "rank ", rank, " sent ", blocks[rank].size(),
               " bytes; a row has ", row_bytes);
      shape[0] = static_cast<int64_t>(blocks[rank].size() / row_bytes);
      if (static_cast<int>(rank) < communicator.rank()) *first += shape[0];
      parts.push_back(at::empty(shape, host.options()));
      std::memcpy(parts.back().mutable_data_ptr(), blocks[rank].data(), blocks[rank].size());
    }
    return at::cat(parts).to(x.device());
  };
  return ApplyLinear(rows, gather, [first, own](const at::Tensor& gradient) {
    return gradient.narrow(0, *first, own);
  });
}

}  // namespace whyrec::tensor
