// What systems say of the training options is true: those that they ignore change nothing, and the
// others do.
#include <gtest/gtest.h>

#include "cluster/collective/communicator.h"
#include "src/base/text_file.h"
#include "src/store/workspace.h"
#include "tests/systems/world.h"

namespace whyrec::systems {
namespace {

struct Option {
  std::string name, one, other;
};

const std::vector<Option> kOptions = {{"train.dropout", "0", "0.5"},
                                      {"train.weight_decay", "0", "0.5"},
                                      {"train.shuffle_first_pass", "false", "true"},
                                      {"train.stop", "LOSS_MEAN3", "METRIC"},
                                      {"train.validation_users", "2", "40"},
                                      {"train.learning_rate", "1e-3", "1e-2"},
                                      {"train.clip_norm", "0", "1e-3"},
                                      {"train.warmup", "0", "0.5"}};

// Of a training of a few steps: the model, and the validation.
std::string Outcome(const std::string& name, const std::string& setting) {
  const World world(60,
                    {"system[0].name=" + name, "train.steps=6", "train.epoch_steps=3", setting});
  const Temporary folder;
  std::string out;
  for (const auto& [fact, value] :
       world.Train(*world.Build(name), *cluster::MakeSelf(), folder.path()))
    if (fact == "best validation") out = value;
  return out + ReadFile(folder / "model.safetensors");
}

bool Ignores(const System& system, const std::string& option) {
  return std::ranges::any_of(system.ignores,
                             [&](const auto& ignored) { return ignored.first == option; });
}

class TrainingOptions : public testing::TestWithParam<const char*> {};

TEST_P(TrainingOptions, ChangeWhatTheSystemDoesNotIgnore) {
  for (const auto& [option, one, other] : kOptions)
    EXPECT_EQ(Outcome(GetParam(), option + "=" + one) == Outcome(GetParam(), option + "=" + other),
              Ignores(FindSystem(GetParam()), option))
        << option;
}

INSTANTIATE_TEST_SUITE_P(Systems, TrainingOptions, testing::Values("isrf", "lightgcn", "sasrec"),
                         [](const auto& info) { return std::string(info.param); });

// Misspelt, one would be ignored itself.
TEST(IgnoredOptions, AreFieldsOfTheSchema) {
  for (const System& system : AllSystems()) {
    config::RunConfig config;
    config.add_system()->set_name(system.name);
    EXPECT_TRUE(Check(config).empty()) << system.name;
  }
}

std::vector<std::string> Messages(const std::vector<std::string>& overrides) {
  const Temporary folder;
  std::ofstream(folder / "run.txtpb") << "train { dropout: 0.3 weight_decay: 0.3 stop: METRIC }\n";
  std::vector<std::string> out;
  for (const auto& problem : Check(config::Load(folder / "run.txtpb", overrides)))
    out.push_back(problem.path + ": " + problem.message);
  return out;
}

// Stated for all systems they may be for another one; stated for this one they are not.
TEST(IgnoredOptions, AreRefusedWhereTheSystemStatesThem) {
  EXPECT_EQ(Messages({"system[0].name=sasrec", "system[1].name=lightgcn", "system[2].name=markov",
                      "system[3].name=pulse", "system[0].train.stop=METRIC"}),
            std::vector<std::string>());
  EXPECT_EQ(
      Messages({"system[0].name=isrf", "system[0].train.dropout=0.1", "system[1].name=sasrec",
                "system[1].train.dropout=0.1", "system[2].name=markov", "system[2].train.steps=3",
                "system[3].name=pulse", "pulse.scorer.train.stop=METRIC"}),
      (std::vector<std::string>{
          "system[1].train.dropout: system[1].train.dropout has no effect on sasrec, whose "
          "dropout, if it has any, is a knob; leave it out",
          "system[2].train: system[2].train has no effect on markov, which only counts; leave it "
          "out",
          "pulse.scorer.train.stop: pulse.scorer.train.stop has no effect on pulse, whose scorer "
          "stops by HR@1 of validation users; leave it out"}));
}

}  // namespace
}  // namespace whyrec::systems
