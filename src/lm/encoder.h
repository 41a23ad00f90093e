// Encoder: texts in, vectors out. Plain facade over our own BERT-family networks.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "src/base/host_tensor.h"

namespace whyrec::lm {

class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual int64_t width() const = 0;
  // F32 [texts, width], L2-normalised rows, in the order of the texts. Texts longer than the limit
  // are cut. Sorted by length inside and batched; no row depends on its batch mates beyond
  // rounding.
  virtual HostTensor Encode(const std::vector<std::string>& texts) = 0;
};

// A sentence-transformers folder of a BERT model with mean pooling (MiniLM): config.json,
// model.safetensors, vocab.txt, 1_Pooling/config.json. `max_tokens` counts [CLS] and [SEP].
// Error(kData) lists what is missing or does not fit; Error(kUsage) when max_tokens is more than
// the model takes.
std::unique_ptr<Encoder> LoadEncoder(const std::filesystem::path& folder, int64_t max_tokens);

}  // namespace whyrec::lm
