// PULSE on configurations that cannot work and on data with short histories and doubled titles.
#include "src/base/text_file.h"
#include "tests/stages/pulse_run.h"

namespace whyrec::stages {
namespace {

void ExpectError(Exit code, const Names& parts, const std::function<void()>& body) {
  try {
    body();
    ADD_FAILURE() << "no error: " << parts[0];
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& part : parts)
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(PulseInput, ConfigurationsThatCannotWorkAreRefusedBeforeAnythingRuns) {
  const auto refused = [](const Names& variants, const Names& overrides, const Names& parts) {
    ExpectError(Exit::kUsage, parts, [&] { Chain(LoadPulse(variants, overrides)); });
  };
  refused({"THOUGHT"}, {"rationales.backend=TELEPATHY"}, {"rationales.backend", "TELEPATHY"});
  refused({"THOUGHT"}, {"rationales.backend=REPLAY"}, {"rationales.replay_file is not set"});
  refused({"THOUGHT"}, {"rationales.backend=HTTP"}, {"no rationales.http.endpoint is set"});
  refused({"THOUGHT"}, {"split.train_candidates=false"}, {"split.train_candidates to true"});
  refused({"THOUGHT", "NONE", "THOUGHT"}, {}, {"\"pulse.thought\" is named twice"});
  ExpectError(Exit::kUsage, {"system { name: \"sasrec\" }"}, [] {
    config::RunConfig config = LoadPulse({"THOUGHT"});
    config.mutable_system()->RemoveLast();
    Chain(config);
  });
  refused({"THUOGHT"}, {}, {"no variant \"THUOGHT\"", "did you mean \"THOUGHT\"?"});
}

TEST(PulseInput, AReplayFileThatIsNotThereIsNamed) {
  const Temporary folder;
  const auto config = LoadPulse(
      {"THOUGHT"},
      {"rationales.backend=REPLAY", "rationales.replay_file=" + (folder / "no.jsonl").string()});
  ExpectError(Exit::kData, {"no.jsonl"}, [&] { RunAlone(config, folder.path()); });
}

// 26 users, the first two with one and two reviews; items come in pairs of one title.
void WriteReviews(const fs::path& folder) {
  std::ofstream reviews(folder / "reviews.jsonl"), items(folder / "items.jsonl");
  for (int i = 0; i < 40; ++i)
    items << "{\"asin\": \"i" << i << "\", \"title\": \"Thing number " << i / 2 << "\"}\n";
  for (int user = 0; user < 26; ++user)
    for (int event = 0; event < (user < 2 ? user + 1 : 6); ++event)
      reviews
          << "{\"reviewerID\": \"u" << user << "\", \"asin\": \"i" << (user * 7 + event * 11) % 40
          << "\", \"unixReviewTime\": " << 1000000 + 1000 * event + user
          << ", \"overall\": 4, \"reviewText\": \"Sturdy thing, used it daily for a week, number "
          << event << ".\"}\n";
}

class PulseShortUsers : public testing::Test {
 protected:
  void SetUp() override { WriteReviews(folder_.path()); }
  config::RunConfig Config(const Names& overrides) const {
    Names all = {"catalogue.reviews=" + (folder_ / "reviews.jsonl").string(),
                 "catalogue.items=" + (folder_ / "items.jsonl").string()};
    all.insert(all.end(), overrides.begin(), overrides.end());
    Names systems = PulseSystems({"THOUGHT", "SHUFFLED"});
    all.insert(all.begin(), systems.begin(), systems.end());
    const Temporary folder;
    const fs::path file = WritePulse(folder.path());
    std::string text = ReadFile(file);
    const size_t planted = text.find("  planted {");
    text.erase(planted, text.find('\n', planted) - planted);
    std::ofstream(file) << text;
    return config::Load(file, all);
  }
  Temporary folder_;
};

TEST_F(PulseShortUsers, AreRefusedByDefault) {
  ExpectError(Exit::kData, {"2 ", "split.short_users", "DROP", "NEVER_EVALUATED"},
              [&] { RunAlone(Config({}), folder_ / "w"); });
  EXPECT_TRUE(fs::exists(folder_ / "w/catalogue"));
}

TEST_F(PulseShortUsers, AreDropped) {
  RunAlone(Config({"split.short_users=DROP"}), folder_ / "w");
  EXPECT_EQ(FactOf(folder_ / "w", "split", "users"), "24");
  for (const auto& [split, trees] : TreesOf(folder_ / "w")) EXPECT_EQ(trees.size(), 24u);
}

TEST_F(PulseShortUsers, AreTrainedOnAndNeverEvaluated) {
  const auto config = Config({"split.short_users=NEVER_EVALUATED"});
  const fs::path folder = folder_ / "w";
  RunAlone(config, folder);
  EXPECT_EQ(FactOf(folder, "split", "users never evaluated"), "2");
  EXPECT_NE(ReadFile(folder / "report/report.md").find("candidates, 24 users"), std::string::npos);
  const auto pool = TreesOf(folder);
  for (const char* split : kSplits) ASSERT_EQ(pool.at(split).size(), 26u);
  // One event gives no example at all, two give one to train on.
  const auto nodes = [&](const char* split, size_t user) {
    return pool.at(split)[user].nodes.size();
  };
  EXPECT_EQ(nodes("train", 0), 0u);
  EXPECT_EQ(nodes("train", 1), 13u);
  for (const char* split : {"validation", "test"})
    for (size_t user : {0, 1}) EXPECT_EQ(nodes(split, user), 0u);
  EXPECT_EQ(nodes("test", 2), 13u);
  // On three ranks, too.
  const fs::path shared = folder_ / "shared";
  fs::create_directories(shared);
  for (const Stage& stage : Chain(config))
    if (stage.kind == Kind::kCollective && stage.name != "neighbours")
      fs::copy(folder / stage.name, shared / stage.name, fs::copy_options::recursive);
  RunOn(3, config, shared);
  EXPECT_EQ(Contents(shared), Contents(folder));
}

TEST_F(PulseShortUsers, TwoCandidatesOfOneTitleAreAvoidedOrCounted) {
  const std::string fact = "users with two candidates of one title";
  RunAlone(Config({"split.short_users=DROP"}), folder_ / "w");
  EXPECT_EQ(FactOf(folder_ / "w", "split", fact), "validation 0, test 0, training 0");
  RunAlone(Config({"split.short_users=DROP", "split.distinct_titles=false"}), folder_ / "w");
  EXPECT_NE(FactOf(folder_ / "w", "split", fact), "validation 0, test 0, training 0");
}

}  // namespace
}  // namespace whyrec::stages
