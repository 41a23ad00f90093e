// pulse: a language model scores candidates from titles and a chosen reason (PULSE, ECIR 2026). The
// reasons come from earlier stages; here f_theta is trained and predicts. Equation numbers are the
// paper's.
#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/base/rng.h"
#include "src/data/samplers.h"
#include "src/systems/pulse/memory.h"
#include "src/systems/pulse/model.h"
#include "src/systems/pulse/prompt.h"
#include "src/systems/pulse/reasons.h"
#include "src/systems/system.h"
#include "src/train/checkpoint.h"
#include "src/train/team.h"
#include "src/train/trainer.h"

namespace whyrec::systems {
namespace {

using config::RunConfig;
using config::ScorerConfig;

std::filesystem::path BaseFolder(const BuildContext& context) {
  const auto& language = context.config.pulse().language();
  return language.has_folder() ? std::filesystem::path(language.folder())
                               : context.artefacts.at("language");
}

class PulseRecommender final : public Recommender {
 public:
  explicit PulseRecommender(const BuildContext& context)
      : config_(context.config),
        scorer_(config_.pulse().scorer()),
        train_(context.train),
        prior_(context.variant == "PRIOR"),
        reasons_(context),
        base_(BaseFolder(context)),
        tokenizer_(text::LoadTokenizer(base_)),
        prompts_(train_, config_, *tokenizer_),
        model_(config_, base_) {}

  Facts Train(TrainContext& context) override;

  void Load(const std::filesystem::path& folder) override {
    if (!prior_) train::LoadParameters(model_.trained(), folder / "model.safetensors");
  }

  std::vector<Prediction> Predict(Task, const std::vector<Query>& queries) override {
    return Scores("test", scorer_.test_history(), queries);
  }

  // l_{u,c} = f_theta(H_u, r_u*, c) for the candidates of every query; of LETTER the mean log p
  // over the candidates in their order and in reverse, so that no position in the list is favoured.
  std::vector<Prediction> Scores(const std::string& split, int64_t history,
                                 const std::vector<Query>& queries) const;

  const RunConfig& config_;
  const ScorerConfig& scorer_;
  const data::TrainView& train_;
  const bool prior_;
  const Reasons reasons_;
  const std::filesystem::path base_;
  const std::unique_ptr<text::Tokenizer> tokenizer_;
  const ScorerPrompts prompts_;
  PulseModel model_;

