#include "src/data/json_lines.h"

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/text_file.h"
#include "src/data/clean_text.h"

namespace whyrec::data {
namespace {

Json ParseRecord(const std::string& line) {
  Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (record.is_discarded()) record = ParsePythonLiteral(line);
  if (record.is_discarded()) throw BadLine{"neither JSON nor a Python literal"};
  if (!record.is_object()) throw BadLine{"no object with keys"};
  return record;
}

void AppendTexts(const Json& value, std::vector<std::string>& out) {
  if (value.is_array()) {
    for (const Json& part : value) AppendTexts(part, out);
  } else if (value.is_number()) {
    out.push_back(value.dump());
  } else if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text.starts_with('[') && text.ends_with(']')) {
      const Json list = ParsePythonLiteral(text);
      if (list.is_array()) return AppendTexts(list, out);
    }
    std::string clean = CleanText(text);
    if (!clean.empty()) out.push_back(std::move(clean));
  }
}

}  // namespace

void ReadJsonLines(const std::filesystem::path& file, double max_bad, Facts& facts,
                   const std::function<void(const Json&, int64_t)>& take) {
  constexpr int kShown = 10;
  LineReader reader(file);
  int64_t lines = 0, bad = 0, first_bad = 0;
  std::string first_why, numbers, line;
  while (reader.Next(line)) {
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    ++lines;
    try {
      take(ParseRecord(line), reader.line_number());
    } catch (const BadLine& problem) {
      if (bad++ == 0) {
        first_bad = reader.line_number();
        first_why = problem.why;
      }
      if (bad <= kShown) numbers += Cat(bad == 1 ? "" : ", ", reader.line_number());
    }
  }
  const std::string name = file.filename().string();
  facts.emplace_back(name + " sha256", Sha256OfFile(file));
  facts.emplace_back(name + " lines", Cat(lines));
  facts.emplace_back(name + " bad lines", Cat(bad));
  if (bad == 0) return;
  facts.emplace_back(name + " bad line numbers", numbers + (bad > kShown ? ", ..." : ""));
  if (static_cast<double>(bad) > max_bad * static_cast<double>(lines))
    Fail(Exit::kData, file.string(), ":", first_bad, ": ", first_why, "; ", bad, " of ", lines,
         " lines cannot be used (lines ", numbers, bad > kShown ? ", ..." : "",
         "), more than catalogue.max_bad_lines allows");
  Warn(Cat(file.string(), ":", first_bad, ": ", first_why, "; ", bad, " of ", lines,
           " lines left out: ", numbers, bad > kShown ? ", ..." : ""));
}

std::vector<std::string> Texts(const Json& record, const std::string& key) {
  std::vector<std::string> out;
  if (const auto found = record.find(key); found != record.end()) AppendTexts(*found, out);
  return out;
}

std::string Text(const Json& record, const std::string& key) {
  std::string out;
  for (const std::string& part : Texts(record, key)) out += (out.empty() ? "" : " ") + part;
  return out;
}

std::string IdAt(const Json& record, const std::string& key, const char* field) {
  const auto found = record.find(key);
  if (found != record.end() && found->is_number_integer()) return found->dump();
  if (found == record.end() || !found->is_string() || found->get_ref<const std::string&>().empty())
    throw BadLine{Cat("no key \"", key, "\" with an id; see catalogue.fields.", field)};
  return found->get<std::string>();
}

bool FillItem(const Json& record, const config::FieldMap& fields, Item& item) {
  item.title = Text(record, fields.title());
  const bool has_title = !item.title.empty();
  if (!has_title) item.title = Text(record, "text_id");
  item.brand = Text(record, fields.brand());
  item.categories = Texts(record, fields.categories());
  if (item.categories.empty() && fields.categories() == "category")
    item.categories = Texts(record, "categories");
  item.description = Text(record, fields.description());
  return !has_title && !item.title.empty();
}

std::string UsableTitle(const Json& record, const std::string& key, const std::string& cleaned) {
  constexpr int64_t kLongest = 400;
  const auto found = record.find(key);
  const bool script = found != record.end() && found->is_string() &&
                      HoldsScript(found->get_ref<const std::string&>());
  return script || CharacterCount(cleaned) > kLongest ? "" : cleaned;
}

}  // namespace whyrec::data
