#include "src/base/host_tensor.h"

#include <cstdlib>
#include <cstring>

namespace whyrec {

size_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kU8:
      return 1;
  }
  return 0;
}

const char* NameOf(DType dtype) {
  constexpr const char* kNames[] = {"F32", "F64", "F16", "BF16", "I64", "I32", "U8"};
  return kNames[static_cast<int>(dtype)];
}

int64_t HostTensor::numel() const {
  if (!bytes_) return 0;
  int64_t n = 1;
  for (int64_t d : shape_) n *= d;
  return n;
}

HostTensor HostTensor::Zeros(DType dtype, std::vector<int64_t> shape) {
  size_t n = SizeOf(dtype);
  for (int64_t d : shape) n *= static_cast<size_t>(d);
  void* bytes = std::calloc(n ? n : 1, 1);
  if (bytes == nullptr) Fail(Exit::kInternal, "out of memory: ", n, " bytes");
  return Borrow(dtype, std::move(shape), bytes, std::shared_ptr<void>(bytes, std::free));
}

HostTensor HostTensor::Borrow(DType dtype, std::vector<int64_t> shape, void* bytes,
                              std::shared_ptr<void> owner) {
  HostTensor out;
  out.dtype_ = dtype;
  out.shape_ = std::move(shape);
  out.bytes_ = std::shared_ptr<void>(std::move(owner), bytes);
  return out;
}

HostTensor HostTensor::Clone() const {
  HostTensor out = Zeros(dtype_, shape_);
  std::memcpy(out.bytes(), bytes(), nbytes());
  return out;
}

std::string ShapeString(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

}  // namespace whyrec
