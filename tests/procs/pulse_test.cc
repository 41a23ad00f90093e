// PULSE as processes: trees that workers grow, die and are stopped at, and exit codes.
#include <memory>

#include "tests/procs/process.h"
#include "tests/stages/pulse_tiny.h"

namespace whyrec {
namespace {

// Trees by a language model, which take some seconds; units of one user's moment each.
const Words kSlow = {"rationales.backend=IN_PROCESS",    "rationales.unit_size=1",
                     "pulse.positive.max_new_tokens=12", "pulse.tree.max_new_tokens=12",
                     "pulse.positive.prompt_tokens=256", "pulse.tree.branch=2"};

class PulseRuns : public testing::Test {
 protected:
  void SetUp() override { config_ = WritePulse(folder_.path()); }

  Words Program(const std::string& command, const std::string& workspace, const Words& settings,
                const Words& more = {}) const {
    Words out = {kProgram, command, config_.string(), "--workspace",
                 (folder_ / workspace).string()};
    for (const std::string& setting : settings) out.insert(out.end(), {"--set", setting});
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  std::unique_ptr<Process> Start(const Words& words, const std::string& who) const {
    return std::make_unique<Process>(words, folder_ / who);
  }
  std::string Said(const std::string& who) const { return ReadAll(folder_ / who); }
  Words Slow() const {
    Words out = PulseSystems({"THOUGHT"});
    out.insert(out.end(), kSlow.begin(), kSlow.end());
    return out;
  }
  // Undisturbed, whole; and a copy of what stands before the trees.
  std::map<std::string, std::string> Calm(const std::string& before) const {
    EXPECT_EQ(Start(Program("run", "calm", Slow()), "calm.out")->Wait(), 0) << Said("calm.out");
    fs::copy(folder_ / "calm", folder_ / before, fs::copy_options::recursive);
    for (const char* later : {"rationales.tree", "select.thought", "train.pulse.thought",
                              "predict.pulse.thought", "metrics.pulse.thought", "report"})
      EXPECT_GT(fs::remove_all(folder_ / before / later), 0u) << later;
    return Contents(folder_ / "calm");
  }
  static fs::path Leases() { return "rationales.tree.partial/.leases"; }

  Temporary folder_;
  fs::path config_;
};

TEST_F(PulseRuns, KilledWorkersAndCoordinatorsLeaveTheSameTrees) {
  const auto calm = Calm("w");
  const Words words = Program("run", "w", Slow(), {"--stages", "leased", "--listen", "127.0.0.1"});
  auto coordinator = Start(words, "coordinator");
  const auto at_work = [&] { return fs::exists(folder_ / "w" / Leases() / "address"); };
  ASSERT_TRUE(coordinator->Until(at_work)) << Said("coordinator");
  std::vector<std::unique_ptr<Process>> workers;
  const auto joined = [&](const std::string& who) {
    return Said(who).find("] joined the coordinator") != std::string::npos;
  };
  for (const char* who : {"a", "b"}) {
    workers.push_back(Start(Program("work", "w", Slow()), who));
    ASSERT_TRUE(workers.back()->Until([&] { return joined(who); })) << Said(who);
  }
  workers[0]->Signal(SIGKILL);
  workers[0]->Wait();
  const std::string gone = "has gone; its units go to others";
  ASSERT_TRUE(coordinator->Until([&] { return Said("coordinator").find(gone) != gone.npos; }))
      << Said("coordinator");
  EXPECT_FALSE(coordinator->Code()) << "the trees were grown before the kill";
  coordinator->Signal(SIGKILL);
  coordinator->Wait();
  EXPECT_FALSE(fs::exists(folder_ / "w/rationales.tree"));
  coordinator = Start(words, "coordinator");
  EXPECT_EQ(coordinator->Wait(), 0) << Said("coordinator");
  EXPECT_EQ(workers[1]->Wait(30), 0) << Said("b");
  EXPECT_NE(Said("coordinator").find("[rationales.tree] unfinished: continues an earlier attempt"),
            std::string::npos);
  auto now = Contents(folder_ / "w");
  for (const char* file : {"rationales.tree/reasons.h5", "select.thought/selection.h5"})
    EXPECT_EQ(now[file], calm.at(file)) << file;
}

TEST_F(PulseRuns, AStoppedRunGoesOn) {
  const auto calm = Calm("w");
  auto run = Start(Program("run", "w", Slow()), "out");
  ASSERT_TRUE(run->Until([&] {
    std::error_code absent;
    return fs::file_size(folder_ / "w" / Leases() / "journal", absent) > 20000 && !absent;
  })) << Said("out");
  run->Signal(SIGTERM);
  EXPECT_EQ(run->Wait(), 75) << Said("out");
  EXPECT_NE(Said("out").find("finished units are kept"), std::string::npos) << Said("out");
  EXPECT_FALSE(fs::exists(folder_ / "w/rationales.tree"));
  EXPECT_EQ(Start(Program("run", "w", Slow()), "out")->Wait(), 0) << Said("out");
  EXPECT_EQ(Contents(folder_ / "w"), calm);
}

// What one run's model said, taken to a workspace that has no model's answers.
TEST_F(PulseRuns, AnswersAreTakenElsewhere) {
  const auto calm = Calm("w");
  const std::string file = (folder_ / "answers.jsonl").string();
  const Words answers = {kProgram, "answers", (folder_ / "calm").string(), "--out", file};
  EXPECT_EQ(Start(answers, "out")->Wait(), 0) << Said("out");
  EXPECT_NE(Said("out").find("answers of rationales.positive rationales.tree; unusable"),
            std::string::npos)
      << Said("out");
  EXPECT_EQ(Start(answers, "out")->Wait(), 2);
  EXPECT_NE(Said("out").find("answers.jsonl: exists"), std::string::npos) << Said("out");
  EXPECT_EQ(
      RunCommand(
          Cat("bash -c '", kProgram, " answers ", (folder_ / "calm").string(), " 2>/dev/null'"), 60)
          .output,
      ReadAll(file));
  EXPECT_EQ(Start({kProgram, "answers", (folder_ / "none").string()}, "out")->Wait(), 65);
  fs::remove_all(folder_ / "w/rationales.positive");
  Words replay = Slow();
  replay.insert(replay.end(), {"rationales.backend=REPLAY", "rationales.replay_file=" + file});
  EXPECT_EQ(Start(Program("run", "w", replay), "out")->Wait(), 0) << Said("out");
  EXPECT_EQ(Said("out").find("[train.sasrec] run"), std::string::npos);
  auto now = Contents(folder_ / "w");
  for (const char* stage : {"rationales.positive", "rationales.tree"})
    for (const std::string file_of : {"/reasons.h5", "/records.jsonl.gz"})
      EXPECT_EQ(now[stage + file_of], calm.at(stage + file_of)) << stage << file_of;
}

TEST_F(PulseRuns, BadInputEndsWithItsCode) {
  const auto expect = [&](int code, const Words& variants, const Words& more,
                          const std::string& part) {
    Words settings = PulseSystems(variants);
    settings.insert(settings.end(), more.begin(), more.end());
    EXPECT_EQ(Start(Program("run", "w", settings), "out")->Wait(), code) << Said("out");
    EXPECT_NE(Said("out").find(part), std::string::npos) << part << " in " << Said("out");
  };
  expect(2, {"THOUGHT"}, {"rationales.backend=TELEPATHY"}, "TELEPATHY");
  expect(2, {"THOUGHT", "THOUGHT"}, {}, "named twice");
  expect(2, {"THOUGHTS"}, {}, "did you mean \"THOUGHT\"?");
  expect(2, {"THOUGHT"}, {"split.train_candidates=false"}, "split.train_candidates");
  expect(2, {"THOUGHT"}, {"rationales.backend=REPLAY"}, "rationales.replay_file is not set");
  EXPECT_FALSE(fs::exists(folder_ / "w"));
  expect(65, {"THOUGHT"},
         {"rationales.backend=REPLAY", "rationales.replay_file=" + (folder_ / "no").string()},
         (folder_ / "no").string());
  expect(69, {"THOUGHT"},
         {"rationales.backend=HTTP", "rationales.http.endpoint[0]=http://127.0.0.1:1/v1",
          "rationales.http.retries=1"},
         "http://127.0.0.1:1/v1");
  EXPECT_TRUE(fs::exists(folder_ / "w/split/manifest.txtpb"));
}

}  // namespace
}  // namespace whyrec
