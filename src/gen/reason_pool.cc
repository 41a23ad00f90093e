#include "src/gen/reason_pool.h"

#include <algorithm>

#include "src/base/error.h"
#include "src/base/text_file.h"
#include "src/store/hdf5_file.h"

namespace whyrec::gen {
namespace {

// Splits that a file holds.
std::vector<std::string> SplitsOf(const store::Hdf5Reader& file, const std::string& what) {
  std::vector<std::string> splits;
  for (const char* split : {"train", "validation", "test"})
    if (file.Has(std::string(split) + "/" + what)) splits.push_back(split);
  return splits;
}

// One column a field, one row a node.
struct Columns {
  std::vector<int64_t> user, node, parent, level, tokens;
  std::vector<float> score, likelihood;
  std::vector<std::string> path, parse, model, text;

  void Add(int64_t user_row, int64_t number, const ReasonNode& n) {
    user.push_back(user_row);
    node.push_back(number);
    parent.push_back(n.parent);
    level.push_back(n.level);
    tokens.push_back(n.tokens);
    score.push_back(n.score);
    likelihood.push_back(n.log_likelihood);
    path.push_back(n.path);
    parse.push_back(n.parse);
    model.push_back(n.model);
    text.push_back(n.text);
  }
  void Write(store::Hdf5Writer& file, const std::string& at, int64_t users) const {
    file.WriteInts(at + "users", {users});
    file.WriteInts(at + "user", user);
    file.WriteInts(at + "node", node);
    file.WriteInts(at + "parent", parent);
    file.WriteInts(at + "level", level);
    file.WriteInts(at + "tokens", tokens);
    file.WriteFloats(at + "score", score);
    file.WriteFloats(at + "log_likelihood", likelihood);
    file.WriteTexts(at + "path", path);
    file.WriteTexts(at + "parse", parse);
    file.WriteTexts(at + "model", model);
    file.WriteTexts(at + "text", text);
  }
  void Read(const store::Hdf5Reader& file, const std::string& at) {
    user = file.ReadInts(at + "user");
    node = file.ReadInts(at + "node");
    parent = file.ReadInts(at + "parent");
    level = file.ReadInts(at + "level");
    tokens = file.ReadInts(at + "tokens");
    score = file.ReadFloats(at + "score");
    likelihood = file.ReadFloats(at + "log_likelihood");
    path = file.ReadTexts(at + "path");
    parse = file.ReadTexts(at + "parse");
    model = file.ReadTexts(at + "model");
    text = file.ReadTexts(at + "text");
  }
  ReasonNode At(size_t i) const {
    return {.parent = parent.at(i),
            .level = level.at(i),
            .path = path.at(i),
            .text = text.at(i),
            .parse = parse.at(i),
            .model = model.at(i),
            .tokens = tokens.at(i),
            .log_likelihood = likelihood.at(i),
            .score = score.at(i)};
  }
};

}  // namespace

void SavePool(const ReasonPool& pool, const std::filesystem::path& h5) {
  store::Hdf5Writer file(h5);
  for (const auto& [split, trees] : pool) {
    Columns columns;
    for (int64_t user = 0; user < std::ssize(trees); ++user)
      for (int64_t i = 0; i < std::ssize(trees[user].nodes); ++i)
        columns.Add(user, i, trees[user].nodes[i]);
    columns.Write(file, split + "/", std::ssize(trees));
  }
  file.Close();
}

ReasonPool LoadPool(const std::filesystem::path& h5) {
  const store::Hdf5Reader file(h5);
  ReasonPool pool;
  for (const std::string& split : SplitsOf(file, "users")) {
    Columns columns;
    columns.Read(file, split + "/");
    auto& trees = pool[split];
    trees.resize(static_cast<size_t>(file.ReadInts(split + "/users").at(0)));
    for (size_t i = 0; i < columns.user.size(); ++i) {
      const int64_t user = columns.user[i];
      if (user < 0 || user >= std::ssize(trees))
        Fail(Exit::kData, h5.string(), ": ", split, " names user ", user, " of ", trees.size());
      trees[user].nodes.push_back(columns.At(i));
      trees[user].levels = std::max(trees[user].levels, columns.level[i] + 1);
    }
  }
  return pool;
}

void RecordWriter::Take(ReasonTree& tree) {
  constexpr size_t kMember = 1 << 20;
  const auto take = [&](std::string& record) {
    lines_ += record + "\n";
    record = {};
  };
  for (ReasonNode& node : tree.nodes) take(node.record);
  std::ranges::for_each(tree.repeated, take);
  tree.repeated.clear();
  if (lines_.size() >= kMember) Flush();
}

void RecordWriter::Flush() {
  if (!out_.is_open()) out_.open(file_, std::ios::binary);
  out_ << Gzip(lines_);
  lines_.clear();
}

void RecordWriter::Close() {
  Flush();
  out_.close();
  if (!out_) Fail(Exit::kCannotWrite, file_.string(), ": cannot be written (disk full?)");
}

void SaveChosen(const ChosenReasons& choices, const std::filesystem::path& h5) {
  store::Hdf5Writer file(h5);
  for (const auto& [split, users] : choices) {
    std::vector<int64_t> node;
    std::vector<float> score;
    std::vector<std::string> text;
    for (const ChosenReason& choice : users) {
      node.push_back(choice.node);
      score.push_back(choice.score);
      text.push_back(choice.text);
    }
    file.WriteInts(split + "/node", node);
    file.WriteFloats(split + "/score", score);
    file.WriteTexts(split + "/text", text);
  }
  file.Close();
}

ChosenReasons LoadChosen(const std::filesystem::path& h5) {
  const store::Hdf5Reader file(h5);
  ChosenReasons choices;
  for (const std::string& split : SplitsOf(file, "node")) {
    const auto node = file.ReadInts(split + "/node");
    const auto score = file.ReadFloats(split + "/score");
    const auto text = file.ReadTexts(split + "/text");
    for (size_t i = 0; i < node.size(); ++i)
      choices[split].push_back({node[i], score.at(i), text.at(i)});
  }
  return choices;
}

}  // namespace whyrec::gen