 private:
  std::vector<Prediction> InOrder(const std::string& split, int64_t history,
                                  const std::vector<Query>& queries) const;
  std::vector<Prediction> Generated(const std::string& split, int64_t history,
                                    const std::vector<Query>& queries) const;
};

void LogSoftmax(std::vector<double>& logits) {
  const double highest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const double l : logits) sum += std::exp(l - highest);
  for (double& l : logits) l -= highest + std::log(sum);
}

std::vector<Prediction> PulseRecommender::Scores(const std::string& split, int64_t history,
                                                 const std::vector<Query>& queries) const {
  const c10::NoGradGuard no_grad;
  if (scorer_.logit() == ScorerConfig::TITLE_GENERATE && !prior_)
    return Generated(split, history, queries);
  std::vector<Prediction> out = InOrder(split, history, queries);
  if (scorer_.logit() != ScorerConfig::LETTER || prior_) return out;
  std::vector<std::vector<int64_t>> turned;
  std::vector<Query> again = queries;
  for (Query& query : again) {
    turned.emplace_back(query.candidates.rbegin(), query.candidates.rend());
    query.candidates = turned.back();
  }
  auto other = InOrder(split, history, again);
  for (size_t i = 0; i < out.size(); ++i) {
    LogSoftmax(out[i].scores);
    LogSoftmax(other[i].scores);
    std::ranges::reverse(other[i].scores);
    for (size_t c = 0; c < out[i].scores.size(); ++c)
      out[i].scores[c] = (out[i].scores[c] + other[i].scores[c]) / 2;
  }
  return out;
}

std::vector<Prediction> PulseRecommender::InOrder(const std::string& split, int64_t history,
                                                  const std::vector<Query>& queries) const {
  std::vector<ScorerPrompt> prompts;
  for (const Query& query : queries)
    prompts.push_back(prior_ ? prompts_.TitlesAlone(query.candidates)
                             : prompts_.Branched(query.history, history,
                                                 reasons_.Of(split, query.user), query.candidates));
  const at::Tensor logits =
      (prior_ ? model_.MeanLogLikelihoods(prompts, {}) : model_.Logits(prompts, {}))
          .to(at::kDouble)
          .cpu();
  const double* next = logits.const_data_ptr<double>();
  std::vector<Prediction> out;
  for (const Query& query : queries) {
    out.push_back({.scores = {next, next + query.candidates.size()}, .list = {}});
    next += query.candidates.size();
  }
  return out;
}

// The published code's evaluation (TITLE_GENERATE): a candidate scores 1 if its title is in the
// output's first line, else it is a miss.
std::vector<Prediction> PulseRecommender::Generated(const std::string& split, int64_t history,
                                                    const std::vector<Query>& queries) const {
  constexpr decode::Sampling kSampling{.temperature = 0.3, .top_k = 50, .top_p = 0.9};
  constexpr int64_t kMostTokens = 59;
  std::vector<ScorerPrompt> prompts;
  std::vector<std::string> names;
  for (const Query& query : queries) {
    prompts.push_back(prompts_.Completion(query.user, query.history, history,
                                          reasons_.Of(split, query.user), query.candidates, -1));
    names.push_back(Cat(split, " title ", query.user));
  }
  decode::Sampling sampling = kSampling;
  sampling.seed = config_.seed();
  const auto outputs = model_.Complete(prompts, names, sampling, kMostTokens);
  std::vector<Prediction> out;
  for (size_t i = 0; i < queries.size(); ++i) {
    std::vector<std::string> titles;
    for (const int64_t item : queries[i].candidates) titles.push_back(prompts_.Title(item));
    Prediction prediction;
    for (const bool found : FoundTitles(tokenizer_->Decode(outputs[i]), titles))
      prediction.scores.push_back(found ? 1 : std::numeric_limits<double>::quiet_NaN());
    out.push_back(std::move(prediction));
  }
  return out;
}

eval::Ties TiesOf(const RunConfig& config) {
  return config.pulse().scorer().logit() == ScorerConfig::TITLE_GENERATE ? eval::Ties::kOptimistic
                                                                         : eval::Ties::kPessimistic;
}

// The recommender as the training loop sees it. One example a user: the last training item, from
// those before it, among its candidates.
class PulseTraining final : public train::Trainable {
 public:
  PulseTraining(PulseRecommender& system, TrainContext& context)
      : system_(system), config_(system.config_), labels_(context.labels), team_(context.comm) {
    const auto& candidates = system.train_.candidates;
    if (candidates.rows() == 0)
      Fail(Exit::kUsage, "the scorer learns from candidates: set split.train_candidates to true");
    for (int64_t user = 0; user < candidates.rows(); ++user)
      if (!candidates.row(user).empty()) users_.push_back(user);
    if (users_.empty()) Fail(Exit::kData, "no user has two training items, a history and a target");
    tokens_.resize(static_cast<size_t>(candidates.rows()));
    sampler_ = std::make_unique<data::CursorSampler>(std::ssize(users_), config_.seed(), "scorer",
                                                     config_.train().shuffle_first_pass());
  }

  nn::Parameters& parameters() override { return system_.model_.trained(); }

  train::ParameterRule RuleFor(const std::string& path) const override {
    if (path != "score.weight") return {};
    return {.learning_rate = system_.scorer_.head_rate()};
  }

  int64_t steps_per_epoch() const override {
    const int64_t given = config_.train().epoch_steps(), size = config_.train().global_batch();
    return given > 0 ? given : (std::ssize(users_) + size - 1) / size;
  }

  train::StepLoss Loss(const train::Share& share) override {
    std::vector<int64_t> users, tokens;  // of the global batch
    for (int64_t i = 0; i < share.global_batch; ++i) {
      users.push_back(users_[static_cast<size_t>(sampler_->At(share.first() + i))]);
      tokens.push_back(Tokens(users.back()));
    }
    const std::vector<int64_t> places = share.Deal(tokens);
    std::vector<int64_t> own;
    for (const int64_t i : places) own.push_back(users[static_cast<size_t>(i)]);
    const nn::Draws draws = nn::DrawsOf(config_.seed(), share.step, places);
    return {.own = generates() ? TitleLoss(own, users, draws)
                               : ChoiceLoss(own, share.step, draws) /
                                     static_cast<double>(share.global_batch),
            .shared = {},
            .task = "SFT"};
  }

  train::Validation Validate(int64_t) override;

 private:
  std::span<const int64_t> History(int64_t user) const {
    const auto row = system_.train_.histories.row(user);
    return row.first(row.size() - 1);
  }
  int64_t Target(int64_t user) const { return system_.train_.histories.row(user).back(); }

