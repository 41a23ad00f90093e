// Reads a P5 folder (docs/formats.md): sequential.txt, datamaps.json, items.jsonl[.gz];
// negative.txt and explanation.json where present. Rows are the folder's numbers minus 1.
#include <openssl/evp.h>

#include <algorithm>
#include <charconv>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/base/ragged.h"
#include "src/base/text_file.h"
#include "src/data/catalogue.h"
#include "src/data/clean_text.h"
#include "src/data/json_lines.h"

namespace whyrec::data {
namespace {

namespace fs = std::filesystem;

// Git blob hashes of the files in the public repositories of ELMRec and RDRec, which are identical.
using KnownFile = std::pair<std::string_view, const char*>;
constexpr KnownFile kKnownFiles[] = {
    {"a29773026846d857ec8176cb25f37b23ecf20155", "beauty"},
    {"a516bb7a9ccaabadbb13be731382f30bd977c7a8", "beauty"},
    {"3f8fd143fcd2c4f56c0172d56fbe053b33a94529", "beauty"},
    {"50a7023ca502b42eb0e840c603abda6e851b2018", "sports"},
    {"17dc8cab2b54c6ee0ba1dc9d5cc273e70427e81b", "sports"},
    {"03a64e4507ff64050109df77570ee251ef1f94a0", "sports"},
    {"f6225d3e5dfe3dc58379500be5e8c226615a8977", "toys"},
    {"233dd383ef52af44ab1a6d35a874f89a57028429", "toys"},
    {"341b5422152e3ab5c2bcd195f405d5ce36fd1278", "toys"},
};

// SHA-1 of "blob <size>\0<bytes>".
std::string GitBlobHash(std::string_view bytes) {
  const std::string head = Cat("blob ", bytes.size(), '\0');
  unsigned char digest[20];
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha1(), nullptr);
  EVP_DigestUpdate(context, head.data(), head.size());
  EVP_DigestUpdate(context, bytes.data(), bytes.size());
  EVP_DigestFinal_ex(context, digest, nullptr);
  EVP_MD_CTX_free(context);
  std::string out;
  for (unsigned char byte : digest) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

void AddFileFacts(const fs::path& file, Facts& facts) {
  const std::string bytes = ReadFile(file), name = file.filename().string();
  facts.emplace_back(name + " sha256", Sha256Of(bytes));
  const auto known = std::ranges::find(kKnownFiles, GitBlobHash(bytes), &KnownFile::first);
  facts.emplace_back(name + " is", known == std::end(kKnownFiles)
                                       ? std::string("not a known file of the ISRF paper")
                                       : Cat(known->second, " of the ISRF paper (ELMRec, RDRec)"));
}

// The texts of {"1": text, "2": text, ...}: the numbers must be 1..n without a gap.
std::vector<std::string> NumberedTexts(const Json& maps, const char* key, const fs::path& file) {
  const auto map = maps.find(key);
  if (map == maps.end() || !map->is_object())
    Fail(Exit::kData, file.string(), ": no object \"", key, "\"; it maps \"1\", \"2\", ... to ids");
  std::vector<std::string> out;
  for (size_t number = 1; number <= map->size(); ++number) {
    const auto id = map->find(std::to_string(number));
    if (id == map->end() || !id->is_string())
      Fail(Exit::kData, file.string(), ": ", key, " has ", map->size(),
           " entries but no text for \"", number, "\"; the numbers have to be 1..", map->size());
    out.push_back(id->get<std::string>());
  }
  return out;
}

Json ParseJsonFile(const fs::path& file) {
  try {
    return Json::parse(ReadFile(file));
  } catch (const Json::parse_error& error) {
    Fail(Exit::kData, file.string(), ": ", error.what());
  }
}

void ReadMaps(const fs::path& file, Catalogue& catalogue, Facts& facts) {
  const Json maps = ParseJsonFile(file);
  AddFileFacts(file, facts);
  catalogue.users = NumberedTexts(maps, "id2user", file);
  for (std::string& id : NumberedTexts(maps, "id2item", file))
    catalogue.items.emplace_back().id = std::move(id);
}

// Lines "user item item ...", user = line number, items 1..items without repeats; as item rows.
Ragged<int64_t> ReadNumberLines(const fs::path& file, int64_t users, int64_t items) {
  LineReader reader(file);
  Ragged<int64_t> out;
  std::vector<int64_t> seen_at(static_cast<size_t>(items), 0), row;
  std::string line;
  while (reader.Next(line)) {
    const auto wrong = [&](const auto&... parts) {
      Fail(Exit::kData, file.string(), ":", reader.line_number(), ": ", parts...);
    };
    row.clear();
    bool first = true;
    for (const char *at = line.data(), *end = at + line.size();; first = false) {
      while (at < end && *at == ' ') ++at;
      if (at == end) break;
      int64_t number = 0;
      const auto [stop, error] = std::from_chars(at, end, number);
      if (error != std::errc() || (stop < end && *stop != ' '))
        wrong("\"", std::string(at, std::find(at, end, ' ')), "\" is not a number; a line is ",
              "\"user item item ...\"");
      at = stop;
      if (first) {
        if (number != reader.line_number())
          wrong("user ", number, " instead of user ", reader.line_number(), "; line i is user i");
        continue;
      }
      if (number < 1 || number > items)
        wrong("item ", number, " is outside 1..", items, ", the items of datamaps.json");
      if (std::exchange(seen_at[static_cast<size_t>(number - 1)], reader.line_number()) ==
          reader.line_number())
        wrong("item ", number, " occurs twice; keep a user's first interaction with an item");
      row.push_back(number - 1);
    }
    if (first) wrong("empty line; line i is user i");
    out.Append(row);
  }
  if (out.rows() != users)
    Fail(Exit::kData, file.string(), ":", out.rows(), ": ends after ", out.rows(),
         " users; datamaps.json has ", users);
  return out;
}

void ReadItems(const config::CatalogueConfig& config, Catalogue& catalogue, Facts& facts) {
  fs::path file = fs::path(config.folder()) / "items.jsonl";
  if (!fs::exists(file)) file += ".gz";
  if (!fs::exists(file))
    Fail(Exit::kData, config.folder(), ": no items.jsonl or items.jsonl.gz; write one line ",
         "{\"id\": 1, \"title\": ...} per item");
  config::FieldMap plural;
  plural.set_categories("categories");
  config::FieldMap attributes;
  attributes.set_categories("attributes");
  int64_t titles_from_text_id = 0;
  std::vector<bool> described(catalogue.items.size(), false);
  ReadJsonLines(file, config.max_bad_lines(), facts, [&](const Json& record, int64_t line) {
    const auto number = record.find("id");
    if (number == record.end() || !number->is_number_integer())
      throw BadLine{"no whole number \"id\""};
    const int64_t row = number->get<int64_t>() - 1;
    const auto wrong = [&](const auto&... parts) {
      Fail(Exit::kData, file.string(), ":", line, ": item ", row + 1, parts...);
    };
    if (row < 0 || row >= catalogue.item_count())
      wrong(" is outside 1..", catalogue.item_count(), ", the items of datamaps.json");
    const auto at = static_cast<size_t>(row);
    if (described[at]) wrong(" occurs twice; keep one line per item");
    described[at] = true;
    Item& item = catalogue.items[at];
    if (const std::string asin = Text(record, "asin"); !asin.empty() && asin != item.id)
      wrong(" is ", asin, " here and ", item.id,
            " in datamaps.json; the files number items differently");
    titles_from_text_id +=
        FillItem(record, record.contains("categories") ? plural : attributes, item);
  });
  facts.emplace_back("titles taken from text_id", Cat(titles_from_text_id));
  facts.emplace_back("items without a line in items.jsonl",
                     Cat(std::ranges::count(described, false)));
}

void ReadNegatives(const fs::path& file, Catalogue& catalogue, Facts& facts) {
  catalogue.given_negatives = ReadNumberLines(file, catalogue.user_count(), catalogue.item_count());
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto history = catalogue.histories.row(u);
    for (int64_t item : catalogue.given_negatives.row(u))
      if (std::ranges::find(history, item) != history.end())
        Fail(Exit::kData, file.string(), ":", u + 1, ": item ", item + 1,
             " is in the user's history; negatives are items the user never had");
  }
  AddFileFacts(file, facts);
}

void ReadExplanations(const fs::path& file, Catalogue& catalogue, Facts& facts) {
  constexpr const char* kParts[] = {"train", "val", "test"};
  const Json parts = ParseJsonFile(file);
  AddFileFacts(file, facts);
  for (int p = 0; p < 3; ++p) {
    const auto list = parts.find(kParts[p]);
    if (list == parts.end() || !list->is_array())
      Fail(Exit::kData, file.string(), ": no list \"", kParts[p], "\"");
    for (const Json& record : *list) {
      auto& out = catalogue.explanations[p];
      try {
        const int64_t user = record.at("user"), item = record.at("item");
        if (user < 1 || user > catalogue.user_count() || item < 1 || item > catalogue.item_count())
          Fail(Exit::kData, file.string(), ": ", kParts[p], "[", out.size(), "]: user ", user,
               " or item ", item, " is outside datamaps.json");
        out.push_back({user - 1, item - 1, CleanText(record.at("explanation").get<std::string>())});
      } catch (const Json::exception& error) {
        Fail(Exit::kData, file.string(), ": ", kParts[p], "[", out.size(), "]: ", error.what(),
             "; a record is {\"user\": 1, \"item\": 2, \"explanation\": \"...\"}");
      }
    }
    facts.emplace_back(Cat("explanations ", kParts[p]), Cat(catalogue.explanations[p].size()));
  }
}

// The folder is filtered already: the rule is checked, for dropping would change its numbers.
void CheckCore(const config::CoreFilter& core, const fs::path& file, const Catalogue& catalogue) {
  std::vector<int64_t> uses(catalogue.items.size(), 0);
  for (int64_t item : catalogue.histories.values) ++uses[static_cast<size_t>(item)];
  for (int64_t u = 0; u < catalogue.user_count(); ++u)
    if (std::ssize(catalogue.histories.row(u)) < core.min_user())
      Fail(Exit::kData, file.string(), ":", u + 1, ": user ", u + 1, " has ",
           catalogue.histories.row(u).size(),
           " items, fewer than catalogue.core.min_user = ", core.min_user());
  for (size_t i = 0; i < uses.size(); ++i)
    if (uses[i] < core.min_item())
      Fail(Exit::kData, file.string(), ": item ", i + 1, " has ", uses[i],
           " users, fewer than catalogue.core.min_item = ", core.min_item());
}

}  // namespace

