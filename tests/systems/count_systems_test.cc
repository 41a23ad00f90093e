// The registry, and the two systems that count, against counting with maps on the Gift Cards set.
#include <gtest/gtest.h>

#include <map>

#include "tests/base/error_of.h"
#include "tests/systems/world.h"

namespace whyrec::systems {
namespace {

TEST(Registry, HoldsTheSystemsByName) {
  std::vector<std::string> names;
  for (const System& system : AllSystems()) names.push_back(system.name);
  EXPECT_TRUE(std::ranges::is_sorted(names));
  for (const char* name : {"isrf", "lightgcn", "markov", "popularity"}) {
    EXPECT_EQ(std::ranges::count(names, name), 1) << name;
    EXPECT_EQ(FindSystem(name).name, name);
  }
  EXPECT_NE(
      ErrorOf([] { FindSystem("popularty"); }, Exit::kUsage).find("did you mean \"popularity\"?"),
      std::string::npos);
}

TEST(Registry, Knobs) {
  const System& system = FindSystem("markov");
  config::SystemConfig config;
  config.set_name("markov");
  EXPECT_TRUE(KnobValues(system, config).On("mask_history"));
  auto* knob = config.add_knobs();
  knob->set_name("mask_history");
  knob->set_value("false");
  EXPECT_FALSE(KnobValues(system, config).On("mask_history"));
  knob->set_value("2");
  EXPECT_EQ(ErrorOf([&] { KnobValues(system, config); }, Exit::kUsage),
            "markov.knobs.mask_history is 2; must be true or false");
  knob->set_name("mask_histori");
  EXPECT_NE(ErrorOf([&] { KnobValues(system, config); }, Exit::kUsage)
                .find("did you mean \"mask_history\"?"),
            std::string::npos);
}

// What `whyrec run` says of the systems before anything starts: all of it, with paths.
TEST(Registry, Checks) {
  config::RunConfig config;
  config.add_system()->set_name("popularty");
  config.add_system()->set_name("markov");
  config.mutable_system(1)->set_variant("FAST");
  auto* knob = config.mutable_system(1)->add_knobs();
  knob->set_name("dim");
  knob->set_value("3");
  config.add_system()->set_name("lightgcn");
  const std::vector<config::Problem> problems = Check(config);
  ASSERT_EQ(problems.size(), 3U);
  EXPECT_EQ(problems[0].path, "system[0].name");
  EXPECT_EQ(problems[0].message, "there is no system \"popularty\"; did you mean \"popularity\"?");
  EXPECT_EQ(problems[1].path, "system[1].variant");
  EXPECT_EQ(problems[2].path, "system[1].knobs.dim.name");
}

// Every user's history as the question, with and without candidates.
std::vector<Query> Queries(const World& world, bool candidates) {
  std::vector<Query> out;
  for (int64_t user = 0; user < world.split.train.user_count(); ++user) {
    out.push_back(
        {user, world.split.labels.InputHistory(data::Phase::kTest, world.split.train, user), {}});
    if (candidates) out.back().candidates = world.split.labels.Candidates(data::Phase::kTest, user);
  }
  return out;
}

class Counting : public testing::TestWithParam<const char*> {};

TEST_P(Counting, ScoresAreCounts) {
  const World world(200, {});
  const auto& train = world.split.train;
  std::map<int64_t, int> popularity;
  std::map<std::pair<int64_t, int64_t>, int> transitions;
  for (int64_t u = 0; u < train.user_count(); ++u) {
    const auto history = train.histories.row(u);
    for (size_t i = 0; i < history.size(); ++i) {
      ++popularity[history[i]];
      if (i > 0) ++transitions[{history[i - 1], history[i]}];
    }
  }
  const bool markov = GetParam() == std::string("markov");
  const auto system = world.Build(GetParam());
  const auto queries = Queries(world, false), asked = Queries(world, true);
  const auto full = system->Predict(Task::kSequential, queries);
  const auto part = system->Predict(Task::kDirect, asked);
  int higher = 0;
  for (size_t q = 0; q < queries.size(); ++q) {
    const auto& scores = full[q].scores;
    ASSERT_EQ(std::ssize(scores), train.item_count());
    const auto rank = [&](int64_t item) {  // what the scores have to order by
      return std::pair(markov ? transitions[{queries[q].history.back(), item}] : 0,
                       popularity[item]);
    };
    for (int64_t a = 0; a < train.item_count(); a += 5)
      for (int64_t b = 0; b < train.item_count(); b += 3) {
        ASSERT_EQ(scores[static_cast<size_t>(a)] < scores[static_cast<size_t>(b)],
                  rank(a) < rank(b));
        higher += rank(a).first < rank(b).first;
      }
    std::vector<double> expected;
    for (int64_t item : asked[q].candidates) expected.push_back(scores[static_cast<size_t>(item)]);
    EXPECT_EQ(part[q].scores, expected);
    EXPECT_TRUE(part[q].list.empty());
  }
  EXPECT_EQ(higher > 0, markov);
}

INSTANTIATE_TEST_SUITE_P(Systems, Counting, testing::Values("popularity", "markov"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace whyrec::systems
