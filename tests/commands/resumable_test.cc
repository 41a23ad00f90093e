// Result files of long work: what continues, what is refused, what a torn end costs.
#include "src/commands/resumable.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include "src/base/durable_file.h"
#include "src/base/text_file.h"

#include "src/base/error.h"
#include "src/commands/json_lines.h"
#include "tests/base/error_of.h"
#include "tests/store/temporary.h"

namespace whyrec::commands {
namespace {

namespace fs = std::filesystem;

TEST(ResumableOutput, ContinuesItsOwnWorkAndRefusesAnother) {
  const Temporary folder;
  const fs::path out = folder.path() / "answers.jsonl";
  const nlohmann::json hot = {{"temperature", 0.7}, {"seed", 1}};
  const nlohmann::json cold = {{"temperature", 0.0}, {"seed", 1}};
  {
    const ResumableOutput first(out, hot);
    EXPECT_FALSE(first.finished());
    LineJournal(first.partial()).Append("{\"id\":1}");
  }
  EXPECT_NE(ErrorOf([&] { ResumableOutput(out, cold); }, Exit::kUsage)
                .find("temperature is 0.0, was 0.7"),
            std::string::npos);
  ResumableOutput again(out, hot);
  EXPECT_FALSE(again.finished());
  EXPECT_EQ(LineJournal(again.partial()).lines(), std::vector<std::string>{"{\"id\":1}"});
  WriteDurably(out, "{\"id\":1}\n");
  again.Finish({{"prompts", 1}});
  EXPECT_FALSE(fs::exists(again.partial()));
  EXPECT_TRUE(ResumableOutput(out, hot).finished());
  EXPECT_FALSE(ResumableOutput(out, cold).finished());  // nothing is lost: it stands until replaced
  fs::remove(out);
  EXPECT_FALSE(ResumableOutput(out, cold).finished());
}

TEST(LineJournal, ATornLineIsCutOff) {
  const Temporary folder;
  const fs::path file = folder.path() / "journal";
  {
    LineJournal journal(file);
    journal.Append("one");
    journal.Append("");
    journal.Append("three");
  }
  std::ofstream(file, std::ios::app) << "fo";
  {
    LineJournal journal(file);
    EXPECT_EQ(journal.lines(), (std::vector<std::string>{"one", "", "three"}));
    journal.Append("four");
  }
  EXPECT_EQ(ReadFile(file), "one\n\nthree\nfour\n");
}

TEST(JsonLines, ErrorsNameFileAndLine) {
  const Temporary folder;
  const fs::path file = folder.path() / "in.jsonl";
  const auto said = [&](const std::string& last) {
    std::ofstream(file) << "{\"id\": 1, \"text\": \"a\", \"ids\": [3, 4]}\n\n" << last << "\n";
    return ErrorOf(
        [&] {
          for (JsonLines lines(file); lines.Next();) {
            lines.Id();
            lines.Text("text");
            EXPECT_EQ(lines.Numbers("ids"), (std::vector<int64_t>{3, 4}));
          }
        },
        Exit::kData);
  };
  const std::string place = file.string() + ":3: ";
  EXPECT_EQ(said("{\"id\": 1}"), place + "id 1 occurred before, in line 1");
  EXPECT_EQ(said("[1]"), place + "is not a JSON object");
  EXPECT_TRUE(said("{\"id\": 1").starts_with(place + "[json.exception.parse_error"));
  EXPECT_EQ(said("{\"text\": \"b\"}"),
            place + "\"id\" is missing, or neither a string nor an integer");
  EXPECT_EQ(said("{\"id\": 1.5}"), place + "\"id\" is missing, or neither a string nor an integer");
  EXPECT_EQ(said("{\"id\": \"1\", \"text\": 7}"), place + "\"text\" is missing or not a text");
  EXPECT_EQ(said("{\"id\": 2, \"text\": \"b\", \"ids\": [3.5]}"),
            place + "\"ids\" holds 3.5, not an integer");
  EXPECT_EQ(said("{\"id\": 2, \"text\": \"b\", \"ids\": \"3\"}"),
            place + "\"ids\" is missing or not a list of integers");
}

}  // namespace
}  // namespace whyrec::commands
