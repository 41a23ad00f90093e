#include "src/tensor/bridge.h"

#include <ATen/ops/from_blob.h>

#include <array>

namespace whyrec::tensor {
namespace {

constexpr std::array<std::pair<DType, at::ScalarType>, 7> kTypes = {{{DType::kF32, at::kFloat},
                                                                     {DType::kF64, at::kDouble},
                                                                     {DType::kF16, at::kHalf},
                                                                     {DType::kBF16, at::kBFloat16},
                                                                     {DType::kI64, at::kLong},
                                                                     {DType::kI32, at::kInt},
                                                                     {DType::kU8, at::kByte}}};

}  // namespace

at::ScalarType ScalarTypeOf(DType dtype) {
  for (const auto& [ours, theirs] : kTypes) {
    if (ours == dtype) return theirs;
  }
  Fail(Exit::kInternal, "no scalar type for ", NameOf(dtype));
}

DType DTypeOf(at::ScalarType type) {
  for (const auto& [ours, theirs] : kTypes) {
    if (theirs == type) return ours;
  }
  Fail(Exit::kInternal, "no DType for ", c10::toString(type));
}

at::Tensor View(const HostTensor& host) {
  return at::from_blob(
      host.bytes(), host.shape(), [host](void*) {},
      at::TensorOptions().dtype(ScalarTypeOf(host.dtype())));
}

HostTensor ToHost(const at::Tensor& tensor) {
  auto kept = std::make_shared<at::Tensor>(tensor.detach().cpu().contiguous());
  return HostTensor::Borrow(DTypeOf(kept->scalar_type()), kept->sizes().vec(), kept->data_ptr(),
                            kept);
}

std::map<std::string, HostTensor> ToHost(
    const std::vector<std::pair<std::string, at::Tensor>>& named) {
  std::map<std::string, HostTensor> out;
  for (const auto& [name, value] : named) out[name] = ToHost(value.detach());
  return out;
}

}  // namespace whyrec::tensor
