// Records of JSON-lines sources, read tolerantly: Python literals count as JSON, bad lines are
// counted.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/facts.h"
#include "src/data/catalogue.h"

namespace whyrec::data {

using Json = nlohmann::json;

// A Python literal of dicts, lists, tuples, texts, numbers, True, False, None - the form of the
// Amazon 2014 metadata and of lists kept as text. Discarded value (is_discarded()) when it is none.
Json ParsePythonLiteral(std::string_view text);

// Thrown by a record reader; the line then counts as bad.
struct BadLine {
  std::string why;
};

// Calls `take(record, line number)` for every line, plain or gzip; blank lines are skipped. Counts,
// the file's hash and the numbers of bad lines go into `facts`. Error(kData) naming the first bad
// line when their share exceeds `max_bad`.
void ReadJsonLines(const std::filesystem::path& file, double max_bad, Facts& facts,
                   const std::function<void(const Json&, int64_t)>& take);

// Cleaned texts of a list (nested ones flattened), of a text that holds a Python list, or of one
// text or number; without empty ones. An absent key gives none.
std::vector<std::string> Texts(const Json& record, const std::string& key);
// The same, joined by blanks.
std::string Text(const Json& record, const std::string& key);

// An id: a text, unchanged, or a number. Otherwise throws BadLine naming catalogue.fields.`field`.
std::string IdAt(const Json& record, const std::string& key, const char* field);

// Title (or text_id), brand, categories and description under the keys of `fields`. True when the
// title is the text_id.
// The 2014 release's key "categories" counts as the 2018 release's "category".
bool FillItem(const Json& record, const config::FieldMap& fields, Item& item);

// `cleaned`, or "" where the title is none: script text of the shop's page, or longer than 400
// characters.
std::string UsableTitle(const Json& record, const std::string& key, const std::string& cleaned);

}  // namespace whyrec::data
