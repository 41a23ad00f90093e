// Every field of the configuration is read by some code, and every field and word says what it is,
// in which unit, and where its default is from. Reads are found in the text of the sources: calls
// of a field's accessor on something of its message's type. The reader is tried on a small schema
// and source with planted faults.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "proto/config.pb.h"
#include "src/base/error.h"
#include "src/base/text_file.h"

namespace whyrec {
namespace {

namespace fs = std::filesystem;
using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using Names = std::set<std::string>;
using Tokens = std::vector<std::string>;

// Identifiers, "->" and single other characters; without comments and texts in quotes.
Tokens TokensOf(const std::string& source) {
  Tokens out;
  const auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (size_t i = 0; i < source.size();) {
    size_t end = i + 1;
    if (source.compare(i, 2, "//") == 0) {
      i = std::min(source.find('\n', i), source.size());
      continue;
    }
    if (source.compare(i, 2, "R\"") == 0) {
      const std::string delimiter = source.substr(i + 2, source.find('(', i) - i - 2);
      i = source.find(")" + delimiter + "\"", i) + delimiter.size() + 2;
      continue;
    }
    const char quote = source[i];  // of a text, or of a character: it separates no digits
    if (quote == '"' || (quote == '\'' && (i == 0 || !word(source[i - 1])))) {
      while (end < source.size() && source[end] != quote) end += source[end] == '\\' ? 2 : 1;
      i = end + 1;
      continue;
    }
    if (word(source[i]))
      while (end < source.size() && word(source[end])) ++end;
    else if (source.compare(i, 2, "->") == 0)
      ++end;
    if (!std::isspace(static_cast<unsigned char>(source[i])))
      out.push_back(source.substr(i, end - i));
    i = end;
  }
  return out;
}

// The messages below `type`, itself included.
void Collect(const Descriptor& type, std::set<const Descriptor*>& out) {
  if (!out.insert(&type).second) return;
  for (int i = 0; i < type.field_count(); ++i)
    if (const Descriptor* inner = type.field(i)->message_type()) Collect(*inner, out);
}

// What sources read of a schema.
class Reader {
 public:
  explicit Reader(const Descriptor& root) {
    Collect(root, messages_);
    for (const Descriptor* message : messages_) {
      by_name_[message->name()] = message;
      for (int i = 0; i < message->field_count(); ++i)
        if (const Descriptor* inner = message->field(i)->message_type())
          of_field_[message->field(i)->name()].insert(inner);
    }
  }

  // One source with its header: their variables are known to both.
  void Read(const std::string& source) {
    tokens_ = TokensOf(source);
    variables_.clear();
    for (size_t i = 0; i < tokens_.size(); ++i) Declaration(i);
    for (size_t i = 2; i + 1 < tokens_.size(); ++i)
      if (tokens_[i + 1] == "(" && (tokens_[i - 1] == "." || tokens_[i - 1] == "->")) Call(i);
  }

  Names Unread() const {
    Names out;
    for (const Descriptor* message : messages_)
      for (int i = 0; i < message->field_count(); ++i)
        if (!read_.contains(message->field(i)))
          out.insert(message->name() + "." + message->field(i)->name());
    return out;
  }

 private:
  using Types = std::set<const Descriptor*>;

  std::string At(size_t i) const { return i < tokens_.size() ? tokens_[i] : ""; }

  // "TrainConfig& name" or "auto& name = ....train();", also behind a colon.
  void Declaration(size_t i) {
    size_t name = i + 1;
    while (At(name) == "&" || At(name) == "*" || At(name) == "const") ++name;
    if (const auto type = by_name_.find(tokens_[i]); type != by_name_.end())
      variables_[At(name)].insert(type->second);
    if (tokens_[i] != "auto" || (At(name + 1) != "=" && At(name + 1) != ":")) return;
    size_t end = name + 2;
    for (int depth = 0; end < tokens_.size() && At(end) != ";" && depth >= 0; ++end)
      depth += At(end) == "(" ? 1 : At(end) == ")" ? -1 : 0;
    if (At(end - 1) == ")" && At(name + 1) == ":") --end;  // that of the for
    const Types types = TypesBefore(end);
    variables_[At(name)].insert(types.begin(), types.end());
  }

  // Of the expression that ends before token `end`: a variable, or a call of a field's accessor.
  Types TypesBefore(size_t end) const {
    size_t i = end - 1;
    bool call = false;
    if (At(i) == ")") {
      call = true;
      for (int depth = 0; i > 0; --i) {
        depth += At(i) == ")" ? 1 : At(i) == "(" ? -1 : 0;
        if (depth == 0) break;
      }
      if (i == 0) return {};
      --i;
    }
    const auto& known = call ? of_field_ : variables_;
    if (const auto types = known.find(At(i)); types != known.end()) return types->second;
    // A configuration that another file's structure holds: context.config.seed().
    if (At(i) == "config" && by_name_.contains("RunConfig")) return {by_name_.at("RunConfig")};
    return {};
  }

