// isrf: T5 recommender with reasons (ISRF), and its ancestors POD and ELMRec as variants. The
// network is in model.cc; here are training, validation and prediction.
#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <limits>

#include "src/base/log.h"
#include "src/base/ragged.h"
#include "src/graph/graphs.h"
#include "src/lm/candidate_scores.h"
#include "src/store/hdf5_file.h"
#include "src/store/safetensors.h"
#include "src/systems/isrf/decode.h"
#include "src/systems/isrf/model.h"
#include "src/systems/isrf/samples.h"
#include "src/systems/system.h"
#include "src/tensor/bridge.h"
#include "src/tensor/device.h"
#include "src/train/checkpoint.h"
#include "src/train/team.h"
#include "src/train/trainer.h"

namespace whyrec::systems {
namespace {

using config::IsrfConfig;
using config::TrainConfig;

lm::T5Config BackboneConfig(const config::RunConfig& config) {
  const auto& backbone = config.isrf().backbone();
  lm::T5Config t5;
  if (backbone.has_folder()) {
    t5 = lm::LoadT5Config(backbone.folder());
  } else {
    t5.d_model = backbone.d_model();
    t5.d_ff = backbone.d_ff();
    t5.d_kv = backbone.d_kv();
    t5.heads = backbone.heads();
    t5.encoder_layers = t5.decoder_layers = backbone.layers();
  }
  t5.dropout = config.train().dropout();
  return t5;
}

IsrfInputs LoadInputs(const BuildContext& context) {
  IsrfInputs inputs{.users = context.train.user_count(), .items = context.train.item_count()};
  const bool embedded = context.artefacts.contains("embeddings");
  if (context.artefacts.contains("graphs")) {
    const store::Hdf5Reader file(context.artefacts.at("graphs") / "graph.h5");
    inputs.interactions = graph::LoadCsr(file, "interactions");
    if (embedded) inputs.user_graph = graph::LoadCsr(file, "users");
  }
  if (embedded)
    inputs.item_vectors =
        store::ReadSafetensors(context.artefacts.at("embeddings") / "embeddings.safetensors")
            .at("items_pca");
  return inputs;
}

IsrfBatch ToDevice(const Batch& batch, int64_t begin, int64_t end, at::Device device) {
  const auto rows = [&](const HostTensor& t) {
    return tensor::View(t).narrow(0, begin, end - begin).to(device);
  };
  return {batch.task,
          rows(batch.source),
          rows(batch.mask).to(at::kBool),
          rows(batch.whole_words),
          rows(batch.target),
          rows(batch.users)};
}

class IsrfRecommender final : public Recommender {
 public:
  explicit IsrfRecommender(const BuildContext& context)
      : config_(context.config),
        train_(context.train),
        parameters_(config_.train().dtype() == TrainConfig::FP64 ? at::kDouble : at::kFloat,
                    tensor::ChooseDevice(config_.execution().device())),
        prompts_(config_.isrf().has_templates() ? text::Templates(config_.isrf().templates())
                                                : text::Templates()),
        tokenizer_(text::LoadSentencePiece(config_.isrf().backbone().tokenizer())),
        batches_(IsrfVariantOf(context.variant), train_, config_.isrf(), prompts_, *tokenizer_),
        model_(IsrfVariantOf(context.variant), config_.isrf(), BackboneConfig(config_),
               LoadInputs(context), parameters_),
        decoder_(train_, config_, batches_, *tokenizer_) {}

  Facts Train(TrainContext& context) override;

  void Load(const std::filesystem::path& folder) override {
    train::LoadParameters(parameters_, folder / "model.safetensors");
    model_.Load(folder);
  }

  // By all ranks together while they train.
  std::vector<Prediction> Predict(Task task, const std::vector<Query>& queries) override;

  const config::RunConfig& config_;
  const data::TrainView& train_;
  nn::Parameters parameters_;
  text::Templates prompts_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  BatchMaker batches_;
  IsrfModel model_;
  NumberDecoder decoder_;

