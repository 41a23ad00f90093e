#include "src/data/review_lines.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <tuple>
#include <utility>

#include "src/base/error.h"
#include "src/data/clean_text.h"
#include "src/data/json_lines.h"

namespace whyrec::data {
namespace {

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

}  // namespace

int32_t Names::Of(const std::string& name) {
  const auto [at, is_new] = index.try_emplace(name, static_cast<int32_t>(names.size()));
  if (is_new) names.push_back(name);
  return at->second;
}

ReviewLines ParseReviews(const config::CatalogueConfig& config, bool texts, Facts& facts) {
  const config::FieldMap& fields = config.fields();
  constexpr double kMilliseconds = 1e11;  // later than any second of this millennium
  ReviewLines out;
  ReadJsonLines(config.reviews(), config.max_bad_lines(), facts, [&](const Json& record, int64_t) {
    const std::string user = IdAt(record, fields.user(), "user");
    const std::string item = IdAt(record, fields.item(), "item");
    const std::optional<double> time = NumberAt(record, fields.time());
    if (!time) throw BadLine{Cat("no number \"", fields.time(), "\"; see catalogue.fields.time")};
    const auto text = record.find(fields.text());
    const bool has_text = texts && text != record.end() && text->is_string();
    out.all.push_back({out.users.Of(user), out.items.Of(item), std::ssize(out.all),
                       static_cast<int64_t>(*time > kMilliseconds ? *time / 1000 : *time),
                       static_cast<float>(NumberAt(record, fields.rating()).value_or(0)),
                       has_text ? CleanText(text->get<std::string>()) : ""});
  });
  return out;
}

void SortByTime(ReviewLines& reviews) {
  std::ranges::sort(reviews.all, {},
                    [](const ReviewLine& r) { return std::tuple(r.user, r.time, r.line); });
}

int64_t DropRepeats(ReviewLines& reviews) {
  std::vector<int32_t> last_user(reviews.items.names.size(), -1);
  return static_cast<int64_t>(std::erase_if(reviews.all, [&](const ReviewLine& r) {
    return std::exchange(last_user[static_cast<size_t>(r.item)], r.user) == r.user;
  }));
}

int FilterCore(const config::CoreFilter& core, ReviewLines& reviews) {
  int passes = 0;
  size_t dropped = 0;
  do {
    std::vector<int64_t> of_user(reviews.users.names.size()), of_item(reviews.items.names.size());
    for (const ReviewLine& r : reviews.all) {
      if (r.rating < core.counted_rating()) continue;
      ++of_user[static_cast<size_t>(r.user)];
      ++of_item[static_cast<size_t>(r.item)];
    }
    dropped = std::erase_if(reviews.all, [&](const ReviewLine& r) {
      return of_user[static_cast<size_t>(r.user)] < core.min_user() ||
             of_item[static_cast<size_t>(r.item)] < core.min_item();
    });
    ++passes;
  } while (core.iterated() && dropped > 0);
  return passes;
}

}  // namespace whyrec::data
