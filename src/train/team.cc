#include "src/train/team.h"

#include <algorithm>

#include "src/base/error.h"
#include "src/tensor/bridge.h"
#include "src/tensor/dist_ops.h"

namespace whyrec::train {

Team Team::Alone() {
  std::shared_ptr<cluster::Communicator> self = cluster::MakeSelf();
  Team team(*self);
  team.own_ = std::move(self);
  return team;
}

Slice Team::Own(int64_t n) const { return RankSlice(n, comm_->rank(), comm_->size()); }

double Team::SumOverUnits(int64_t n, int64_t unit, const std::function<double(int64_t, int64_t)>& f,
                          Calls calls) const {
  std::vector<double> sums(static_cast<size_t>((n + unit - 1) / unit));
  for (int64_t round = 0; round < std::ssize(sums); round += comm_->size()) {
    const int64_t own = round + comm_->rank();
    if (own < std::ssize(sums))
      sums[static_cast<size_t>(own)] = f(own * unit, std::min((own + 1) * unit, n));
    else if (calls == Calls::kTogether)
      f(n, n);
  }
  comm_->AllReduce(sums.data(), std::ssize(sums), DType::kF64, cluster::Reduce::kSum);
  double sum = 0;
  for (const double value : sums) sum += value;
  return sum;
}

at::Tensor Team::Gather(const at::Tensor& rows) const {
  return tensor::AllGatherGrad(rows, *comm_);
}

at::Tensor Team::CountOnce(const at::Tensor& parameter) const {
  return comm_->rank() == 0 ? parameter : parameter.detach();
}

void Team::Sum(const at::Tensor& values) const {
  WR_CHECK(values.is_contiguous(), "a sum over ranks in place");
  comm_->AllReduce(values.mutable_data_ptr(), values.numel(), tensor::DTypeOf(values.scalar_type()),
                   cluster::Reduce::kSum, tensor::PlaceOf(values));
}

void Team::Once(const std::function<void()>& f) const {
  if (comm_->rank() == 0) f();
  comm_->Barrier();
}

}  // namespace whyrec::train
