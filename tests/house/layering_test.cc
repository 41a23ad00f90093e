// Reads the #include lines of the sources and compares them with the table of libraries below (the
// whyrec_library lines of CMakeLists.txt). The same reader is tried on a small tree with planted
// faults.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <regex>
#include <set>

#include "src/base/error.h"
#include "src/base/text_file.h"

namespace whyrec {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

// A library may include its own headers, these libraries' and what these may include.
const std::map<std::string, Names> kMayInclude = {
    {"src/base", {}},
    {"proto", {"src/base"}},
    {"src/config", {"proto"}},
    {"src/store", {"proto"}},
    {"src/text", {"proto"}},
    {"src/eval", {"src/base"}},
    {"cluster/collective", {"src/base"}},
    {"cluster/lease", {"proto"}},
    {"cluster", {"cluster/collective", "cluster/lease"}},
    {"src/data", {"src/config", "src/store", "src/text", "src/eval"}},
    {"src/graph", {"src/store"}},
    {"src/gen", {"src/config", "src/store", "src/text"}},
    {"src/http", {"src/gen"}},
    {"src/tensor", {"cluster/collective"}},
    {"src/nn", {"src/tensor"}},
    {"src/decode", {"src/nn"}},
    {"src/lm", {"src/decode", "src/text", "src/store", "src/gen"}},
    {"src/train", {"src/nn", "src/store", "src/data"}},
    {"src/ranking", {"src/train", "src/graph", "src/eval"}},
    {"src/systems", {"src/ranking", "src/gen", "src/lm"}},
    {"src/systems/isrf", {"src/systems"}},
    {"src/systems/pulse", {"src/systems"}},
    // Plain headers only of the storeys that see torch.
    {"src/stages", {"src/data", "src/graph", "src/http", "src/systems", "cluster"}},
    {"src/commands", {"src/stages"}},
    {"src", {"src/commands"}},
};
const Names kTorch = {"src/tensor", "src/nn",      "src/decode",       "src/lm",
                      "src/train",  "src/systems", "src/systems/isrf", "src/systems/pulse"};

bool MayInclude(const std::string& from, const std::string& to) {
  if (from == to) return true;
  const Names& below = kMayInclude.at(from);
  return std::any_of(below.begin(), below.end(),
                     [&](const auto& next) { return MayInclude(next, to); });
}

struct Include {
  std::string place, path;  // "src/a/b.cc:3"
  bool ours;                // in quotes
};

std::map<std::string, std::vector<Include>> ReadIncludes(const fs::path& root) {
  static const std::regex kLine(R"re(\s*#\s*include\s*([<"])([^>"]+)[>"].*)re");
  std::map<std::string, std::vector<Include>> out;
  for (const char* top : {"src", "cluster", "proto"}) {
    if (!fs::exists(root / top)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string suffix = entry.path().extension();
      if (suffix != ".h" && suffix != ".cc") continue;
      const std::string file = entry.path().lexically_relative(root);
      auto& includes = out[file];
      LineReader lines(entry.path());
      std::smatch match;
      for (std::string line; lines.Next(line);) {
        if (!std::regex_match(line, match, kLine)) continue;
        includes.push_back({Cat(file, ":", lines.line_number()), match[2], match[1] == "\""});
      }
    }
  }
  return out;
}

bool IsTorch(const std::string& path) {
  return std::regex_match(path, std::regex("(ATen|c10|torch|caffe2)/.*"));
}

