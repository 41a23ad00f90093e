// What README.md and docs/ name must exist, and comments must not cite documents that are not in
// the repository. The same checks are tried on a small tree with planted faults.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "src/base/error.h"
#include "src/base/text_file.h"

namespace whyrec {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

// Calls visit(line, "file:number") for the text files below a folder, or for one file.
template <typename Visit>
void ForEachLine(const fs::path& root, const fs::path& below, Visit visit) {
  const Names kText = {".cc", ".h", ".proto", ".py", ".md", ".txtpb", ".sh", ".sbatch", ""};
  const auto read = [&](const fs::path& file) {
    if (!kText.contains(file.extension())) return;
    LineReader lines(file);
    for (std::string line; lines.Next(line);)
      visit(line, Cat(file.lexically_relative(root).string(), ":", lines.line_number()));
  };
  if (fs::is_regular_file(root / below)) read(root / below);
  if (!fs::is_directory(root / below)) return;
  for (const auto& entry : fs::recursive_directory_iterator(root / below))
    if (entry.is_regular_file()) read(entry.path());
}

std::vector<std::string> Found(const std::string& line, const std::regex& pattern) {
  std::vector<std::string> out;
  for (std::sregex_iterator at(line.begin(), line.end(), pattern), end; at != end; ++at)
    out.push_back((*at)[1]);
  return out;
}

// A path below the root; '*' stands for any name.
bool Exists(const fs::path& root, const std::string& path) {
  if (path.find('*') == path.npos) return fs::exists(root / path);
  const fs::path folder = (root / path).parent_path();
  std::string name =
      std::regex_replace(fs::path(path).filename().string(), std::regex("\\."), "\\.");
  name = std::regex_replace(name, std::regex("\\*"), ".*");
  if (!fs::is_directory(folder)) return false;
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(), [&](const auto& e) {
    return std::regex_match(e.path().filename().string(), std::regex(name));
  });
}

// Documents for readers; those of docs/bench tell of the day they were written.
std::vector<fs::path> Documents(const fs::path& root) {
  std::vector<fs::path> out = {"README.md"};
  for (const auto& entry : fs::directory_iterator(root / "docs"))
    if (entry.path().extension() == ".md") out.push_back(entry.path().lexically_relative(root));
  return out;
}

// One line for each fault, "file:line: what".
Names Faults(const fs::path& root) {
  static const std::regex kPath(
      "(?:^|[^A-Za-z0-9_./-]|\\.\\./|\\./)"
      "((?:src|cluster|proto|tests|docs|launch|configs|docker|examples|cmake)/[A-Za-z0-9_./*-]*"
      "[A-Za-z0-9_*/])");
  static const std::regex kCommand("`(?:build/)?whyrec ([a-z]+)");
  static const std::regex kCommandLine("^(?:build/)?whyrec ([a-z]+)");  // in a block of code
  static const std::regex kSubcommand("add_subcommand\\(\\s*\"([a-z]+)\"");
  static const std::regex kCited(
      "(\\b(?:[Ii]srf|[Pp]ulse|baselines|ecosystem|anchors|toolchain)(?:\\.md)?,? "
      "(?:sections? |eq\\.? |[0-9]+\\.[0-9]+).*)");
  Names faults;
  std::string main;
  ForEachLine(root, "src/main.cc",
              [&](const std::string& line, const auto&) { main += line + "\n"; });
  const auto commands = Found(main, kSubcommand);
  for (const fs::path& document : Documents(root)) {
    bool code = false;
    ForEachLine(root, document, [&](const std::string& line, const std::string& place) {
      if (line.starts_with("```")) code = !code;
      for (const std::string& path : Found(line, kPath))
        if (!Exists(root, path)) faults.insert(place + ": no " + path);
      for (const std::string& command : Found(line, code ? kCommandLine : kCommand))
        if (std::find(commands.begin(), commands.end(), command) == commands.end())
          faults.insert(place + ": no command " + command);
    });
  }
  for (const char* top : {"src", "cluster", "proto", "tests", "launch", "configs", "README.md"})
    ForEachLine(root, top, [&](const std::string& line, const std::string& place) {
      for (const std::string& cited : Found(line, kCited))
        faults.insert(place + ": cites " + cited);
    });
  return faults;
}

TEST(Documents, NameWhatExistsAndCiteWhatReadersHave) {
  EXPECT_GT(Documents(WHYREC_SOURCE_DIR).size(), 5u);
  for (const std::string& fault : Faults(WHYREC_SOURCE_DIR)) ADD_FAILURE() << fault;
}

TEST(Documents, PlantedFaultsAreFound) {
  const fs::path root = fs::path(testing::TempDir()) / "documents";
  fs::remove_all(root);
  const auto write = [&](const std::string& file, const std::string& text) {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text;
  };
  write("src/main.cc",
        "app.add_subcommand(\"run\", \"\");\napp.add_subcommand(\n  \"plan\", \"\");\n");
  write(
      "docs/a.md",
      "`src/main.cc`, [main](../src/main.cc), `src/*.cc`, other/src/x\n```\nwhyrec plan C\n```\n");
  write("README.md", "whyrec reads; `build/whyrec run C`: `./src/main.cc`. PULSE equation 1\n");
  EXPECT_EQ(Faults(root), Names{});

  const std::string outside = "pulse";  // so that this line does not cite it
  write("docs/b.md",
        "see (src/mian.cc) and docs/*.txt\n`whyrec rnu CONFIG`\n```\nwhyrec plna\n```\n");
  write("src/cite.h", "// As " + outside + " 3.4 says, and " + outside + " section 7.\n");
  EXPECT_EQ(Faults(root),
            (Names{
                "docs/b.md:1: no docs/*.txt",
                "docs/b.md:1: no src/mian.cc",
                "docs/b.md:2: no command rnu",
                "docs/b.md:4: no command plna",
                "src/cite.h:1: cites " + outside + " 3.4 says, and " + outside + " section 7.",
            }));
}

}  // namespace
}  // namespace whyrec
