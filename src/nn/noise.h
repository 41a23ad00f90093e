// Noise on the rows of a table whose numbers are functions of (seed, step, layer, row of the whole
// table, column): the same for any number of ranks, any part of the rows, any device.
#pragma once

#include <span>

#include "src/nn/dropout.h"

namespace whyrec::nn {

// Keys of the noise of a step for the rows with these numbers, i32 [rows] on `device`. Each layer
// has numbers of its own: keys.At(layer).
RowKeys NoiseKeys(uint64_t seed, int64_t step, std::span<const int64_t> rows, at::Device device);
// Of the rows first .. first + count - 1.
RowKeys NoiseKeys(uint64_t seed, int64_t step, int64_t first, int64_t count, at::Device device);

// Uniform numbers on [0, 1), multiples of 2^-24: the same in fp32 and fp64. [rows, columns].
at::Tensor Uniform(const RowKeys& keys, int64_t columns, at::ScalarType type);
// The same bits from LibTorch operators: how Uniform works on devices other than the CPU.
at::Tensor UniformByOperators(const RowKeys& keys, int64_t columns, at::ScalarType type);

// XSimGCL's view of a layer (Yu et al. 2023): x + eps * sign(x) * u / |u|, row by row, which moves
// each row by a vector of length eps within its own orthant. x, uniform [n,d], of one type. The
// gradient passes through unchanged, since the noise is constant.
at::Tensor Perturb(const at::Tensor& x, const at::Tensor& uniform, double eps);

}  // namespace whyrec::nn
