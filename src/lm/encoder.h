// Encoder: texts in, vectors out, over the BERT family. No LibTorch types.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "src/base/host_tensor.h"
#include "src/lm/bert_pooling.h"

namespace whyrec::lm {

class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual int64_t width() const = 0;
  virtual int64_t max_tokens() const = 0;  // of a text, special tokens included
  virtual int64_t cut() const = 0;         // how many texts so far were longer and were truncated
  // F32 [texts, width], L2-normalised rows where that was asked for, in the order of the texts.
  // Texts are sorted by length and packed; a row does not depend on the other texts beyond
  // rounding. Not thread-safe.
  virtual HostTensor Encode(const std::vector<std::string>& texts) = 0;
};

struct EncoderOptions {
  int64_t max_tokens = 0;  // 0: as many as the model takes
  Pooling pooling = Pooling::kAuto;
  bool normalise = true;
  std::string device = "cpu";  // src/tensor/device.h
  std::string dtype = "fp32";  // or bf16, auto; pooling and normalisation stay in fp32
};

// A BERT, MiniLM, DistilBERT or RoBERTa (EasyRec) folder in Hugging Face form: config.json,
// model.safetensors or shards with their index, a tokenizer; sentence-transformers files where
// there are any. Error(kData) lists what is missing or says what does not fit; Error(kUsage) when
// an option is unknown, the model does not take so many tokens, or the pooling must be given.
std::unique_ptr<Encoder> LoadEncoder(const std::filesystem::path& folder,
                                     const EncoderOptions& options);
std::unique_ptr<Encoder> LoadEncoder(const std::filesystem::path& folder, int64_t max_tokens);

}  // namespace whyrec::lm
