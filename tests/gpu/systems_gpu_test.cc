// Every system that trains, on a GPU and on the CPU: the same losses, weights and answers after
// some steps, dropout included. In fp64, so that anything but rounding shows.
#include "src/systems/pulse/language.h"
#include "src/systems/pulse/thought_training.h"
#include "tests/gpu/device.h"
#include "tests/systems/pulse/world.h"
#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

using Names = std::vector<std::string>;

Names With(Names names, const Names& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

std::string DeviceName(bool gpu) { return gpu ? TestDevice().str() : "cpu"; }

struct Outcome {
  Trained trained;
  std::vector<Prediction> answers;
};

void ExpectSame(const Outcome& gpu, const Outcome& cpu, double tolerance) {
  double weights = 0, answers = 0;
  EXPECT_EQ(gpu.trained.tasks, cpu.trained.tasks);
  EXPECT_LT(Furthest(cpu.trained.total, gpu.trained.total), std::max(tolerance, 1e-8));  // digits
  ASSERT_EQ(gpu.trained.weights.size(), cpu.trained.weights.size());
  for (const auto& [path, values] : cpu.trained.weights) {
    const double far = Furthest(values, gpu.trained.weights.at(path));
    EXPECT_LT(far, tolerance) << path;
    weights = std::max(weights, far);
  }
  ASSERT_EQ(gpu.answers.size(), cpu.answers.size());
  for (size_t i = 0; i < cpu.answers.size(); ++i) {
    EXPECT_EQ(gpu.answers[i].list, cpu.answers[i].list) << i;
    ASSERT_EQ(gpu.answers[i].scores.size(), cpu.answers[i].scores.size());
    for (size_t c = 0; c < cpu.answers[i].scores.size(); ++c) {
      const double a = cpu.answers[i].scores[c], b = gpu.answers[i].scores[c];
      if (std::isnan(a) && std::isnan(b)) continue;  // no answer
      EXPECT_LT(std::abs(a - b), tolerance) << i << " " << c;
      answers = std::max(answers, std::abs(a - b));
    }
  }
  std::printf("  weights %.1e, scores %.1e\n", weights, answers);
}

void ReadModel(const fs::path& folder, Outcome& out) {
  ReadLosses(folder, out.trained);
  for (const auto& [path, tensor] : store::ReadSafetensors(folder / "model.safetensors"))
    out.trained.weights[path] = Doubles(tensor);
}

// 16 users of six events among 30 items, with reviews.
data::Catalogue MadeUp() {
  data::Catalogue out;
  for (int64_t item = 0; item < 30; ++item)
    out.items.push_back({.id = Cat("i", item), .title = Cat("thing ", item)});
  for (int64_t user = 0; user < 16; ++user) {
    std::vector<int64_t> items =
        Rng(3, "events", 0, static_cast<uint64_t>(user)).Permutation(out.item_count());
    items.resize(static_cast<size_t>(4 + user % 5));
    out.users.push_back(Cat("u", user));
    out.histories.Append(items);
    for (const int64_t item : items) {
      out.times.push_back(std::ssize(out.times));
      out.ratings.push_back(5);
      out.reviews.push_back(Cat("I like the nice thing ", item, ". It is good."));
    }
  }
  return out;
}

struct Case {
  std::string name, system;
  Names overrides = {};
  Names knobs = {};
};

void PrintTo(const Case& run, std::ostream* out) { *out << run.name; }

class SystemsGpu : public Gpu, public testing::WithParamInterface<Case> {
 protected:
  static Names Settings(bool gpu) {
    const Case& run = GetParam();
    Names out = {
        "train.dtype=FP64",
        "train.steps=12",
        "train.epoch_steps=4",
        "train.checkpoint_steps=3",
        "predict.sequential_beams=6",
        "predict.direct_beams=6",
        "isrf.backbone.tokenizer=" + (Source() / "examples/t5-tokenizer/spiece.model").string(),
        "system[0].name=" + run.system,
        "execution.device=" + DeviceName(gpu)};
    for (const std::string& knob : run.knobs) out.push_back("system[0].knobs." + knob);
    return With(out, run.overrides);
  }

  // Trains, killed once; then answers of a system that loads what was trained.
  static Outcome Run(bool gpu) {
    const World world(MadeUp(), Settings(gpu));
    const Temporary folder;
    const auto self = cluster::MakeSelf();
    Spy failing(*self, 18);
    EXPECT_THROW(world.Train(*world.Build(GetParam().system), failing, folder.path()), Spy::Broken);
    world.Train(*world.Build(GetParam().system), *self, folder.path());
    Outcome out;
    ReadModel(folder.path(), out);
    const auto system = world.Build(GetParam().system);
    system->Load(folder.path());
    std::vector<Query> queries;
    for (int64_t user = 0; user < world.split.train.user_count(); ++user)
      queries.push_back(
          {user, world.split.labels.InputHistory(data::Phase::kTest, world.split.train, user), {}});
    out.answers = system->Predict(Task::kSequential, queries);
    for (Query& query : queries)
      query.candidates = world.split.labels.Candidates(data::Phase::kTest, query.user);
    for (Prediction& answer : system->Predict(Task::kDirect, queries))
      out.answers.push_back(std::move(answer));
    return out;
  }
};

TEST_P(SystemsGpu, TrainAndAnswerAsOnTheCpu) { ExpectSame(Run(true), Run(false), 1e-9); }

// What rounds more is only seen to run.
TEST_P(SystemsGpu, TrainInFp32) {
  const World world(MadeUp(), With(Settings(true), {"train.dtype=FP32"}));
  const Temporary folder;
  world.Train(*world.Build(GetParam().system), *cluster::MakeSelf(), folder.path());
  Outcome out;
  ReadModel(folder.path(), out);
  EXPECT_EQ(out.trained.total.size(), 12U);
}

INSTANTIATE_TEST_SUITE_P(
    Each, SystemsGpu,
    testing::Values(
        Case{"isrf", "isrf", {"predict.direct_decode=EXACT", "isrf.adapter.activation=GELU"}},
        Case{"elmrec", "isrf", {"system[0].variant=ELMREC", "train.stop=LOSS_MEAN3"}},
        Case{"pod",
             "isrf",
             {"system[0].variant=POD", "predict.sequential_decode=FREE",
              "predict.direct_decode=FREE", "predict.max_new_tokens=4", "train.micro_batch=3",
              "isrf.loss_ignore_pad=true", "isrf.cross_attention_mask_pad=true"}},
        Case{"lightgcn", "lightgcn", {}, {"dim=8"}},
        Case{"lightgcn_refit", "lightgcn", {"train.stop=LOSS_MEAN3"}, {"dim=8", "refit=true"}},
        Case{"sasrec", "sasrec", {"train.micro_batch=2"}, {"dim=8", "dropout=0.3"}},
        Case{"sasrec_post", "sasrec", {}, {"dim=8", "dropout=0.3", "form=POST_NORM_2025"}},
        Case{"sasrec_pre",
             "sasrec",
             {"train.stop=LOSS_MEAN3"},
             {"dim=8", "dropout=0.3", "form=PRE_NORM_2025", "loss=CE"}}),
    [](const auto& info) { return info.param.name; });

TEST_F(Gpu, SasRecHasUserVectors) {
  const World world(MadeUp(), {"train.steps=6", "train.epoch_steps=6", "system[0].name=sasrec",
                               "execution.device=" + DeviceName(true)});
  const Temporary folder;
  world.Train(*world.Build("sasrec"), *cluster::MakeSelf(), folder.path());
  const auto system = world.Build("sasrec");
  system->Load(folder.path());
  const HostTensor users = system->UserVectors({{0, {1, 2}, {}}, {1, {3}, {}}}, true);
  EXPECT_EQ(users.shape(), (std::vector<int64_t>{2, 50}));
}

class PulseGpu : public Gpu, public testing::WithParamInterface<Names> {};

// The base, the scorer and its answers.
TEST_P(PulseGpu, TrainsAndAnswersAsOnTheCpu) {
  const auto run = [](bool gpu) {
    const PulseWorld world(12,
                           With({"train.dtype=FP64", "execution.device=" + DeviceName(gpu),
                                 "pulse.language.tokenizer=" +
                                     (Source() / "examples/phi-tokenizer/tokenizer.json").string()},
                                GetParam()));
    const auto self = cluster::MakeSelf();
    const Temporary folder;
    world.TrainBase(*self);
    world.Train(*world.Build(), *self, folder.path());
    Outcome out;
    ReadModel(folder.path(), out);
    for (const auto& [path, tensor] :
         store::ReadSafetensors(world.folder / "language/model.safetensors"))
      out.trained.weights["base." + path] = Doubles(tensor);
    const auto system = world.Build();
    system->Load(folder.path());
    out.answers = system->Predict(Task::kDirect, world.TestQueries());
    return out;
  };
  ExpectSame(run(true), run(false), 1e-9);
}

INSTANTIATE_TEST_SUITE_P(
    Scorer, PulseGpu,
    testing::Values(Names{"pulse.scorer.train_weights=FULL", "pulse.scorer.checkpoint=ON"},
                    Names{"pulse.scorer.train_weights=LORA", "pulse.scorer.all_linear=true"},
                    Names{"pulse.scorer.train_weights=LORA", "pulse.scorer.logit=SCALAR_POINTWISE"},
                    Names{"pulse.scorer.logit=TITLE_LL", "pulse.scorer.train_weights=LORA"},
                    Names{"pulse.scorer.logit=TITLE_GENERATE",
                          "pulse.scorer.reason_at_test=false"}));

// Both encoders and InfoNCE.
TEST_F(Gpu, ThoughtEncodersTrainAsOnTheCpu) {
  std::vector<ThoughtSample> samples;
  for (int user = 0; user < 24; ++user) {
    const std::string word(1 + static_cast<size_t>(user) % 7, static_cast<char>('a' + user));
    samples.push_back({.with_target = "bought a " + word + " and b",
                       .history = "bought a " + word,
                       .rationale = "likes " + word + " things",
                       .held_out = user % 6 == 5});
  }
  const auto run = [&](bool gpu) {
    const Temporary folder;
    std::ofstream vocabulary(folder / "vocab.txt");
    for (const char* piece : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
      vocabulary << piece << "\n";
    for (char c = 'a'; c <= 'z'; ++c) vocabulary << c << "\n##" << c << "\n";
    vocabulary.close();
    std::ofstream(folder / "run.txtpb")
        << "pulse { thought { width: 16 inner: 32 layers: 1 heads: 2 dropout: 0.1 pooling: MEAN\n"
           "  vocabulary: \""
        << (folder / "vocab.txt").string()
        << "\" train { global_batch: 7 epochs: 3 clip_norm: 1 patience: 1000 } } }\n"
           "train { dtype: FP64 }\n";
    const config::RunConfig config =
        config::Load(folder / "run.txtpb", {"execution.device=" + DeviceName(gpu)});
    const auto own = config::WithTraining(config, config.pulse().thought().train());
    TrainThoughts(own, samples, *cluster::MakeSelf(), folder / "out");
    Outcome out;
    ReadLosses(folder / "out", out.trained);
    for (const char* encoder : {"rationale", "behaviour"})
      for (const auto& [path, tensor] : store::ReadSafetensors(folder / "out" / encoder))
        out.trained.weights[encoder + ("." + path)] = Doubles(tensor);
    return out;
  };
  ExpectSame(run(true), run(false), 1e-9);
}

}  // namespace
}  // namespace whyrec::systems
