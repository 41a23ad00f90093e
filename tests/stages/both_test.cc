// A run under both protocols is the two single runs and a report of both.
#include <nlohmann/json.hpp>

#include "src/base/text_file.h"
#include "tests/stages/run.h"

namespace whyrec::stages {
namespace {

using nlohmann::json;

json Rows(const fs::path& workspace) {
  return json::parse(ReadFile(workspace / "report" / "report.json"));
}

// The single runs, and under BOTH their copies.
class Both : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    singles_ = new Temporary;
    for (const char* protocol : {"STRICT", "AS_PUBLISHED"})
      RunAlone(LoadTiny({Cat("protocol=", protocol)}, kCounting), *singles_ / protocol);
  }
  static void TearDownTestSuite() { delete singles_; }

  static config::RunConfig Config(const Names& overrides = {}) {
    Names all = overrides;
    all.push_back("protocol=BOTH");
    return LoadTiny(all, kCounting);
  }
  Names Plan(const config::RunConfig& config) const {
    return PlanChain(config, store::Workspace(folder_.path()));
  }
  void ExpectHalves() const {
    EXPECT_EQ(Contents(folder_ / "strict"), Contents(*singles_ / "STRICT"));
    EXPECT_EQ(Contents(folder_ / "as_published"), Contents(*singles_ / "AS_PUBLISHED"));
  }

  static Temporary* singles_;
  Temporary folder_;
};
Temporary* Both::singles_ = nullptr;

TEST_F(Both, AreTheSingleRunsAndOneReport) {
  for (const std::string& line : Plan(Config()))
    EXPECT_TRUE(line.starts_with("run   ") && line.ends_with(": no artefact yet")) << line;
  EXPECT_EQ(RunAlone(Config(), folder_.path()).size(), 10u + 10 + 1);
  ExpectHalves();
  json rows = Rows(*singles_ / "STRICT");
  for (const json& row : Rows(*singles_ / "AS_PUBLISHED")) rows.push_back(row);
  EXPECT_EQ(Rows(folder_.path()), rows);
  EXPECT_EQ(RunAlone(Config(), folder_.path()), Names());
  for (const std::string& line : Plan(Config())) EXPECT_TRUE(line.starts_with("skip  ")) << line;
}

// Words of one line of a table.
Names CellsOf(const std::string& text, const std::string& begin) {
  Names cells;
  const size_t at = text.find("\n| " + begin);
  std::istringstream line(text.substr(at + 2, text.find('\n', at + 1) - at - 2));
  for (std::string cell; std::getline(line, cell, '|');) {
    cell.erase(0, cell.find_first_not_of(' '));
    cell.erase(cell.find_last_not_of(' ') + 1);
    cells.push_back(cell);
  }
  return cells;
}

TEST_F(Both, TheReportHasAColumnOfEach) {
  RunAlone(Config(), folder_.path());
  const std::string text = ReadFile(folder_ / "report" / "report.md");
  EXPECT_TRUE(text.starts_with("# tiny: gift-cards, protocols STRICT and AS_PUBLISHED\n")) << text;
  EXPECT_EQ(CellsOf(text, "system"), (Names{"system", "metric", "STRICT", "AS_PUBLISHED"}));
  const auto value = [&](const char* protocol) {
    for (const json& row : Rows(*singles_ / protocol))
      if (row.at("system") == "popularity" && row.at("task") == "sequential" &&
          row.at("metric") == "HR@1") {
        char digits[16];
        std::snprintf(digits, sizeof digits, "%.4f", row.at("value").get<double>());
        return std::string(digits);
      }
    return std::string("none");
  };
  const Names cells = CellsOf(text, "popularity ");
  ASSERT_EQ(cells.size(), 4u) << text;
  EXPECT_EQ(cells[1], "HR@1");
  EXPECT_EQ(cells[2].substr(0, 6), value("STRICT"));
  EXPECT_EQ(cells[3].substr(0, 6), value("AS_PUBLISHED"));
  EXPECT_EQ(CellsOf(text, "catalogue.order.ties"),
            (Names{"catalogue.order.ties", "SHUFFLED", "INPUT"}));
  EXPECT_EQ(CellsOf(text, "R1").size(), 3u) << text;
  // STRICT alone ranks the direct task over all items.
  const size_t full = text.find("### direct_full");
  ASSERT_NE(full, text.npos);
  EXPECT_EQ(CellsOf(text.substr(full), "markov").at(3), "-");
}

TEST_F(Both, GoesOnAfterTheFirst) {
  fs::copy(*singles_ / "STRICT", folder_ / "strict", fs::copy_options::recursive);
  EXPECT_EQ(FindNext(Config(), store::Workspace(folder_.path()))->kind, Kind::kSolo);
  const Names ran = RunAlone(Config(), folder_.path());
  EXPECT_EQ(ran.size(), 10u + 1);
  EXPECT_EQ(ran.front(), "as_published/catalogue");
  EXPECT_EQ(ran.back(), "report");
  ExpectHalves();
}

TEST_F(Both, RunsOnWhatAChangeReaches) {
  RunAlone(Config(), folder_.path());
  // Stated for both: what AS_PUBLISHED had anyway changes STRICT alone.
  const auto changed = Config({"metrics.dedupe=false"});
  const Names plan = Plan(changed);
  EXPECT_EQ(std::ranges::count_if(plan, [](const auto& l) { return l.starts_with("run   "); }), 4)
      << testing::PrintToString(plan);
  EXPECT_EQ(
      RunAlone(changed, folder_.path()),
      (Names{"strict/metrics.popularity", "strict/metrics.markov", "strict/report", "report"}));
}

TEST_F(Both, OnThreeRanksToo) {
  EXPECT_EQ(RunOn(3, Config(), folder_.path()).size(), 10u + 10 + 1);
  ExpectHalves();
}

}  // namespace
}  // namespace whyrec::stages
