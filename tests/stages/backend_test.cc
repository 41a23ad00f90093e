// Which back end a configuration gets, what it adds to a fingerprint, and what it says is missing.
#include "src/stages/backend.h"

#include <gtest/gtest.h>

#include <fstream>

#include "src/base/error.h"
#include "tests/base/error_of.h"
#include "tests/store/temporary.h"

namespace whyrec::stages {
namespace {

config::RunConfig ConfigOf(config::RationalesConfig::Backend backend) {
  config::RunConfig config;
  config.mutable_rationales()->set_backend(backend);
  return config;
}

std::string ProblemOf(config::RationalesConfig::Backend backend) {
  return ErrorOf([&] { BackendNeedsOf(ConfigOf(backend), Prompts::kIsrf); }, Exit::kUsage);
}

TEST(Backend, SaysWhatToSet) {
  using config::RationalesConfig;
  EXPECT_EQ(ProblemOf(RationalesConfig::TEMPLATE), "no error");
  for (const auto& [backend, setting] :
       std::vector<std::pair<RationalesConfig::Backend, std::string>>{
           {RationalesConfig::REPLAY, "rationales.replay_file"},
           {RationalesConfig::IN_PROCESS, "rationales.model"},
           {RationalesConfig::HTTP, "rationales.http.endpoint"}}) {
    const std::string problem = ProblemOf(backend);
    EXPECT_NE(problem.find(setting), std::string::npos) << problem;
  }
}

TEST(Backend, NeedsAreThoseOfTheChosenOne) {
  using config::RationalesConfig;
  auto config = ConfigOf(RationalesConfig::IN_PROCESS);
  EXPECT_EQ(BackendNeedsOf(config, Prompts::kPulse).inputs, std::vector<std::string>{"language"});
  config.add_system()->set_name("pulse");
  EXPECT_EQ(BackendNeedsOf(config, Prompts::kIsrf).inputs, std::vector<std::string>{"language"});
  config.mutable_pulse()->mutable_language()->set_folder("/models/base");
  EXPECT_TRUE(BackendNeedsOf(config, Prompts::kPulse).inputs.empty());
  EXPECT_EQ(BackendNeedsOf(config, Prompts::kPulse).files, (Files{{"model", "/models/base"}}));
  config.mutable_rationales()->set_model("/models/phi");
  const BackendNeeds needs = BackendNeedsOf(config, Prompts::kPulse);
  EXPECT_TRUE(needs.inputs.empty());
  EXPECT_EQ(needs.files, (Files{{"model", "/models/phi"}}));
  const auto chat = needs.settings;
  config.set_protocol(config::RunConfig::AS_PUBLISHED);
  EXPECT_EQ(BackendNeedsOf(config, Prompts::kPulse).settings, chat);
  config.set_reading(config::RunConfig::RELEASED_CODE);
  EXPECT_NE(BackendNeedsOf(config, Prompts::kPulse).settings, chat) << "plain prompts";
  EXPECT_EQ(BackendNeedsOf(config, Prompts::kIsrf).settings, chat);
  config.set_seed(1);
  EXPECT_NE(BackendNeedsOf(config, Prompts::kIsrf).settings, chat);
}

TEST(Backend, MakesTheChosenOne) {
  using config::RationalesConfig;
  const Temporary folder;
  store::Workspace workspace(folder.path());
  const auto comm = cluster::MakeSelf();
  const auto name = [&](const config::RunConfig& config) {
    return MakeBackend({config, *comm, workspace}, config, Prompts::kIsrf)->name();
  };
  EXPECT_EQ(name(ConfigOf(RationalesConfig::TEMPLATE)), "template");
  auto replay = ConfigOf(RationalesConfig::REPLAY);
  std::ofstream(folder / "records.jsonl") << "";
  replay.mutable_rationales()->set_replay_file(folder / "records.jsonl");
  EXPECT_EQ(name(replay), "replay");
  EXPECT_NE(DescribeBackend(replay).find("records.jsonl"), std::string::npos);
}

}  // namespace
}  // namespace whyrec::stages
