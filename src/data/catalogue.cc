#include "src/data/catalogue.h"

#include <numeric>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/data/parts_h5.h"
#include "src/data/planted.h"
#include "src/store/hdf5_file.h"

namespace whyrec::data {
namespace {

constexpr const char* kExplanations[] = {"explanations/train", "explanations/val",
                                         "explanations/test"};

std::string DatasetName(const config::CatalogueConfig& config) {
  if (!config.dataset().empty()) return config.dataset();
  if (config.has_planted()) return "planted";
  std::filesystem::path source = config.has_folder() ? config.folder() : config.reviews();
  if (!source.has_filename()) source = source.parent_path();  // "beauty/"
  const std::string name = source.filename().string();
  return name.substr(0, name.find('.'));
}

Catalogue Planted(const config::PlantedConfig& config, Facts& facts) {
  facts.emplace_back("source", "planted signal");
  for (int64_t candidates : {10, 20})
    facts.emplace_back(Cat("best HR@1 of a reader of reviews, ", candidates, " candidates"),
                       Cat(PlantedCeiling(config, candidates)));
  return MakePlanted(config);
}

}  // namespace

Catalogue ReadSource(const config::CatalogueConfig& config, Facts& facts) {
  if (config.has_folder() + config.has_reviews() + config.has_planted() != 1)
    Fail(Exit::kUsage, "catalogue: name either a folder, a reviews file or `planted`");
  Catalogue catalogue = config.has_folder()    ? ReadP5Folder(config, facts)
                        : config.has_reviews() ? ReadReviews(config, facts)
                                               : Planted(config.planted(), facts);
  catalogue.dataset = DatasetName(config);
  catalogue.domain = config.domain();
  facts.emplace_back("users", Cat(catalogue.user_count()));
  facts.emplace_back("items", Cat(catalogue.item_count()));
  facts.emplace_back("interactions", Cat(catalogue.histories.values.size()));
  return catalogue;
}

std::vector<int64_t> ShuffledTies(std::span<const int64_t> times, uint64_t seed, int64_t user) {
  std::vector<int64_t> order(times.size());
  std::iota(order.begin(), order.end(), 0);
  Rng rng(seed, "ties", 0, static_cast<uint64_t>(user));
  for (size_t begin = 0, end; begin < times.size(); begin = end) {
    for (end = begin + 1; end < times.size() && times[end] == times[begin];) ++end;
    std::vector<int64_t> group(order.begin() + static_cast<std::ptrdiff_t>(begin),
                               order.begin() + static_cast<std::ptrdiff_t>(end));
    rng.Shuffle(group);
    std::ranges::copy(group, order.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  return order;
}

void Save(const Catalogue& catalogue, const std::filesystem::path& h5) {
  store::Hdf5Writer file(h5);
  file.Attribute("dataset", catalogue.dataset);
  file.Attribute("domain", catalogue.domain);
  file.WriteTexts("users/id", catalogue.users);
  SaveItems(file, catalogue.items);
  file.WriteInts("items/appearance", catalogue.appearance);
  file.WriteInts("histories", catalogue.histories);
  file.WriteInts("times", catalogue.times);
  file.WriteFloats("ratings", catalogue.ratings);
  file.WriteTexts("reviews", catalogue.reviews);
  file.WriteInts("given_negatives", catalogue.given_negatives);
  for (int part = 0; part < 3; ++part)
    SaveExplanations(file, kExplanations[part], catalogue.explanations[part]);
  file.Close();
}

Catalogue LoadCatalogue(const std::filesystem::path& h5) {
  const store::Hdf5Reader file(h5);
  Catalogue catalogue;
  catalogue.dataset = file.Attribute("dataset");
  catalogue.domain = file.Attribute("domain");
  catalogue.users = file.ReadTexts("users/id");
  catalogue.items = LoadItems(file);
  catalogue.appearance = file.ReadInts("items/appearance");
  catalogue.histories = file.ReadRagged("histories");
  catalogue.times = file.ReadInts("times");
  catalogue.ratings = file.ReadFloats("ratings");
  catalogue.reviews = file.ReadTexts("reviews");
  catalogue.given_negatives = file.ReadRagged("given_negatives");
  for (int part = 0; part < 3; ++part)
    catalogue.explanations[part] = LoadExplanations(file, kExplanations[part]);
  return catalogue;
}

}  // namespace whyrec::data
