#include "cluster/reduce.h"

namespace whyrec::cluster {
namespace {

template <typename T>
void AccumulateAs(void* into, const void* from, int64_t count, Reduce op) {
  T* a = static_cast<T*>(into);
  const T* b = static_cast<const T*>(from);
  if (op == Reduce::kSum) {
    for (int64_t i = 0; i < count; ++i) a[i] += b[i];
  } else {
    for (int64_t i = 0; i < count; ++i) a[i] = b[i] > a[i] || b[i] != b[i] ? b[i] : a[i];
  }
}

}  // namespace

void Accumulate(void* into, const void* from, int64_t count, DType dtype, Reduce op) {
  switch (dtype) {
    case DType::kF32:
      return AccumulateAs<float>(into, from, count, op);
    case DType::kF64:
      return AccumulateAs<double>(into, from, count, op);
    case DType::kI64:
      return AccumulateAs<int64_t>(into, from, count, op);
    default:
      Fail(Exit::kInternal, "AllReduce takes F32, F64 and I64, not ", NameOf(dtype));
  }
}

}  // namespace whyrec::cluster
