// Logits that list all candidates in one text (SPAN_LISTWISE and LETTER): against transformers
// (tests/golden/make_scorer.py), their texts and budgets, and what the order of candidates does.
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "tests/golden/bound.h"
#include "tests/golden/folder.h"
#include "tests/systems/scoring.h"

namespace whyrec::systems {
namespace {

std::vector<int64_t> Ids(const at::Tensor& ids) {
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel()};
}

class Reference {
 public:
  explicit Reference(const std::string& type) : type_(type) { nn::SetThreads(1); }

  // The largest differences of logits and of gradients, over single prompts and over the first two
  // in one pass, as shares of their bounds.
  std::pair<double, double> Furthest(const std::string& kind, config::ScorerConfig::Logit logit) {
    config::RunConfig config;
    config.mutable_execution()->set_device("cpu");
    config.mutable_train()->set_dtype(type_ == "fp64" ? config::TrainConfig::FP64
                                                      : config::TrainConfig::FP32);
    auto* scorer = config.mutable_pulse()->mutable_scorer();
    scorer->set_train_weights(config::ScorerConfig::FULL);
    scorer->set_logit(logit);
    PulseModel model(config, kGolden / "phi");
    auto& trained = model.trained();
    EXPECT_EQ(trained.Has("score.weight"), kind == "span");
    if (kind == "span") {
      const c10::NoGradGuard no_grad;
      trained.Get("score.weight").copy_(Want("w").unsqueeze(0));
    }
    std::pair<double, double> far = {0, 0};
    std::vector<ScorerPrompt> prompts;
    for (int i = 0; i < 3; ++i) {
      const std::string key = Cat(kind, ".", i);
      prompts.push_back(PromptOf(key));
      for (const auto& [path, p] : trained.all()) p.mutable_grad() = at::Tensor();
      const at::Tensor logits = model.Logits({{prompts.back()}}, nn::DrawsOf(1, 0, 0, 1));
      far.first = std::max(far.first, ShareOfBound(logits, golden_, key + ".logits"));
      at::cross_entropy_loss(logits.unsqueeze(0), at::tensor({1}, at::kLong)).backward();
      for (const auto& [name, value] : golden_)
        if (const std::string grad = key + ".grad."; name.starts_with(grad))
          if (!name.ends_with(".rounding"))
            far.second = std::max(
                far.second, ShareOfBound(trained.Get(name.substr(grad.size())).grad().view({-1}),
                                         golden_, name));
    }
    const c10::NoGradGuard no_grad;
    const at::Tensor both = model.Logits(std::span(prompts).first(2), {});
    for (int i : {0, 1})
      far.first = std::max(
          far.first, ShareOfBound(both.narrow(0, 4 * i, 4), golden_, Cat(kind, ".", i, ".logits")));
    return far;
  }

 private:
  at::Tensor Want(const std::string& name) const { return tensor::View(golden_.at(name)); }

  ScorerPrompt PromptOf(const std::string& key) const {
    ScorerPrompt prompt{.prefix = Ids(Want(key + ".ids")), .branches = {}};
    if (golden_.contains(key + ".letters")) {
      for (const int64_t letter : Ids(Want(key + ".letters"))) prompt.branches.push_back({letter});
      return prompt;
    }
    const auto ids = prompt.prefix;  // spans of 5, 3, 6, 4 tokens behind 7 of a prefix, and so on
    static constexpr int64_t kPrefix[] = {7, 12, 30};
    int64_t begin = kPrefix[key.back() - '0'];
    prompt.prefix.resize(static_cast<size_t>(begin));
    for (const int64_t end : Ids(Want(key + ".ends"))) {
      prompt.branches.emplace_back(ids.begin() + begin, ids.begin() + end + 1);
      begin = end + 1;
    }
    return prompt;
  }

