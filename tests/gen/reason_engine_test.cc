// Trees and chains over a template and over a sampling generator that is keyed by request names:
// their shapes, what a level asks for, and that nothing else than the user decides them.
#include "src/gen/reason_engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/base/rng.h"
#include "src/config/run_config.h"
#include "src/gen/ask.h"
#include "src/gen/pulse_prompts.h"
#include "src/gen/reason_pool.h"
#include "src/gen/words.h"
#include "tests/gen/evidence.h"
#include "tests/store/temporary.h"

namespace whyrec::gen {
namespace {

config::RunConfig ConfigOf(config::TreeConfig::Algorithm algorithm, int depth = 2) {
  config::RunConfig config;
  auto* tree = config.mutable_pulse()->mutable_tree();
  tree->set_algorithm(algorithm);
  tree->set_depth(depth);
  tree->set_temperature(0.7);
  tree->set_max_new_tokens(61);
  config.mutable_pulse()->mutable_positive()->set_mask_target_title(true);
  return config;
}
const auto kTree = config::TreeConfig::FULL_TREE, kChain = config::TreeConfig::BEAM_CHAIN;

// Draws words by the request's name, as a language model would by its random stream; the prompt
// counts, too. A share of the answers is of no use.
class Sampler : public Generator {
 public:
  explicit Sampler(double useless = 0.2, uint64_t words = 1000)
      : useless_(useless), words_(words) {}
  std::string name() const override { return "sampler"; }
  std::vector<Reply> Generate(const std::vector<Request>& requests,
                              const TextSampling& sampling) override {
    calls.push_back(requests);
    samplings.push_back(sampling);
    std::vector<Reply> replies;
    for (const Request& request : requests) {
      Rng rng(5, request.Name() + Sha256Of(request.prompt + request.system));
      std::string text;
      for (int i = 0; i < 10; ++i) text += Cat(i > 0 ? " " : "", "word", rng.Below(words_));
      const bool plain = request.step.starts_with("chain");
      Reply reply{.text = plain ? text + "." : Cat("{\"reason\": \"", text, ".\"}"),
                  .model = name(),
                  .tokens_out = 20};
      if (rng.Uniform() < useless_) reply.text = "No.";
      reply.log_probability = -static_cast<double>(rng.Below(100));
      replies.push_back(reply);
    }
    return replies;
  }
  std::vector<std::vector<Request>> calls;
  std::vector<TextSampling> samplings;

