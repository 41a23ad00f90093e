// What the program prints and how it ends.
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/procs/process.h"

namespace whyrec {
namespace {

using nlohmann::json;

Outcome Whyrec(const std::string& arguments) { return RunCommand(kProgram + " " + arguments, 60); }

// Results alone, without what is said to people.
json JsonOf(const std::string& arguments) {
  const Outcome out = RunCommand("sh -c '" + kProgram + " " + arguments + " 2>/dev/null'", 60);
  EXPECT_EQ(out.code, 0) << out.output;
  return json::parse(out.output);
}

// The first words of the lines below `heading`.
Words Listed(const std::string& text, const std::string& heading) {
  std::istringstream lines(text.substr(std::min(text.size(), text.find(heading))));
  Words out;
  std::string line;
  for (std::getline(lines, line); std::getline(lines, line) && line.starts_with("  ");)
    if (line[2] != ' ') out.push_back(line.substr(2, line.find(' ', 2) - 2));
  return out;
}

TEST(Program, HelpOfEveryCommandHasAnExample) {
  const Outcome help = Whyrec("--help");
  ExpectOutcome(help, 0, {"Example"});
  const Words commands = Listed(help.output, "Subcommands:");
  EXPECT_GE(commands.size(), 7u) << help.output;
  for (const std::string& command : commands)
    ExpectOutcome(Whyrec(command + " --help"), 0, {"Example", "whyrec " + command});
}

TEST(Program, DescribesWhatThereIs) {
  const Outcome systems = Whyrec("systems");
  ExpectOutcome(systems, 0, {"isrf ", "markov ", "popularity "});
  std::istringstream lines(systems.output);
  for (std::string line; std::getline(lines, line);)
    ExpectOutcome(Whyrec("describe " + line.substr(0, line.find(' '))), 0,
                  {line.substr(0, line.find(' ')) + ": "});
  ExpectOutcome(Whyrec("describe popularity"), 0,
                {"knobs { mask_history: true }", "true | false, default true"});
  ExpectOutcome(Whyrec("describe"), 0, {"train.global_batch", "catalogue.fields.user", "system"});
  ExpectOutcome(Whyrec("describe poplarity"), 2, {"did you mean \"popularity\"?"});
}

class Tiny : public TinyRuns {
 protected:
  static Outcome Run(const Words& words) {
    std::string command;
    for (const std::string& word : words) command += word + " ";
    return RunCommand(command, 60);
  }
  Outcome RunTiny(const Words& more = {}) const {
    Words settings = {"system[0].name=popularity", "system[1].name=markov"};
    settings.insert(settings.end(), more.begin(), more.end());
    return Run(Program("w", settings));
  }
  fs::path Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
};

TEST_F(Tiny, BadCommandLinesEndWith2) {
  for (const char* words :
       {"", "fly", "run", "report --format xml x", "run --progress loud c.txtpb"})
    ExpectOutcome(Whyrec(words), 2, {});
  ExpectOutcome(Whyrec("run nowhere.txtpb"), 2, {"nowhere.txtpb: cannot be read"});
  const fs::path config = Write("bad.txtpb", "name: \"x\"\ntrain {\n  stepps: 3\n}\n");
  ExpectOutcome(Whyrec("run " + config.string()), 2,
                {"bad.txtpb:3:3: ", "\"stepps\"", "did you mean \"steps\"?"});
  ExpectOutcome(RunTiny({"train.stepps=3"}), 2, {"--set #3 (train.stepps=3): "});
  ExpectOutcome(RunTiny({"train.steps=many"}), 2, {"--set #3 (train.steps=many): "});
  ExpectOutcome(RunTiny({"predict.users=-1"}), 2, {"must be in [0, 1000000000]"});
  EXPECT_FALSE(fs::exists(folder_ / "w"));
}

TEST_F(Tiny, BadDataEndsWith65) {
  ExpectOutcome(RunTiny({"catalogue.reviews=" + (folder_ / "nowhere.jsonl").string()}), 65,
                {"nowhere.jsonl"});
  std::string lines;
  for (int i = 0; i < 40; ++i)
    lines += i % 20
                 ? Cat("{\"user\": \"u", i % 8, "\", \"asin\": \"a", i, "\", \"time\": ", i, "}\n")
                 : "{\"user\n";
  const Words broken = {"catalogue.reviews=" + Write("broken.jsonl", lines).string(),
                        "catalogue.fields.user=user", "catalogue.fields.time=time"};
  ExpectOutcome(RunTiny(broken), 65,
                {"broken.jsonl:1: ", "2 of 40 lines", "catalogue.max_bad_lines"});
  EXPECT_FALSE(fs::exists(folder_ / "w/catalogue"));
}

TEST_F(Tiny, AnUnwritableWorkspaceEndsWith73) {
  Write("file", "");
  for (const char* workspace : {"file", "file/below"})
    ExpectOutcome(Run(Program(workspace, {"system[0].name=markov"})), 73, {"file"});
}

// The limit stands for a full disk: files end after 4 kB.
TEST_F(Tiny, AFullDiskEndsWith73) {
  std::string command;
  for (const std::string& word :
       Program("w", {"system[0].name=popularity", "system[1].name=markov"}))
    command += word + " ";
  ExpectOutcome(RunCommand("sh -c 'trap \"\" XFSZ; ulimit -f 8; " + command + "'", 60), 73,
                {"cannot be written"});
  EXPECT_FALSE(fs::exists(folder_ / "w/catalogue"));
  ExpectOutcome(RunTiny(), 0, {"10 stages ran"});
}

TEST_F(Tiny, ASecondRunHasNothingToDo) {
  ExpectOutcome(
      RunTiny(), 0,
      {"[catalogue] no artefact yet", "10 stages ran", "# tiny: gift-cards, protocol STRICT"});
  const Outcome again = RunTiny();
  ExpectOutcome(again, 0, {"nothing to do", "# tiny: gift-cards, protocol STRICT"});
  EXPECT_LT(again.seconds, 2);
  ExpectOutcome(RunTiny({"metrics.bootstrap=200"}), 0, {"3 stages ran"});
  Words fresh = Program("w", {"system[0].name=markov"});
  fresh.push_back("--fresh");
  ExpectOutcome(Run(fresh), 0, {"7 stages ran"});
  EXPECT_FALSE(fs::exists(folder_ / "w/predict.popularity"));
  // A configuration named from its own folder.
  ExpectOutcome(RunCommand("sh -c 'cd " + folder_.path().string() + " && " + kProgram +
                               " run tiny.txtpb --set system[0].name=markov'",
                           60),
                0, {"Files in runs/tiny"});
  EXPECT_TRUE(fs::exists(folder_ / "runs/tiny/report/report.md"));
}

TEST_F(Tiny, ReportsAsTextAndJson) {
  const std::string workspace = (folder_ / "w").string();
  ExpectOutcome(Whyrec("report " + folder_.path().string()), 65, {"has no finished report"});
  ExpectOutcome(RunTiny(), 0, {});
  ExpectOutcome(Whyrec("report " + workspace), 0,
                {"# tiny: gift-cards", "| markov ", "HR@10", "## Audit"});
  const json rows = JsonOf("report " + workspace + " --format json");
  std::set<std::string> cells;
  for (const json& row : rows) {
    EXPECT_EQ(row.at("dataset"), "gift-cards");
    EXPECT_EQ(row.at("variant"), "");
    EXPECT_EQ(row.at("protocol"), "STRICT");
    EXPECT_EQ(row.at("users"), 24);
    EXPECT_EQ(row.at("seed"), 2025);
    EXPECT_LE(row.at("low"), row.at("value"));
    EXPECT_LE(row.at("value"), row.at("high"));
    cells.insert(Cat(row.at("system"), row.at("task"), row.at("metric")));
  }
  EXPECT_EQ(cells.size(), 2u * 3 * 6);  // systems, tasks, metrics
  EXPECT_EQ(rows.size(), cells.size());
}

TEST_F(Tiny, PlanRunsNothing) {
  Words plan = Program("w", {"system[0].name=markov"});
  plan[1] = "plan";
  ExpectOutcome(Run(plan), 0,
                {"run   catalogue: no artefact yet", "protocol STRICT", "split.item_ids=PERMUTED"});
  EXPECT_FALSE(fs::exists(folder_ / "w/catalogue"));
  ExpectOutcome(RunTiny(), 0, {});
  ExpectOutcome(Run(plan), 0,
                {"skip  catalogue", "run   report: ", "input metrics.popularity is gone"});
}

TEST_F(Tiny, VerifyFindsAFlippedByte) {
  const std::string workspace = (folder_ / "w").string();
  ExpectOutcome(Whyrec("verify " + workspace), 65, {"is not a workspace"});
  ExpectOutcome(RunTiny(), 0, {});
  ExpectOutcome(Whyrec("verify " + workspace), 0, {"10 artefacts"});
  std::fstream file(folder_ / "w/split/train.h5", std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(1000);
  const char byte = static_cast<char>(file.get());
  file.seekp(1000);
  file.put(static_cast<char>(byte ^ 1));
  file.close();
  ExpectOutcome(Whyrec("verify " + workspace), 65,
                {"split: train.h5 has changed since it was committed"});
}

// Everyone buys the next five numbers: guessing "one more than the largest so far" hits every test
// item, and after renumbering almost none.
TEST_F(Tiny, AuditOfAFolderFindsTheLeak) {
  constexpr int kUsers = 100;
  std::string sequences;
  json maps;
  for (int u = 1, item = 1; u <= kUsers; ++u) {
    sequences += Cat(u);
    maps["id2user"][Cat(u)] = Cat("user", u);
    for (int i = 0; i < 5; ++i, ++item) {
      sequences += Cat(" ", item);
      maps["id2item"][Cat(item)] = Cat("item", item);
    }
    sequences += "\n";
  }
  Write("sequential.txt", sequences);
  Write("datamaps.json", maps.dump());
  Write("items.jsonl", "{\"id\": 1, \"title\": \"first\"}\n");
  std::map<std::string, double> values;
  for (const json& row : JsonOf("audit " + folder_.path().string() + " --format json")) {
    EXPECT_EQ(row.at("users"), kUsers);
    values[row.at("check").get<std::string>() + " " + row.at("metric").get<std::string>()] =
        row.at("value");
  }
  EXPECT_EQ(values.at("R1 HR@1"), 1);
  EXPECT_EQ(values.at("R1 NDCG@10"), 1);
  EXPECT_LT(values.at("R1, renumbered HR@10"), 0.1);
  ExpectOutcome(Whyrec("audit " + folder_.path().string()), 0, {"R1 ", "1.0000", "R1, renumbered"});
}

}  // namespace
}  // namespace whyrec