  const std::string type_;
  const std::map<std::string, HostTensor> golden_ =
      store::ReadSafetensors(kGolden / "scorer_golden.safetensors");
};

TEST(PulseListwise, LogitsAndGradientsAreTheReferences) {
  for (const char* type : {"fp64", "fp32"})
    for (const auto& [kind, logit] : {std::pair{"span", config::ScorerConfig::SPAN_LISTWISE},
                                      {"letter", config::ScorerConfig::LETTER}}) {
      const auto [logits, gradients] = Reference(type).Furthest(kind, logit);
      std::printf("%s, %s, largest shares of bounds: logits %.2g, gradients %.2g\n", kind, type,
                  logits, gradients);
      EXPECT_LT(logits, 1) << kind << " " << type;
      EXPECT_LT(gradients, 1) << kind << " " << type;
    }
}

const Names kSpans = {"train.dtype=FP64", "pulse.scorer.logit=SPAN_LISTWISE"};
const Names kLetters = {"train.dtype=FP64", "pulse.scorer.logit=LETTER"};

TEST(PulseListwise, LaterCandidatesSeeEarlierOnesOnly) {
  const Scoring scoring(kSpans);
  const auto prompts = scoring.Drawn();
  const auto logits = scoring.Logits("SPAN_LISTWISE", {prompts[2]});
  ScorerPrompt other = prompts[2];
  other.branches[6] = prompts[3].branches[6];
  ASSERT_NE(other.branches[6], prompts[2].branches[6]);
  const auto changed = scoring.Logits("SPAN_LISTWISE", {other});
  for (size_t k = 0; k < 10; ++k)
    if (k < 6)
      EXPECT_NEAR(changed[k], logits[k], 1e-13) << k;
    else
      EXPECT_GT(std::abs(changed[k] - logits[k]), 1e-6) << k;
}

TEST(PulseListwise, Texts) {
  const gen::ChosenReason reason{.node = 0, .score = 0.5F, .text = "likes quiet things"};
  const std::vector<int64_t> history = {0, 11, 22}, candidates = {30, 41};
  const Scoring spans(kSpans), letters(kLetters);
  const auto show = [&](const std::vector<int64_t>& ids) { return spans.tokenizer->Decode(ids); };
  const auto id = [&](const char* token) { return *spans.tokenizer->Id(token); };
  const auto list = spans.prompts->Branched(history, 2, &reason, candidates);
  EXPECT_EQ(show(list.prefix),
            "Bought before: blue box; green cup\nWhy this customer buys: likes quiet things\n"
            "Which is the next purchase?\n");
  EXPECT_EQ(show(list.branches[0]), "Item: black card;");
  EXPECT_EQ(list.prefix.front(), id("<|user|>"));
  const auto options = letters.prompts->Branched(history, 2, &reason, candidates);
  EXPECT_EQ(show(options.prefix),
            "Bought before: blue box; green cup\nWhy this customer buys: likes quiet things\n"
            "Which is the next purchase?\nOption A: black card\nOption B: white boxAnswer:");
  EXPECT_EQ(std::ranges::count(options.prefix, id("<|assistant|>")), 1);
  EXPECT_EQ(options.branches, (std::vector<std::vector<int64_t>>{{id("ĠA")}, {id("ĠB")}}));
  EXPECT_EQ(std::ranges::count(options.prefix, id("ĠB")), 1);
}

TEST(PulseListwise, Budgets) {
  const std::vector<int64_t> history = {0, 11, 22, 33, 44, 55, 66, 77}, candidates = {30, 41, 52};
  const gen::ChosenReason wordy{.node = 0, .score = 0.1F, .text = std::string(400, 'x')};
  for (const auto& [kind, room] : {std::pair{kSpans, 60}, {kLetters, 76}}) {
    Names options = kind;
    options.insert(options.end(), {Cat("pulse.scorer.path_tokens=", room),
                                   "pulse.scorer.title_tokens=2", "pulse.scorer.reason_tokens=6"});
    const Scoring tight(options);
    const auto prompt = tight.prompts->Branched(history, 8, &wordy, candidates);
    // A letter is not read, its row of the head is.
    const int64_t tokens = kind == kLetters ? std::ssize(prompt.prefix) + 1 : prompt.tokens();
    EXPECT_LE(tokens, room);
    EXPECT_GT(tokens, room - 4);  // one title more would not fit
    const std::string text = tight.tokenizer->Decode(prompt.prefix);
    EXPECT_EQ(text.find("red"), text.npos) << text;  // the oldest went first
    EXPECT_NE(text.find("soft"), text.npos) << text;
    EXPECT_NE(text.find("xx"), text.npos) << text;
    try {
      tight.prompts->Branched(history, 8, &wordy,
                              std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14});
      ADD_FAILURE() << "a list longer than the path";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::kUsage);
      for (const char* name : {"pulse.scorer.path_tokens", "split.direct_negatives"})
        EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
    }
  }
}

