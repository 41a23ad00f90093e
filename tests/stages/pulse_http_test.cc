// PULSE's reasons from a server that goes away or answers badly, in the middle of the chain.
#include <limits>

#include "tests/base/error_of.h"
#include "tests/http/stub.h"
#include "tests/stages/pulse_run.h"

namespace whyrec::stages {
namespace {

using http::StubAnswer;
using http::StubQuestion;

constexpr const char* kForeign = "顾客总是购买同一种东西，因为质量很好，价格也合适，下次还会再买。";

// Answers are a function of prompt and seed; those to rewritings say of which level they are.
class Server {
 public:
  Server() {
    stub_.checks = [this](const StubQuestion& question) -> std::optional<StubAnswer> {
      if (!question.prompt.starts_with("Evidence, oldest first.")) return std::nullopt;
      return Answer(question);
    };
  }

  Names Overrides() const {
    return {"rationales.backend=HTTP", "rationales.http.endpoint[0]=" + stub_.url(),
            "rationales.http.retries=1", "rationales.http.timeout_s=2",
            "rationales.http.context=100"};
  }

  // Set while nobody asks.
  int64_t away_after = std::numeric_limits<int64_t>::max();  // answers of the second level
  bool bad = false;  // every third prompt gets nothing, every other third words in another script
  // Of the answers given, by what was asked for.
  std::map<std::string, int64_t> answered;
  int64_t of_no_use = 0;

 private:
  static std::string KindOf(const std::string& prompt) {
    if (prompt.find("Then the customer chose: ") != prompt.npos) return "positive";
    const size_t draft = prompt.find("Draft explanation: ");
    if (draft == prompt.npos) return "base";
    return prompt.find("Level zero", draft) != prompt.npos ? "first level" : "second level";
  }

  StubAnswer Answer(const StubQuestion& question) {
    const std::string kind = KindOf(question.prompt);
    if (kind == "second level" && answered[kind] >= away_after)
      return {.status = 503, .body = R"({"error": {"message": "busy"}})"};
    ++answered[kind];
    const std::string hash =
        Sha256Of(question.prompt + question.body.value("seed", http::Json(0)).dump());
    const int third = bad ? Sha256Of(question.prompt)[0] % 3 : 0;
    of_no_use += third > 0;
    http::Json answer = stub_.Usual(question);
    answer["usage"]["prompt_tokens"] = http::Stub::Words(question.body["messages"].dump()) + 50;
    answer["choices"][0]["message"]["content"] =
        third == 1 ? ""
        : third == 2
            ? kForeign
            : http::Json{{"reason", Cat(kind == "base" ? "Level zero: " : "Later level: ",
                                        "the customer wants what mark ", hash.substr(0, 12),
                                        " stands for, again and again.")}}
                  .dump();
    return {.body = answer.dump()};
  }