 private:
  double useless_;
  uint64_t words_;
};

class HashScorer final : public ReasonScorer {
 public:
  static float Of(const std::string& behaviour, const std::string& reason) {
    return static_cast<float>(Rng(1, behaviour + "|" + reason).Uniform());
  }
  std::vector<std::vector<float>> Score(
      const std::vector<std::string>& behaviours,
      const std::vector<std::vector<std::string>>& reasons) override {
    ++calls;
    std::vector<std::vector<float>> scores(reasons.size());
    for (size_t i = 0; i < reasons.size(); ++i)
      for (const std::string& reason : reasons[i]) scores[i].push_back(Of(behaviours[i], reason));
    return scores;
  }
  int calls = 0;
};

struct Users {
  explicit Users(const std::vector<int64_t>& ids) {
    for (const int64_t id : ids) {
      evidence.push_back(EvidenceOf(id));
      behaviours.push_back(Cat("behaviour ", id));
    }
  }
  std::vector<Evidence> evidence;
  std::vector<std::string> behaviours;
};

std::vector<std::string> Paths(const ReasonTree& tree) {
  std::vector<std::string> paths;
  for (const ReasonNode& node : tree.nodes) paths.push_back(node.path);
  return paths;
}

TEST(ReasonEngine, AFullTreeHasThirteenNodesFromFivePrompts) {
  Sampler sampler(0);
  const auto config = ConfigOf(kTree);
  const Users users({4, 9});
  std::vector<int64_t> levels;
  const auto trees =
      ReasonEngine(sampler, config).Grow(users.evidence, {}, {}, [&](const auto& so_far) {
        levels.push_back(so_far[1].levels);
      });
  EXPECT_EQ(levels, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(Paths(trees[1]),
            (std::vector<std::string>{"base", "base/0", "base/1", "base/2", "base/0/0", "base/0/1",
                                      "base/0/2", "base/1/0", "base/1/1", "base/1/2", "base/2/0",
                                      "base/2/1", "base/2/2"}));
  ASSERT_EQ(sampler.calls.size(), 3u) << "one call a level";
  std::set<std::string> prompts, names;
  for (const auto& call : sampler.calls)
    for (const Request& request : call) {
      names.insert(request.Name());
      if (request.id == 9) prompts.insert(request.prompt);
    }
  EXPECT_EQ(prompts.size(), 5u);
  EXPECT_EQ(names.size(), 26u);
  EXPECT_TRUE(names.contains("validation 9 base/2/1"));
  const ReasonTree& tree = trees[1];
  for (size_t i = 1; i < tree.nodes.size(); ++i) {
    const ReasonNode& node = tree.nodes[i];
    const ReasonNode& parent = tree.nodes[static_cast<size_t>(node.parent)];
    EXPECT_EQ(node.path.substr(0, node.path.rfind('/')), parent.path);
    EXPECT_EQ(node.level, parent.level + 1);
    EXPECT_EQ(node.model, "sampler");
    EXPECT_TRUE(std::isnan(node.score));
    const std::string raw = "{\"reason\": \"" + node.text + "\"}";
    const auto record = nlohmann::json::parse(node.record);
    EXPECT_EQ(record.at("raw"), raw);
    EXPECT_EQ(record.at("step"), node.path);
    EXPECT_EQ(record.at("text"), node.text);
  }
  const Request& leaf = sampler.calls[2][9 + 4];  // base/1/1 of the second user
  EXPECT_EQ(leaf.prompt, RefinePrompt(users.evidence[1], tree.nodes[2].text, PromptLimits()).user);
  EXPECT_EQ(sampler.samplings[2].temperature, 0.7);
  EXPECT_EQ(sampler.samplings[2].top_k, 51);
  EXPECT_EQ(sampler.samplings[2].top_p, 0.95);
  EXPECT_EQ(sampler.samplings[0].max_new_tokens, 61);
  const auto again = sampler.Generate({sampler.calls[0][1]}, {}).at(0);
  EXPECT_FLOAT_EQ(tree.nodes[0].log_likelihood, static_cast<float>(again.log_probability / 20));
}

TEST(ReasonEngine, DepthAndBranchAreFree) {
  Sampler sampler(0);
  for (const auto& [depth, branch, nodes] :
       std::vector<std::tuple<int, int, size_t>>{{1, 1, 2}, {1, 4, 5}, {3, 2, 15}, {4, 1, 5}}) {
    auto config = ConfigOf(kTree, depth);
    config.mutable_pulse()->mutable_tree()->set_branch(branch);
    const auto tree = ReasonEngine(sampler, config).Grow(Users({1}).evidence, {})[0];
    EXPECT_EQ(tree.nodes.size(), nodes);
    EXPECT_EQ(tree.levels, depth + 1);
  }
}

// The search once more, written as in the specification.
TEST(ReasonEngine, ChainsKeepTheBestOfEveryLevel) {
  Sampler sampler(0);
  HashScorer scorer;
  const auto config = ConfigOf(kChain, 3);
  const Users users({4, 9, 11});
  const auto trees = ReasonEngine(sampler, config, &scorer).Grow(users.evidence, users.behaviours);
  EXPECT_EQ(scorer.calls, 3);
  EXPECT_EQ(sampler.calls.size(), 4u);
  EXPECT_EQ(sampler.samplings[0].max_new_tokens, 150) << "the base reason is no short thought";
  EXPECT_EQ(sampler.samplings[1].max_new_tokens, 61);
  for (size_t u = 0; u < 3; ++u) {
    const ReasonTree& tree = trees[u];
    ASSERT_EQ(tree.nodes.size(), 1u + 3 + 6 + 6);
    EXPECT_EQ(tree.nodes[0].path, "base");
    std::map<std::string, const ReasonNode*> at;
    for (const ReasonNode& node : tree.nodes) at[node.path] = &node;
    std::vector<std::string> alive{"chain"};
    for (int level = 1; level <= 3; ++level) {
      std::vector<std::pair<float, std::string>> found;
      for (const std::string& chain : alive)
        for (int i = 0; i < 3; ++i) {
          const std::string path = Cat(chain, "/", i);
          ASSERT_TRUE(at.contains(path)) << path;
          const ReasonNode& node = *at[path];
          EXPECT_EQ(node.level, level);
          EXPECT_EQ(node.score, HashScorer::Of(users.behaviours[u], node.text));
          EXPECT_EQ(WordCount(node.text), 10 * level);
          EXPECT_EQ(node.tokens, 20 * level);
          if (level == 1) {
            EXPECT_EQ(node.parent, -1);
          } else {
            EXPECT_EQ(tree.nodes[static_cast<size_t>(node.parent)].path, chain);
            EXPECT_TRUE(node.text.starts_with(at[chain]->text + " "));
          }
          found.emplace_back(node.score, path);
        }
      std::sort(found.rbegin(), found.rend());
      alive = {found[0].second, found[1].second};
    }
  }
}

TEST(ReasonEngine, ChainsWithEqualTextsAreOne) {
  class Parrot final : public Sampler {
   public:
    std::vector<Reply> Generate(const std::vector<Request>& requests,
                                const TextSampling& sampling) override {
      auto replies = Sampler::Generate(requests, sampling);
      for (size_t i = 0; i < replies.size(); ++i)
        replies[i].text =
            requests[i].step.ends_with("/2") ? "Likes  coffee beans." : "Likes tea a lot.";
      return replies;
    }
  } parrot;
  HashScorer scorer;
  const auto config = ConfigOf(kChain, 2);
  const Users users({4});
  const auto tree = ReasonEngine(parrot, config, &scorer).Grow(users.evidence, users.behaviours)[0];
  EXPECT_EQ(Paths(tree), (std::vector<std::string>{"base", "chain/0", "chain/2", "chain/0/0",
                                                   "chain/0/2", "chain/2/0", "chain/2/2"}));
  EXPECT_EQ(tree.nodes.back().text, "Likes coffee beans. Likes coffee beans.");
  EXPECT_EQ(tree.nodes[0].parse, "fallback text") << "four words are no reason";
  EXPECT_TRUE(std::isnan(tree.nodes[0].log_likelihood));
  // All answers are kept, those that were chains already, too: they give the same tree again.
  EXPECT_EQ(tree.repeated.size(), 1u + 2u);
  const Temporary folder;
  RecordWriter records(folder / "records.jsonl.gz");
  ReasonTree written = tree;
  records.Take(written);
  records.Close();
  EXPECT_THROW(RecordWriter(folder / "absent" / "records.jsonl.gz").Close(), Error);
  const auto replay = MakeReplay(folder / "records.jsonl.gz");
  EXPECT_EQ(Pack(ReasonEngine(*replay, config, &scorer).Grow(users.evidence, users.behaviours)),
            Pack({tree}));
}

class Both : public testing::TestWithParam<config::TreeConfig::Algorithm> {
 protected:
  std::string Grown(Generator& generator, const Users& users, std::vector<ReasonTree> begun = {},
                    std::vector<std::string>* levels = nullptr) {
    HashScorer scorer;
    const auto config = ConfigOf(GetParam(), 3);
    return Pack(
        ReasonEngine(generator, config, &scorer)
            .Grow(users.evidence, users.behaviours, std::move(begun), [&](const auto& trees) {
              if (levels) levels->push_back(Pack(trees));
            }));
  }
};

// Whatever was saved after a level, of however many users.
TEST_P(Both, ContinuedTreesAreTheUndisturbedOnes) {
  const Users users({4, 9, 11, 30});
  for (const bool sampled : {true, false}) {
    const auto generator = sampled ? std::make_unique<Sampler>() : MakeTemplate(3);
    std::vector<std::string> levels;
    const std::string whole = Grown(*generator, users, {}, &levels);
    ASSERT_EQ(levels.size(), 4u);
    EXPECT_EQ(levels.back(), whole);
    for (const std::string& saved : levels) {
      auto begun = UnpackTrees(saved);
      EXPECT_EQ(Grown(*generator, users, begun), whole);
      begun[2] = {};
      begun[0] = UnpackTrees(levels[1])[0];
      EXPECT_EQ(Grown(*generator, users, begun), whole);
    }
    Sampler counting;
    Grown(counting, users, UnpackTrees(whole));
    EXPECT_TRUE(counting.calls.empty()) << "nothing is asked again";
  }
}

TEST_P(Both, AUserNeedsNobodyElse) {
  const auto together = [&](const std::vector<int64_t>& ids) {
    Sampler sampler;
    const auto trees = UnpackTrees(Grown(sampler, Users(ids)));
    std::map<int64_t, std::string> by_user;
    for (size_t i = 0; i < ids.size(); ++i) by_user[ids[i]] = Pack({trees[i]});
    return by_user;
  };
  const auto all = together({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(together({6, 4, 2, 5, 1, 3}), all);
  for (const auto& [user, tree] : all) EXPECT_EQ(together({user}).at(user), tree) << user;
  std::set<std::string> different;
  for (const auto& [user, tree] : all) different.insert(tree);
  EXPECT_EQ(different.size(), 6u);
}

INSTANTIATE_TEST_SUITE_P(Search, Both, testing::Values(kTree, kChain));

TEST(ReasonEngine, AsksAgainForWhatIsOfNoUseAndThenWritesFromTheFacts) {
  Sampler sampler(0.6);
  const auto config = ConfigOf(kTree);
  std::vector<int64_t> ids(60);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  const Users users(ids);
  const auto trees = ReasonEngine(sampler, config).Grow(users.evidence, {});
  // Three draws of each level's failed ones only, under names of their own.
  EXPECT_EQ(sampler.calls.size(), 9u);
  EXPECT_LT(sampler.calls[1].size(), sampler.calls[0].size());
  for (const Request& request : sampler.calls[2]) EXPECT_TRUE(request.Name().ends_with(" base #2"));
  ReasonCounts counts;
  for (const ReasonTree& tree : trees)
    for (const ReasonNode& node : tree.nodes) {
      counts.Add(node);
      EXPECT_GE(WordCount(node.text), 8);
      EXPECT_EQ(node.parse == kFallbackText, std::isnan(node.log_likelihood));
      if (node.parse == kFallbackText) {
        EXPECT_NE(node.text.find("lavender"), std::string::npos) << node.text;
      }
    }
  EXPECT_EQ(counts.texts, 60 * 13);
  EXPECT_NEAR(static_cast<double>(counts.made_of_facts) / counts.texts, 0.216, 0.06);  // 0.6^3
  EXPECT_EQ(counts.ToFacts()[0].first, "parse_rate");
}

TEST(ReasonEngine, PositiveNamesNoTitle) {
  class Teller final : public Sampler {
   public:
    std::vector<Reply> Generate(const std::vector<Request>& requests,
                                const TextSampling& sampling) override {
      auto replies = Sampler::Generate(requests, sampling);
      for (Reply& reply : replies)
        reply.text =
            "{\"rationale\": \"They like tea; a GREEN TEA cup serves that, green tea cups and a "
            "Green Tea Cup.\"}<|end|>";
      return replies;
    }
  } teller;
  auto config = ConfigOf(kTree);
  const std::vector<std::pair<Evidence, Target>> users{{EvidenceOf(2), {"Green  Tea Cup"}}};
  const ReasonNode node = ReasonEngine(teller, config).Positive(users).at(0);
  EXPECT_EQ(node.text,
            "They like tea; a the chosen item serves that, green tea cups and a the chosen item.");
  EXPECT_EQ(node.path, "positive");
  EXPECT_NE(teller.calls[0][0].prompt.find("Then the customer chose: Green Tea Cup\n"),
            std::string::npos);
  EXPECT_EQ(teller.samplings[0].top_k, 50);
  ReasonCounts counts;
  counts.Add(node, users[0].second);
  config.mutable_pulse()->mutable_positive()->set_mask_target_title(false);
  const ReasonNode plain = ReasonEngine(teller, config).Positive(users).at(0);
  EXPECT_NE(plain.text.find("GREEN TEA cup"), std::string::npos);
  counts.Add(plain, users[0].second);
  counts.Add(plain, {"Kettle"});
  EXPECT_EQ(counts.titled, 2);
  EXPECT_EQ(counts.told, 3);

  config.mutable_pulse()->mutable_positive()->set_parse(config::PositiveConfig::RAW);
  const ReasonNode raw = ReasonEngine(teller, config).Positive(users).at(0);
  EXPECT_TRUE(raw.text.starts_with("{\"rationale\"") && raw.text.ends_with("<|end|>"));
  EXPECT_EQ(raw.parse, "raw");
}

// Targets reach prompt P1 only: Grow has no way to take one; facts of its requests have none.
TEST(ReasonEngine, GrowingCarriesNoTarget) {
  Sampler sampler(0);
  ReasonEngine(sampler, ConfigOf(kTree)).Grow(Users({3}).evidence, {});
  for (const auto& call : sampler.calls)
    for (const Request& request : call)
      EXPECT_EQ(request.facts.find("target"), std::string::npos) << request.facts;
}

TEST(ReasonEngine, TextsInAnotherScriptAreMadeOfTheFacts) {
  class Foreign final : public Sampler {
   public:
    std::vector<Reply> Generate(const std::vector<Request>& requests,
                                const TextSampling& sampling) override {
      auto replies = Sampler::Generate(requests, sampling);
      for (Reply& reply : replies) reply.text = "{\"reason\": \"这位顾客一直在寻找散装绿茶。\"}";
      return replies;
    }
  } foreign;
  Evidence evidence = EvidenceOf(1);
  for (Event& event : evidence.history) event = {"绿茶", 5, "很好喝的绿茶。 很好 喝"};
  const std::vector<Evidence> users{evidence, {"test", 7, {}, {}}};
  const auto config = ConfigOf(kTree);
  for (const ReasonTree& tree : ReasonEngine(foreign, config).Grow(users, {}))
    for (const ReasonNode& node : tree.nodes) {
      EXPECT_EQ(node.parse, kFallbackText);
      EXPECT_GE(WordCount(node.text), 8);
    }
}

}  // namespace
}  // namespace whyrec::gen
