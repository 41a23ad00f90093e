// Reviews and item metadata as JSON lines. Order of work: stable sort by time within a user, first
// interaction of a user and an item kept, core filter, ties, numbers by first appearance.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <utility>

#include "src/base/error.h"
#include "src/data/catalogue.h"
#include "src/data/clean_text.h"
#include "src/data/json_lines.h"

namespace whyrec::data {
namespace {

// Ids in the order of their first appearance.
struct Names {
  std::unordered_map<std::string, int32_t> index;
  std::vector<std::string> names;

  int32_t Of(const std::string& name) {
    const auto [at, is_new] = index.try_emplace(name, static_cast<int32_t>(names.size()));
    if (is_new) names.push_back(name);
    return at->second;
  }
};

struct Review {
  int32_t user, item;
  int64_t time;
  float rating;
  std::string text;
};

struct Reviews {
  Names users, items;
  std::vector<Review> all;
};

// A number, or a text that holds one; no larger than any time stamp.
std::optional<double> NumberAt(const Json& record, const std::string& key) {
  constexpr double kLargest = 1e15;
  const auto found = record.find(key);
  if (found == record.end()) return std::nullopt;
  double value = 0;
  if (found->is_string()) {
    const auto& text = found->get_ref<const std::string&>();
    char* end = nullptr;
    value = std::strtod(text.c_str(), &end);
    if (end == text.c_str() || *end != '\0') return std::nullopt;
  } else if (found->is_number()) {
    value = found->get<double>();
  } else {
    return std::nullopt;
  }
  return std::abs(value) <= kLargest ? std::optional(value) : std::nullopt;  // NaN is none either
}

// An id: a text as it stands, or a number.
std::string IdAt(const Json& record, const std::string& key, const char* field) {
  const auto found = record.find(key);
  if (found != record.end() && found->is_number_integer()) return found->dump();
  if (found == record.end() || !found->is_string() || found->get_ref<const std::string&>().empty())
    throw BadLine{Cat("no key \"", key, "\" with an id; see catalogue.fields.", field)};
  return found->get<std::string>();
}

Reviews ParseReviews(const config::CatalogueConfig& config, Facts& facts) {
  const config::FieldMap& fields = config.fields();
  constexpr double kMilliseconds = 1e11;  // later than any second of this millennium
  Reviews out;
  ReadJsonLines(config.reviews(), config.max_bad_lines(), facts, [&](const Json& record, int64_t) {
    const std::string user = IdAt(record, fields.user(), "user");
    const std::string item = IdAt(record, fields.item(), "item");
    const std::optional<double> time = NumberAt(record, fields.time());
    if (!time) throw BadLine{Cat("no number \"", fields.time(), "\"; see catalogue.fields.time")};
    const auto text = record.find(fields.text());
    out.all.push_back(
        {out.users.Of(user), out.items.Of(item),
         static_cast<int64_t>(*time > kMilliseconds ? *time / 1000 : *time),
         static_cast<float>(NumberAt(record, fields.rating()).value_or(0)),
         text != record.end() && text->is_string() ? CleanText(text->get<std::string>()) : ""});
  });
  return out;
}

// Sorts and keeps the first interaction of every user and item.
void OrderAndDeduplicate(Reviews& reviews, Facts& facts) {
  std::ranges::stable_sort(reviews.all, {},
                           [](const Review& r) { return std::pair(r.user, r.time); });
  std::vector<int32_t> last_user(reviews.items.names.size(), -1);
  const auto dropped = std::erase_if(reviews.all, [&](const Review& r) {
    return std::exchange(last_user[static_cast<size_t>(r.item)], r.user) == r.user;
  });
  facts.emplace_back("repeated user-item pairs dropped", Cat(dropped));
}

void FilterCore(const config::CoreFilter& core, Reviews& reviews, Facts& facts) {
  const size_t before = reviews.all.size();
  int passes = 0;
  size_t dropped = 0;
  do {
    std::vector<int64_t> of_user(reviews.users.names.size()), of_item(reviews.items.names.size());
    for (const Review& r : reviews.all) {
      ++of_user[static_cast<size_t>(r.user)];
      ++of_item[static_cast<size_t>(r.item)];
    }
    dropped = std::erase_if(reviews.all, [&](const Review& r) {
      return of_user[static_cast<size_t>(r.user)] < core.min_user() ||
             of_item[static_cast<size_t>(r.item)] < core.min_item();
    });
    ++passes;
  } while (core.iterated() && dropped > 0);
  facts.emplace_back("core filter",
                     Cat("users >= ", core.min_user(), ", items >= ", core.min_item(), ", ",
                         core.iterated() ? "iterated" : "single pass", ", ", passes, " passes, ",
                         before - reviews.all.size(), " interactions dropped"));
}

// One user's reviews, ordered by time, go to the end of the catalogue.
void AppendUser(std::span<Review> own, const config::OrderConfig& order, std::vector<int64_t>& rows,
                const Names& item_names, Catalogue& out) {
  std::vector<int64_t> times, history;
  for (const Review& r : own) times.push_back(r.time);
  std::vector<int64_t> positions(own.size());
  std::iota(positions.begin(), positions.end(), 0);
  if (order.ties() == config::OrderConfig::SHUFFLED)
    positions = ShuffledTies(times, order.seed(), out.user_count() - 1);
  for (int64_t position : positions) {
    Review& review = own[static_cast<size_t>(position)];
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

// Users in the order of the file, items in the order of the users' histories.
Catalogue Number(Reviews reviews, const config::OrderConfig& order) {
  Catalogue out;
  std::vector<int64_t> rows(reviews.items.names.size(), -1);
  for (auto begin = reviews.all.begin(); begin != reviews.all.end();) {
    const auto end = std::find_if(begin, reviews.all.end(),
                                  [&](const Review& r) { return r.user != begin->user; });
    out.users.push_back(reviews.users.names[static_cast<size_t>(begin->user)]);
    AppendUser({begin, end}, order, rows, reviews.items, out);
    begin = end;
  }
  if (std::ranges::all_of(out.ratings, [](float r) { return r == 0; })) out.ratings.clear();
  if (std::ranges::all_of(out.reviews, &std::string::empty)) out.reviews.clear();
  return out;
}

void ReadMetadata(const config::CatalogueConfig& config, Catalogue& catalogue, Facts& facts) {
  std::unordered_map<std::string, size_t> rows;
  for (size_t i = 0; i < catalogue.items.size(); ++i) rows.emplace(catalogue.items[i].id, i);
  std::vector<bool> described(catalogue.items.size(), false);
  int64_t unused = 0, repeated = 0;
  ReadJsonLines(config.items(), config.max_bad_lines(), facts, [&](const Json& record, int64_t) {
    const auto found = rows.find(IdAt(record, config.fields().meta_item(), "meta_item"));
    if (found == rows.end()) {
      ++unused;
    } else if (described[found->second]) {
      ++repeated;
    } else {
      described[found->second] = true;
      FillItem(record, config.fields(), catalogue.items[found->second]);
    }
  });
  facts.emplace_back("items without interactions dropped", Cat(unused));
  facts.emplace_back("repeated metadata lines dropped", Cat(repeated));
  facts.emplace_back("items without metadata", Cat(std::ranges::count(described, false)));
}

}  // namespace

Catalogue ReadReviews(const config::CatalogueConfig& config, Facts& facts) {
  facts.emplace_back("source", "reviews");
  Reviews reviews = ParseReviews(config, facts);
  OrderAndDeduplicate(reviews, facts);
  FilterCore(config.core(), reviews, facts);
  if (reviews.all.empty())
    Fail(Exit::kData, config.reviews(), ": no interaction is left after the core filter; ",
         "lower catalogue.core.min_user or min_item");
  Catalogue catalogue = Number(std::move(reviews), config.order());
  const bool shuffled = config.order().ties() == config::OrderConfig::SHUFFLED;
  facts.emplace_back("order",
                     Cat("time; ties ", shuffled ? Cat("shuffled, seed ", config.order().seed())
                                                 : std::string("as in the file")));
  if (config.has_items()) ReadMetadata(config, catalogue, facts);
  return catalogue;
}

}  // namespace whyrec::data
