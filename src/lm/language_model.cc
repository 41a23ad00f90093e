#include "src/lm/language_model.h"

#include <string>

#include "src/base/error.h"
#include "src/lm/generators.h"
#include "src/lm/json_file.h"
#include "src/tensor/device.h"

namespace whyrec::lm {

std::unique_ptr<LanguageModel> LoadLanguageModel(const std::filesystem::path& folder,
                                                 const ModelOptions& options) {
  const auto type = JsonFile(folder / "config.json").Get<std::string>("model_type");
  const c10::Device device = tensor::ChooseDevice(options.device);
  const Placement placement{device, tensor::ChooseDtype(options.dtype, device)};
  if (type == "t5") return MakeT5(folder, options, placement);
  if (type == "phi3") return MakePhi(folder, options, placement);
  Fail(Exit::kData, (folder / "config.json").string(), ": model_type \"", type,
       "\" is not a supported text generator; give a folder of t5 or phi3");
}

void CheckRequests(const std::vector<TextRequest>& requests, int64_t vocabulary, int64_t context,
                   int64_t max_new_tokens) {
  for (const TextRequest& request : requests) {
    const auto length = static_cast<int64_t>(request.ids.size());
    if (length == 0) Fail(Exit::kData, "prompt ", request.name, " is empty");
    for (const int64_t id : request.ids)
      if (id < 0 || id >= vocabulary)
        Fail(Exit::kData, "prompt ", request.name, ": id ", id, " is not in 0..", vocabulary - 1);
    if (context > 0 && length + max_new_tokens > context)
      Fail(Exit::kData, "prompt ", request.name, " has ", length, " tokens; with ", max_new_tokens,
           " new ones it exceeds the model's context of ", context,
           "; shorten it or lower --max-new-tokens");
  }
}

decode::BeamOptions BeamsOf(const GenerateOptions& options, int64_t start, int64_t eos) {
  decode::BeamOptions beams;
  beams.beams = options.beams;
  beams.returned = options.returned;
  beams.max_new_tokens = options.max_new_tokens;
  beams.min_new_tokens = options.min_new_tokens;
  beams.start = start;
  beams.eos = eos;
  beams.groups = options.groups;
  beams.diversity = options.diversity;
  return beams;
}

std::string StreamName(const std::string& request, int64_t copy) {
  return copy == 0 ? request : Cat(request, "#", copy);
}

void CheckTokenizer(const std::filesystem::path& folder, const text::Tokenizer& tokenizer,
                    int64_t vocabulary) {
  if (tokenizer.size() > vocabulary)
    Fail(Exit::kData, folder.string(), ": the tokenizer knows ", tokenizer.size(),
         " tokens, the model has ", vocabulary, " rows; they belong to different models");
}

}  // namespace whyrec::lm