Catalogue ReadP5Folder(const config::CatalogueConfig& config, Facts& facts) {
  const fs::path folder = config.folder(), sequences = folder / "sequential.txt";
  Catalogue catalogue;
  facts.emplace_back("source", "P5 folder");
  ReadMaps(folder / "datamaps.json", catalogue, facts);
  catalogue.histories = ReadNumberLines(sequences, catalogue.user_count(), catalogue.item_count());
  AddFileFacts(sequences, facts);
  CheckCore(config.core(), sequences, catalogue);
  ReadItems(config, catalogue, facts);
  if (fs::exists(folder / "negative.txt")) ReadNegatives(folder / "negative.txt", catalogue, facts);
  if (fs::exists(folder / "explanation.json"))
    ReadExplanations(folder / "explanation.json", catalogue, facts);
  std::vector<bool> used(catalogue.items.size(), false);
  for (int64_t item : catalogue.histories.values) used[static_cast<size_t>(item)] = true;
  facts.emplace_back("items without interactions", Cat(std::ranges::count(used, false)));
  facts.emplace_back("order", "as given, without time stamps: ties of one day cannot be undone");
  facts.emplace_back("core filter", Cat("checked: users >= ", config.core().min_user(),
                                        ", items >= ", config.core().min_item()));
  return catalogue;
}

}  // namespace whyrec::data
