#include "src/lm/encoder.h"

#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <atomic>
#include <exception>

#include "src/lm/bert.h"
#include "src/lm/bert_folder.h"
#include "src/lm/bert_text.h"
#include "src/tensor/bridge.h"
#include "src/tensor/device.h"
#include "src/tensor/parallel.h"

namespace whyrec::lm {
namespace {

constexpr int64_t kCpuTokens = 1024;    // of a pack, for one thread and its caches
constexpr int64_t kGpuTokens = 16'384;  // of a pack, for the whole device

// The settings that follow from folder and options.
struct Settings {
  BertConfig config;
  Pooling pooling;
  int64_t max_tokens;
  bool normalise;
};

class BertEncoder final : public Encoder {
 public:
  BertEncoder(const std::filesystem::path& folder, const Settings& settings, at::ScalarType dtype,
              at::Device device)
      : settings_(settings),
        text_(folder, settings.config),
        parameters_(dtype, device),
        network_(settings.config, parameters_, "", /*trainable=*/false) {
    network_.Load(folder);
  }

  int64_t width() const override { return settings_.config.width; }
  int64_t max_tokens() const override { return settings_.max_tokens; }
  int64_t cut() const override { return cut_; }

  HostTensor Encode(const std::vector<std::string>& texts) override {
    const auto ids = Tokenise(texts);
    const bool on_cpu = parameters_.device().is_cpu();
    const auto packs = PackTexts(ids, on_cpu ? kCpuTokens : kGpuTokens);
    HostTensor out = HostTensor::Zeros(DType::kF32, {std::ssize(texts), width()});
    // On the CPU a thread does whole packs by itself: threads that share every operator wait for
    // each other at each, which costs a fifth, and half on a busy machine.
    std::atomic<size_t> next = 0;
    const auto work = [&](int64_t, int64_t) {
      const c10::NoGradGuard no_grad;
      for (size_t p = next++; p < packs.size(); p = next++)
        tensor::View(out).index_copy_(0, at::tensor(packs[p].rows), Vectors(packs[p]));
    };
    if (on_cpu)
      tensor::ParallelForSerialOps(std::ssize(packs), work);
    else
      work(0, std::ssize(packs));
    return out;
  }

 private:
  // All threads cut texts: on a GPU the network is as fast as they are.
  std::vector<std::vector<int64_t>> Tokenise(const std::vector<std::string>& texts) {
    std::vector<std::vector<int64_t>> ids(texts.size());
    std::atomic<int64_t> cut = 0;
    std::atomic<bool> failed = false;
    std::exception_ptr failure;
    tensor::ParallelFor(std::ssize(texts), [&](int64_t begin, int64_t end) {
      try {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
          BertText::Tokens tokens = text_.Encode(texts[i], settings_.max_tokens);
          cut += tokens.cut;
          ids[i] = std::move(tokens.ids);
        }
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    });
    if (failed) std::rethrow_exception(failure);
    cut_ += cut;
    return ids;
  }

  at::Tensor Vectors(const TextPack& pack) const {  // F32 [texts, width] in the pack's order
    const at::Tensor x =
        network_.Pool(network_.Hidden(pack, /*draws=*/{}), pack, settings_.pooling);
    return (settings_.normalise ? UnitRows(x) : x).cpu();
  }

  Settings settings_;
  BertText text_;
  nn::Parameters parameters_;
  Bert network_;
  int64_t cut_ = 0;
};

// Reports all missing files in one message.
void CheckFiles(const std::filesystem::path& folder) {
  const auto any = [&](std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (std::filesystem::exists(folder / name)) return true;
    return false;
  };
  if (!std::filesystem::is_directory(folder))
    Fail(Exit::kData, folder.string(), ": no such folder; give an encoder's in Hugging Face form");
  std::string missing;
  const auto need = [&](bool there, const char* what) {
    if (!there) missing += Cat(missing.empty() ? "" : ", ", what);
  };
  need(any({"config.json"}), "config.json");
  need(any({"model.safetensors", "model.safetensors.index.json"}), "model.safetensors");
  need(any({"vocab.txt", "tokenizer.json", "vocab.json"}),
       "a tokenizer (vocab.txt, tokenizer.json, or vocab.json with merges.txt)");
  if (!missing.empty())
    Fail(Exit::kData, folder.string(), ": lacks ", missing,
         "; give a BERT, DistilBERT or RoBERTa folder in Hugging Face form");
}

int64_t ChooseLimit(int64_t asked, const BertConfig& config, const std::filesystem::path& folder) {
  const int64_t limit =
      std::min(config.longest(), SentenceLimit(folder).value_or(config.longest()));
  if (asked == 0 && limit >= 3) return limit;
  if (asked < 3 || asked > limit)
    Fail(Exit::kUsage, "max_tokens is ", asked, "; ", folder.string(), " takes 3 to ", limit);
  return asked;
}

}  // namespace

std::unique_ptr<Encoder> LoadEncoder(const std::filesystem::path& folder,
                                     const EncoderOptions& options) {
  const at::Device device = tensor::ChooseDevice(options.device);
  const at::ScalarType dtype = tensor::ChooseDtype(options.dtype, device);
  CheckFiles(folder);
  Settings settings = {.config = LoadBertConfig(folder), .normalise = options.normalise};
  settings.pooling = ChoosePooling(options.pooling, settings.config, folder);
  settings.max_tokens = ChooseLimit(options.max_tokens, settings.config, folder);
  if (settings.pooling != Pooling::kEasyRec) settings.config.head = BertConfig::Head::kNone;
  return std::make_unique<BertEncoder>(folder, settings, dtype, device);
}

std::unique_ptr<Encoder> LoadEncoder(const std::filesystem::path& folder, int64_t max_tokens) {
  return LoadEncoder(folder, EncoderOptions{.max_tokens = max_tokens});
}

}  // namespace whyrec::lm
