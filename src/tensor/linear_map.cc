// ApplyLinear as an autograd function. The only unit that includes custom_function.h, which is slow
// to compile.
#include "src/tensor/linear_map.h"

#include <torch/csrc/autograd/custom_function.h>

namespace whyrec::tensor {
namespace {

struct Kept : torch::CustomClassHolder {
  explicit Kept(TensorFunction f) : function(std::move(f)) {}
  TensorFunction function;
};

struct LinearMap : torch::autograd::Function<LinearMap> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const TensorFunction& map, TensorFunction transpose) {
    context->saved_data["transpose"] =
        c10::IValue::make_capsule(c10::make_intrusive<Kept>(std::move(transpose)));
    return map(x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto kept = context->saved_data["transpose"].toCapsule();
    const auto& transpose = static_cast<const Kept&>(*kept).function;
    return {transpose(gradients[0].contiguous()), {}, {}};
  }
};

}  // namespace

at::Tensor ApplyLinear(const at::Tensor& x, const TensorFunction& map, TensorFunction transpose) {
  return LinearMap::apply(x, map, std::move(transpose));
}

}  // namespace whyrec::tensor
