#include "src/config/parse.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <set>

#include "src/base/error.h"

namespace whyrec::config {
namespace {

using google::protobuf::io::Tokenizer;

class Parser : google::protobuf::io::ErrorCollector {
 public:
  Parser(std::string_view text, const std::string& shown, const std::filesystem::path& folder)
      : shown_(shown),
        folder_(folder),
        stream_(text.data(), static_cast<int>(text.size())),
        tokens_(&stream_, this) {
    tokens_.set_comment_style(Tokenizer::SH_COMMENT_STYLE);
    tokens_.set_allow_f_after_float(true);
  }

  Parsed Parse(Message& out) {
    Advance();
    Fields(out, "", nullptr);
    return std::move(parsed_);
  }

 private:
  // Tokens -------------------------------------------------------------------------------------
  void AddError(int line, int column, const std::string& message) override {
    lexical_line_ = line;
    parsed_.problems.push_back(Place(line, column) + ": " + message);
  }
  const Tokenizer::Token& Now() { return tokens_.current(); }
  bool At(std::string_view text) { return Now().text == text; }
  bool AtEnd() { return Now().type == Tokenizer::TYPE_END; }
  void Advance() { tokens_.Next(); }
  bool Take(std::string_view text) {
    if (!At(text) || Now().type != Tokenizer::TYPE_SYMBOL) return false;
    Advance();
    return true;
  }

  // Messages -----------------------------------------------------------------------------------
  std::string Place(int line, int column) const {
    return Cat(shown_, ":", line + 1, ":", column + 1);
  }
  void Add(const Tokenizer::Token& token, const std::string& message) {
    if (token.line == lexical_line_) return;  // an error on this line has been reported already
    parsed_.problems.push_back(Place(token.line, token.column) + ": " + message);
  }

  // Grammar ------------------------------------------------------------------------------------
  // Fields up to the bracket that closes `opening`, which is taken; without one up to the end.
  void Fields(Message& out, const std::string& prefix, const Tokenizer::Token* opening) {
    std::set<const FieldDescriptor*> seen;
    while (!AtEnd()) {
      if (opening && Take(opening->text == "{" ? "}" : ">")) return;
      if (Now().type == Tokenizer::TYPE_IDENTIFIER) {
        Field(out, prefix, seen);
      } else {
        Add(Now(), "\"" + Now().text + "\" stands where a field's name was expected");
        SkipLine();
      }
    }
    if (opening)
      Add(*opening, prefix.substr(0, prefix.size() - 1) + " begins here and is never closed");
  }

  void Field(Message& out, const std::string& prefix, std::set<const FieldDescriptor*>& seen) {
    const Tokenizer::Token name = Now();
    Advance();
    std::string problem;
    const FieldDescriptor* field = FindField(*out.GetDescriptor(), name.text, problem);
    const bool twice = field && !field->is_repeated() && !seen.insert(field).second;
    if (twice) problem = prefix + name.text + " is stated twice";
    if (!problem.empty()) Add(name, problem);
    const bool colon = Take(":");
    if (!problem.empty()) {
      SkipValue();
    } else if (IsMessage(*field) ? !At("{") && !At("<") && !At("[") : !colon) {
      Add(Now(), prefix + name.text +
                     (IsMessage(*field) ? " is a message; write " + name.text + " { ... }"
                                        : " is a value; write " + name.text + ": value"));
      SkipValue();
    } else {
      List(out, *field, prefix + name.text);
    }
    if (!Take(",")) Take(";");
  }

