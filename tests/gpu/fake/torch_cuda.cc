// LibTorch's CUDA library without a GPU, found as libtorch_cuda.so: what the device computes is
// computed by the CPU's operators. It is stricter than a GPU where mistakes hide. Device memory
// has addresses that fault when the host reads them, and an operator that gets a tensor of the host
// beside one of the device throws (scalars may come from anywhere, as on a GPU).
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/SparseCsrTensorImpl.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_sparse_csr_tensor_unsafe.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rsqrt.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include "src/nn/at.h"
#include "tests/gpu/fake/torch_cuda.h"

namespace {

const at::Device kDevice(at::kCUDA, 0);

// --- memory ------------------------------------------------------------------------------------

constexpr size_t kSpace = size_t{1} << 42;  // addresses are never used again

struct Block {
  std::unique_ptr<std::byte[]> bytes;
  std::byte* address;
  size_t size;
};

// Blocks by address.
struct Blocks {
  std::mutex mutex;
  std::map<std::byte*, Block*> all;
  std::byte* next = static_cast<std::byte*>(
      mmap(nullptr, kSpace, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
};

Blocks& Live() {
  static auto* const blocks = new Blocks;  // outlives every tensor
  return *blocks;
}

void Free(void* context) {
  auto* block = static_cast<Block*>(context);
  const std::lock_guard lock(Live().mutex);
  Live().all.erase(block->address);
  delete block;
}

struct Memory final : c10::DeviceAllocator {
  at::DataPtr allocate(size_t size) override {
    if (size == 0) return {nullptr, kDevice};
    constexpr size_t kAlign = 512;
    Blocks& live = Live();
    const std::lock_guard lock(live.mutex);
    auto* block = new Block{std::make_unique<std::byte[]>(size), live.next, size};
    live.next += (size + kAlign - 1) / kAlign * kAlign;
    live.all[block->address] = block;
    return {block->address, block, &Free, kDevice};
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override {
    return {size_t{1} << 30, size_t{1} << 30};
  }
  bool initialized() override { return true; }
  void copy_data(void*, const void*, size_t) const override { TORCH_CHECK(false, "not needed"); }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const at::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override { return {}; }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
};

Memory memory;
REGISTER_ALLOCATOR(at::kCUDA, &memory)

// --- tensors -----------------------------------------------------------------------------------

at::Tensor Shaped(at::Storage storage, c10::DispatchKey place, const at::Tensor& like) {
  auto tensor = c10::make_intrusive<at::TensorImpl>(std::move(storage), c10::DispatchKeySet(place),
                                                    like.dtype());
  tensor->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  return at::Tensor(std::move(tensor));
}

// The same bytes as a tensor of the host.
at::Tensor Shared(const at::Tensor& device) {
  const at::Storage& storage = device.storage();
  const auto* block = static_cast<const Block*>(storage.data_ptr().get_context());
  void* bytes = block == nullptr ? nullptr : block->bytes.get();
  at::DataPtr data(
      bytes, new at::Storage(storage), [](void* kept) { delete static_cast<at::Storage*>(kept); },
      at::kCPU);
  return Shaped({at::Storage::use_byte_size_t(), storage.nbytes(), std::move(data)},
                c10::DispatchKey::CPU, device);
}

// A copy on the device.
at::Tensor Moved(const at::Tensor& host) {
  const size_t size = host.storage().nbytes();
  at::Storage storage(at::Storage::use_byte_size_t(), size, &memory, /*resizable=*/true);
  if (size > 0) {
    const auto* block = static_cast<const Block*>(storage.data_ptr().get_context());
    std::memcpy(block->bytes.get(), host.storage().data(), size);
  }
  return Shaped(std::move(storage), c10::DispatchKey::CUDA, host);
}

// --- operators ---------------------------------------------------------------------------------

// One call of an operator: its tensors of the device, lent to the host.
class Call {
 public:
  explicit Call(const c10::OperatorHandle& op) : op_(op) {}

  void Run(torch::jit::Stack* stack) {
    const auto& arguments = op_.schema().arguments();
    const size_t first = stack->size() - arguments.size();
    for (size_t i = 0; i < arguments.size(); ++i) {
      const auto* alias = arguments[i].alias_info();
      Lend((*stack)[first + i], alias != nullptr && alias->isWrite());
    }
    op_.callBoxed(stack);
    for (const Lent& lent : lent_) TakeNewSize(lent);
    for (size_t i = first; i < stack->size(); ++i) TakeBack((*stack)[i]);
  }

 private:
  struct Lent {
    at::Tensor device, host;
  };

  at::Tensor Lend(const at::Tensor& x, bool written) {
    if (!x.defined()) return x;
    if (!x.is_cuda()) {
      TORCH_CHECK(x.dim() == 0,
                  "Expected all tensors to be on the same device: ", op_.schema().name(),
                  " got one of the CPU beside those of ", kDevice);
      return x;
    }
    // Operators give an empty result the size it needs.
    lent_.push_back(
        {x, written && x.numel() == 0 ? at::empty({0}, x.options().device(at::kCPU)) : Shared(x)});
    return lent_.back().host;
  }

  void Lend(c10::IValue& value, bool written) {
    if (value.isTensor()) {
      value = Lend(value.toTensor(), written);
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> list = value.toTensorVector();
      for (at::Tensor& x : list) x = Lend(x, written);
      value = list;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const auto& x : value.toOptionalTensorVector())
        list.push_back(x ? std::optional(Lend(*x, written)) : std::nullopt);
      value = list;
    } else if (value.isDevice()) {
      value = at::Device(at::kCPU);
    }
  }

  static void TakeNewSize(const Lent& lent) {
    if (lent.device.numel() > 0 || lent.host.numel() == 0) return;
    const at::Tensor moved = Moved(lent.host);
    lent.device.unsafeGetTensorImpl()->set_storage_keep_dtype(moved.storage());
    lent.device.unsafeGetTensorImpl()->set_sizes_and_strides(moved.sizes(), moved.strides());
  }

  // In place, a view, or new.
  at::Tensor TakeBack(const at::Tensor& x) const {
    if (!x.defined()) return x;
    for (const Lent& lent : lent_)
      if (x.is_same(lent.host)) return lent.device;
    for (const Lent& lent : lent_)
      if (x.storage().data() != nullptr && x.storage().data() == lent.host.storage().data())
        return Shaped(lent.device.storage(), c10::DispatchKey::CUDA, x);
    return Moved(x);
  }

  void TakeBack(c10::IValue& value) const {
    if (value.isTensor()) {
      value = TakeBack(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> list = value.toTensorVector();
      for (at::Tensor& x : list) x = TakeBack(x);
      value = list;
    }
  }

  const c10::OperatorHandle& op_;
  std::vector<Lent> lent_;
};

void OnTheHost(const c10::OperatorHandle& op, torch::jit::Stack* stack) { Call(op).Run(stack); }

at::Tensor Empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   c10::dtype_or_default(dtype), format);
}

at::Tensor EmptyStrided(at::IntArrayRef size, at::IntArrayRef stride,
                        std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                        std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory,
                                           c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           c10::dtype_or_default(dtype));
}

// The one operator that may see both places.
at::Tensor& Copy(at::Tensor& self, const at::Tensor& source, bool /*non_blocking*/) {
  const auto host = [](const at::Tensor& x) { return x.is_cuda() ? Shared(x) : x; };
  host(self).copy_(host(source));
  return self;
}

// What follows stands in the CUDA library alone.

at::Tensor CsrTimes(const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(b.is_cuda(), "Expected all tensors to be on the same device: mm");
  const auto& csr = *static_cast<const at::SparseCsrTensorImpl*>(a.unsafeGetTensorImpl());
  const at::Tensor values = Shared(csr.values());
  return Moved(at::mm(
      at::_sparse_csr_tensor_unsafe(Shared(csr.compressed_indices()), Shared(csr.plain_indices()),
                                    values, a.sizes(), values.options().layout(at::kSparseCsr)),
      Shared(b)));
}

at::Tensor WideBmm(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
  return at::bmm(a.to(type), b.to(type));
}

at::Tensor Wide(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

// x [..,n], weight [n] or nothing -> y [..,n], 1 / sqrt(mean x^2 + eps) [..,1].
std::tuple<at::Tensor, at::Tensor> RmsNorm(const at::Tensor& x, at::IntArrayRef,
                                           const std::optional<at::Tensor>& weight,
                                           std::optional<double> epsilon) {
  const at::Tensor wide = Wide(x);
  const at::Tensor scale =
      at::rsqrt(wide.square().mean({-1}, /*keepdim=*/true) + epsilon.value_or(1e-6));
  const at::Tensor y = weight && weight->defined() ? wide * scale * *weight : wide * scale;
  return {y.to(x.scalar_type()), scale};
}

std::tuple<at::Tensor, at::Tensor> RmsNormBackward(const at::Tensor& gradient, const at::Tensor& x,
                                                   at::IntArrayRef, const at::Tensor& scale,
                                                   const std::optional<at::Tensor>& weight,
                                                   std::array<bool, 2> wanted) {
  const bool weighted = weight && weight->defined();
  const at::Tensor normal = Wide(x) * scale, wide = Wide(gradient);
  const at::Tensor g = weighted ? wide * *weight : wide;
  const at::Tensor of_x = scale * (g - normal * (g * normal).mean({-1}, /*keepdim=*/true));
  at::Tensor of_weight;
  if (weighted && wanted[1])
    of_weight = (wide * normal).flatten(0, -2).sum(0).to(weight->scalar_type());
  return {of_x.to(x.scalar_type()), of_weight};
}

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&OnTheHost>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", TORCH_FN(Empty));
  library.impl("empty_strided", TORCH_FN(EmptyStrided));
  library.impl("copy_", TORCH_FN(Copy));
  library.impl("bmm.dtype", TORCH_FN(WideBmm));
  library.impl("_fused_rms_norm", TORCH_FN(RmsNorm));
  library.impl("_fused_rms_norm_backward", TORCH_FN(RmsNormBackward));
}

TORCH_LIBRARY_IMPL(aten, SparseCsrCUDA, library) { library.impl("mm", TORCH_FN(CsrTimes)); }

// --- the device --------------------------------------------------------------------------------

// One stream, on which everything is over at once.
struct Guard final : c10::impl::NoOpDeviceGuardImpl<at::kCUDA> {
  at::Device exchangeDevice(at::Device) const override { return kDevice; }
  at::Device getDevice() const override { return kDevice; }
  c10::Stream getStream(at::Device) const noexcept override { return TheStream(); }
  c10::Stream getDefaultStream(at::Device) const override { return TheStream(); }
  c10::Stream getNewStream(at::Device, int) const override { return TheStream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return TheStream(); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex,
              const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }

 private:
  static c10::Stream TheStream() { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard)

using at::CUDAHooksRegistry;
using at::RegistererCUDAHooksRegistry;

struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  at::DeviceIndex current_device() const override { return 0; }
  at::DeviceIndex deviceCount() const override { return 1; }
  at::DeviceIndex getCurrentDevice() const override { return 0; }
  int getNumGPUs() const override { return 1; }
  // Operators draw from the CPU's.
  const at::Generator& getDefaultGenerator(at::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};
REGISTER_CUDA_HOOKS(CUDAHooks)

}  // namespace

void* FakeDeviceBytes(const void* address) {
  const auto* at = static_cast<const std::byte*>(address);
  Blocks& live = Live();
  const std::lock_guard lock(live.mutex);
  auto after = live.all.upper_bound(const_cast<std::byte*>(at));
  if (after == live.all.begin()) return nullptr;
  const Block& block = *std::prev(after)->second;
  const auto offset = static_cast<size_t>(at - block.address);
  return offset < block.size ? block.bytes.get() + offset : nullptr;
}
