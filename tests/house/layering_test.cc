// Compares the #include lines of the sources with the libraries of CMakeLists.txt: a library links
// what its files include and nothing else, and only libraries listed before it. Systems know of one
// process only: ranks are the trainer's affair. The same readers are tried on a small tree with
// planted faults.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "src/base/error.h"
#include "src/base/text_file.h"

namespace whyrec {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

// These call what sees torch through plain headers: they may include headers of a library that they
// do not link, as long as torch does not reach them through any chain of headers. The program links
// such libraries for all of them.
const Names kThroughPlainHeaders = {"wr_stages", "wr_commands", "whyrec"};

// Whose headers these are. A header may need several.
const std::pair<std::regex, std::string> kOutside[] = {
    {std::regex("(ATen|c10|torch|caffe2)/.*"), "torch::cpu"},
    {std::regex("boost/.*"), "Boost::headers"},
    {std::regex("boost/(asio|beast)/ssl.*"), "OpenSSL::SSL"},
    {std::regex("openssl/.*"), "OpenSSL::Crypto"},
    {std::regex("nlohmann/.*"), "nlohmann_json::nlohmann_json"},
    {std::regex("google/protobuf/.*"), "protobuf::libprotobuf"},
    {std::regex("CLI/.*"), "CLI11::CLI11"},
    {std::regex("hdf5\\.h"), "${HDF5_C_LIBRARIES}"},
    {std::regex("sentencepiece_.*"), "PkgConfig::SENTENCEPIECE"},
    {std::regex("utf8proc\\.h"), "PkgConfig::UTF8PROC"},
    {std::regex("zlib\\.h"), "ZLIB::ZLIB"},
    {std::regex("dlfcn\\.h"), "${CMAKE_DL_LIBS}"},
    {std::regex("thread|future"), "Threads::Threads"},
};

struct Include {
  std::string place, path;  // "src/a/b.cc:3"
  bool ours;                // in quotes
};
using Includes = std::map<std::string, std::vector<Include>>;  // of each file

Includes ReadIncludes(const fs::path& root) {
  static const std::regex kLine(R"re(\s*#\s*include\s*([<"])([^>"]+)[>"].*)re");
  Includes out;
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

bool IsModule(const std::string& file) {  // opened at run time: no part of a library
  return file.starts_with("cluster/collective/module_");
}

struct Library {
  std::string place, folder;     // "CMakeLists.txt:12"
  bool with_subfolders = false;  // its sources come from below the folder too
  Names links;
  Names reached;  // links, and what linked libraries pass on
  Names passed;   // what it passes on: its PUBLIC links and what these pass on
};

class House {
 public:
  explicit House(const fs::path& root) : includes_(ReadIncludes(root)) { ReadLibraries(root); }

  // One line for each fault, "file:line: what".
  Names Faults() {
    for (const auto& [file, lines] : includes_) CheckFile(file, lines);
    for (const auto& [name, library] : libraries_) CheckLinks(name, library);
    for (const auto& [file, lines] : includes_) {
      const std::string* owner = OwnerOf(file);
      Names seen;
      if (owner != nullptr && kThroughPlainHeaders.contains(*owner)) Follow(file, file, seen);
    }
    return faults_;
  }
  size_t files() const { return includes_.size(); }
  size_t libraries() const { return libraries_.size(); }

 private:
  template <typename... Parts>
  void Fault(const std::string& place, const Parts&... what) {
    faults_.insert(Cat(place, ": ", what...));
  }

  // Each command of interest stands on one line.
  void ReadLibraries(const fs::path& root) {
    static const std::regex kCommand(
        R"re(\s*(whyrec_library|add_library|add_executable|target_link_libraries)\(([^()]*)\).*)re");
    LineReader lines(root / "CMakeLists.txt");
    std::smatch match;
    for (std::string line; lines.Next(line);) {
      if (!std::regex_match(line, match, kCommand)) continue;
      std::istringstream words(match[2]);
      std::vector<std::string> all{std::istream_iterator<std::string>(words), {}};
      const std::string place = Cat("CMakeLists.txt:", lines.line_number()), name = all.at(0);
      if (match[1] == "whyrec_library") {
        libraries_["wr_" + name] = {place, all.at(1)};
        Link("wr_" + name, place, true, {all.begin() + 2, all.end()});
      } else if (match[1] == "target_link_libraries") {
        if (libraries_.contains(name))
          Link(name, place, all.at(1) == "PUBLIC", {all.begin() + 2, all.end()});
      } else if (name == "whyrec") {
        libraries_[name] = {place, "src"};
      } else if (name == "wr_proto" || name == "wr_systems") {
        libraries_[name] = {place, name == "wr_proto" ? "proto" : "src/systems", true};
      }
    }
  }

  void Link(const std::string& name, const std::string& place, bool is_public, const Names& more) {
    Library& library = libraries_.at(name);
    for (const std::string& other : more) {
      if (other == "whyrec_flags") continue;
      library.links.insert(other);
      Names reached{other};
      if (other.starts_with("wr_")) {
        if (libraries_.contains(other))
          reached.merge(Names(libraries_.at(other).passed));
        else
          Fault(place, name, " links ", other, ", which is not listed before it");
      }
      if (is_public) library.passed.insert(reached.begin(), reached.end());
      library.reached.merge(reached);
    }
  }

