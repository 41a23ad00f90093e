#include "src/lm/thought_space.h"

#include <numeric>
#include <unordered_map>

#include "src/lm/bert.h"
#include "src/lm/json_file.h"
#include "src/text/tokenizer.h"

namespace whyrec::lm {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFacts = "thought.json";
constexpr int64_t kPositions = 512;  // as DistilBERT has

// Vectors of texts that may repeat.
class Vectors {
 public:
  int64_t Add(const std::string& text) {
    const auto [at, fresh] = rows_.emplace(text, std::ssize(texts_));
    if (fresh) texts_.push_back(text);
    return at->second;
  }
  void Encode(Encoder& encoder) {
    if (!texts_.empty()) values_ = encoder.Encode(texts_);
  }
  std::span<const float> row(int64_t i) const { return values_.row<float>(i); }

 private:
  std::unordered_map<std::string, int64_t> rows_;
  std::vector<std::string> texts_;
  HostTensor values_;
};

class CosineScorer final : public gen::ReasonScorer {
 public:
  CosineScorer(std::unique_ptr<Encoder> rationale, std::unique_ptr<Encoder> behaviour)
      : rationale_(std::move(rationale)), behaviour_(std::move(behaviour)) {
    WR_CHECK(!behaviour_ || behaviour_->width() == rationale_->width(), "widths ",
             behaviour_->width(), " and ", rationale_->width());
  }

  std::vector<std::vector<float>> Score(
      const std::vector<std::string>& behaviours,
      const std::vector<std::vector<std::string>>& reasons) override {
    WR_CHECK(behaviours.size() == reasons.size(), behaviours.size(), " and ", reasons.size());
    Vectors anchors, scored;
    std::vector<int64_t> rows;  // of reasons, user by user
    for (const auto& own : reasons)
      for (const std::string& reason : own) rows.push_back(scored.Add(reason));
    scored.Encode(*rationale_);
    std::vector<int64_t> anchor_rows;
    for (const std::string& behaviour : behaviours) anchor_rows.push_back(anchors.Add(behaviour));
    anchors.Encode(behaviour_ ? *behaviour_ : *rationale_);
    std::vector<std::vector<float>> scores(reasons.size());
    auto row = rows.begin();
    for (size_t user = 0; user < reasons.size(); ++user) {
      const auto anchor = anchors.row(anchor_rows[user]);
      for (size_t i = 0; i < reasons[user].size(); ++i) {
        const auto reason = scored.row(*row++);
        scores[user].push_back(static_cast<float>(
            std::inner_product(anchor.begin(), anchor.end(), reason.begin(), 0.0)));
      }
    }
    return scores;
  }

 private:
  std::unique_ptr<Encoder> rationale_, behaviour_;
};

}  // namespace

std::unique_ptr<gen::ReasonScorer> MakeReasonScorer(std::unique_ptr<Encoder> rationale,
                                                    std::unique_ptr<Encoder> behaviour) {
  return std::make_unique<CosineScorer>(std::move(rationale), std::move(behaviour));
}

Pooling PoolingOf(config::ThoughtConfig::Pooling pooling) {
  return pooling == config::ThoughtConfig::MEAN ? Pooling::kMean : Pooling::kCls;
}

void SaveThoughtFacts(const ThoughtFacts& facts, const fs::path& folder) {
  WriteJson(folder / kFacts, {{"log_tau", facts.log_tau},
                              {"pooling", config::ThoughtConfig::Pooling_Name(facts.pooling)},
                              {"max_tokens", facts.max_tokens},
                              {"retrieval_before", facts.retrieval_before},
                              {"retrieval_after", facts.retrieval_after},
                              {"held_out_users", facts.held_out}});
}

ThoughtFacts LoadThoughtFacts(const fs::path& folder) {
  const JsonFile file(folder / kFacts);
  ThoughtFacts facts{.log_tau = file.Get<double>("log_tau"),
                     .max_tokens = file.Get<int64_t>("max_tokens"),
                     .retrieval_before = file.Get<double>("retrieval_before"),
                     .retrieval_after = file.Get<double>("retrieval_after"),
                     .held_out = file.Get<int64_t>("held_out_users")};
  if (!config::ThoughtConfig::Pooling_Parse(file.Get<std::string>("pooling"), &facts.pooling))
    Fail(Exit::kData, file.path().string(), ": \"pooling\" is neither CLS nor MEAN");
  return facts;
}

std::unique_ptr<gen::ReasonScorer> LoadThoughtSpace(const fs::path& folder,
                                                    const std::string& device) {
  const ThoughtFacts facts = LoadThoughtFacts(folder);
  const EncoderOptions options{
      .max_tokens = facts.max_tokens, .pooling = PoolingOf(facts.pooling), .device = device};
  return MakeReasonScorer(LoadEncoder(folder / "rationale", options),
                          LoadEncoder(folder / "behaviour", options));
}

void WriteRandomEncoder(const config::ThoughtConfig& config, uint64_t seed,
                        const fs::path& folder) {
  if (config.width() % config.heads() != 0)
    Fail(Exit::kUsage, "pulse.thought.heads (", config.heads(),
         ") does not divide pulse.thought.width (", config.width(), ")");
  const BertConfig bert{.family = BertConfig::Family::kDistilBert,
                        .vocabulary = text::LoadWordPiece(config.vocabulary())->size(),
                        .width = config.width(),
                        .inner = config.inner(),
                        .layers = config.layers(),
                        .heads = config.heads(),
                        .positions = kPositions,
                        .types = 0,
                        .dropout = config.dropout(),
                        .attention_dropout = config.dropout()};
  nn::Parameters parameters;
  Bert network(bert, parameters, "", /*trainable=*/false);
  network.Initialise(seed);
  fs::create_directories(folder);
  fs::copy_file(config.vocabulary(), folder / "vocab.txt", fs::copy_options::overwrite_existing);
  WriteJson(folder / "tokenizer_config.json",
            {{"tokenizer_class", "DistilBertTokenizer"}, {"do_lower_case", true}});
  network.Save(folder);
}

}  // namespace whyrec::lm
