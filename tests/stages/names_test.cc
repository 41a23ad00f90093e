// Stages, commands and the configuration know systems by what they declare, not by name.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <set>
#include <sstream>

#include "proto/config.pb.h"
#include "src/base/text_file.h"
#include "src/store/workspace.h"
#include "src/systems/system.h"

namespace whyrec::stages {
namespace {

namespace fs = std::filesystem;

// "pulse.tree": a field of the configuration, and no system.
bool IsField(const std::string& path) {
  const google::protobuf::Descriptor* type = config::RunConfig::descriptor();
  std::istringstream in(path);
  for (std::string step; std::getline(in, step, '.');) {
    const auto* field = type == nullptr ? nullptr : type->FindFieldByName(step);
    if (field == nullptr) return false;
    type = field->message_type();
  }
  return true;
}

// String literals outside comments and #include lines that hold one of the words.
std::vector<std::string> Literals(const std::string& text, const std::set<std::string>& words) {
  static const std::regex kSkipped(
      "//[^\n]*|#include[^\n]*|'(?:[^'\\\\\n]|\\\\.)'|(\"(?:[^\"\\\\\n]|\\\\.)*\")");
  static const std::regex kWord("[A-Za-z0-9_]+");
  std::vector<std::string> out;
  for (std::sregex_iterator it(text.begin(), text.end(), kSkipped), end; it != end; ++it) {
    if (!(*it)[1].matched) continue;
    const std::string literal = (*it)[1].str().substr(1, (*it)[1].length() - 2);
    if (IsField(literal)) continue;
    for (std::sregex_iterator word(literal.begin(), literal.end(), kWord); word != end; ++word)
      if (words.contains(word->str())) out.push_back(literal);
  }
  return out;
}

TEST(Names, TheSearchFindsLiterals) {
  const std::set<std::string> words = {"pulse", "markov"};
  EXPECT_EQ(Literals("a == \"markov\"; // \"markov\"\n#include \"src/pulse\"\nf(\"pulse.tree\", "
                     "\"pulse.oak\", \"say \\\"markov\\\"\", \"impulse\")",
                     words),
            (std::vector<std::string>{"markov", "pulse.oak", "say \\\"markov\\\""}));
}

TEST(Names, NoSystemIsNamedInStagesCommandsOrConfiguration) {
  std::set<std::string> names;
  for (const systems::System& system : systems::AllSystems()) names.insert(system.name);
  ASSERT_TRUE(names.contains("pulse") && names.contains("sasrec"));
  int files = 0;
  for (const char* room : {"stages", "commands", "config"})
    for (const auto& entry : fs::directory_iterator(fs::path(WHYREC_SOURCE_DIR) / "src" / room)) {
      ++files;
      for (const std::string& literal : Literals(ReadFile(entry.path()), names))
        ADD_FAILURE() << entry.path().string() << " names a system: \"" << literal << "\"";
    }
  EXPECT_GT(files, 50);
}

}  // namespace
}  // namespace whyrec::stages
