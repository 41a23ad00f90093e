// HostTensor: the only tensor type in code that does not see LibTorch, and in interfaces between
// that code and code that does. Dense, row-major, in host memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/base/error.h"

namespace whyrec {

enum class DType { kF32, kF64, kF16, kBF16, kI64, kI32, kU8 };
inline constexpr DType kDTypes[] = {DType::kF32, DType::kF64, DType::kF16, DType::kBF16,
                                    DType::kI64, DType::kI32, DType::kU8};

size_t SizeOf(DType dtype);
const char* NameOf(DType dtype);

template <typename T>
constexpr DType DTypeOf();
template <>
constexpr DType DTypeOf<float>() {
  return DType::kF32;
}
template <>
constexpr DType DTypeOf<double>() {
  return DType::kF64;
}
template <>
constexpr DType DTypeOf<int64_t>() {
  return DType::kI64;
}
template <>
constexpr DType DTypeOf<int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType DTypeOf<uint8_t>() {
  return DType::kU8;
}

// Copies share the bytes (as at::Tensor does); Clone() makes new ones.
class HostTensor {
 public:
  HostTensor() = default;
  static HostTensor Zeros(DType dtype, std::vector<int64_t> shape);
  // Bytes owned by somebody else; `owner` keeps them alive (a memory map, another tensor).
  static HostTensor Borrow(DType dtype, std::vector<int64_t> shape, void* bytes,
                           std::shared_ptr<void> owner);
  template <typename T>
  static HostTensor From(const std::vector<T>& values, std::vector<int64_t> shape) {
    HostTensor out = Zeros(DTypeOf<T>(), std::move(shape));
    WR_CHECK(out.numel() == static_cast<int64_t>(values.size()), out.numel(),
             " != ", values.size());
    std::copy(values.begin(), values.end(), out.values<T>().begin());
    return out;
  }
  HostTensor Clone() const;

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t dim(size_t axis) const { return shape_.at(axis); }
  int64_t numel() const;
  size_t nbytes() const { return static_cast<size_t>(numel()) * SizeOf(dtype_); }
  void* bytes() const { return bytes_.get(); }
  bool defined() const { return bytes_ != nullptr; }

  // All values, row-major. Error(kInternal) when T is not the stored type.
  template <typename T>
  std::span<T> values() const {
    WR_CHECK(DTypeOf<T>() == dtype_, "tensor holds ", NameOf(dtype_));
    return {static_cast<T*>(bytes_.get()), static_cast<size_t>(numel())};
  }
  // Row i of a matrix.
  template <typename T>
  std::span<T> row(int64_t i) const {
    const size_t width = static_cast<size_t>(numel() / dim(0));
    return values<T>().subspan(static_cast<size_t>(i) * width, width);
  }

 private:
  DType dtype_ = DType::kF32;
  std::vector<int64_t> shape_;
  std::shared_ptr<void> bytes_;
};

std::string ShapeString(const std::vector<int64_t>& shape);  // "[2, 3]"

}  // namespace whyrec
