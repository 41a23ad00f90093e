// SASRec against PyTorch's own layers over padded histories (tests/golden/make_sasrec.py), its
// draws, and what it learns.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "src/base/text_file.h"
#include "src/systems/sasrec.h"
#include "src/tensor/bridge.h"
#include "tests/golden/bound.h"
#include "tests/golden/difference.h"
#include "tests/golden/folder.h"
#include "tests/systems/histories.h"
#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

using Form = SasRecConfig::Form;
using Loss = ranking::Scorer::Loss;

const std::vector<std::pair<std::string, Form>> kForms = {
    {"original", Form::kOriginal}, {"post", Form::kPostNorm2025}, {"pre", Form::kPreNorm2025}};

// The reference's weights in our network; its padded rows as our sequences.
struct SasRecGolden {
  SasRecGolden(const std::string& name, Form form, at::ScalarType dtype)
      : tensors(store::ReadSafetensors(kGolden / "sasrec_golden.safetensors")),
        name(name),
        bce({.items = 23, .dim = 8, .length = 12, .dropout = 0.5, .form = form}, Loss::kBce, dtype,
            at::kCPU),
        ce(bce.network().config(), Loss::kCrossEntropy, dtype, at::kCPU),
        network(bce.network()) {
    at::set_num_threads(1);
    const c10::NoGradGuard no_grad;
    for (SasRec* scorer : {&bce, &ce})
      for (const auto& [path, parameter] : scorer->parameters().all())
        parameter.detach().copy_(Get("weight." + path));
  }

  at::Tensor Get(const std::string& what) const {
    return tensor::View(tensors.at(name + "." + what));
  }
  double Share(const at::Tensor& got, const std::string& what, double fp64 = 1e-9) const {
    return ShareOfBound(got, tensors, name + "." + what, fp64);
  }

  // Item rows of one line without its padding.
  std::vector<int64_t> Line(const std::string& tensor, int64_t row) const {
    std::vector<int64_t> out;
    for (const int64_t number : tensors.at(tensor).row<int64_t>(row))
      if (number != 0) out.push_back(number - 1);
    return out;
  }

  SasRecBatch Batch(bool padded) const {
    SasRecBatch batch;
    for (int64_t row = 0; row < tensors.at("histories").dim(0); ++row)
      network.Append(Line("histories", row), padded, batch);
    return batch;
  }

  ranking::Examples Samples() const {
    ranking::Examples out;
    for (int64_t row = 0; row < tensors.at("seq").dim(0); ++row) {
      const auto events = Line("seq", row);
      if (events.empty()) continue;
      out.users.push_back(row);
      out.inputs.Append(events);
      out.positives.Append(Line("pos", row));
      for (const int64_t item : Line("neg", row)) out.negatives.push_back(item);
    }
    return out;
  }

  store::TensorMap tensors;
  std::string name;
  SasRec bce, ce;
  const SasRecNetwork& network;
};

TEST(SasRec, StatesAndScoresEqualPaddedOnes) {
  const c10::NoGradGuard no_grad;
  for (const auto& [name, form] : kForms) {
    for (const bool fp64 : {true, false}) {
      const SasRecGolden golden(name, form, fp64 ? at::kDouble : at::kFloat);
      const at::Tensor last = golden.network.LastStates(golden.Batch(true));
      const double states = golden.Share(last, "last", 1e-12);
      const double scores = golden.Share(golden.network.ItemScores(last), "scores", 1e-12);
      EXPECT_LT(states, 1) << name;
      EXPECT_LT(scores, 1) << name;
      std::cout << "  " << name << (fp64 ? " fp64" : " fp32") << ", shares of bounds: states "
                << states << ", scores " << scores << "\n";
    }
  }
}

