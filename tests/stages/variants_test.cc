// Variants of one system in one run, against a run of each alone.
#include <nlohmann/json.hpp>

#include "src/base/text_file.h"
#include "tests/stages/run.h"

namespace whyrec::stages {
namespace {

using nlohmann::json;

Names Entry(int i, const std::string& variant) {
  const std::string at = Cat("system[", i, "].");
  return {at + "name=isrf", at + "variant=" + variant};
}

std::string Lower(std::string name) {
  for (char& c : name) c = static_cast<char>(std::tolower(c));
  return name;
}

TEST(Variants, StandInOneReportAndChangeNothingOfEachOther) {
  const Names variants = {"POD", "ELMREC"};
  Names both;
  for (size_t i = 0; i < variants.size(); ++i)
    for (const std::string& line : Entry(static_cast<int>(i), variants[i])) both.push_back(line);
  const Temporary together;
  RunAlone(LoadTiny(both), together.path());
  std::map<std::string, int> rows;
  for (const json& row : json::parse(ReadFile(together / "report/report.json"))) {
    EXPECT_EQ(row.at("system"), "isrf");
    ++rows[row.at("variant")];
  }
  EXPECT_EQ(rows, (std::map<std::string, int>{{"POD", 12}, {"ELMREC", 12}}));  // 2 tasks, 6 metrics
  const std::string text = ReadFile(together / "report/report.md");
  EXPECT_NE(text.find("isrf (POD) minus isrf (ELMREC)"), text.npos) << text;
  for (const std::string& variant : variants) {
    const Temporary alone;
    RunAlone(LoadTiny(Entry(0, variant)), alone.path());
    for (const char* stage : {"train", "predict", "metrics"}) {
      const std::string name = Cat(stage, ".isrf.", Lower(variant));
      EXPECT_EQ(Contents(together / name), Contents(alone / name)) << name;
      EXPECT_FALSE(Contents(alone / name).empty());
    }
  }
}

}  // namespace
}  // namespace whyrec::stages
