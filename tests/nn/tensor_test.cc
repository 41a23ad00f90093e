// The bridge and the differentiable collectives: closed forms, several ranks against one.
#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include "src/nn/at.h"
#include "src/tensor/bridge.h"
#include "src/tensor/dist_ops.h"

namespace whyrec::tensor {
namespace {

TEST(Bridge, SharesBytesAndKeepsThemAlive) {
  at::Tensor view;
  {
    const HostTensor host = HostTensor::From<float>({1, 2, 3, 4, 5, 6}, {2, 3});
    view = View(host);
    host.values<float>()[4] = 50;
  }
  EXPECT_EQ(view.sizes(), at::IntArrayRef({2, 3}));
  EXPECT_EQ(view.sum().item<float>(), 66);
  const HostTensor back = ToHost(view);
  EXPECT_EQ(back.bytes(), view.data_ptr());
  const HostTensor turned = ToHost(view.t());  // strided: a copy in row order
  EXPECT_EQ(turned.shape(), (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(turned.values<float>()[3], 50);
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kF16, DType::kBF16, DType::kI64,
                            DType::kI32, DType::kU8}) {
    EXPECT_EQ(ToHost(View(HostTensor::Zeros(dtype, {3}))).dtype(), dtype);
  }
  EXPECT_THROW(ToHost(view > 2), Error);
  EXPECT_EQ(View(HostTensor::Zeros(DType::kI64, {0, 4})).numel(), 0);
}

// The loss sum_ij G_ij^2 c_i on gathered rows G = f(x), computed on all ranks; gradients summed
// over ranks.
TEST(DistOps, GatheredRowsAndSummedGradientsEqualOneRank) {
  constexpr int64_t kRows = 7;
  const at::Tensor data = at::arange(kRows * 3, at::kDouble).view({kRows, 3});
  const at::Tensor weight = at::arange(1, kRows + 1, at::kDouble).unsqueeze(1);
  const auto run = [&](cluster::Communicator& communicator) {
    const int64_t first =
        communicator.rank() == 0 ? 0 : communicator.rank() + 2;  // 3 (or all), 1, 3
    const int64_t last =
        communicator.rank() + 1 == communicator.size() ? kRows : communicator.rank() + 3;
    at::Tensor scale = at::arange(1, 4, at::kDouble).set_requires_grad(true);
    const at::Tensor own = data.narrow(0, first, last - first) * scale;
    const at::Tensor all = AllGatherGrad(own, communicator);
    EXPECT_TRUE(at::equal(all.detach(), (data * scale).detach()));
    (all * all * weight).sum().backward();
    at::Tensor gradient = scale.grad().clone();
    communicator.AllReduce(gradient.data_ptr(), 3, DType::kF64, cluster::Reduce::kSum);
    return gradient;
  };
  const at::Tensor closed = (2 * data * data * at::arange(1, 4, at::kDouble) * weight).sum(0);
  const auto self = cluster::MakeSelf();
  EXPECT_TRUE(at::allclose(run(*self), closed));
  cluster::RunThreads(3, [&](cluster::Communicator& communicator) {
    EXPECT_TRUE(at::allclose(run(communicator), closed));
  });
}

}  // namespace
}  // namespace whyrec::tensor