  // NAME: value, one entry of a list each, up to the bracket that closes.
  void Named(Message& out, const FieldDescriptor& field, const std::string& path) {
    const Tokenizer::Token opening = Now();
    Advance();
    while (!AtEnd() && !Take(opening.text == "{" ? "}" : ">")) {
      const Tokenizer::Token name = Now();
      Advance();
      const bool colon = name.type == Tokenizer::TYPE_IDENTIFIER && Take(":");
      const Tokenizer::Token value = Now();
      const std::string text = colon ? Scalar() : "";
      if (text.empty()) {
        Add(name, "\"" + name.text + "\" stands in " + path + "; write NAME: value");
        SkipLine();
        continue;
      }
      const std::string entry = path + "." + name.text;
      if (!PutNamed(out, field, name.text, text)) Add(name, entry + " is stated twice");
      parsed_.place_of[entry + ".name"] = Place(name.line, name.column);
      parsed_.place_of[entry + ".value"] = Place(value.line, value.column);
      if (!Take(",")) Take(";");
    }
    if (AtEnd()) Add(opening, path + " begins here and is never closed");
  }

  // One value, or for a list also [value, ...].
  void List(Message& out, const FieldDescriptor& field, const std::string& path) {
    if (!field.is_repeated() || !Take("[")) return Value(out, field, path);
    while (!AtEnd() && !Take("]")) {
      Value(out, field, path);
      if (!Take(",") && !At("]")) {
        Add(Now(), "expected , or ] in the list " + path);
        return SkipLine();
      }
    }
  }

  void Value(Message& out, const FieldDescriptor& field, std::string path) {
    if (IsNamed(field) && (At("{") || At("<"))) return Named(out, field, path);
    const auto* reflection = out.GetReflection();
    if (field.is_repeated()) path += Cat("[", reflection->FieldSize(out, &field), "]");
    if (IsMessage(field)) {
      if (!At("{") && !At("<")) {
        Add(Now(), path + " is a message; write { ... }");
        return SkipValue();
      }
      Message& inner = field.is_repeated() ? *reflection->AddMessage(&out, &field)
                                           : *reflection->MutableMessage(&out, &field);
      const Tokenizer::Token opening = Now();
      parsed_.place_of[path] = Place(opening.line, opening.column);
      Advance();
      return Fields(inner, path + ".", &opening);
    }
    const Tokenizer::Token first = Now();
    const std::string text = Scalar();
    if (text.empty()) {
      Add(first, path + " needs one value");
      if (At("{") || At("[") || At("<")) SkipValue();
      return;
    }
    const std::string problem = SetValue(out, field, path, text, folder_);
    if (!problem.empty()) Add(first, problem);
    parsed_.place_of[path] = Place(first.line, first.column);
  }

  // The text of one scalar: a word, a number with its sign, or texts in quotes that join.
  std::string Scalar() {
    std::string out = Take("-") ? "-" : "";
    if (Now().type == Tokenizer::TYPE_SYMBOL || AtEnd()) return out;
    const bool quoted = Now().type == Tokenizer::TYPE_STRING;
    do {
      out += Now().text;
      Advance();
    } while (quoted && Now().type == Tokenizer::TYPE_STRING);
    return out;
  }

  // After an error: skips the value here, so that the rest is still checked.
  void SkipValue() {
    int depth = 0;
    do {
      if (At("{") || At("<") || At("[")) ++depth;
      if (At("}") || At(">") || At("]")) --depth;
      if (depth < 0) return;  // closes what is around
      if (depth == 0 && (Now().type != Tokenizer::TYPE_SYMBOL || At("-"))) {
        Scalar();
        return;
      }
      Advance();
    } while (!AtEnd() && depth > 0);
  }

  void SkipLine() {
    for (const int line = Now().line; !AtEnd() && Now().line == line;) Advance();
  }

  std::string shown_;
  std::filesystem::path folder_;
  google::protobuf::io::ArrayInputStream stream_;
  Tokenizer tokens_;
  Parsed parsed_;
  int lexical_line_ = -1;  // of the last broken token
};

}  // namespace

Parsed ParseText(std::string_view text, const std::string& shown,
                 const std::filesystem::path& folder, Message& out) {
  return Parser(text, shown, folder).Parse(out);
}

}  // namespace whyrec::config
