// The tables of docs/formats.md against the files that runs of both papers' chains leave.
#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "src/base/text_file.h"
#include "src/store/hdf5_file.h"
#include "src/store/safetensors.h"
#include "tests/stages/pulse_run.h"

namespace whyrec::stages {
namespace {

using Row = std::vector<std::string>;  // cells

// Rows of the document's table whose header begins with these cells.
std::vector<Row> TableOf(const Row& head) {
  LineReader lines(fs::path(WHYREC_SOURCE_DIR) / "docs/formats.md");
  std::vector<Row> rows;
  bool inside = false;
  for (std::string line; lines.Next(line);) {
    Row cells;
    if (line.starts_with('|'))
      for (size_t at = 1, end; (end = line.find('|', at)) != line.npos; at = end + 1)
        cells.push_back(line.substr(at, end - at));
    for (std::string& cell : cells) {
      cell.erase(0, cell.find_first_not_of(' '));
      cell.erase(cell.find_last_not_of(' ') + 1);
    }
    if (inside && cells.empty()) break;
    if (inside && !cells[0].starts_with("---")) rows.push_back(cells);
    if (cells.size() >= head.size() && std::equal(head.begin(), head.end(), cells.begin()))
      inside = true;
  }
  return rows;
}

// The texts in backquotes.
Row Quoted(const std::string& cell) {
  static const std::regex kQuoted("`([^`]*)`");
  Row out;
  for (std::sregex_iterator at(cell.begin(), cell.end(), kQuoted), end; at != end; ++at)
    out.push_back((*at)[1]);
  return out;
}

// "select.<by>" stands for all names of that form, "start/" for all files of the folder.
bool Matches(const std::string& name, const std::string& pattern) {
  std::string regex = std::regex_replace(pattern, std::regex(R"([.@+])"), R"(\$&)");
  regex = std::regex_replace(regex, std::regex("<[a-z]+>"), "[a-z0-9_.]+");
  if (regex.ends_with('/')) regex += ".+";
  return std::regex_match(name, std::regex(regex));
}

// One run of each paper's chain, with every stage there is.
struct Runs {
  Runs() {
    const std::string encoder = WHYREC_SOURCE_DIR "/tests/golden/bert/distilbert";
    RunAlone(LoadTiny({"system[0].name=isrf", "system[1].name=lightgcn", "system[2].name=markov",
                       "embeddings.encoder=" + encoder}),
             isrf.path());
    RunAlone(LoadPulse({"THOUGHT"}, {"predict.also_candidates[0]=POPULARITY"}), pulse.path());
    for (const fs::path& run : {isrf.path(), pulse.path()})
      for (const auto& [file, hash] : Contents(run)) files.push_back({file, {run, run / file}});
  }