 private:
  std::vector<std::vector<decode::Hypothesis>> Searched(Task task,
                                                        const IsrfModel::Encoded& encoded,
                                                        const std::vector<Query>& queries);
  std::vector<std::vector<decode::Hypothesis>> RankedCandidates(const IsrfModel::Encoded& encoded,
                                                                const std::vector<Query>& queries);
};

std::vector<Prediction> IsrfRecommender::Predict(Task task, const std::vector<Query>& queries) {
  c10::NoGradGuard no_grad;
  const T5Task t5_task = task == Task::kSequential ? IsrfConfig::SEQUENTIAL : IsrfConfig::DIRECT;
  const auto most = static_cast<size_t>(config_.isrf().max_sequence() - 1);
  std::vector<Sample> samples;
  for (const Query& query : queries) {
    Sample sample{.user = query.user};
    const std::span<const int64_t> history = query.history;
    if (task == Task::kDirect)
      sample.items.assign(query.candidates.begin(), query.candidates.end());
    else
      sample.items.assign(history.end() - std::min(most, history.size()), history.end());
    samples.push_back(std::move(sample));
  }
  const IsrfBatch batch =
      ToDevice(batches_.Make(t5_task, samples), 0, std::ssize(samples), parameters_.device());
  const ranking::NodeRows nodes = model_.Nodes(batch);
  if (queries.empty()) return {};  // other ranks read nodes
  const auto encoded = model_.Encode(batch, nodes, /*draws=*/{});
  const auto hypotheses =
      decoder_.Exact(task) ? RankedCandidates(encoded, queries) : Searched(task, encoded, queries);
  std::vector<Prediction> out;
  for (size_t i = 0; i < queries.size(); ++i)
    out.push_back({.scores = {}, .list = decoder_.Items(task, queries[i], hypotheses[i])});
  return out;
}

// Beam search over the tokens, or over the pieces that occur in item numbers.
std::vector<std::vector<decode::Hypothesis>> IsrfRecommender::Searched(
    Task task, const IsrfModel::Encoded& encoded, const std::vector<Query>& queries) {
  const decode::BeamOptions options = decoder_.Options(task);
  const bool restricted = decoder_.Restricted(task);
  lm::T5::Cache cache =
      model_.t5().Start(encoded.memory, encoded.memory_mask,
                        restricted ? at::tensor(decoder_.pieces()) : at::Tensor());
  const auto step = [&](const decode::StepInput& input) {
    if (!restricted) return model_.t5().Step(cache, input);
    decode::StepInput in_vocabulary = input;
    in_vocabulary.tokens = cache.pieces.index_select(0, input.tokens);
    at::Tensor logits = model_.t5().Step(cache, in_vocabulary);
    logits.select(1, options.start).fill_(-std::numeric_limits<float>::infinity());
    return logits;
  };
  return decode::BeamSearch(step, std::ssize(queries), options, decoder_.Tries(task, queries));
}

std::vector<std::vector<decode::Hypothesis>> IsrfRecommender::RankedCandidates(
    const IsrfModel::Encoded& encoded, const std::vector<Query>& queries) {
  return lm::RankCandidates(
      model_.t5(), encoded.memory, encoded.memory_mask, decoder_.CandidateColumns(queries),
      {.length_penalty = config_.predict().length_penalty(), .pieces = decoder_.pieces()});
}

// The recommender as the training loop sees it.
class IsrfTraining final : public train::Trainable {
 public:
  IsrfTraining(IsrfRecommender& system, const TrainContext& context)
      : system_(system),
        config_(system.config_),
        labels_(context.labels),
        exclusion_(context.negative_exclusion),
        team_(context.comm),
        source_(system.train_, config_, context.negative_exclusion, system.prompts_) {}

  nn::Parameters& parameters() override { return system_.parameters_; }

  int64_t steps_per_epoch() const override {
    return config_.train().epoch_steps() > 0 ? config_.train().epoch_steps() : source_.EpochSteps();
  }

  // The tasks take turns, one a step. Every rank renders the whole global batch, so that padding
  // and the count of target tokens are global, and works on its slice.
  void BeginStep(const train::Share& whole) override {
    const auto& tasks = source_.tasks();
    const T5Task task = tasks[static_cast<size_t>(whole.step) % tasks.size()];
    const int64_t turn = whole.step / std::ssize(tasks), size = whole.global_batch;
    std::vector<Sample> samples;
    for (int64_t i = 0; i < size; ++i) samples.push_back(source_.Draw(task, turn * size + i));
    batch_ = system_.batches_.Make(task, samples);
    slice_ = OnDevice(batch_, whole.rank);
    rows_ = system_.model_.BeginStep(slice_);
  }

