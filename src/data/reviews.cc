// Reviews and item metadata as JSON lines, of Amazon's 2014 and 2018 releases and the like. Order
// of work: stable sort by time within a user, repeats, core filter, ties, numbers by first
// appearance.
#include <algorithm>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "src/base/error.h"
#include "src/data/catalogue.h"
#include "src/data/clean_text.h"
#include "src/data/json_lines.h"
#include "src/data/review_lines.h"

namespace whyrec::data {
namespace {

// One user's reviews, ordered by time, go to the end of the catalogue.
void AppendUser(std::span<ReviewLine> own, const config::OrderConfig& order,
                std::vector<int64_t>& rows, const Names& item_names, Catalogue& out) {
  std::vector<int64_t> times, history;
  for (const ReviewLine& r : own) times.push_back(r.time);
  std::vector<int64_t> positions(own.size());
  std::iota(positions.begin(), positions.end(), 0);
  if (order.ties() == config::OrderConfig::SHUFFLED)
    positions = ShuffledTies(times, order.seed(), out.user_count() - 1);
  for (int64_t position : positions) {
    ReviewLine& review = own[static_cast<size_t>(position)];
    int64_t& row = rows[static_cast<size_t>(review.item)];
    if (row < 0) {
      row = out.item_count();
      out.items.emplace_back().id = item_names.names[static_cast<size_t>(review.item)];
    }
    history.push_back(row);
    out.times.push_back(review.time);
    out.ratings.push_back(review.rating);
    out.reviews.push_back(std::move(review.text));
  }
  out.histories.Append(history);
}

// Places of the item rows in the order in which the kept lines name them.
std::vector<int64_t> Appearance(const std::vector<int64_t>& first_lines) {
  std::vector<int64_t> order(first_lines.size()), place(first_lines.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](int64_t row) { return first_lines[static_cast<size_t>(row)]; });
  for (size_t i = 0; i < order.size(); ++i)
    place[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  return place;
}

// Users in the order of the file, items in the order of the users' histories.
Catalogue Number(ReviewLines reviews, const config::OrderConfig& order) {
  constexpr auto kNever = std::numeric_limits<int64_t>::max();
  Catalogue out;
  std::vector<int64_t> rows(reviews.items.names.size(), -1), first(rows.size(), kNever);
  for (const ReviewLine& r : reviews.all) {
    int64_t& line = first[static_cast<size_t>(r.item)];
    line = std::min(line, r.line);
  }
  for (auto begin = reviews.all.begin(); begin != reviews.all.end();) {
    const auto end = std::find_if(begin, reviews.all.end(),
                                  [&](const ReviewLine& r) { return r.user != begin->user; });
    out.users.push_back(reviews.users.names[static_cast<size_t>(begin->user)]);
    AppendUser({begin, end}, order, rows, reviews.items, out);
    begin = end;
  }
  std::vector<int64_t> first_lines(out.items.size());
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i] >= 0) first_lines[static_cast<size_t>(rows[i])] = first[i];
  out.appearance = Appearance(first_lines);
  if (std::ranges::all_of(out.ratings, [](float r) { return r == 0; })) out.ratings.clear();
  if (std::ranges::all_of(out.reviews, &std::string::empty)) out.reviews.clear();
  return out;
}

// The last line of an item wins.
void ReadMetadata(const config::CatalogueConfig& config, Catalogue& catalogue, Facts& facts) {
  std::unordered_map<std::string, size_t> rows;
  for (size_t i = 0; i < catalogue.items.size(); ++i) rows.emplace(catalogue.items[i].id, i);
  std::vector<bool> described(catalogue.items.size(), false);
  int64_t unused = 0, repeated = 0;
  ReadJsonLines(config.items(), config.max_bad_lines(), facts, [&](const Json& record, int64_t) {
    const auto found = rows.find(IdAt(record, config.fields().meta_item(), "meta_item"));
    if (found == rows.end()) {
      ++unused;
      return;
    }
    repeated += described[found->second];
    described[found->second] = true;
    Item& item = catalogue.items[found->second];
    FillItem(record, config.fields(), item);
    item.title = UsableTitle(record, config.fields().title(), item.title);
  });
  facts.emplace_back("items without interactions dropped", Cat(unused));
  facts.emplace_back("repeated metadata lines dropped", Cat(repeated));
  facts.emplace_back("items without metadata", Cat(std::ranges::count(described, false)));
}

// Replaces a title that is missing or unusable.
void NameUntitled(config::CatalogueConfig::Untitled how, Catalogue& catalogue, Facts& facts) {
  using Config = config::CatalogueConfig;
  int64_t untitled = 0;
  for (Item& item : catalogue.items) {
    if (!item.title.empty()) continue;
    ++untitled;
    if (how == Config::NO_TITLE) item.title = "No Title";
    if (how != Config::DESCRIBE) continue;
    item.untitled = true;
    item.title = item.brand;
    if (!item.categories.empty())
      item.title += (item.title.empty() ? "" : " ") + item.categories.back();
    if (item.title.empty()) item.title = "item without a title";
  }
  facts.emplace_back("items without a title", Cat(untitled));
}

std::string CoreRule(const config::CoreFilter& core, int passes, size_t dropped) {
  const std::string counted =
      core.counted_rating() > 0 ? Cat(" of rating ", core.counted_rating(), " or more") : "";
  return Cat("users >= ", core.min_user(), ", items >= ", core.min_item(), counted, ", ",
             core.iterated() ? "iterated" : "single pass", ", ", passes, " passes, ", dropped,
             " interactions dropped");
}

}  // namespace

Catalogue ReadReviews(const config::CatalogueConfig& config, Facts& facts) {
  facts.emplace_back("source", "reviews");
  ReviewLines reviews = ParseReviews(config, /*texts=*/true, facts);
  SortByTime(reviews);
  const config::CoreFilter& core = config.core();
  const bool keep = core.duplicates() == config::CoreFilter::KEEP;
  facts.emplace_back("repeated user-item pairs dropped", Cat(keep ? 0 : DropRepeats(reviews)));
  const size_t before = reviews.all.size();
  const int passes = FilterCore(core, reviews);
  facts.emplace_back("core filter", CoreRule(core, passes, before - reviews.all.size()));
  if (reviews.all.empty())
    Fail(Exit::kData, config.reviews(), ": no interaction is left after the core filter; ",
         "lower catalogue.core.min_user or min_item");
  Catalogue catalogue = Number(std::move(reviews), config.order());
  const bool shuffled = config.order().ties() == config::OrderConfig::SHUFFLED;
  facts.emplace_back("order",
                     Cat("time; ties ", shuffled ? Cat("shuffled, seed ", config.order().seed())
                                                 : std::string("as in the file")));
  if (config.has_items()) {
    ReadMetadata(config, catalogue, facts);
    NameUntitled(config.untitled(), catalogue, facts);
  }
  return catalogue;
}

}  // namespace whyrec::data