  bool generates() const { return system_.scorer_.logit() == ScorerConfig::TITLE_GENERATE; }

  // The target and its negatives, shuffled; with LETTER shuffled anew at every step.
  std::vector<int64_t> Candidates(int64_t user, int64_t step) const {
    const auto row = system_.train_.candidates.row(user);
    std::vector<int64_t> candidates(row.begin(), row.end());
    if (system_.scorer_.logit() == ScorerConfig::LETTER)
      Rng(config_.seed(), "letters", static_cast<uint64_t>(step), static_cast<uint64_t>(user))
          .Shuffle(candidates);
    return candidates;
  }

  ScorerPrompt Question(int64_t user, std::span<const int64_t> candidates) const {
    const auto* reason = system_.reasons_.Of("train", user);
    const int64_t most = system_.scorer_.history();
    return generates() ? system_.prompts_.Completion(user, History(user), most, reason, candidates,
                                                     Target(user))
                       : system_.prompts_.Branched(History(user), most, reason, candidates);
  }

  // Tokens of a user's prompt; they do not depend on the order of the candidates.
  int64_t Tokens(int64_t user) {
    int64_t& tokens = tokens_.at(static_cast<size_t>(user));
    if (tokens == 0) tokens = Question(user, Candidates(user, 0)).tokens();
    return tokens;
  }

  // Eq. 3: L_SFT = - sum_u log p_{u,i+}, p_{u,c} = exp(l_{u,c}) / sum_c' exp(l_{u,c'}).
  at::Tensor ChoiceLoss(std::span<const int64_t> users, int64_t step, const nn::Draws& draws) {
    std::vector<ScorerPrompt> prompts;
    std::vector<int64_t> targets;
    size_t width = 0;
    for (const int64_t user : users) {
      const auto candidates = Candidates(user, step);
      WR_CHECK(width == 0 || width == candidates.size(), width, " and ", candidates.size());
      width = candidates.size();
      targets.push_back(std::ranges::find(candidates, Target(user)) - candidates.begin());
      prompts.push_back(Question(user, candidates));
    }
    const at::Tensor logits = system_.model_.Logits(prompts, draws)
                                  .view({std::ssize(users), static_cast<int64_t>(width)});
    return at::cross_entropy_loss(logits, at::tensor(targets, at::kLong).to(logits.device()), {},
                                  at::Reduction::Sum);
  }

  // The published reading: -log p of the target's title, mean over the tokens of the global batch.
  at::Tensor TitleLoss(std::span<const int64_t> users, std::span<const int64_t> all,
                       const nn::Draws& draws) {
    int64_t tokens = 0;
    for (const int64_t user : all) tokens += system_.prompts_.CompletionTokens(Target(user));
    std::vector<ScorerPrompt> prompts;
    for (const int64_t user : users)
      prompts.push_back(Question(user, system_.train_.candidates.row(user)));
    return system_.model_.CompletionLossSum(prompts, draws) / static_cast<double>(tokens);
  }

