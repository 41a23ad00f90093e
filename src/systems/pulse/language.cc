#include "src/systems/pulse/language.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/config/run_config.h"
#include "src/data/samplers.h"
#include "src/lm/phi.h"
#include "src/tensor/device.h"
#include "src/text/tokenizer.h"
#include "src/text/unicode.h"
#include "src/train/checkpoint.h"
#include "src/train/team.h"
#include "src/train/trainer.h"

namespace whyrec::systems {
namespace {

using config::TrainConfig;

lm::PhiConfig ConfigOf(const config::LanguageConfig& language, const text::Tokenizer& tokenizer) {
  if (language.width() % language.heads() != 0 || language.heads() % language.key_heads() != 0 ||
      (language.width() / language.heads()) % 8 != 0)
    Fail(Exit::kUsage, "pulse.language: width ", language.width(), ", heads ", language.heads(),
         ", key_heads ", language.key_heads(),
         "; heads must divide width into multiples of 8, and key_heads heads");
  const auto id = [&](const char* token) {
    const auto found = tokenizer.Id(token);
    if (!found) Fail(Exit::kData, language.tokenizer(), ": has no ", token);
    return *found;
  };
  lm::PhiConfig phi{.vocabulary = tokenizer.size(),
                    .width = language.width(),
                    .inner = language.inner(),
                    .layers = language.layers(),
                    .heads = language.heads(),
                    .key_heads = language.key_heads(),
                    .positions = language.positions(),
                    .original_positions = language.positions()};
  phi.bos = phi.pad = id("<|endoftext|>");
  phi.eos = {phi.bos};
  if (const auto end = tokenizer.Id("<|end|>")) phi.eos.push_back(*end);
  return phi;
}

// Documents as tokens; every 50th is kept for validation.
class Documents {
 public:
  Documents(const std::vector<std::string>& texts, const text::Tokenizer& tokenizer, int64_t border,
            int64_t most) {
    for (size_t i = 0; i < texts.size(); ++i) {
      std::vector<int64_t> ids = {border};
      const std::vector<int64_t> text = tokenizer.Encode(texts[i]);
      ids.insert(ids.end(), text.begin(),
                 text.begin() + std::min<int64_t>(std::ssize(text), most - 1));
      ids.push_back(border);
      (texts.size() >= 100 && i % 50 == 49 ? held_out : training).push_back(std::move(ids));
    }
    if (held_out.empty()) held_out = training;
  }

  std::vector<std::vector<int64_t>> training, held_out;
};

class LanguageTraining final : public train::Trainable {
 public:
  LanguageTraining(const config::RunConfig& config, const TrainConfig& train,
                   const lm::PhiConfig& phi, Documents documents, const train::Team& team)
      : config_(train),
        documents_(std::move(documents)),
        team_(team),
        parameters_(train.dtype() == TrainConfig::FP64 ? at::kDouble : at::kFloat,
                    tensor::ChooseDevice(config.execution().device())),
        model_(phi, parameters_, "", /*train_base=*/true),
        sampler_(std::ssize(documents_.training), config.seed(), "language", true) {
    model_.Initialise(config.seed());
  }

  nn::Parameters& parameters() override { return parameters_; }
  const lm::Phi& model() const { return model_; }

  int64_t steps_per_epoch() const override {
    const int64_t given = config_.epoch_steps(), size = config_.global_batch();
    return given > 0 ? given : (std::ssize(documents_.training) + size - 1) / size;
  }

  // -log p of the next token, mean over the tokens of the global batch.
  train::StepLoss Loss(const train::Share& share) override {
    std::vector<const Ids*> batch;
    for (int64_t i = 0; i < share.global_batch; ++i)
      batch.push_back(&documents_.training[static_cast<size_t>(sampler_.At(share.first() + i))]);
    const int64_t tokens = Tokens(batch);
    const auto own = std::span(batch).subspan(static_cast<size_t>(share.begin),
                                              static_cast<size_t>(share.size()));
    return {.own = LossSum(own) / static_cast<double>(tokens), .shared = {}, .task = "LM"};
  }