  void Call(size_t i) {
    std::string field = tokens_[i];
    for (const Descriptor* type : TypesBefore(i - 1))
      for (const std::string& name :
           {field, Without(field, "has_", ""), Without(field, "", "_size")})
        if (const FieldDescriptor* found = type->FindFieldByName(name)) read_.insert(found);
  }

  static std::string Without(std::string name, const std::string& start, const std::string& end) {
    if (name.starts_with(start)) name.erase(0, start.size());
    if (name.ends_with(end)) name.resize(name.size() - end.size());
    return name;
  }

  Types messages_;
  std::map<std::string, const Descriptor*> by_name_;
  std::map<std::string, Types> of_field_, variables_;
  std::set<const FieldDescriptor*> read_;
  Tokens tokens_;
};

// All sources, each joined with the header of its name.
void ReadTree(const fs::path& root, Reader& reader) {
  std::map<std::string, std::string> by_stem;
  for (const char* top : {"src", "cluster"})
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      fs::path file = entry.path();
      if (file.extension() != ".h" && file.extension() != ".cc") continue;
      std::string& text = by_stem[fs::path(file).replace_extension()];
      LineReader lines(file);
      for (std::string line; lines.Next(line);) text += line + "\n";
    }
  for (const auto& [stem, text] : by_stem) reader.Read(text);
}

TEST(Schema, SomeCodeReadsEveryField) {
  Reader reader(*config::RunConfig::descriptor());
  ReadTree(WHYREC_SOURCE_DIR, reader);
  EXPECT_EQ(reader.Unread(), Names());
}

// Of a small schema, what the sources leave unread.
Names UnreadOf(const std::string& source) {
  google::protobuf::FileDescriptorProto file;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"(name: "a.proto"
         message_type {
           name: "A"
           field { name: "b" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "B" }
           field { name: "c" number: 2 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "C" }
           field { name: "size" number: 3 label: LABEL_OPTIONAL type: TYPE_INT32 } }
         message_type {
           name: "B" field { name: "size" number: 1 label: LABEL_OPTIONAL type: TYPE_INT32 } }
         message_type {
           name: "C" field { name: "size" number: 1 label: LABEL_REPEATED type: TYPE_INT32 } })",
      &file));
  google::protobuf::DescriptorPool pool;
  Reader reader(*pool.BuildFile(file)->FindMessageTypeByName("A"));
  reader.Read(source);
  return reader.Unread();
}

TEST(Schema, AFieldThatNoCodeReadsIsFound) {
  EXPECT_EQ(UnreadOf("int f(const A& a) { return a.b().size() + a.c(3).size_size(); }"),
            Names{"A.size"});
  EXPECT_EQ(UnreadOf("void f(const A& a) { for (const auto& c : a.c()) g(c.size()); }"),
            (Names{"A.b", "A.size", "B.size"}));
  EXPECT_EQ(
      UnreadOf("void f(const A& a) { const auto& b = a.b(); if (b.has_size()) g(a->size()); }"),
      (Names{"A.c", "C.size"}));
  // Of another type, set, named in a comment or a text.
  EXPECT_EQ(
      UnreadOf("void f(V& v, B& b) { v.size(); b.set_size(1); // b.size()\n p(\"b.size()\"); }"),
      (Names{"A.b", "A.c", "A.size", "B.size", "C.size"}));
}

// A sentence with more than the name in it.
bool SaysSomething(const std::string& text) {
  std::istringstream in(text);
  int words = 0;
  for (std::string word; in >> word;) ++words;
  return words >= 3;
}

// One line for each field or word that does not say enough.
Names Unsaid(const Descriptor& root) {
  std::set<const Descriptor*> messages;
  Collect(root, messages);
  Names out;
  for (const Descriptor* message : messages)
    for (int i = 0; i < message->field_count(); ++i) {
      const FieldDescriptor& field = *message->field(i);
      const std::string name = message->name() + "." + field.name();
      const auto& options = field.options();
      if (options.GetExtension(config::doc).empty()) out.insert(name + ": no doc");
      if (!field.message_type() && !SaysSomething(options.GetExtension(config::doc)))
        out.insert(name + ": the doc is no sentence");
      const bool decided = options.HasExtension(config::protocol_value);
      if ((field.has_default_value() || decided) && options.GetExtension(config::source).empty())
        out.insert(name + ": a default without source");
      if (const EnumDescriptor* words = field.enum_type())
        for (int k = 0; k < words->value_count(); ++k)
          if (words->value(k)->options().GetExtension(config::value_doc).empty())
            out.insert(words->full_name() + ": " + words->value(k)->name() + " says nothing");
    }
  return out;
}

TEST(Schema, EveryFieldAndWordIsDescribed) {
  EXPECT_EQ(Unsaid(*config::RunConfig::descriptor()), Names());
}

// The manifests' schema has no such options.
TEST(Schema, AFieldWithoutDescriptionIsFound) {
  const Names unsaid = Unsaid(*config::ProtocolValue::descriptor());
  EXPECT_TRUE(unsaid.contains("ProtocolValue.strict: no doc"));
}

}  // namespace
}  // namespace whyrec