  struct Place {
    fs::path run, file;
  };
  Temporary isrf, pulse;
  std::vector<std::pair<std::string, Place>> files;  // "artefact/file" and where it is
};

void ExpectFiles(const Runs& runs) {
  std::vector<std::string> patterns;
  const std::vector<Row> rows = TableOf({"stage", "file", "content"});
  EXPECT_GT(rows.size(), 20u);
  for (const Row& row : rows)
    for (const std::string& stage : Quoted(row.at(0)))
      for (const std::string& file : Quoted(row.at(1))) patterns.push_back(stage + "/" + file);
  std::set<std::string> unseen(patterns.begin(), patterns.end());
  for (const auto& [file, place] : runs.files) {
    bool named = false;
    for (const std::string& pattern : patterns)
      if (Matches(file, pattern)) {
        named = true;
        unseen.erase(pattern);
      }
    EXPECT_TRUE(named) << "docs/formats.md does not name " << file;
  }
  unseen.erase("train.pulse.<variant>/model/");  // instead of adapter/
  EXPECT_EQ(unseen, std::set<std::string>{}) << "docs/formats.md names files that no run leaves";
}

// A dataset as the document writes it: "I64 [2, 3]", "texts [4]", "ragged I64 [5]"; "" when absent.
std::string Described(const fs::path& file, const std::string& name) {
  const auto plain = [](const HostTensor& t) {
    return Cat(NameOf(t.dtype()), " ", ShapeString(t.shape()));
  };
  if (file.extension() == ".safetensors") {
    const store::TensorMap tensors = store::ReadSafetensors(file);
    return tensors.contains(name) ? plain(tensors.at(name)) : "";
  }
  const store::Hdf5Reader h5(file);
  if (h5.Has(name + "/bytes")) return Cat("texts [", h5.ReadTexts(name).size(), "]");
  if (h5.Has(name + "/values") && h5.Has(name + "/offsets"))
    return Cat("ragged ", NameOf(h5.Read(name + "/values").dtype()), " [",
               h5.ReadRagged(name).rows(), "]");
  return h5.Has(name) ? plain(h5.Read(name)) : "";
}

// Replaces the letters whose sizes are known from the run; the others stand for any size.
std::string Expected(const std::string& type, int64_t users, int64_t items) {
  const std::map<std::string, int64_t> sizes = {{"U", users},
                                                {"I", items},
                                                {"I+1", items + 1},
                                                {"U+2", users + 2},
                                                {"U+I+1", users + items + 1},
                                                {"U+I+2", users + items + 2}};
  const size_t open = type.find('[');
  std::string out = std::regex_replace(type.substr(0, open), std::regex(" "), " ") + R"(\[)";
  static const std::regex kDim(R"([^\[\], ]+)");
  const std::string dims = type.substr(open);
  bool first = true;
  for (std::sregex_iterator at(dims.begin(), dims.end(), kDim), end; at != end;
       ++at, first = false) {
    const std::string dim = at->str();
    const bool number = std::regex_match(dim, std::regex("[0-9]+"));
    out += (first ? "" : ", ") + (number                ? dim
                                  : sizes.contains(dim) ? Cat(sizes.at(dim))
                                                        : std::string("[0-9]+"));
  }
  return out + R"(\])";
}

// The datasets that a row of the table stands for in a file of this artefact.
Row DatasetsOf(const std::string& pattern, const std::string& artefact) {
  static const std::regex kAny("<[a-z]+>");
  Row names = {pattern}, out;
  if (pattern.starts_with("<split>")) names = {"train", "validation", "test"};
  if (artefact.starts_with("rationales.positive")) names = {"train"};
  if (pattern.starts_with("<task>")) names = {"sequential", "direct"};
  for (const std::string& name : names) out.push_back(std::regex_replace(pattern, kAny, name));
  return out;
}

void ExpectDatasets(const Runs& runs) {
  const std::vector<Row> rows = TableOf({"file", "dataset", "type", "content"});
  EXPECT_GT(rows.size(), 60u);
  std::set<std::string> wanted, seen;
  for (const Row& row : rows)
    for (const std::string& file : Quoted(row.at(0))) wanted.insert(file + " " + row.at(1));
  for (const auto& [name, place] : runs.files) {
    const data::TrainView train = data::LoadTrainView(place.run / "split");
    for (const Row& row : rows) {
      const Row files = Quoted(row.at(0));
      const std::string file = place.file.filename(), pattern = Quoted(row.at(1)).at(0);
      if (std::find(files.begin(), files.end(), file) == files.end()) continue;
      for (const std::string& dataset : DatasetsOf(pattern, name)) {
        const std::string found = Described(place.file, dataset);
        // PULSE has no sequential task, ISRF's lists have no ranks, LightGCN's graph has no users.
        if (found.empty() && (pattern.starts_with("<task>") || file == "graph.h5")) continue;
        seen.insert(file + " " + row.at(1));
        const std::string want = Expected(row.at(2), train.user_count(), train.item_count());
        EXPECT_TRUE(std::regex_match(found, std::regex(want)))
            << name << ", " << dataset << ": docs/formats.md says " << row.at(2) << ", the run has "
            << found;
      }
    }
  }
  EXPECT_EQ(seen, wanted) << "no run has some of the datasets that docs/formats.md names";
}

// Every file is in the document, every file and dataset of the document is in a run.
TEST(Artefacts, AreThoseOfTheDocument) {
  const Runs runs;
  ExpectFiles(runs);
  ExpectDatasets(runs);
}

TEST(Artefacts, PatternsAndTypesTellNamesApart) {
  EXPECT_TRUE(Matches("select.log_likelihood/scores.h5", "select.<by>/scores.h5"));
  EXPECT_FALSE(Matches("select.log_likelihood/scores_h5", "select.<by>/scores.h5"));
  EXPECT_FALSE(Matches("thoughts/start", "thoughts/start/"));
  EXPECT_TRUE(Matches("thoughts/start/1_Pooling/config.json", "thoughts/start/"));
  EXPECT_EQ(Expected("F32 [U+I+1, d]", 3, 4), R"(F32 \[8, [0-9]+\])");
  EXPECT_EQ(TableOf({"no", "such", "table"}), std::vector<Row>{});
}

}  // namespace
}  // namespace whyrec::stages