  train::Validation Validate(int64_t) override {
    const c10::NoGradGuard no_grad;
    std::vector<const Ids*> held_out;
    for (const Ids& document : documents_.held_out) held_out.push_back(&document);
    const double loss =
        team_.SumOverUnits(std::ssize(held_out), 32, [&](int64_t begin, int64_t end) {
          const std::span<const Ids* const> unit(held_out.begin() + begin, held_out.begin() + end);
          return LossSum(unit).item<double>();
        });
    const double value = loss / static_cast<double>(Tokens(held_out));
    return {value, true, {{"nats per token", value}}};
  }

 private:
  using Ids = std::vector<int64_t>;

  // That have a token before them.
  static int64_t Tokens(std::span<const Ids* const> documents) {
    int64_t tokens = 0;
    for (const Ids* document : documents) tokens += std::ssize(*document) - 1;
    return tokens;
  }

  at::Tensor LossSum(std::span<const Ids* const> documents) const {
    Ids ids, targets;
    std::vector<int64_t> lengths;
    std::vector<at::Tensor> positions;
    int64_t longest = 0;
    for (const Ids* document : documents) {
      ids.insert(ids.end(), document->begin(), document->end() - 1);
      targets.insert(targets.end(), document->begin() + 1, document->end());
      lengths.push_back(std::ssize(*document) - 1);
      positions.push_back(at::arange(lengths.back(), at::kLong));
      longest = std::max(longest, lengths.back());
    }
    const at::Device device = parameters_.device();
    const at::Tensor hidden =
        model_.Hidden(at::tensor(ids, at::kLong).to(device), at::cat(positions).to(device),
                      lm::CausalAttention(lengths), longest);
    return model_.CausalLoss(hidden, at::tensor(targets, at::kLong)).sum;
  }

  const TrainConfig& config_;
  const Documents documents_;
  const train::Team& team_;
  nn::Parameters parameters_;
  lm::Phi model_;
  data::CursorSampler sampler_;
};

}  // namespace

std::vector<std::string> LanguageTexts(const data::TrainView& train) {
  constexpr size_t kDescription = 400;  // bytes
  std::vector<std::string> texts;
  for (const data::Item& item : train.items) {
    std::string text = item.title;
    if (!item.brand.empty()) text += "\nBrand: " + item.brand;
    std::string categories;
    for (const std::string& category : item.categories)
      categories += (categories.empty() ? "" : "; ") + category;
    if (!categories.empty()) text += "\nCategories: " + categories;
    if (!item.description.empty())
      text.append("\n").append(text::FirstBytes(item.description, kDescription));
    if (!text.empty()) texts.push_back(std::move(text));
  }
  for (size_t i = 0; i < train.reviews.size(); ++i)
    if (!train.reviews[i].empty())
      texts.push_back(train.items[static_cast<size_t>(train.histories.values[i])].title + "\n" +
                      train.reviews[i]);
  return texts;
}

Facts TrainLanguage(const config::RunConfig& config, const data::TrainView& train,
                    cluster::Communicator& comm, const std::filesystem::path& folder) {
  const auto& language = config.pulse().language();
  if (!language.has_tokenizer())
    Fail(Exit::kUsage,
         "pulse.language has neither a folder nor a tokenizer: name a Phi-family folder, or a "
         "tokenizer.json with Phi-4-mini's special tokens");
  const config::RunConfig own = config::WithTraining(config, language.train());
  const auto tokenizer = text::LoadTokenizerJson(language.tokenizer());
  const lm::PhiConfig phi = ConfigOf(language, *tokenizer);
  const auto texts = LanguageTexts(train);
  if (texts.empty()) Fail(Exit::kData, "the catalogue has no text to train a base model on");
  const train::Team team(comm);
  LanguageTraining training(own, own.train(), phi,
                            Documents(texts, *tokenizer, phi.bos, language.text_tokens()), team);
  Facts facts = train::Run(training, own.train(), folder, comm);
  team.Once([&] {
    train::LoadParameters(training.parameters(), folder / "model.safetensors");
    training.model().Save(folder);
    std::filesystem::copy_file(language.tokenizer(), folder / "tokenizer.json",
                               std::filesystem::copy_options::overwrite_existing);
  });
  facts.emplace_back("texts", Cat(texts.size()));
  facts.emplace_back("vocabulary", Cat(phi.vocabulary));
  return facts;
}

}  // namespace whyrec::systems