TEST(SasRec, LossesAndGradientsEqualPaddedOnes) {
  for (const auto& [name, form] : kForms) {
    for (const bool fp64 : {true, false}) {
      for (const std::string kind : {"bce", "ce"}) {
        SasRecGolden golden(name, form, fp64 ? at::kDouble : at::kFloat);
        SasRec& scorer = kind == "ce" ? golden.ce : golden.bce;
        const ranking::Examples samples = golden.Samples();
        const at::Tensor loss =
            scorer.LossSum(samples, /*draws=*/{}) / static_cast<double>(samples.targets());
        loss.backward();
        const double far_loss = golden.Share(loss.view({1}), kind + ".loss");
        double far = 0;
        for (const auto& [path, parameter] : scorer.parameters().all()) {
          ASSERT_TRUE(parameter.grad().defined()) << path;
          const double apart = golden.Share(parameter.grad(), kind + ".grad." + path);
          EXPECT_LT(apart, 1) << name << " " << kind << " " << path;
          far = std::max(far, apart);
        }
        EXPECT_LT(far_loss, 1) << name;
        std::cout << "  " << name << (fp64 ? " fp64 " : " fp32 ") << kind
                  << ", shares of bounds: loss " << far_loss << ", gradients " << far << "\n";
      }
    }
  }
}

TEST(SasRec, UnpaddedStatesEqualThoseOfTheHistoryAlone) {
  const c10::NoGradGuard no_grad;
  const SasRecGolden golden("original", Form::kOriginal, at::kDouble);
  const at::Tensor alone = golden.network.LastStates(golden.Batch(false));
  EXPECT_LT(Difference(alone, golden.Get("unpadded")), 1e-12);
  EXPECT_GT(Difference(alone, golden.Get("last")), 0.1);
}

// Mean and variance over many draws: every padded slot is dropped by itself there, and here a
// binomial number stands for them.
TEST(SasRec, DropoutIsDistributedAsOverPaddedSlots) {
  const c10::NoGradGuard no_grad;
  constexpr double kDraws = 5000, kTheirs = 25000;
  constexpr double kShares = 1 / kDraws + 1 / kTheirs;  // of a variance, in that of a difference
  for (const auto& [name, form] : kForms) {
    const SasRecGolden golden(name, form, at::kFloat);
    for (const int64_t row : {1, 0}) {  // one event, three
      SasRecBatch batch;
      std::vector<int64_t> last;
      for (int draw = 0; draw < kDraws; ++draw) {
        golden.network.Append(golden.Line("histories", row), true, batch);
        last.push_back(batch.events() - 1);
      }
      const at::Tensor states =
          golden.network
              .States(golden.network.Rows(golden.network.Indices(batch.rows)), batch,
                      nn::DrawsOf(1, 0, 0, std::ssize(batch.sequences)))
              .index_select(0, golden.network.Indices(last))
              .to(at::kDouble);
      const at::Tensor mean = golden.Get("dropout.mean")[row],
                       variance = golden.Get("dropout.variance")[row];
      const at::Tensor centred = states - states.mean(0);
      const at::Tensor own = centred.square().mean(0);
      // Five standard errors of the difference; that of a variance from the fourth moment.
      const at::Tensor fourth = centred.square().square().mean(0) - own.square();
      const at::Tensor far_mean = (states.mean(0) - mean) / (variance * kShares).sqrt();
      const at::Tensor far_variance = (own - variance) / (fourth * kShares).sqrt();
      EXPECT_LT(far_mean.abs().max().item<double>(), 5) << name << " history " << row;
      EXPECT_LT(far_variance.abs().max().item<double>(), 5) << name << " history " << row;
      std::cout << "  " << name << " history " << row << ": mean "
                << far_mean.abs().max().item<double>() << ", variance "
                << far_variance.abs().max().item<double>() << " standard errors\n";
    }
  }
}

// Among others a sequence stands in groups of other widths; the padding's draws are its own, too.
TEST(SasRec, DropoutDoesNotDependOnTheBatch) {
  const c10::NoGradGuard no_grad;
  for (const auto& [name, form] : kForms) {
    const SasRecGolden golden(name, form, at::kDouble);
    const auto states = [&](const SasRecBatch& batch, const nn::Draws& draws) {
      return golden.network.States(golden.network.Rows(golden.network.Indices(batch.rows)), batch,
                                   draws);
    };
    const SasRecBatch batch = golden.Batch(true);
    const at::Tensor all = states(batch, nn::DrawsOf(3, 1, 0, std::ssize(batch.sequences)));
    EXPECT_GT(Difference(states(batch, {}), all), 0.1);
    for (int64_t row = 0; row < std::ssize(batch.sequences); ++row) {
      SasRecBatch alone;
      golden.network.Append(golden.Line("histories", row), true, alone);
      const auto& sequence = batch.sequences[static_cast<size_t>(row)];
      EXPECT_LT(Difference(states(alone, nn::DrawsOf(3, 1, row, 1)),
                           all.narrow(0, sequence.first, sequence.count)),
                1e-12)
          << name << " history " << row;
    }
  }
}

