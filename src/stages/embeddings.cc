// embeddings: fused texts of items and users -> vectors; items also by principal components.
#include <algorithm>
#include <cstring>

#include "src/base/error.h"
#include "src/data/split.h"
#include "src/gen/record.h"
#include "src/lm/encoder.h"
#include "src/nn/numeric.h"
#include "src/stages/units.h"
#include "src/store/safetensors.h"

namespace whyrec::stages {
namespace {

// The text of the configured step (FUSED, POS, NEG) for each row; empty when the chain gave none.
std::vector<std::string> ReadTexts(const std::filesystem::path& records, const std::string& step,
                                   int64_t rows) {
  std::vector<std::string> texts(static_cast<size_t>(rows));
  gen::RecordReader reader(records);
  for (gen::Record record; reader.Next(record);)
    if (record.step == step) texts.at(record.id) = record.answer.text;
  return texts;
}

std::string StepName(config::EmbeddingsConfig::Text text) {
  if (text == config::EmbeddingsConfig::POS) return "pos";
  return text == config::EmbeddingsConfig::NEG ? "neg" : "fused";
}

// Replaces a missing item text by title and categories.
void FillMissingItems(const std::vector<data::Item>& items, std::vector<std::string>& texts) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (!texts[i].empty()) continue;
    texts[i] = items[i].title;
    for (const std::string& category : items[i].categories) texts[i] += " " + category;
  }
}

// Replaces the vector of a missing user profile by the mean of the user's item vectors.
int64_t FillMissingUsers(const data::TrainView& train, const std::vector<std::string>& texts,
                         const HostTensor& items, HostTensor& users) {
  int64_t filled = 0;
  for (int64_t u = 0; u < train.user_count(); ++u) {
    if (!texts[u].empty()) continue;
    ++filled;
    auto mean = users.row<float>(u);
    std::fill(mean.begin(), mean.end(), 0.0f);
    for (int64_t item : train.histories.row(u))
      for (size_t j = 0; j < mean.size(); ++j)
        mean[j] += items.row<float>(item)[j] / static_cast<float>(train.histories.row(u).size());
  }
  return filled;
}

Facts WriteEmbeddings(const RunContext& context, const std::filesystem::path& partial) {
  const auto& config = context.config.embeddings();
  const auto train = data::LoadTrainView(context.workspace.Of("split"));
  const auto records = [&](const char* kind) {
    return context.workspace.Of(std::string("rationales.") + kind) / "records.jsonl.gz";
  };
  std::vector<std::string> texts =
      ReadTexts(records("item"), StepName(config.item_text()), train.item_count());
  FillMissingItems(train.items, texts);
  const std::vector<std::string> profiles =
      ReadTexts(records("user"), StepName(config.user_text()), train.user_count());
  texts.insert(texts.end(), profiles.begin(), profiles.end());
  const lm::EncoderOptions options{.max_tokens = config.max_tokens(),
                                   .device = context.config.execution().device()};
  const std::unique_ptr<lm::Encoder> encoder = lm::LoadEncoder(config.encoder(), options);
  const int64_t width = encoder->width();
  HostTensor items = HostTensor::Zeros(DType::kF32, {train.item_count(), width});
  HostTensor users = HostTensor::Zeros(DType::kF32, {train.user_count(), width});
  int64_t row = 0;
  const auto take = [&](const std::string& unit) {  // rows of F32
    const size_t bytes = static_cast<size_t>(width) * sizeof(float);
    for (size_t at = 0; at < unit.size(); at += bytes, ++row) {
      const bool item = row < train.item_count();
      std::memcpy(
          item ? items.row<float>(row).data() : users.row<float>(row - train.item_count()).data(),
          unit.data() + at, bytes);
    }
  };
  const bool merged = DoUnits(
      context, partial, {"  texts", "texts", std::ssize(texts), config.unit_size()},
      [&](int64_t begin, int64_t end) {
        const HostTensor x = encoder->Encode({texts.begin() + begin, texts.begin() + end});
        std::string rows;
        for (int64_t i = 0; i < x.dim(0); ++i) {
          const auto values = x.row<float>(i);
          rows.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
        }
        return rows;
      },
      take);
  const int64_t p = std::min<int64_t>({config.pca(), width, train.item_count() - 1});
  if (merged) {
    FillMissingUsers(train, profiles, items, users);
    store::WriteSafetensors(partial / "embeddings.safetensors",
                            {{"items", items}, {"users", users}, {"items_pca", nn::Pca(items, p)}});
  }
  return {{"texts embedded", Cat(texts.size())},
          {"encoder width", Cat(width)},
          {"item components (p)", Cat(p)}};
}

}  // namespace

Stage EmbeddingsStage(const config::RunConfig& config) {
  return {.name = "embeddings",
          .config_parts = {"embeddings"},
          .inputs = {"split", "rationales.item", "rationales.user"},
          .files = {{"encoder", config.embeddings().encoder()}},
          .kind = Kind::kLeased,
          .run = WriteEmbeddings};
}

}  // namespace whyrec::stages
