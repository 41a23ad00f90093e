// Hooks on leaves. The only unit that includes autograd's variable header.
#include "src/tensor/grad_hooks.h"

#include <torch/csrc/autograd/variable.h>

namespace whyrec::tensor {
namespace {

struct Hook : torch::autograd::PostAccumulateGradHook {
  explicit Hook(std::function<void()> f) : arrived(std::move(f)) {}
  void operator()(const at::Tensor&) override { arrived(); }
  std::function<void()> arrived;
};

}  // namespace

void OnGradient(const at::Tensor& leaf, std::function<void()> arrived) {
  torch::autograd::impl::set_post_acc_grad_hooks(leaf, std::make_unique<Hook>(std::move(arrived)));
}

void ForgetOnGradient(const at::Tensor& leaf) {
  torch::autograd::impl::set_post_acc_grad_hooks(leaf, nullptr);
}

}  // namespace whyrec::tensor