// For the item counts of PULSE's Table 2.
TEST(SasRec, ParametersAreAsManyAsPublished) {
  const std::vector<std::pair<int64_t, int64_t>> published = {
      {6534, 360350}, {7841, 425700}, {33614, 1714350}};
  for (const auto& [items, count] : published) {
    nn::Parameters parameters;
    const SasRecNetwork network({.items = items}, parameters);
    EXPECT_EQ(parameters.Count(), count);
  }
}

TEST(SasRec, StartsAsXavierSays) {
  nn::Parameters parameters;
  SasRecNetwork network({.items = 999}, parameters);
  network.Initialise(1);
  const auto spread = [&](const std::string& path) {
    return parameters.Get(path).detach().square().mean().sqrt().item<double>();
  };
  EXPECT_NEAR(spread("item_emb.weight"), std::sqrt(2 / 1050.), 0.01 * std::sqrt(2 / 1050.));
  EXPECT_NEAR(spread("pos_emb.weight"), std::sqrt(2 / 100.), 0.05 * std::sqrt(2 / 100.));
  EXPECT_NEAR(spread("attention_layers.1.in_proj_weight"), 0.1, 0.003);  // 2 / (150 + 50)
  EXPECT_NEAR(spread("forward_layers.0.conv2.weight"), std::sqrt(2 / 100.), 0.005);
  EXPECT_EQ(spread("attention_layers.0.out_proj.bias"), 0);
  EXPECT_EQ(spread("last_layernorm.weight"), 1);
  nn::Parameters others;
  EXPECT_THROW(SasRecNetwork({.items = 9, .dim = 50, .heads = 3}, others), Error);
}

TEST(SasRec, LearnsOrderInEveryForm) {
  const Histories histories = Circle();
  for (const char* loss : {"BCE", "CE"}) {
    for (const char* form : {"ORIGINAL", "POST_NORM_2025", "PRE_NORM_2025"}) {
      const World world(
          CatalogueOf(histories, 12),
          SettingsOf("sasrec",
                     {"dim=16", "length=8", "dropout=0.1", Cat("loss=", loss), Cat("form=", form)},
                     {"train.steps=150", "train.learning_rate=0.01", "train.global_batch=16",
                      "train.epoch_steps=50", "train.stop=LOSS_MEAN3"}));
      const Temporary folder;
      const auto system = world.Build("sasrec");
      world.Train(*system, *cluster::MakeSelf(), folder.path());
      system->Load(folder.path());
      int right = 0;
      for (const auto& history : histories) {
        std::vector<int64_t> before(history.begin(), history.end() - 1);
        const auto scores = system->Predict(Task::kSequential, {{0, before, {}}})[0].scores;
        std::vector<uint8_t> mask(12);  // what a user has is never a negative: its score is free
        for (const int64_t item : before) mask[item] = 1;
        right += eval::RankOf(scores, history.back(), mask).greater == 0;
        const std::vector<int64_t> candidates = {history.back(), 3, history.back()};
        const auto few = system->Predict(Task::kDirect, {{0, before, candidates}})[0].scores;
        ASSERT_EQ(few,
                  (std::vector<double>{scores[history.back()], scores[3], scores[history.back()]}));
      }
      std::cout << "  form " << form << ", loss " << loss << ": " << right << " of 36\n";
      EXPECT_GE(right, 33) << "form " << form << ", loss " << loss;
    }
  }
}

