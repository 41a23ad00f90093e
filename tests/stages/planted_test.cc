// configs/planted.txtpb in small, through the whole chain: the scorer reads reasons, which alone
// tell what comes next; without them, or with those of others, it is at chance.
#include <nlohmann/json.hpp>

#include "src/base/text_file.h"
#include "tests/stages/run.h"

namespace whyrec::stages {
namespace {

TEST(Planted, ReasonsCarryWhatReviewsTell) {
  WR_NEEDS_ENCODER();  // its vocabulary
  const config::RunConfig config =
      config::Load(fs::path(WHYREC_SOURCE_DIR) / "configs/planted.txtpb",
                   {"catalogue.planted.users=600", "pulse.language.train.steps=300",
                    "pulse.thought.train.steps=10", "pulse.thought.train.epoch_steps=10",
                    "pulse.thought.width=16", "pulse.thought.inner=32",
                    "pulse.scorer.validation_users=100", "pulse.scorer.train.steps=80",
                    "pulse.scorer.train.epoch_steps=40", "system[3].train.steps=20"});
  const Temporary folder;
  RunAlone(config, folder.path());
  struct Interval {
    double value, low, high;
  };
  std::map<std::string, Interval> hits;  // HR@1 among ten candidates, 95 %
  for (const auto& row : nlohmann::json::parse(ReadFile(folder / "report" / "report.json")))
    if (row.at("system") == "pulse" && row.at("task") == "direct" && row.at("metric") == "HR@1") {
      const Interval got{row.at("value"), row.at("low"), row.at("high")};
      std::printf("%s: %.3f [%.3f, %.3f]\n", row.at("variant").get<std::string>().c_str(),
                  got.value, got.low, got.high);
      hits[row.at("variant")] = got;
    }
  ASSERT_EQ(hits.size(), 3U);
  for (const char* without : {"NONE", "SHUFFLED"}) {
    EXPECT_GT(hits.at("THOUGHT").low, hits.at(without).high) << without;
    EXPECT_NEAR(hits.at(without).value, 0.1, 0.05) << without;  // four standard errors
  }
}

}  // namespace
}  // namespace whyrec::stages
