#include "src/gen/reason_tree.h"

#include <bit>
#include <cstring>

#include "src/base/error.h"

namespace whyrec::gen {
namespace {

constexpr std::string_view kMagic = "whyrec trees 2\n";

// Integers and the bits of floating-point numbers as 8 bytes, least first; texts behind their size.
class Writer {
 public:
  void Int(int64_t value) {
    for (int shift = 0; shift < 64; shift += 8)
      bytes_ += static_cast<char>(static_cast<uint64_t>(value) >> shift & 0xff);
  }
  void Text(const std::string& text) {
    Int(std::ssize(text));
    bytes_ += text;
  }
  void Raw(std::string_view text) { bytes_ += text; }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  int64_t Int() {
    uint64_t value = 0;
    const std::string_view eight = Raw(8);
    for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(eight[i]);
    return static_cast<int64_t>(value);
  }
  // At least `bytes_each` of the rest belong to each of them.
  size_t Count(size_t bytes_each) {
    const int64_t count = Int();
    if (count < 0 || static_cast<uint64_t>(count) > bytes_.size() / bytes_each)
      Broken(Cat("announces ", count, " entries in ", bytes_.size(), " bytes"));
    return static_cast<size_t>(count);
  }
  std::string Text() { return std::string(Raw(Count(1))); }
  std::string_view Raw(size_t size) {
    if (size > bytes_.size()) Broken("ends too early");
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  bool AtEnd() const { return bytes_.empty(); }

  [[noreturn]] static void Broken(const std::string& how) {
    Fail(Exit::kData, "packed trees of reasons: ", how,
         "; delete the stage's unfinished folder and run it again");
  }

 private:
  std::string_view bytes_;
};

void Put(const ReasonNode& node, Writer& out) {
  out.Int(node.parent);
  out.Int(node.level);
  out.Int(node.tokens);
  out.Int(std::bit_cast<uint32_t>(node.log_likelihood));
  out.Int(std::bit_cast<int64_t>(node.score));
  for (const std::string* text : {&node.path, &node.text, &node.parse, &node.model, &node.record})
    out.Text(*text);
}

constexpr size_t kLeastNode = 10 * 8;  // bytes

ReasonNode GetNode(Reader& in, int64_t number, int64_t levels) {
  ReasonNode node;
  node.parent = in.Int();
  node.level = in.Int();
  node.tokens = in.Int();
  node.log_likelihood = std::bit_cast<float>(static_cast<uint32_t>(in.Int()));
  node.score = std::bit_cast<double>(in.Int());
  for (std::string* text : {&node.path, &node.text, &node.parse, &node.model, &node.record})
    *text = in.Text();
  if (node.parent < -1 || node.parent >= number)
    Reader::Broken(Cat("node ", number, " hangs on ", node.parent));
  if (node.level < 0 || node.level >= levels)
    Reader::Broken(Cat("node ", number, " is on level ", node.level, " of ", levels));
  return node;
}

}  // namespace

std::string Pack(const std::vector<ReasonTree>& trees) {
  Writer out;
  out.Raw(kMagic);
  out.Int(std::ssize(trees));
  for (const ReasonTree& tree : trees) {
    out.Int(tree.levels);
    out.Int(std::ssize(tree.nodes));
    for (const ReasonNode& node : tree.nodes) Put(node, out);
    out.Int(std::ssize(tree.repeated));
    for (const std::string& record : tree.repeated) out.Text(record);
  }
  return out.Take();
}

std::vector<ReasonTree> UnpackTrees(const std::string& bytes) {
  Reader in(bytes);
  if (!bytes.starts_with(kMagic)) Reader::Broken("do not begin as such");
  in.Raw(kMagic.size());
  std::vector<ReasonTree> trees(in.Count(24));
  for (ReasonTree& tree : trees) {
    tree.levels = in.Int();
    const size_t nodes = in.Count(kLeastNode);
    for (size_t i = 0; i < nodes; ++i)
      tree.nodes.push_back(GetNode(in, static_cast<int64_t>(i), tree.levels));
    tree.repeated.resize(in.Count(8));
    for (std::string& record : tree.repeated) record = in.Text();
  }
  if (!in.AtEnd()) Reader::Broken("go on behind their end");
  return trees;
}

}  // namespace whyrec::gen
