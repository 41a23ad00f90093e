#include "src/data/planted.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "src/base/error.h"
#include "src/base/rng.h"

namespace whyrec::data {
namespace {

constexpr int64_t kDay = 86400, kStart = 1400000000;

constexpr std::array<std::string_view, 60> kTastes{
    "lavender", "cedar",     "mint",       "vanilla", "lemon",   "rose",     "ginger",  "coconut",
    "honey",    "jasmine",   "orange",     "cherry",  "almond",  "cinnamon", "peach",   "amber",
    "basil",    "coffee",    "eucalyptus", "fig",     "grape",   "hazelnut", "juniper", "lime",
    "mango",    "nutmeg",    "oak",        "papaya",  "pepper",  "pine",     "plum",    "rosemary",
    "saffron",  "sage",      "sandalwood", "thyme",   "tobacco", "violet",   "walnut",  "willow",
    "apple",    "bamboo",    "banana",     "berry",   "birch",   "cacao",    "caramel", "clove",
    "cotton",   "cucumber",  "lilac",      "lotus",   "maple",   "melon",    "moss",    "myrrh",
    "olive",    "patchouli", "pear",       "tulip"};

constexpr std::array<const char*, 20> kNouns{"soap",  "candle",   "lotion", "shampoo", "cream",
                                             "oil",   "balm",     "scrub",  "mist",    "powder",
                                             "serum", "gel",      "mask",   "tonic",   "butter",
                                             "spray", "diffuser", "bath",   "bar",     "polish"};

// One of these a review, none twice by one user; no two share a word that could count as content.
constexpr std::array<const char*, 40> kRemarks{"The lid is stiff.",
                                               "Softer than the old jar.",
                                               "My sister borrowed it.",
                                               "It leaked inside the bag.",
                                               "The label peeled.",
                                               "Lighter than a feather.",
                                               "It lasted all winter.",
                                               "A drop covers both hands.",
                                               "The pump jammed.",
                                               "It sits by the sink.",
                                               "Our dog sneezed.",
                                               "It melts too early.",
                                               "Smooth on dry skin.",
                                               "A gift for my teacher.",
                                               "The box was crushed.",
                                               "Travels well in a pocket.",
                                               "It foams like snow.",
                                               "A bit sticky at noon.",
                                               "It dried on the shelf.",
                                               "The cap cracked.",
                                               "Gentle after a shave.",
                                               "My hair feels thick.",
                                               "It stained a towel.",
                                               "Rich but never greasy.",
                                               "The tube was half empty.",
                                               "It warms the room.",
                                               "Thin as water.",
                                               "A calm end of the evening.",
                                               "It fits the drawer.",
                                               "The colour faded.",
                                               "Grainy at the bottom.",
                                               "I share it with a neighbour.",
                                               "It burns with a clean flame.",
                                               "The scoop went missing.",
                                               "Cool against sunburn.",
                                               "It survived a flood.",
                                               "The ribbon is charming.",
                                               "Sinks in within seconds.",
                                               "It rattles when shaken.",
                                               "Heavy for such a bottle."};

// Wishes: the words before and after the taste, by how soon the wish comes true: the next item, the
// one after, the third. All are very common words, which do not count as content.
struct Frame {
  const char *before, *after;
};
constexpr std::array<Frame, 6> kNext{{{"What I want next is ", "."},
                                      {"I am still looking for ", "."},
                                      {"It really has to be ", " now."},
                                      {"I would love some ", " next."},
                                      {"Next time it should be ", "."},
                                      {"I just want to try ", "."}}};
constexpr std::array<Frame, 3> kAfter{{{"After that some ", " would be nice."},
                                       {"Then I want to have ", "."},
                                       {"Later on it can be ", "."}}};
constexpr std::array<Frame, 2> kThird{{{"And one day ", " too."}, {"At last there is ", "."}}};

struct Goods {
  std::vector<Item> items;
  std::vector<size_t> taste;  // of each row
};

Goods MakeGoods(const config::PlantedConfig& config) {
  Rng rng(config.seed(), "planted.items");
  const int64_t per_taste = config.items_per_taste();
  Goods out;
  for (int64_t place : rng.Permutation(config.tastes() * per_taste)) {
    const auto taste = static_cast<size_t>(place / per_taste);
    out.taste.push_back(taste);
    Item& item = out.items.emplace_back();
    item.id = Cat("P", 100000 + place);
    item.title =
        Cat(kTastes[taste], " ", kNouns[rng.Below(kNouns.size())], " ", place % per_taste + 1);
    item.categories = {"Made-up goods"};
  }
  return out;
}

template <size_t N>
void Wish(const std::array<Frame, N>& frames, size_t times, std::string_view taste, Rng& rng,
          std::string& review) {
  std::vector<Frame> order(frames.begin(), frames.end());
  rng.Shuffle(order);
  for (size_t i = 0; i < times; ++i)
    review += Cat(review.empty() ? "" : " ", order[i].before, taste, order[i].after);
}

// Wishes in the review of event `at` for the targets that follow it closely, the nearest first.
std::string Review(const Goods& goods, const std::vector<int64_t>& history, size_t at,
                   const char* remark, Rng& rng) {
  std::string review;
  const auto taste = [&](size_t ahead) {
    return kTastes[goods.taste[static_cast<size_t>(history[at + ahead])]];
  };
  const auto is_target = [&](size_t ahead) {
    return at + ahead < history.size() && at + ahead + 3 >= history.size();
  };
  if (is_target(1)) Wish(kNext, 3, taste(1), rng, review);
  if (is_target(2)) Wish(kAfter, 2, taste(2), rng, review);
  if (is_target(3)) Wish(kThird, 1, taste(3), rng, review);
  return review + (review.empty() ? "" : " ") + remark;
}

}  // namespace

std::span<const std::string_view> PlantedTastes() { return kTastes; }

Catalogue MakePlanted(const config::PlantedConfig& config) {
  const int64_t items = int64_t{config.tastes()} * config.items_per_taste();
  if (items < config.events())
    Fail(Exit::kUsage, "catalogue.planted: ", config.events(),
         " events of a user need as many "
         "items; tastes x items_per_taste is ",
         items);
  Goods goods = MakeGoods(config);
  Catalogue out;
  for (int64_t user = 0; user < config.users(); ++user) {
    Rng rng(config.seed(), "planted.user", 0, static_cast<uint64_t>(user));
    std::vector<int64_t> history = rng.Permutation(items);
    history.resize(static_cast<size_t>(config.events()));
    std::vector<const char*> remarks(kRemarks.begin(), kRemarks.end());
    rng.Shuffle(remarks);
    int64_t time = kStart + kDay * rng.Between(0, 365);
    for (size_t at = 0; at < history.size(); ++at) {
      out.times.push_back(time += kDay * rng.Between(1, 30));
      out.ratings.push_back(static_cast<float>(rng.Between(3, 5)));
      out.reviews.push_back(Review(goods, history, at, remarks[at], rng));
    }
    out.users.push_back(Cat("U", 100000 + user));
    out.histories.Append(history);
  }
  out.items = std::move(goods.items);
  return out;
}

double PlantedCeiling(const config::PlantedConfig& config, int64_t candidates) {
  const double items = static_cast<double>(config.tastes()) * config.items_per_taste();
  double none = 1;  // no candidate of a given taste
  for (int64_t i = 0; i < candidates; ++i)
    none *= std::max(0.0, 1 - config.items_per_taste() / (items - static_cast<double>(i)));
  return config.tastes() * (1 - none) / static_cast<double>(candidates);
}

}  // namespace whyrec::data
