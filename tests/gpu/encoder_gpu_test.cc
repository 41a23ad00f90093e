// Encoders on a GPU against the same weights on the CPU, each family.
#include "src/lm/bert.h"
#include "src/lm/bert_pooling.h"
#include "tests/gpu/device.h"

namespace whyrec::lm {
namespace {

struct EncoderOnDevice {
  EncoderOnDevice(const std::filesystem::path& folder, at::ScalarType dtype, at::Device device)
      : parameters(dtype, device), model(LoadBertConfig(folder), parameters) {
    model.Load(folder);
  }
  // A scalar of all vectors that is no function of their sum; fills the gradients.
  at::Tensor Loss() {
    vectors = UnitRows(
        model.Forward({{1, 5, 9, 2}, {1, 7, 2}, {1, 8, 8, 6, 4, 3, 2}}, Pooling::kMean, {}));
    const at::Tensor loss = (vectors.narrow(0, 0, 1) * vectors.narrow(0, 1, 2)).sum();
    loss.backward();
    return loss;
  }
  nn::Parameters parameters;
  Bert model;
  at::Tensor vectors;
};

using EncoderGpu = Gpu;

TEST_F(EncoderGpu, VectorsAndGradientsEqualTheCpus) {
  for (const char* family : {"bert", "distilbert", "roberta"}) {
    const std::filesystem::path folder = Golden() / "bert" / family;
    EncoderOnDevice cpu(folder, at::kFloat, at::kCPU);
    const at::Tensor loss = cpu.Loss();
    for (const auto& [dtype, outputs, gradients] : kPrecisions) {
      EncoderOnDevice gpu(folder, dtype, TestDevice());
      EXPECT_LT(Difference(gpu.Loss(), loss), outputs) << family << " " << dtype;
      EXPECT_LT(Difference(gpu.vectors, cpu.vectors), outputs) << family << " " << dtype;
      for (const auto& [path, parameter] : gpu.parameters.all()) {
        const at::Tensor want = cpu.parameters.Get(path).grad();
        ASSERT_EQ(parameter.grad().defined(), want.defined()) << family << " " << path;
        if (!want.defined()) continue;  // a head that this pooling does not read
        EXPECT_LT(Difference(parameter.grad(), want), gradients) << family << " " << path;
      }
    }
  }
}

}  // namespace
}  // namespace whyrec::lm