  PulseRecommender& system_;
  const RunConfig& config_;
  const data::LabelStore& labels_;
  const train::Team team_;
  std::vector<int64_t> users_;   // rows of users with an example
  std::vector<int64_t> tokens_;  // of a user's question; 0: not counted yet
  std::unique_ptr<data::CursorSampler> sampler_;
};

// HR@1 on fixed users and their validation items, with reasons of the validation split.
train::Validation PulseTraining::Validate(int64_t) {
  const data::LabelStore& labels = labels_;
  RunConfig config = config_;
  config.mutable_train()->set_validation_users(system_.scorer_.validation_users());
  const std::vector<int64_t> users = ValidationUsers(labels, config);
  const auto hits = [&](int64_t begin, int64_t end) {
    std::vector<Query> queries;
    for (int64_t i = begin; i < end; ++i)
      queries.push_back({users[i],
                         labels.InputHistory(data::Phase::kValidation, system_.train_, users[i]),
                         labels.Candidates(data::Phase::kValidation, users[i])});
    const auto predictions = system_.Scores("validation", system_.scorer_.history(), queries);
    double sum = 0;
    for (size_t i = 0; i < queries.size(); ++i) {
      const int64_t target = labels.Target(data::Phase::kValidation, queries[i].user);
      const auto place = std::ranges::find(queries[i].candidates, target);
      sum +=
          eval::HitRate(eval::RankOf(predictions[i].scores, place - queries[i].candidates.begin()),
                        1, TiesOf(config_));
    }
    return sum;
  };
  const double value =
      team_.SumOverUnits(std::ssize(users), config_.predict().batch_users(), hits) /
      static_cast<double>(users.size());
  return {value, false, {{"HR@1", value}}};
}

Facts PulseRecommender::Train(TrainContext& context) {
  const std::string base =
      config_.pulse().language().has_folder()
          ? Cat("folder ", base_.filename().string())
          : std::string("random start, causal language model of the catalogue's text");
  if (prior_) return {{"scorer base", base}, {"training", "none"}};
  model_.Initialise(config_.seed());
  const bool recompute = RecomputesLayers(config_, ShapeOf(model_.phi().config()));
  model_.RecomputeLayers(recompute);
  PulseTraining training(*this, context);
  Facts facts = train::Run(training, config_.train(), context.folder, context.comm);
  train::Team(context.comm).Once([&] {
    train::LoadParameters(model_.trained(), context.folder / "model.safetensors");
    model_.Save(context.folder);
  });
  facts.emplace_back("scorer base", base);
  facts.emplace_back("trained weights", ScorerConfig::Tuned_Name(scorer_.train_weights()));
  facts.emplace_back("layers run again in the backward pass", recompute ? "yes" : "no");
  return facts;
}

System::Names Needs(const RunConfig& config, const std::string& variant) {
  if (variant != "PRIOR" && !config.split().train_candidates())
    Fail(Exit::kUsage, "the scorer learns from candidates: set split.train_candidates to true");
  System::Names needs;
  if (const std::string select = AblationOf(variant).select; !select.empty())
    needs.push_back("select." + select);
  if (!config.pulse().language().has_folder()) needs.push_back("language");
  return needs;
}

System::Files ExternalFiles(const RunConfig& config) {
  if (!config.pulse().language().has_folder()) return {};
  return {{"language model", config.pulse().language().folder()}};
}

std::vector<Variant> Variants() {
  std::vector<Variant> variants;
  for (const Ablation& row : kAblations)
    variants.push_back({.name = row.name, .doc = row.doc, .trained_as = row.trained_as});
  return variants;
}

// Training options that the scorer, the thought encoders or the base model do not read.
std::vector<std::pair<std::string, std::string>> Ignored() {
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string part : {"train.", "pulse.scorer.train."}) {
    out.emplace_back(part + "stop", "whose scorer stops by HR@1 of validation users");
    out.emplace_back(part + "validation_users", "which has pulse.scorer.validation_users");
    out.emplace_back(part + "dropout", "which has pulse.scorer.dropout");
  }
  const std::string encoders = "pulse.thought.train.", base = "pulse.language.train.";
  out.emplace_back(encoders + "stop", "whose encoders stop by the retrieval of held-out users");
  out.emplace_back(encoders + "dropout", "which has pulse.thought.dropout");
  out.emplace_back(encoders + "shuffle_first_pass", "whose encoders shuffle every pass");
  out.emplace_back(base + "stop", "whose base model stops by the loss of held-out texts");
  out.emplace_back(base + "validation_users", "whose base model validates on held-out texts");
  out.emplace_back(base + "dropout", "whose base model has none");
  out.emplace_back(base + "shuffle_first_pass", "whose base model shuffles every pass");
  return out;
}

const Registration kRegistration({
    .name = "pulse",
    .description = "language model scores candidates from titles and a chosen reason (PULSE 2026)",
    .ignores = Ignored(),
    .config_parts = {"protocol", "pulse.scorer", "seed", "split", "train", "predict.batch_users"},
    .revision = 2,  // batches dealt by length
    .ties_of = TiesOf,
    .variants = Variants(),
    .tasks = {Task::kDirect},
    .roles = {Role::kLanguageModel},
    .training = [](const auto& config) { return config.pulse().scorer().train(); },
    .needs = Needs,
    .files = ExternalFiles,
    .build = [](const BuildContext& c) { return std::make_unique<PulseRecommender>(c); },
    .memory =
        [](const RunConfig& config) {
          const ModelShape shape = ShapeOf(config);
          MemoryPlan plan = PlanMemory(config, shape, /*recompute=*/true, {.gpu = true});
          const MemoryPlan kept = PlanMemory(config, shape, /*recompute=*/false, {.gpu = true});
          plan.emplace_back("total without running layers again", kept.back().second);
          return plan;
        },
});

}  // namespace
}  // namespace whyrec::systems
