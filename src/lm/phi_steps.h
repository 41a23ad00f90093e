// The decoder's next-token logits for beam search over one prompt: the prompt's keys and values are
// held once for all beams, what the beams append is permuted by their origins.
#pragma once

#include <vector>

#include "src/decode/step_model.h"
#include "src/lm/phi.h"

namespace whyrec::lm {

class PhiSteps {
 public:
  // Reads all of the prompt but its last token, which is the search's start token.
  PhiSteps(const Phi& model, const std::vector<int64_t>& prompt, int64_t max_new_tokens);
  at::Tensor Step(const decode::StepInput& input);  // step_model.h; one sample

 private:
  struct Past {
    at::Tensor prompt_keys, prompt_values;  // [G, S, dk]
    at::Tensor keys, values;                // [rows, G, steps, dk]
  };
  at::Tensor Attend(Past& past, const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v) const;

  const Phi& model_;
  int64_t prompt_length_, total_length_, steps_ = 0;
  std::vector<Past> past_;  // per layer
};

}  // namespace whyrec::lm