  train::StepLoss Loss(const train::Share& share) override {
    train::StepLoss loss{.own = {}, .shared = {}, .task = IsrfConfig::Task_Name(batch_.task)};
    const IsrfBatch part = OnDevice(batch_, {share.begin, share.end});
    const nn::Draws draws = share.draws(config_.seed());
    const auto encoded = system_.model_.Encode(part, rows_.nodes, draws);
    loss.own = system_.model_.TextLossSum(part, encoded, draws) /
               system_.model_.CountedTokens(tensor::View(batch_.target));
    if (share.last()) loss.shared = system_.model_.AlignmentLoss(slice_, rows_, team_);
    return loss;
  }

  void EndStep() override { system_.model_.EndStep(); }

  train::Validation Validate(int64_t step) override {
    c10::NoGradGuard no_grad;
    system_.model_.KeepNodes();
    return config_.train().stop() == TrainConfig::METRIC ? HitRate() : MeanLoss(step);
  }

 private:
  // METRIC: share of users (fixed by seed) whose validation item is among the first ten.
  train::Validation HitRate() {
    const bool sequential =
        std::count(source_.tasks().begin(), source_.tasks().end(), IsrfConfig::SEQUENTIAL) > 0;
    const Task task = sequential ? Task::kSequential : Task::kDirect;
    const std::vector<int64_t> users = ValidationUsers(labels_, config_);
    const auto hits = [&](int64_t begin, int64_t end) {
      return Hits(task, {users.begin() + begin, users.begin() + end});
    };
    const double value = team_.SumOverUnits(std::ssize(users), config_.predict().batch_users(),
                                            hits, train::Team::Calls::kTogether) /
                         static_cast<double>(users.size());
    return {value, false, {{std::string(NameOf(task)) + " HR@10", value}}};
  }

  double Hits(Task task, std::span<const int64_t> users) {
    std::vector<Query> queries;
    for (int64_t user : users) {
      Query query{user, labels_.InputHistory(data::Phase::kValidation, system_.train_, user), {}};
      if (task == Task::kDirect)
        query.candidates = labels_.Candidates(data::Phase::kValidation, user);
      queries.push_back(std::move(query));
    }
    const auto predictions = system_.Predict(task, queries);
    double hits = 0;
    for (size_t i = 0; i < users.size(); ++i) {
      const auto& list = predictions[i].list;
      const int64_t target = labels_.Target(data::Phase::kValidation, users[i]);
      hits += std::find(list.begin(), list.end(), target) != list.end();
    }
    return hits;
  }

  // LOSS_MEAN3, as the public code validates: the mean over the tasks of the text loss with the
  // plain template.
  train::Validation MeanLoss(int64_t step) {
    train::Validation out{0, true, {}};
    for (T5Task task : source_.tasks()) {
      const std::vector<Sample> samples = ValidationSamples(task, step);
      if (samples.empty()) continue;
      out.parts.emplace_back(IsrfConfig::Task_Name(task), TaskLoss(task, samples));
    }
    for (const auto& [name, loss] : out.parts)
      out.value += loss / static_cast<double>(out.parts.size());
    return out;
  }

  double TaskLoss(T5Task task, const std::vector<Sample>& samples) {
    const auto unit = [&](int64_t begin, int64_t end) {
      const std::span<const Sample> part(samples.begin() + begin, samples.begin() + end);
      const Batch host = system_.batches_.Make(task, part);
      const IsrfBatch batch = OnDevice(host, {0, std::ssize(part)});
      const ranking::NodeRows nodes = system_.model_.Nodes(batch);
      if (part.empty()) return 0.0;  // other ranks read nodes
      const auto encoded = system_.model_.Encode(batch, nodes, {});
      const double sum = system_.model_.TextLossSum(batch, encoded, {}).item<double>();
      return sum / static_cast<double>(system_.model_.CountedTokens(tensor::View(host.target))) *
             static_cast<double>(part.size());
    };
    return team_.SumOverUnits(std::ssize(samples), 64, unit, train::Team::Calls::kTogether) /
           static_cast<double>(samples.size());
  }