// One line for each fault, "file:line: what".
Names Faults(const fs::path& root) {
  const auto includes = ReadIncludes(root);
  Names faults;
  for (const auto& [file, lines] : includes) {
    const std::string library = fs::path(file).parent_path();
    if (!kMayInclude.contains(library)) {
      faults.insert(Cat(file, ":1: ", library, " is no library of the table"));
      continue;
    }
    const bool module = file.starts_with("cluster/collective/module_");
    for (const Include& line : lines) {
      const std::string from = fs::path(line.path).parent_path();
      auto fault = [&](const auto&... what) { faults.insert(Cat(line.place, ": ", what...)); };
      if (line.path == "torch/torch.h") fault("torch/torch.h is included nowhere");
      if (IsTorch(line.path) && !kTorch.contains(library)) fault(library, " sees no torch");
      if (!line.ours) continue;
      if (module && !line.path.ends_with("_table.h")) fault("a module links nothing of ours");
      if (!kMayInclude.contains(from)) {
        fault("quotes are for our headers, named from the root: \"", line.path, '"');
      } else if (!MayInclude(library, from)) {
        fault(library, " stands below or beside ", from);
      }
    }
  }
  // What stages and main see through any chain of our headers.
  std::function<void(const std::string&, const std::string&, Names&)> follow =
      [&](const std::string& file, const std::string& source, Names& seen) {
        if (!includes.contains(file) || !seen.insert(file).second) return;
        for (const Include& line : includes.at(file)) {
          if (IsTorch(line.path)) faults.insert(Cat(line.place, ": torch reaches ", source));
          if (line.ours) follow(line.path, source, seen);
        }
      };
  for (const auto& [file, lines] : includes) {
    if (!file.starts_with("src/stages/") && !file.starts_with("src/commands/") &&
        file != "src/main.cc")
      continue;
    Names seen;
    follow(file, file, seen);
  }
  return faults;
}

TEST(Layering, TheSourcesKeepTheTable) {
  EXPECT_GT(ReadIncludes(WHYREC_SOURCE_DIR).size(), 20u);
  for (const std::string& fault : Faults(WHYREC_SOURCE_DIR)) ADD_FAILURE() << fault;
}

TEST(Layering, PlantedFaultsAreFound) {
  const fs::path root = fs::path(testing::TempDir()) / "layering";
  fs::remove_all(root);
  auto write = [&](const std::string& file, const std::string& text) {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text;
  };
  write("src/base/error.h", "#pragma once\n#include <string>\n");
  write("src/nn/at.h", "#include <ATen/core/Tensor.h>\n");
  write("src/nn/plain.h", "#include \"src/base/error.h\"\n");
  write("src/stages/good.cc", "#include \"src/nn/plain.h\"\n#include \"proto/config.pb.h\"\n");
  write("cluster/collective/module_x.cc",
        "#include <mpi.h>\n#include \"cluster/collective/x_table.h\"\n");
  EXPECT_EQ(Faults(root), Names{});

  write("src/base/up.cc", "// a comment\n#include \"src/config/run_config.h\"\n");
  write("src/data/side.cc", "#include \"src/graph/csr.h\"\n");
  write("src/data/torch.cc", "#  include <c10/util/Half.h>\n");
  write("src/lm/fat.cc", "\n\n#include <torch/torch.h>\n");
  write("src/lm/near.cc", "#include \"trie.h\"\n");
  write("src/lm/facade.h", "#include \"src/nn/at.h\"\n");
  write("src/stages/leak.cc", "#include \"src/lm/facade.h\"\n");
  write("src/new/x.cc", "");
  write("cluster/collective/module_y.cc", "#include \"cluster/collective/communicator.h\"\n");
  EXPECT_EQ(Faults(root),
            (Names{
                "cluster/collective/module_y.cc:1: a module links nothing of ours",
                "src/base/up.cc:2: src/base stands below or beside src/config",
                "src/data/side.cc:1: src/data stands below or beside src/graph",
                "src/data/torch.cc:1: src/data sees no torch",
                "src/lm/fat.cc:3: torch/torch.h is included nowhere",
                "src/lm/near.cc:1: quotes are for our headers, named from the root: \"trie.h\"",
                "src/new/x.cc:1: src/new is no library of the table",
                "src/nn/at.h:1: torch reaches src/stages/leak.cc",
            }));
}

}  // namespace
}  // namespace whyrec
