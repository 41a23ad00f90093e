// The scorer of PULSE against plain forms of itself: packed and pointwise, candidates in another
// order, likelihoods from whole logits; and its prompts and controls.
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "src/systems/pulse/reasons.h"
#include "tests/systems/scoring.h"

namespace whyrec::systems {
namespace {

TEST(PulseScorer, PackedIsPointwise) {
  struct Case {
    Names overrides;
    double tolerance;
  };
  for (const auto& [overrides, tolerance] :
       {Case{{"train.dtype=FP64"}, 1e-10}, Case{{"train.dtype=FP32"}, 1e-5},
        Case{{"train.dtype=FP64", "pulse.scorer.train_weights=LORA"}, 1e-10},
        Case{{"pulse.scorer.train_weights=LORA", "pulse.scorer.dtype=BF16"}, 2e-2}}) {
    const Scoring scoring(overrides);
    const auto prompts = scoring.Drawn();
    const auto packed = scoring.Logits("SCALAR_PACKED", prompts);
    const double far = FurthestLogit(packed, scoring.Logits("SCALAR_POINTWISE", prompts));
    const auto [low, high] = std::ranges::minmax(packed);
    EXPECT_GT(high - low, 1e-3);
    EXPECT_LT(far, tolerance) << overrides[0];
    std::printf("packed and pointwise, %s: %.1e (logits over %.2g)\n", overrides.back().c_str(),
                far, high - low);
  }
}

TEST(PulseScorer, TheOrderOfCandidatesDoesNotMatter) {
  const Scoring scoring({"train.dtype=FP64"});
  for (const char* kind : {"SCALAR_PACKED", "TITLE_LL"}) {
    const auto straight = scoring.Logits(kind, scoring.Drawn());
    auto turned = scoring.Logits(kind, scoring.Drawn(true));
    for (size_t begin = 0; begin < turned.size(); begin += 10)
      std::reverse(turned.begin() + static_cast<std::ptrdiff_t>(begin),
                   turned.begin() + static_cast<std::ptrdiff_t>(begin) + 10);
    EXPECT_LT(FurthestLogit(straight, turned), 1e-12) << kind;
  }
}

// A user's logits do not depend on who else is in the pass.
TEST(PulseScorer, UsersOfOnePassAreApart) {
  const Scoring scoring({"train.dtype=FP64"});
  const auto prompts = scoring.Drawn();
  const auto together = scoring.Logits("SCALAR_PACKED", prompts);
  const auto alone = scoring.Logits("SCALAR_PACKED", {prompts[3]});
  EXPECT_LT(FurthestLogit({together.begin() + 30, together.begin() + 40}, alone), 1e-12);
}

TEST(PulseScorer, DropoutOfOnePassIsApart) {
  const Scoring scoring({"train.dtype=FP64", "pulse.scorer.train_weights=LORA",
                         "pulse.scorer.all_linear=true", "pulse.scorer.dropout=0.3"});
  const auto prompts = scoring.Drawn();
  for (const char* kind : {"SCALAR_PACKED", "SCALAR_POINTWISE", "TITLE_LL"}) {
    const auto together = scoring.Logits(kind, prompts, nn::DrawsOf(1, 0, 0, 5));
    EXPECT_GT(FurthestLogit(together, scoring.Logits(kind, prompts)), 1e-4) << kind;
    for (int64_t i = 0; i < 5; ++i) {
      const auto alone =
          scoring.Logits(kind, {prompts[static_cast<size_t>(i)]}, nn::DrawsOf(1, 0, i, 1));
      const auto own = together.begin() + 10 * i;
      EXPECT_LT(FurthestLogit({own, own + 10}, alone), 1e-12) << kind << " " << i;
    }
  }
}

TEST(PulseScorer, TitleLikelihoodIsThatOfWholeSequences) {
  const Scoring scoring({"train.dtype=FP64", "pulse.scorer.logit=TITLE_LL"});
  const std::vector<ScorerPrompt> prompts = {scoring.Drawn()[2]};
  const auto got = scoring.Logits("TITLE_LL", prompts);
  const c10::NoGradGuard no_grad;
  const PulseModel model(scoring.world.config, scoring.world.folder / "language");
  for (size_t k = 0; k < got.size(); ++k) {
    std::vector<int64_t> ids = prompts[0].prefix;
    const auto& branch = prompts[0].branches[k];
    ids.insert(ids.end(), branch.begin(), branch.end());
    const int64_t n = std::ssize(ids), first = std::ssize(prompts[0].prefix);
    const at::Tensor hidden =
        model.phi().Hidden(at::tensor(ids), at::arange(n), lm::CausalAttention({n}), n);
    const at::Tensor p = at::log_softmax(model.phi().Logits(hidden), -1);
    double sum = 0;
    for (int64_t i = first; i < n; ++i) sum += p[i - 1][ids[static_cast<size_t>(i)]].item<double>();
    EXPECT_NEAR(got[k], sum / static_cast<double>(n - first), 1e-10);
  }
}

TEST(PulsePrompt, LayoutAndBudgets) {
  const Scoring scoring({});
  const auto show = [&](const std::vector<int64_t>& ids) { return scoring.tokenizer->Decode(ids); };
  const gen::ChosenReason reason{.node = 0, .score = 0.123F, .text = "likes <|end|> quiet things"};
  const std::vector<int64_t> history = {0, 11, 22}, candidates = {30, 41};
  const auto prompt = scoring.prompts->Branched(history, 2, &reason, candidates);
  EXPECT_EQ(show(prompt.prefix),
            "Bought before: blue box; green cup\nWhy this customer buys: likes < |end|> quiet "
            "things\nIs this the next purchase?\n");
  EXPECT_EQ(prompt.prefix.front(), *scoring.tokenizer->Id("<|user|>"));
  EXPECT_EQ(show(prompt.branches[1]), "Item: white box");
  EXPECT_EQ(prompt.branches[1].back(), *scoring.tokenizer->Id("<|assistant|>"));
  EXPECT_EQ(prompt.branches[1][prompt.branches[1].size() - 2], *scoring.tokenizer->Id("<|end|>"));
  EXPECT_EQ(show(scoring.prompts->Branched(history, 5, nullptr, candidates).prefix),
            "Bought before: red card; blue box; green cup\nIs this the next purchase?\n");

  const Scoring tight({"pulse.scorer.path_tokens=54", "pulse.scorer.title_tokens=2",
                       "pulse.scorer.reason_tokens=6", "pulse.scorer.include_score=true"});
  const std::vector<int64_t> longer = {0, 11, 22, 33, 44, 55, 66, 77};
  const gen::ChosenReason wordy{.node = 0, .score = 0.123F, .text = std::string(400, 'x')};
  const auto cut = tight.prompts->Branched(longer, 8, &wordy, candidates);
  EXPECT_LE(cut.longest_path(), 54);
  EXPECT_GT(cut.longest_path(), 54 - 4);  // one title more would not fit
  const std::string text = show(cut.prefix);
  EXPECT_NE(text.find("(agreement 0.12)"), text.npos) << text;
  EXPECT_EQ(text.find("red"), text.npos) << text;  // the oldest went first
  EXPECT_NE(text.find("soft"), text.npos) << text;
}

TEST(PulsePrompt, TooSmallABudgetSaysWhich) {
  const Scoring tiny({"pulse.scorer.path_tokens=32", "pulse.scorer.title_tokens=30"});
  try {
    tiny.prompts->Completion(0, {}, 3, nullptr,
                             tiny.world.split.labels.Candidates(data::Phase::kTest, 0), 0);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("pulse.scorer.path_tokens"), std::string::npos);
  }
}

// The published code's hit rule: the normalised title is a substring of the output's first line.
TEST(PulseMatch, FirstLineAndNormalForm) {
  const Names titles = {"Red Card!", "Blue  Box", "green cup", ""};
  const auto found = [&](const std::string& output) { return FoundTitles(output, titles); };
  EXPECT_EQ(found(" the red card, I think"), (std::vector<bool>{true, false, false, true}));
  EXPECT_EQ(found("\nBlue-box\nred card"), (std::vector<bool>{false, false, false, true}));
  EXPECT_EQ(found("red card; BLUE BOX."), (std::vector<bool>{true, true, false, true}));
  EXPECT_EQ(found(""), (std::vector<bool>{false, false, false, true}));
}

TEST(PulseReasons, ShuffledIsADerangementOfTheSameTexts) {
  const PulseWorld world(40, {});
  const auto reasons = [&](const char* variant) {
    BuildContext context{
        .config = world.config, .train = world.split.train, .knobs = {}, .variant = variant};
    context.artefacts["select.thought"] = world.folder / "select.thought";
    return Reasons(context);
  };
  const Reasons own = reasons("THOUGHT"), other = reasons("SHUFFLED"), none = reasons("NONE");
  // Scores tell users apart where texts repeat; here texts do, so count them.
  std::multiset<std::string> first, second;
  int moved = 0;
  for (int64_t user = 0; user < 40; ++user) {
    first.insert(own.Of("test", user)->text);
    second.insert(other.Of("test", user)->text);
    moved += own.Of("test", user)->text != other.Of("test", user)->text;
    EXPECT_EQ(own.Of("train", user)->text, other.Of("train", user)->text);
    EXPECT_EQ(none.Of("test", user), nullptr);
  }
  EXPECT_EQ(first, second);
  EXPECT_GT(moved, 30);
}

TEST(PulseReasons, ReadingsAndSplits) {
  const PulseWorld released(6, {"pulse.scorer.reason_at_test=false"});
  BuildContext context{
      .config = released.config, .train = released.split.train, .knobs = {}, .variant = "THOUGHT"};
  context.artefacts["select.thought"] = released.folder / "select.thought";
  const Reasons reasons(context);
  EXPECT_EQ(reasons.Of("test", 0), nullptr);
  EXPECT_NE(reasons.Of("validation", 0), nullptr);
  const PulseWorld others(7, {});
  context.artefacts["select.thought"] = others.folder / "select.thought";
  EXPECT_THROW(Reasons{context}, Error);
}

TEST(PulseSystem, NeedsAndVariants) {
  const System& pulse = FindSystem("pulse");
  const PulseWorld world(6, {});
  const auto needs = [&](const char* variant) { return pulse.needs(world.config, variant); };
  EXPECT_EQ(needs("THOUGHT"), (Names{"select.thought", "language"}));
  EXPECT_EQ(needs("SHUFFLED"), (Names{"select.thought", "language"}));
  EXPECT_EQ(needs("BLIND"), (Names{"select.blind", "language"}));
  EXPECT_EQ(needs("NONE"), (Names{"language"}));
  EXPECT_EQ(needs("PRIOR"), (Names{"language"}));
  EXPECT_EQ(FindVariant(pulse, "")->name, "THOUGHT");
  EXPECT_EQ(FindVariant(pulse, "SHUFFLED")->trained_as, "THOUGHT");
}

// Without history, reason and training: the same whoever asks.
TEST(PulseSystem, PriorKnowsTitlesOnly) {
  const Scoring scoring({});
  const auto system = scoring.world.Build("PRIOR");
  auto queries = scoring.world.TestQueries();
  queries.resize(2);
  queries[1].candidates = queries[0].candidates;
  const auto predictions = system->Predict(Task::kDirect, queries);
  EXPECT_EQ(predictions[0].scores, predictions[1].scores);
  EXPECT_LT(*std::ranges::max_element(predictions[0].scores), 0);
}

}  // namespace
}  // namespace whyrec::systems
