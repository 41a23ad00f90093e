// A reader of Python literals; see json_lines.h.
#include <cctype>
#include <charconv>

#include "src/data/json_lines.h"
#include "src/text/unicode.h"

namespace whyrec::data {
namespace {

struct NoLiteral {};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json Document() {
    Json value = Value(0);
    if (Peek() != '\0') throw NoLiteral{};
    return value;
  }

 private:
  // Next character that is no blank, '\0' at the end.
  char Peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool Take(std::string_view token) {
    Peek();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  Json Value(int depth) {
    constexpr int kDeepest = 64;
    if (depth > kDeepest) throw NoLiteral{};
    if (Take("[")) return Sequence(depth, "]");
    if (Take("(")) return Sequence(depth, ")");
    if (Take("{")) return Dict(depth);
    if (Take("None")) return nullptr;
    if (Take("True")) return true;
    if (Take("False")) return false;
    if (Take("u'") || Take("u\"")) --at_;  // Python 2 marks unicode texts
    if (Peek() == '\'' || Peek() == '"') return String();
    return Number();
  }

  Json Sequence(int depth, std::string_view close) {
    Json out = Json::array();
    while (!Take(close)) {
      out.push_back(Value(depth + 1));
      if (!Take(",")) {
        if (!Take(close)) throw NoLiteral{};
        break;
      }
    }
    return out;
  }

  Json Dict(int depth) {
    Json out = Json::object();
    while (!Take("}")) {
      const Json key = Value(depth + 1);
      if (!key.is_string() || !Take(":")) throw NoLiteral{};
      out[key.get<std::string>()] = Value(depth + 1);
      if (!Take(",")) {
        if (!Take("}")) throw NoLiteral{};
        break;
      }
    }
    return out;
  }

  char Next() {
    if (at_ >= text_.size()) throw NoLiteral{};
    return text_[at_++];
  }

  Json String() {
    const char quote = Next();
    std::string out;
    for (char c = Next(); c != quote; c = Next()) {
      if (c == '\\')
        Escape(Next(), out);
      else
        out += c;
    }
    return out;
  }

  void Escape(char c, std::string& out) {
    constexpr std::string_view kNames = "ntrbfav", kMeant = "\n\t\r\b\f\a\v";
    if (c == 'x') return text::AppendUtf8(Hex(2), out);
    if (c == 'u') return text::AppendUtf8(Hex(4), out);
    if (c == 'U') return text::AppendUtf8(Hex(8), out);
    if (const size_t at = kNames.find(c); at != std::string_view::npos) {
      out += kMeant[at];
    } else {
      if (c != '\\' && c != '\'' && c != '"') out += '\\';  // an unknown escape is kept as it is
      out += c;
    }
  }

  uint32_t Hex(size_t digits) {
    uint32_t code = 0;
    const char* begin = text_.data() + at_;
    if (text_.size() - at_ < digits) throw NoLiteral{};
    if (std::from_chars(begin, begin + digits, code, 16).ptr != begin + digits) throw NoLiteral{};
    at_ += digits;
    return code;
  }

  Json Number() {
    const char* begin = text_.data() + at_;
    const char* end = text_.data() + text_.size();
    int64_t whole = 0;
    double real = 0;
    const auto as_whole = std::from_chars(begin, end, whole);
    const auto as_real = std::from_chars(begin, end, real);
    if (as_real.ec != std::errc()) throw NoLiteral{};
    at_ += static_cast<size_t>(as_real.ptr - begin);
    if (as_whole.ec == std::errc() && as_whole.ptr == as_real.ptr) {
      Take("L");  // a long integer of Python 2
      return whole;
    }
    return real;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Json ParsePythonLiteral(std::string_view text) {
  try {
    return Parser(text).Document();
  } catch (const NoLiteral&) {
    return Json(Json::value_t::discarded);
  }
}

}  // namespace whyrec::data