// The tests' tokenizer has no " Q", " X" and " Z"; with them the alphabet ends after 26.
TEST(PulseListwise, LettersForAllCandidates) {
  const Scoring scoring(kLetters);
  const auto problem = [&](const text::Tokenizer& tokenizer, size_t count) -> std::string {
    const ScorerPrompts prompts(scoring.world.split.train, scoring.world.config, tokenizer);
    std::vector<int64_t> candidates(count);
    for (size_t i = 0; i < count; ++i) candidates[i] = static_cast<int64_t>(i);
    try {
      prompts.Branched({}, 1, nullptr, candidates);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::kUsage);
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(problem(*scoring.tokenizer, 16), "");
  const std::string no_q = problem(*scoring.tokenizer, 17);
  EXPECT_NE(no_q.find("\" Q\" is not one token"), std::string::npos) << no_q;
  auto json = nlohmann::json::parse(std::ifstream(kPhiTokenizer));
  for (const std::string letter : {"Q", "X", "Z"}) {
    auto& vocabulary = json["model"]["vocab"];
    vocabulary["Ġ" + letter] = vocabulary.size();
    json["model"]["merges"].push_back(json["model"]["merges"][0].is_array()
                                          ? nlohmann::json{"Ġ", letter}
                                          : nlohmann::json("Ġ " + letter));
  }
  std::ofstream(scoring.world.folder / "all.json") << json;
  const auto all = text::LoadTokenizerJson(scoring.world.folder / "all.json");
  EXPECT_EQ(problem(*all, 26), "");
  const std::string many = problem(*all, 27);
  EXPECT_NE(many.find("27 candidates, but the alphabet has 26"), std::string::npos) << many;
}

// What is predicted: log p averaged over the candidates in their order and in reverse.
TEST(PulseListwise, TheOrderOfLettersDoesNotMatter) {
  const Scoring scoring(kLetters);
  auto queries = scoring.world.TestQueries();
  queries.resize(4);
  const auto system = scoring.world.Build();
  const auto straight = system->Predict(Task::kDirect, queries);
  auto turned = queries;
  std::vector<std::vector<int64_t>> orders;
  for (Query& query : turned) {
    orders.emplace_back(query.candidates.rbegin(), query.candidates.rend());
    query.candidates = orders.back();
  }
  auto swapped = system->Predict(Task::kDirect, turned);
  for (size_t i = 0; i < queries.size(); ++i) {
    std::ranges::reverse(swapped[i].scores);
    EXPECT_EQ(swapped[i].scores, straight[i].scores);
  }
  // By the model alone.
  const c10::NoGradGuard no_grad;
  const PulseModel model(scoring.world.config, scoring.world.folder / "language");
  const gen::ChosenReasons choices =
      gen::LoadChosen(scoring.world.folder / "select.thought/selection.h5");
  double apart = 0;
  for (size_t i = 0; i < queries.size(); ++i) {
    const auto ask = [&](const Query& query) {
      const gen::ChosenReason& reason = choices.at("test").at(static_cast<size_t>(query.user));
      const auto prompt = scoring.prompts->Branched(query.history, 5, &reason, query.candidates);
      return at::log_softmax(model.Logits({{prompt}}, {}), 0);
    };
    const at::Tensor one = ask(queries[i]), other = ask(turned[i]).flip(0);
    apart = std::max(apart, (one - other).abs().max().item<double>());
    const at::Tensor mean = (one + other) / 2;
    for (size_t c = 0; c < straight[i].scores.size(); ++c)
      EXPECT_NEAR(straight[i].scores[c], mean[static_cast<int64_t>(c)].item<double>(), 1e-12);
  }
  EXPECT_GT(apart, 1e-3) << "one order alone would not do";
}

}  // namespace
}  // namespace whyrec::systems