TEST(SasRec, UserVectorsWithPaddingAndWithout) {
  const std::vector<Query> queries = {{0, {1, 2, 3}, {}}, {1, {5}, {}}};
  std::map<bool, std::vector<double>> vectors;
  const Temporary model;
  const World world(CatalogueOf(Circle(), 12),
                    SettingsOf("sasrec", {"dim=6", "length=5"}, {"train.steps=1"}));
  const auto system = world.Build("sasrec");
  world.Train(*system, *cluster::MakeSelf(), model.path());
  system->Load(model.path());
  for (const bool padded : {true, false}) {
    const HostTensor got = system->UserVectors(queries, padded);
    EXPECT_EQ(got.dtype(), DType::kF32);
    EXPECT_EQ(got.shape(), (std::vector<int64_t>{2, 6}));
    vectors[padded] = Doubles(got);

    nn::Parameters parameters;
    const SasRecNetwork network({.items = 12, .dim = 6, .length = 5}, parameters);
    const auto weights = store::ReadSafetensors(model / "model.safetensors");
    const c10::NoGradGuard no_grad;
    for (const auto& [path, parameter] : parameters.all())
      parameter.detach().copy_(tensor::View(weights.at(path)));
    SasRecBatch batch;
    for (const Query& query : queries) network.Append(query.history, padded, batch);
    EXPECT_LT(Furthest(Doubles(tensor::ToHost(network.LastStates(batch))), vectors[padded]), 1e-6);
  }
  EXPECT_GT(Furthest(vectors[true], vectors[false]), 1e-3);
}

std::string Model(const World& world, const fs::path& folder) {
  world.Train(*world.Build("sasrec"), *cluster::MakeSelf(), folder);
  return ReadFile(folder / "model.safetensors");
}

// With the number of steps given, held-out items change nothing.
TEST(SasRec, SeesNoHeldOutItem) {
  const Names settings =
      SettingsOf("sasrec", {"dim=8"}, {"train.steps=4", "train.epoch_steps=4", "train.dtype=FP64"});
  Histories other_test = Circle(), other_validation = Circle(), other_training = Circle();
  other_test[0].back() = 9;
  *(other_validation[0].end() - 2) = 9;
  *(other_training[0].end() - 3) = 9;
  const auto model = [&](const Histories& histories) {
    const Temporary folder;
    return Model(World(CatalogueOf(histories, 12), settings), folder.path());
  };
  const std::string want = model(Circle());
  EXPECT_EQ(model(other_test), want);
  EXPECT_EQ(model(other_validation), want);
  EXPECT_NE(model(other_training), want);
}

// A communicator that fails takes the place of a kill; dropout is on.
TEST(SasRec, ContinuesToTheLastBit) {
  const World world(CatalogueOf(Circle(), 12),
                    SettingsOf("sasrec", {"dim=8"},
                               {"train.steps=8", "train.epoch_steps=4", "train.checkpoint_steps=3",
                                "train.stop=LOSS_MEAN3"}));
  const Temporary whole, broken;
  const auto self = cluster::MakeSelf();
  const std::string want = Model(world, whole.path());
  for (const int64_t operations : {7, 9}) {
    Spy failing(*self, operations);
    EXPECT_THROW(world.Train(*world.Build("sasrec"), failing, broken.path()), Spy::Broken);
  }
  EXPECT_EQ(Model(world, broken.path()), want);
  EXPECT_EQ(ReadFile(broken / "losses.csv"), ReadFile(whole / "losses.csv"));
}

// Losses are divided by the targets of the global batch, so parts of it add up.
TEST(SasRec, MicroBatchesAddUp) {
  const auto run = [&](const std::string& setting, int ranks) {
    const World world(CatalogueOf(Circle(), 12),
                      SettingsOf("sasrec", {"dim=8", "dropout=0.3"},
                                 {"train.steps=6", "train.epoch_steps=6", "train.dtype=FP64",
                                  "train.global_batch=7", setting}));
    return TrainOn(world, "sasrec", ranks);
  };
  const Trained whole = run("train.micro_batch=0", 1);
  for (const int ranks : {1, 2}) {
    const Trained parts = run("train.micro_batch=2", ranks);
    EXPECT_LT(Furthest(whole.sums, parts.sums), 1e-12);
    for (const auto& [path, values] : whole.weights)
      EXPECT_LT(Furthest(values, parts.weights.at(path)), 1e-12) << path;
  }
  const World world(CatalogueOf(Circle(), 12), SettingsOf("sasrec", {}, {"train.global_batch=1"}));
  EXPECT_THROW(TrainOn(world, "sasrec", 2), Error);
}

}  // namespace
}  // namespace whyrec::systems