  const std::string* OwnerOf(const std::string& file) const {  // a library's name; null: nobody's
    const std::string folder = fs::path(file).parent_path();
    for (const auto& [name, library] : libraries_)
      if (folder == library.folder ||
          (library.with_subfolders && folder.starts_with(library.folder + "/")))
        return &name;
    return nullptr;
  }

  bool SeesTorch(const std::string& name) const {
    return libraries_.contains(name) && libraries_.at(name).reached.contains("torch::cpu");
  }

  void CheckFile(const std::string& file, const std::vector<Include>& lines) {
    const std::string* owner = OwnerOf(file);
    if (owner == nullptr) {
      Fault(file + ":1", "no library takes its sources from ",
            fs::path(file).parent_path().string());
      return;
    }
    Library& library = libraries_.at(*owner);
    for (const Include& line : lines) {
      if (line.path == "torch/torch.h") Fault(line.place, "torch/torch.h is included nowhere");
      if (IsModule(file)) {
        if (line.ours && !line.path.ends_with("_table.h"))
          Fault(line.place, "a module links nothing of ours");
      } else if (line.ours) {
        CheckOurs(*owner, line);
      } else {
        for (const auto& [header, target] : kOutside) {
          if (!std::regex_match(line.path, header)) continue;
          used_[*owner].insert(target);
          if (!library.reached.contains(target))
            Fault(line.place, *owner, " does not link ", target);
        }
      }
    }
  }

  void CheckOurs(const std::string& owner, const Include& line) {
    const std::string* other = OwnerOf(line.path);
    if (other == nullptr) {
      Fault(line.place, "quotes are for our headers, named from the root: \"", line.path, '"');
      return;
    }
    if (*other == owner) return;
    used_[owner].insert(*other);
    if (!libraries_.at(owner).reached.contains(*other) &&
        !(kThroughPlainHeaders.contains(owner) && SeesTorch(*other)))
      Fault(line.place, owner, " does not link ", *other);
  }

  void CheckLinks(const std::string& name, const Library& library) {
    if (name == "wr_proto") return;  // its sources are generated
    for (const std::string& other : library.links)
      if (!used_[name].contains(other) &&
          !(kThroughPlainHeaders.contains(name) && SeesTorch(other)))
        Fault(library.place, name, " links ", other, " and includes no header of it");
  }

  // Any chain of our headers from `source`, which must see no torch.
  void Follow(const std::string& file, const std::string& source, Names& seen) {
    if (!includes_.contains(file) || !seen.insert(file).second) return;
    for (const Include& line : includes_.at(file)) {
      if (std::regex_match(line.path, kOutside[0].first))
        Fault(line.place, "torch reaches ", source);
      if (line.ours) Follow(line.path, source, seen);
    }
  }

  Includes includes_;
  std::map<std::string, Library> libraries_;
  std::map<std::string, Names> used_;  // by each library: others whose headers its files include
  Names faults_;
};

// Where a system asks for its rank or calls other ranks.
Names RankFaults(const fs::path& root) {
  static const std::regex kRank(R"re((\w+|\))(\.|->)rank\(\)|\bRankSlice\b|\bAllGather\w*)re");
  Names faults;
  for (const auto& entry : fs::recursive_directory_iterator(root / "src/systems")) {
    if (!entry.is_regular_file()) continue;
    const std::string file = entry.path().lexically_relative(root);
    LineReader lines(entry.path());
    for (std::string line; lines.Next(line);) {
      for (std::sregex_iterator found(line.begin(), line.end(), kRank), end; found != end; ++found)
        if ((*found)[1] != "scorer")  // the rank of its LoRA adapters, an option
          faults.insert(Cat(file, ":", lines.line_number(), ": ", found->str()));
    }
  }
  return faults;
}

TEST(Layering, SystemsKnowOfOneProcess) {
  for (const std::string& fault : RankFaults(WHYREC_SOURCE_DIR)) ADD_FAILURE() << fault;
}

TEST(Layering, TheSourcesKeepTheTable) {
  House house(WHYREC_SOURCE_DIR);
  EXPECT_GT(house.files(), 100u);
  EXPECT_GT(house.libraries(), 15u);
  for (const std::string& fault : house.Faults()) ADD_FAILURE() << fault;
}

class Planted : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root_);
    Write("CMakeLists.txt", R"(# a table: whyrec_library(not read)
whyrec_library(base src/base)
add_library(wr_proto STATIC ${proto_sources})
whyrec_library(store src/store wr_base)
target_link_libraries(wr_store PRIVATE nlohmann_json::nlohmann_json)
whyrec_library(collective cluster/collective wr_base)
whyrec_library(data src/data wr_store)
whyrec_library(nn src/nn wr_base torch::cpu)
add_library(wr_systems OBJECT ${systems})
target_link_libraries(wr_systems PUBLIC whyrec_flags wr_nn)
whyrec_library(stages src/stages wr_data wr_proto)
add_executable(whyrec src/main.cc)
target_link_libraries(whyrec PRIVATE wr_stages wr_systems)
)");
    Write("src/base/error.h", "#pragma once\n#include <string>\n");
    Write("src/store/store.cc", "#include <nlohmann/json.hpp>\n#include \"src/base/error.h\"\n");
    Write("src/data/data.h", "#include \"src/store/store.h\"\n#include \"src/base/error.h\"\n");
    Write("src/nn/at.h", "#include <ATen/core/Tensor.h>\n");
    Write("src/nn/plain.h", "#include \"src/base/error.h\"\n");
    Write("src/systems/isrf/isrf.cc", "#include <c10/util/Half.h>\n#include \"src/nn/at.h\"\n");
    Write("src/stages/good.cc",
          "#include \"src/nn/plain.h\"\n#include \"proto/config.pb.h\"\n"
          "#include \"src/data/data.h\"\n");
    Write("src/main.cc", "#include \"src/stages/good.h\"\n");
    Write("cluster/collective/self.cc", "#include \"src/base/error.h\"\n");
    Write("cluster/collective/module_x.cc",
          "#include <mpi.h>\n#include \"cluster/collective/x_table.h\"\n");
  }

  void Write(const std::string& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  void Append(const std::string& file, const std::string& text) {
    std::ofstream(root_ / file, std::ios::app) << text;
  }

  const fs::path root_ = fs::path(testing::TempDir()) / "layering";
};

