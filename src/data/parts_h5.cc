#include "src/data/parts_h5.h"
#include "src/base/ragged.h"
#include "src/store/hdf5_file.h"

namespace whyrec::data {
namespace {

constexpr std::pair<const char*, std::string Item::*> kTexts[] = {
    {"items/id", &Item::id},
    {"items/title", &Item::title},
    {"items/brand", &Item::brand},
    {"items/description", &Item::description},
};

}  // namespace

void SaveItems(store::Hdf5Writer& file, const std::vector<Item>& items) {
  for (const auto& [name, member] : kTexts) {
    std::vector<std::string> column;
    for (const Item& item : items) column.push_back(item.*member);
    file.WriteTexts(name, column);
  }
  Ragged<std::string> categories;
  for (const Item& item : items) categories.Append(item.categories);
  std::vector<int64_t> untitled;
  for (const Item& item : items) untitled.push_back(item.untitled);
  file.WriteInts("items/untitled", untitled);
  file.WriteInts("items/categories/offsets", categories.offsets);
  file.WriteTexts("items/categories/values", categories.values);
}

std::vector<Item> LoadItems(const store::Hdf5Reader& file) {
  std::vector<Item> items(file.ReadTexts("items/id").size());
  for (const auto& [name, member] : kTexts) {
    std::vector<std::string> column = file.ReadTexts(name);
    for (size_t i = 0; i < items.size(); ++i) items[i].*member = std::move(column.at(i));
  }
  const Ragged<std::string> categories{file.ReadInts("items/categories/offsets"),
                                       file.ReadTexts("items/categories/values")};
  const std::vector<int64_t> untitled = file.ReadInts("items/untitled");
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].untitled = untitled.at(i) != 0;
    const auto row = categories.row(static_cast<int64_t>(i));
    items[i].categories.assign(row.begin(), row.end());
  }
  return items;
}

void SaveExplanations(store::Hdf5Writer& file, const std::string& name,
                      const std::vector<ExplanationRecord>& records) {
  std::vector<int64_t> users, items;
  std::vector<std::string> texts;
  for (const auto& [user, item, text] : records) {
    users.push_back(user);
    items.push_back(item);
    texts.push_back(text);
  }
  file.WriteInts(name + "/user", users);
  file.WriteInts(name + "/item", items);
  file.WriteTexts(name + "/text", texts);
}

std::vector<ExplanationRecord> LoadExplanations(const store::Hdf5Reader& file,
                                                const std::string& name) {
  const std::vector<int64_t> users = file.ReadInts(name + "/user");
  const std::vector<int64_t> items = file.ReadInts(name + "/item");
  std::vector<std::string> texts = file.ReadTexts(name + "/text");
  std::vector<ExplanationRecord> records;
  for (size_t i = 0; i < texts.size(); ++i)
    records.push_back({users.at(i), items.at(i), std::move(texts[i])});
  return records;
}

}  // namespace whyrec::data
