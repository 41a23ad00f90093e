// What T5 keeps between decoding steps. Keys and values stay where their step wrote them; an index
// says from which row of each earlier step a live row descends.
#pragma once

#include <vector>

#include "src/nn/at.h"

namespace whyrec::lm {

struct T5Cache {
  struct Layer {
    at::Tensor qkv;                       // weight [3*H*dk, d]
    at::Tensor cross_keys, cross_values;  // [B,H,S,dk], once per sample
    std::vector<at::Tensor> past;         // per step [rows of that step, 3, H, dk]: q, k, v
  };
  std::vector<Layer> layers;
  at::Tensor cross_bias;  // [B,1,1,S]; undefined: everything is read
  at::Tensor ancestors;   // i64 [steps, rows]: the row of each step that a live row descends from
  at::Tensor pieces;      // i64 [P] or undefined: all V
  at::Tensor head;        // their rows [P,d]
  int64_t steps() const { return ancestors.defined() ? ancestors.size(0) : 0; }
};

// What the queries of the last step read from the keys and values of their ancestors. past: per
// step [rows_t, 3, H, dk]; ancestors i64 [T, rows]; bias [H, T] is added to the scores
// -> [rows, H*dk]. No gradients.
at::Tensor ReadAncestors(const std::vector<at::Tensor>& past, const at::Tensor& ancestors,
                         const at::Tensor& bias);

}  // namespace whyrec::lm