  http::Stub stub_;
};

config::RunConfig ConfigOf(const Server& server, const Names& more = {}) {
  Names overrides = server.Overrides();
  overrides.insert(overrides.end(), more.begin(), more.end());
  return LoadPulse({"THOUGHT"}, overrides);
}

std::string Problem(Exit code, const config::RunConfig& config, const fs::path& workspace) {
  return ErrorOf([&] { RunAlone(config, workspace); }, code);
}

constexpr const char* kDropped =
    "an unfinished attempt with another configuration or other inputs is deleted";

// What a run would say of the stage.
std::string PlanOfTrees(const config::RunConfig& config, const fs::path& workspace) {
  for (const std::string& line : PlanChain(config, store::Workspace(workspace)))
    if (line.find("rationales.tree: ") != line.npos) return line;
  return "no line";
}

constexpr int64_t kRows = 3 * 24;  // users at their moments

TEST(PulseOverHttp, ARunThatLostItsServerGoesOnAfterTheLastLevel) {
  Server steady;
  const Temporary calm, shaken;
  RunAlone(ConfigOf(steady), calm.path());
  EXPECT_EQ(steady.answered, (std::map<std::string, int64_t>{{"positive", 24},
                                                             {"base", kRows},
                                                             {"first level", 3 * kRows},
                                                             {"second level", 9 * kRows}}));
  Server server;
  server.away_after = 100;  // one unit of 8 users is done, the next one's first level is
  const std::string said = Problem(Exit::kUnavailable, ConfigOf(server), shaken.path());
  EXPECT_NE(said.find("http://127.0.0.1:"), said.npos) << said;
  EXPECT_EQ(server.answered["base"], 16);
  EXPECT_EQ(server.answered["first level"], 3 * 16);
  EXPECT_FALSE(fs::exists(shaken / "rationales.tree"));
  server.away_after = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(RunAlone(ConfigOf(server), shaken.path()).front(), "rationales.tree");
  EXPECT_EQ(server.answered["positive"], 24);
  EXPECT_EQ(server.answered["base"], kRows);
  EXPECT_EQ(server.answered["first level"], 3 * kRows);
  EXPECT_LE(server.answered["second level"], 9 * kRows + 28);  // those of the lost level
  EXPECT_EQ(Contents(shaken.path()), Contents(calm.path()));
}

TEST(PulseOverHttp, WorkOfAnotherConfigurationIsNotGoneOnWith) {
  Server server;
  const Temporary folder, fresh;
  server.away_after = 100;
  Problem(Exit::kUnavailable, ConfigOf(server), folder.path());
  server.away_after = std::numeric_limits<int64_t>::max();
  // Units of another size: nothing is thrown away.
  const std::string said =
      Problem(Exit::kData, ConfigOf(server, {"rationales.unit_size=5"}), folder.path());
  EXPECT_NE(said.find("the journal belongs to other work"), said.npos) << said;
  EXPECT_EQ(server.answered["base"], 16);
  // Other trees: a new beginning, said before it is made.
  const auto narrower = ConfigOf(server, {"pulse.tree.branch=2"});
  const std::string plan = PlanOfTrees(narrower, folder.path());
  EXPECT_NE(plan.find(kDropped), plan.npos) << plan;
  EXPECT_EQ(RunAlone(narrower, folder.path()).front(), "rationales.tree");
  for (const auto& [split, trees] : TreesOf(folder.path()))
    for (const gen::ReasonTree& tree : trees) EXPECT_EQ(tree.nodes.size(), 7u);
}

TEST(PulseOverHttp, BadAnswersEndAsTextsMadeOfFactsAndAreCounted) {
  Server server;
  server.bad = true;
  const Temporary folder;
  RunAlone(ConfigOf(server), folder.path());
  const gen::ReasonPool tree = TreesOf(folder.path());
  const gen::ReasonPool positive = gen::LoadPool(folder / "rationales.positive/reasons.h5");
  std::map<std::string, int64_t> counts;
  const auto count = [&](const std::string& stage, const gen::ReasonPool& pool) {
    for (const auto& [split, trees] : pool)
      for (const gen::ReasonTree& of : trees)
        for (const gen::ReasonNode& node : of.nodes) {
          const bool made = node.parse == "fallback text";
          counts[stage] += made;
          EXPECT_GE(gen::TokensAbout(node.text), 8) << node.text;
          EXPECT_EQ(node.text.find("顾客"), node.text.npos);
          EXPECT_EQ(made, node.text.find("the customer wants what mark") == node.text.npos);
        }
    EXPECT_GT(counts[stage], 0);
    EXPECT_EQ(FactOf(folder.path(), stage, "made of facts after failed answers"),
              Cat(counts[stage]));
  };
  count("rationales.positive", positive);
  count("rationales.tree", tree);
  EXPECT_EQ(counts["rationales.positive"] + counts["rationales.tree"], server.of_no_use / 2);
  EXPECT_NE(FactOf(folder.path(), "rationales.tree", "parse_rate"), "100 %");
}

TEST(PulseOverHttp, NobodyThere) {
  std::string url;
  {
    const http::Stub gone;
    url = gone.url();
  }
  const Temporary folder;
  const auto config =
      LoadPulse({"THOUGHT"}, {"rationales.backend=HTTP", "rationales.http.retries=1",
                              "rationales.http.endpoint[0]=" + url});
  const std::string said = Problem(Exit::kUnavailable, config, folder.path());
  EXPECT_NE(said.find(url), said.npos) << said;
  // What stood before stands; another back end goes on from there.
  const size_t before = store::Workspace(folder.path()).Names().size();
  EXPECT_GE(before, 3u);
  const auto by_template = LoadPulse({"THOUGHT"});
  std::string plan;
  for (const std::string& line : PlanChain(by_template, store::Workspace(folder.path())))
    plan += line + "\n";
  EXPECT_NE(plan.find(kDropped), plan.npos) << plan;
  EXPECT_EQ(RunAlone(by_template, folder.path()).size(), Chain(by_template).size() - before);
}

}  // namespace
}  // namespace whyrec::stages