TEST_F(Planted, ATreeWithoutFaultsHasNone) { EXPECT_EQ(House(root_).Faults(), Names{}); }

TEST_F(Planted, IncludesOfWhatIsNotLinkedAreFound) {
  Write("src/base/up.cc", "// a comment\n#include \"src/store/store.h\"\n");
  Write("src/data/side.cc", "#include \"src/nn/plain.h\"\n");
  Write("src/data/torch.cc", "#  include <c10/util/Half.h>\n");
  Write("src/data/json.cc", "#include <nlohmann/json.hpp>\n");
  Write("src/nn/fat.cc", "\n\n#include <torch/torch.h>\n");
  Write("src/nn/near.cc", "#include \"trie.h\"\n");
  Write("src/nn/facade.h", "#include \"src/nn/at.h\"\n");
  Write("src/stages/leak.cc", "#include \"src/nn/facade.h\"\n");
  Write("src/new/x.cc", "");
  Write("cluster/collective/module_y.cc", "#include \"cluster/collective/communicator.h\"\n");
  EXPECT_EQ(House(root_).Faults(),
            (Names{
                "cluster/collective/module_y.cc:1: a module links nothing of ours",
                "src/base/up.cc:2: wr_base does not link wr_store",
                "src/data/json.cc:1: wr_data does not link nlohmann_json::nlohmann_json",
                "src/data/side.cc:1: wr_data does not link wr_nn",
                "src/data/torch.cc:1: wr_data does not link torch::cpu",
                "src/new/x.cc:1: no library takes its sources from src/new",
                "src/nn/at.h:1: torch reaches src/stages/leak.cc",
                "src/nn/fat.cc:3: torch/torch.h is included nowhere",
                "src/nn/near.cc:1: quotes are for our headers, named from the root: \"trie.h\"",
            }));
}

TEST_F(Planted, LinksThatNoIncludeNeedsAreFound) {
  Append("CMakeLists.txt",
         "whyrec_library(late src/late wr_base wr_store wr_later Boost::headers)\n"
         "target_link_libraries(wr_late PRIVATE ZLIB::ZLIB)\n"
         "whyrec_library(later src/later)\n");
  Write("src/late/late.cc", "#include \"src/base/error.h\"\n#include \"src/later/later.h\"\n");
  Write("src/later/later.h", "");
  EXPECT_EQ(House(root_).Faults(),
            (Names{
                "CMakeLists.txt:14: wr_late links Boost::headers and includes no header of it",
                "CMakeLists.txt:14: wr_late links ZLIB::ZLIB and includes no header of it",
                "CMakeLists.txt:14: wr_late links wr_later, which is not listed before it",
                "CMakeLists.txt:14: wr_late links wr_store and includes no header of it",
            }));
}

TEST_F(Planted, SystemsThatAskForRanksAreFound) {
  EXPECT_EQ(RankFaults(root_), Names{});
  Write("src/systems/lora.cc", "Lora{.rank = scorer.rank()};\n");
  EXPECT_EQ(RankFaults(root_), Names{});
  Write("src/systems/isrf/isrf.cc", "\nif (context.comm->rank() == 0) Save();\n");
  Write("src/systems/a.h", "const auto mine = train::RankSlice(n, group().rank());\n");
  Write("src/systems/b.cc", "\n\nat::Tensor all = tensor::AllGatherRows(x, comm);\n");
  EXPECT_EQ(RankFaults(root_), (Names{
                                   "src/systems/a.h:1: ).rank()",
                                   "src/systems/a.h:1: RankSlice",
                                   "src/systems/b.cc:3: AllGatherRows",
                                   "src/systems/isrf/isrf.cc:2: comm->rank()",
                               }));
}

}  // namespace
}  // namespace whyrec
