#include "src/lm/t5_cache.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "src/tensor/parallel.h"

namespace whyrec::lm {
namespace {

// Four floats. A reduction is vectorised only when it is written so.
using Lanes = float __attribute__((vector_size(16)));
constexpr int64_t kLanes = 4;

Lanes Load(const float* from) {
  Lanes out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

float Dot(const float* a, const float* b, int64_t n) {
  Lanes sums[4] = {};  // four additions are under way at once
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    for (int64_t j = 0; j < 4; ++j) sums[j] += Load(a + i + j * kLanes) * Load(b + i + j * kLanes);
  float sum = 0;
  for (; i < n; ++i) sum += a[i] * b[i];
  sums[0] += sums[1] + sums[2] + sums[3];
  for (int64_t lane = 0; lane < kLanes; ++lane) sum += sums[0][lane];
  return sum;
}

void AddScaled(float* to, const float* from, float scale, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Lanes sum = Load(to + i) + Load(from + i) * scale;
    std::memcpy(to + i, &sum, sizeof sum);
  }
  for (; i < n; ++i) to[i] += from[i] * scale;
}

void Softmax(std::vector<float>& scores) {
  const float highest = *std::max_element(scores.begin(), scores.end());
  float sum = 0;
  for (float& x : scores) sum += x = std::exp(x - highest);
  for (float& x : scores) x /= sum;
}

// On the CPU in fp32: reads through the index, so nothing is copied.
at::Tensor ReadInPlace(const std::vector<at::Tensor>& past, const at::Tensor& ancestors,
                       const at::Tensor& bias) {
  const int64_t rows = ancestors.size(1), heads = past.back().size(2), width = past.back().size(3);
  const auto steps = past.size();
  const int64_t inner = heads * width;
  std::vector<const float*> step(steps);
  for (size_t t = 0; t < steps; ++t) step[t] = past[t].const_data_ptr<float>();
  const int64_t* ancestor = ancestors.const_data_ptr<int64_t>();
  const float* added = bias.const_data_ptr<float>();
  at::Tensor out = at::empty({rows, inner}, past.back().options());
  float* result = out.mutable_data_ptr<float>();
  tensor::ParallelFor(rows, [&](int64_t begin, int64_t end) {
    std::vector<float> scores(steps);
    std::vector<const float*> from(steps);
    for (int64_t row = begin; row < end; ++row) {
      for (size_t t = 0; t < steps; ++t)
        from[t] = step[t] + ancestor[static_cast<int64_t>(t) * rows + row] * 3 * inner;
      for (int64_t h = 0; h < heads; ++h) {
        const float* query = step.back() + row * 3 * inner + h * width;
        for (size_t t = 0; t < steps; ++t)
          scores[t] = Dot(query, from[t] + inner + h * width, width) +
                      added[static_cast<size_t>(h) * steps + t];
        Softmax(scores);
        float* read = result + row * inner + h * width;
        std::fill(read, read + width, 0.0F);
        for (size_t t = 0; t < steps; ++t)
          AddScaled(read, from[t] + 2 * inner + h * width, scores[t], width);
      }
    }
  });
  return out;
}

// Anywhere else: the ancestors' keys and values are gathered first.
at::Tensor ReadGathered(const std::vector<at::Tensor>& past, const at::Tensor& ancestors,
                        const at::Tensor& bias) {
  std::vector<at::Tensor> keys, values;  // per step [rows, H, dk]
  for (size_t t = 0; t < past.size(); ++t) {
    const at::Tensor row = ancestors.select(0, static_cast<int64_t>(t));
    keys.push_back(past[t].select(1, 1).index_select(0, row));
    values.push_back(past[t].select(1, 2).index_select(0, row));
  }
  const at::Tensor query = past.back().select(1, 0).unsqueeze(2);  // [rows, H, 1, dk]
  const at::Tensor scores =
      at::matmul(query, at::stack(keys, 3)).add_(bias.unsqueeze(1));  // [rows, H, 1, T]
  return at::matmul(at::softmax(scores, -1), at::stack(values, 2)).flatten(1);
}

}  // namespace

at::Tensor ReadAncestors(const std::vector<at::Tensor>& past, const at::Tensor& ancestors,
                         const at::Tensor& bias) {
  const bool in_place = past.back().is_cpu() && past.back().scalar_type() == at::kFloat;
  return in_place ? ReadInPlace(past, ancestors, bias) : ReadGathered(past, ancestors, bias);
}

}  // namespace whyrec::lm
