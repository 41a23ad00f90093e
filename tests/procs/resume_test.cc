// A run that is killed or stopped, again and again, ends with the bytes of an undisturbed one.
#include <random>

#include "tests/procs/process.h"

namespace whyrec {
namespace {

using Resume = TinyRuns;

uintmax_t Bytes(const fs::path& file) {
  std::error_code absent;
  const auto bytes = fs::file_size(file, absent);
  return absent ? 0 : bytes;
}

// Dropout is on: a resumed run has to repeat the draws of the steps that it does again.
const Words kResumeSettings = {"system[0].name=isrf",  "train.steps=120",
                               "train.epoch_steps=30", "train.checkpoint_steps=3",
                               "train.dropout=0.1",    "predict.users=96"};

TEST_F(Resume, KilledAtRandomMoments) {
  WR_NEEDS_ENCODER();
  Process undisturbed(Program("calm", kResumeSettings), folder_ / "out");
  ASSERT_EQ(undisturbed.Wait(), 0) << Said();
  const double whole = undisturbed.seconds();

  std::mt19937 random(std::random_device{}());
  const auto draw = [&](double most) {
    return std::chrono::duration<double>(std::uniform_real_distribution<double>(0, most)(random));
  };
  bool continued = false;
  for (int i = 0; i < 8; ++i) {
    Process process(Program("killed", kResumeSettings), folder_ / "out");
    // Half of them anywhere, the others while it trains.
    if (i % 2 == 0)
      std::this_thread::sleep_for(draw(whole / 2));
    else if (process.Until([&] { return Checkpoints(folder_ / "killed") > 0; }))
      std::this_thread::sleep_for(draw(0.1));
    process.Signal(SIGKILL);
    process.Wait();
    continued |= Said().find("continues after step") != std::string::npos;
  }
  ASSERT_EQ(Finish(Program("killed", kResumeSettings)), 0) << Said();
  continued |= Said().find("continues after step") != std::string::npos;
  EXPECT_TRUE(continued) << "no kill fell into the training";
  EXPECT_EQ(Contents(folder_ / "killed"), Contents(folder_ / "calm"));
}

TEST_F(Resume, StoppedBySignals) {
  WR_NEEDS_ENCODER();
  ASSERT_EQ(Finish(Program("calm", kResumeSettings)), 0) << Said();
  const fs::path stopped = folder_ / "stopped";
  {
    Process process(Program("stopped", kResumeSettings), folder_ / "out");
    ASSERT_TRUE(process.Until(
        [&] { return Bytes(stopped / "embeddings.partial/.leases/journal") > 10'000; }));
    process.Signal(SIGTERM);
    EXPECT_EQ(process.Wait(20), 75) << Said();
    EXPECT_NE(Said().find("finished units are kept: run the same command again"), std::string::npos)
        << Said();
    EXPECT_FALSE(fs::exists(stopped / "embeddings"));
  }
  for (int signal : {SIGTERM, SIGUSR1}) {
    Process process(Program("stopped", kResumeSettings), folder_ / "out");
    ASSERT_TRUE(process.Until([&] {
      return signal == SIGTERM ? Checkpoints(stopped) > 0
                               : Said().find("continues after step") != std::string::npos;
    })) << Said();
    process.Signal(signal);
    EXPECT_EQ(process.Wait(20), 75) << Said();
    EXPECT_NE(Said().find("the checkpoint is complete: run the same command again"),
              std::string::npos)
        << Said();
  }
  ASSERT_EQ(Finish(Program("stopped", kResumeSettings)), 0) << Said();
  EXPECT_EQ(Contents(stopped), Contents(folder_ / "calm"));
}

TEST_F(Resume, KilledBetweenTheProtocols) {
  const Words settings = {"protocol=BOTH", "system[0].name=isrf", "system[0].variant=POD",
                          "system[1].name=popularity"};
  ASSERT_EQ(Finish(Program("calm", settings)), 0) << Said();
  EXPECT_NE(Said().find("# tiny: gift-cards, protocols STRICT and AS_PUBLISHED"), std::string::npos)
      << Said();
  const fs::path killed = folder_ / "killed";
  {
    Process process(Program("killed", settings), folder_ / "out");
    ASSERT_TRUE(process.Until([&] { return fs::exists(killed / "strict/report/manifest.txtpb"); }))
        << Said();
    process.Signal(SIGKILL);
    process.Wait();
  }
  EXPECT_FALSE(fs::exists(killed / "report"));
  ASSERT_EQ(Finish(Program("killed", settings)), 0) << Said();
  EXPECT_EQ(Said().find("[strict/"), std::string::npos) << Said();
  EXPECT_NE(Said().find("[report] no artefact yet"), std::string::npos) << Said();
  EXPECT_EQ(Contents(killed), Contents(folder_ / "calm"));
  const std::string workspace = killed.string();
  EXPECT_EQ(Finish({kProgram, "verify", workspace}), 0) << Said();
  EXPECT_NE(Said().find("21 artefacts"), std::string::npos) << Said();
  EXPECT_EQ(Finish({kProgram, "report", workspace}), 0) << Said();
  EXPECT_NE(Said().find("| system "), std::string::npos) << Said();
  // Each half is the workspace of a run under its protocol alone.
  Words half = {"protocol=AS_PUBLISHED"};
  half.insert(half.end(), settings.begin() + 1, settings.end());
  EXPECT_EQ(Finish(Program("killed/as_published", half)), 0) << Said();
  EXPECT_NE(Said().find("nothing to do"), std::string::npos) << Said();
}

// A training that goes on until it is killed.
TEST_F(Resume, OneRunAtATimeAndFreshForgets) {
  const Words endless = Program("w", {"system[0].name=isrf", "system[0].variant=POD",
                                      "train.steps=1000000", "train.epoch_steps=1000000"});
  {
    Process first(endless, folder_ / "out of the first");
    ASSERT_TRUE(first.Until([&] { return Checkpoints(folder_ / "w", "pod") > 0; }));
    EXPECT_EQ(Finish(endless), 2);
    EXPECT_NE(Said().find("another run is using this workspace"), std::string::npos) << Said();
  }
  for (bool fresh : {false, true}) {
    Words words = endless;
    if (fresh) words.push_back("--fresh");
    Process process(words, folder_ / "out");
    ASSERT_TRUE(process.Until([&] { return Said().find(" steps ") != std::string::npos; }))
        << Said();
    EXPECT_EQ(Said().find("continues after step") == std::string::npos, fresh) << Said();
    EXPECT_EQ(Said().find("[split] no artefact yet") != std::string::npos, fresh) << Said();
  }
}

}  // namespace
}  // namespace whyrec
