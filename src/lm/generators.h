// The two kinds of language model behind language_model.h.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "src/decode/beam_search.h"
#include "src/lm/language_model.h"

namespace whyrec::lm {

struct Placement {
  c10::Device device;
  c10::ScalarType dtype;
};

std::unique_ptr<LanguageModel> MakeT5(const std::filesystem::path& folder,
                                      const ModelOptions& options, Placement placement);
std::unique_ptr<LanguageModel> MakePhi(const std::filesystem::path& folder,
                                       const ModelOptions& options, Placement placement);

// Error(kData) naming the first request that is empty, has an id that is not below `vocabulary`, or
// needs more than `context` tokens with its answer (0: no limit).
void CheckRequests(const std::vector<TextRequest>& requests, int64_t vocabulary, int64_t context,
                   int64_t max_new_tokens);
decode::BeamOptions BeamsOf(const GenerateOptions& options, int64_t start, int64_t eos);
// The random stream of a request's sample number `copy`.
std::string StreamName(const std::string& request, int64_t copy);
// Error(kData) when the tokenizer knows more tokens than the model has rows.
void CheckTokenizer(const std::filesystem::path& folder, const text::Tokenizer& tokenizer,
                    int64_t vocabulary);

}  // namespace whyrec::lm