  std::vector<Sample> ValidationSamples(T5Task task, int64_t step) {
    std::vector<Sample> samples;
    if (task == IsrfConfig::EXPLANATION) {
      for (const auto& record : labels_.ValidationExplanations())
        samples.push_back({.user = record.user, .items = {record.item}, .text = record.text});
      return samples;
    }
    const auto most = static_cast<size_t>(config_.isrf().max_sequence() - 1);
    for (int64_t user : labels_.EvaluatedUsers(data::Phase::kValidation)) {
      Sample sample{.user = user, .target = labels_.Target(data::Phase::kValidation, user)};
      const auto history = system_.train_.histories.row(user);
      if (task == IsrfConfig::SEQUENTIAL) {
        sample.items.assign(history.end() - std::min(most, history.size()), history.end());
      } else if (config_.split().validation_negatives() == config::SplitConfig::FIXED) {
        const auto candidates = labels_.Candidates(data::Phase::kValidation, user);
        sample.items.assign(candidates.begin(), candidates.end());
      } else {
        Rng rng(config_.seed(), "validation negatives", static_cast<uint64_t>(step),
                static_cast<uint64_t>(user));
        std::vector<int64_t> excluded(exclusion_.row(user).begin(), exclusion_.row(user).end());
        excluded.push_back(sample.target);
        sample.items = data::DrawNegatives(system_.train_.item_count(), excluded,
                                           config_.split().direct_negatives(), rng);
        sample.items.push_back(sample.target);
        rng.Shuffle(sample.items);
      }
      samples.push_back(std::move(sample));
    }
    return samples;
  }

  IsrfBatch OnDevice(const Batch& batch, train::Slice samples) const {
    return ToDevice(batch, samples.begin, samples.end, system_.parameters_.device());
  }

  IsrfRecommender& system_;
  const config::RunConfig& config_;
  const data::LabelStore& labels_;
  const Ragged<int64_t>& exclusion_;
  const train::Team team_;
  SampleSource source_;
  // Of the step under way: the global batch, this rank's samples of it, and the rows they read.
  Batch batch_;
  IsrfBatch slice_;
  IsrfModel::Rows rows_;
};

Facts IsrfRecommender::Train(TrainContext& context) {
  model_.Join(train::Team(context.comm), config_.graphs());
  model_.Initialise(config_.seed());
  if (config_.isrf().backbone().has_folder()) model_.t5().Load(config_.isrf().backbone().folder());
  IsrfTraining training(*this, context);
  Facts facts = train::Run(training, config_.train(), context.folder, context.comm);
  train::LoadParameters(parameters_, context.folder / "model.safetensors");
  model_.KeepNodes();
  model_.Save(context.folder);
  std::ranges::copy(model_.facts(), std::back_inserter(facts));
  if (train_.explanations.empty())
    facts.emplace_back("explanation task", "off: the data hold no review texts");
  return facts;
}

System::Names Needs(const config::RunConfig& config, const std::string& variant) {
  switch (IsrfVariantOf(variant)) {
    case IsrfVariant::kIsrfCode:
      return {"graphs", "embeddings"};
    case IsrfVariant::kElmrec:
      return {"graphs"};
    case IsrfVariant::kPod:
      break;
  }
  // Mentions are ordinals here: the user, the candidates and 0 have to fit the whole-word table.
  if (config.split().direct_negatives() + 3 > kWholeWordRows)
    Fail(Exit::kUsage, "split.direct_negatives is ", config.split().direct_negatives(),
         "; the variant POD has ", kWholeWordRows, " whole-word rows: at most ", kWholeWordRows - 3,
         " negatives");
  return {};
}

std::vector<Variant> Variants() {
  std::vector<Variant> variants;
  for (const IsrfRow& row : kIsrfRows) variants.push_back({.name = row.name, .doc = row.doc});
  return variants;
}

System::Files ExternalFiles(const config::RunConfig& config) {
  const auto& isrf = config.isrf();
  if (!isrf.backbone().has_tokenizer())
    Fail(Exit::kUsage,
         "isrf.backbone.tokenizer is not set: give the T5 SentencePiece model (spiece.model)");
  System::Files files = {{"tokenizer", isrf.backbone().tokenizer()}};
  if (isrf.backbone().has_folder()) files.emplace_back("backbone", isrf.backbone().folder());
  if (isrf.has_templates()) files.emplace_back("templates", isrf.templates());
  return files;
}

const Registration kRegistration({
    .name = "isrf",
    .description = "T5 with prompt, graph and rationale vectors (ISRF), and its T5 ancestors",
    .config_parts = {"isrf", "seed", "split", "train", "predict.sequential_decode",
                     "predict.direct_decode", "predict.fill", "predict.sequential_beams",
                     "predict.sequential_extra", "predict.direct_beams", "predict.max_new_tokens",
                     "predict.length_penalty", "predict.batch_users"},
    .revision = 3,  // writes the propagated table
    .variants = Variants(),
    .needs = Needs,
    .files = ExternalFiles,
    .build = [](const BuildContext& c) { return std::make_unique<IsrfRecommender>(c); },
});

}  // namespace
}  // namespace whyrec::systems
