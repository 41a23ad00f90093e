// thoughts: Phase I of PULSE, contrastive training of the two encoders whose space reasons are
// compared in.
#include "src/systems/pulse/thought_training.h"

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/config/run_config.h"
#include "src/gen/behaviour.h"
#include "src/gen/reason_pool.h"
#include "src/stages/examples.h"
#include "src/stages/stage.h"

namespace whyrec::stages {
namespace {

constexpr double kHeldOut = 0.1;  // share of users for validation by retrieval, never trained on

config::RunConfig OwnTraining(const config::RunConfig& config) {
  return config::WithTraining(config, config.pulse().thought().train());
}

// For splits in which all users have a validation item: holds out a random 10 % of the users, by
// seed and row, at least one.
void HoldOut(std::vector<systems::ThoughtSample>& samples, const std::vector<int64_t>& users,
             uint64_t seed) {
  double least = 1;
  size_t first = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const double draw = Rng(seed, "held-out users", 0, static_cast<uint64_t>(users[i])).Uniform();
    samples[i].held_out = draw < kHeldOut;
    if (draw < least) least = draw, first = i;
  }
  if (!samples.empty()) samples[first].held_out = true;
}

std::vector<systems::ThoughtSample> MakeSamples(const config::RunConfig& config,
                                                const Examples& examples,
                                                const std::vector<gen::ReasonTree>& positives) {
  const auto& behaviour = config.pulse().behaviour();
  std::vector<systems::ThoughtSample> samples;
  std::vector<int64_t> users;
  for (int64_t user = 0; user < std::ssize(positives); ++user) {
    const auto& nodes = positives[static_cast<size_t>(user)].nodes;
    if (nodes.empty() || nodes[0].text.empty() || !examples.Has("train", user)) continue;
    const auto history = examples.History("train", user);
    const gen::Target target = examples.TrainTarget(user);
    samples.push_back({.with_target = gen::BehaviourText(history, &target, behaviour),
                       .history = gen::BehaviourText(history, nullptr, behaviour),
                       .rationale = nodes[0].text});
    users.push_back(user);
  }
  if (config.split().held_out() == config::SplitConfig::TEXT) {
    for (size_t i = 0; i < samples.size(); ++i)
      samples[i].held_out = examples.Has("validation", users[i]);
  } else {
    HoldOut(samples, users, config.seed());
  }
  return samples;
}

Facts TrainEncoders(const RunContext& context, const std::filesystem::path& partial) {
  const auto folder = context.workspace.Of("split");
  const auto train = data::LoadTrainView(folder);
  const auto labels = data::LoadLabels(folder);
  const auto h5 = context.workspace.Of("rationales.positive") / "reasons.h5";
  gen::ReasonPool pool = gen::LoadPool(h5);
  if (std::ssize(pool["train"]) != train.user_count())
    Fail(Exit::kData, h5.string(), ": holds rationales of ", pool["train"].size(),
         " users; the split has ", train.user_count());
  const config::RunConfig config = OwnTraining(context.config);
  return systems::TrainThoughts(config, MakeSamples(config, Examples(train, labels), pool["train"]),
                                context.comm, partial);
}

}  // namespace

Stage ThoughtsStage(const config::RunConfig& config) {
  const auto& thought = config.pulse().thought();
  Stage stage{
      .name = "thoughts",
      .revision = 2,  // dropout by sample
      .config_parts = {"seed", "split.held_out", "pulse.behaviour", "pulse.thought"},
      .inputs = {"split", "rationales.positive"},
      .files = {thought.has_encoder()
                    ? std::pair<std::string, std::string>("encoder", thought.encoder())
                    : std::pair<std::string, std::string>("vocabulary", thought.vocabulary())},
      .kind = Kind::kCollective,
      .run = TrainEncoders};
  for (const std::string& line : config::Canonical(OwnTraining(config), {"train"}))
    stage.settings.push_back("own " + line);
  return stage;
}

}  // namespace whyrec::stages
