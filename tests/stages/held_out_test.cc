// Whole chains where one user in ten validates (split.held_out TEXT): who has no validation item
// has no prompt, tree or negative for one, and is evaluated all the same.
#include <nlohmann/json.hpp>
#include <set>

#include "src/base/text_file.h"
#include "tests/stages/pulse_run.h"

namespace whyrec::stages {
namespace {

const std::set<int64_t> kValidating = {1, 15};  // of U100000 to U100023

bool HasState(const HostTensor& states, int64_t user) {
  return std::ranges::any_of(states.row<float>(user), [](float x) { return x != 0; });
}

void ExpectReportOf24(const fs::path& workspace) {
  const auto rows = nlohmann::json::parse(ReadFile(workspace / "report/report.json"));
  EXPECT_FALSE(rows.empty());
  for (const auto& row : rows) {
    EXPECT_EQ(row.at("users"), 24);
    EXPECT_TRUE(row.at("value").is_number());
  }
}

void ExpectPulse(const Names& protocol) {
  Names overrides = protocol;
  overrides.push_back("split.held_out=TEXT");
  const auto config = LoadPulse({"THOUGHT", "NONE", "SHUFFLED"}, overrides);
  const Temporary folder;
  RunAlone(config, folder.path());
  EXPECT_EQ(FactOf(folder.path(), "split", "users who validate"), "2");
  EXPECT_EQ(FactOf(folder.path(), "thoughts", "users judged"), "2");
  EXPECT_EQ(FactOf(folder.path(), "thoughts", "users trained on"), "22");
  const PulseData data(folder.path(), config);
  const auto pool = TreesOf(folder.path());
  const auto chosen = ChoicesOf(folder.path(), "thought");
  const store::Hdf5Reader neighbours(folder / "neighbours/neighbours.h5");
  for (const std::string split : kSplits) {
    const HostTensor states = neighbours.Read(split + "/state");
    for (int64_t user = 0; user < 24; ++user) {
      const bool expected = split != "validation" || kValidating.contains(user);
      const auto row = static_cast<size_t>(user);
      EXPECT_EQ(data.examples.Has(split, user), expected) << split << " " << user;
      EXPECT_EQ(!pool.at(split)[row].nodes.empty(), expected) << split << " " << user;
      EXPECT_EQ(!chosen.at(split)[row].text.empty(), expected) << split << " " << user;
      EXPECT_TRUE(HasState(states, user)) << split << " " << user;
    }
  }
  for (int64_t user = 0; user < 24; ++user) {  // six events each
    const size_t training = kValidating.contains(user) ? 4 : 5;
    EXPECT_EQ(data.train.histories.row(user).size(), training);
    EXPECT_EQ(data.examples.Events("train", user).size(), training - 1);
    EXPECT_EQ(data.examples.Events("test", user).size(), 5u);
  }
  ExpectReportOf24(folder.path());
  // And on three ranks, with the trained models of the first run.
  const Temporary shared;
  for (const Stage& stage : Chain(config))
    if (stage.kind == Kind::kCollective && stage.name != "neighbours")
      fs::copy(folder / stage.name, shared / stage.name, fs::copy_options::recursive);
  RunOn(3, config, shared.path());
  EXPECT_EQ(Contents(shared.path()), Contents(folder.path()));
}

TEST(HeldOutText, PulseUnderStrict) { ExpectPulse({}); }

TEST(HeldOutText, PulseOfTheReleasedCode) {
  ExpectPulse({"protocol=AS_PUBLISHED", "reading=RELEASED_CODE"});
}

// The other systems that stop early: by losses and by hits.
TEST(HeldOutText, SystemsThatStopEarly) {
  const Names systems = {"system[0].name=isrf", "system[0].variant=POD", "system[1].name=lightgcn",
                         "system[2].name=sasrec", "system[2].knobs.dim=8"};
  for (const char* stop : {"train.stop=METRIC", "train.stop=LOSS_MEAN3"}) {
    const Temporary folder;
    RunAlone(LoadTiny({"split.held_out=TEXT", stop}, systems), folder.path());
    const auto labels = data::LoadLabels(folder / "split");
    const int64_t validating = std::ssize(labels.EvaluatedUsers(data::Phase::kValidation));
    EXPECT_EQ(FactOf(folder.path(), "split", "users who validate"), Cat(validating));
    EXPECT_NEAR(validating, 45.8, 4 * 6.4);
    ExpectReportOf24(folder.path());
  }
}

}  // namespace
}  // namespace whyrec::stages
