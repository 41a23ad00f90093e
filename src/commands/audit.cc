// audit: the leak rules and the counts of a data set, without a run.
#include <cstdio>
#include <iostream>

#include "src/commands/commands.h"
#include "src/config/run_config.h"
#include "src/data/audit.h"
#include "src/data/count_report.h"

namespace whyrec::commands {
namespace fs = std::filesystem;
namespace {

data::Numbering AsGiven(const data::Catalogue& catalogue) {
  data::Numbering numbers;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) numbers.user.push_back(u + 1);
  for (int64_t i = 0; i < catalogue.item_count(); ++i) {
    numbers.item.push_back(i + 1);
    numbers.item_row.push_back(i);
  }
  return numbers;
}

std::vector<data::AuditValue> Rules(const data::NumberedSequences& data, const std::string& suffix,
                                    uint64_t seed) {
  std::vector<data::AuditValue> all;
  for (auto&& part : {data::RuleR1(data), data::RuleR2(data), data::RuleR3(data),
                      data::RuleDigitCount(data, seed)})
    for (data::AuditValue value : part) {
      value.check += suffix;
      all.push_back(value);
    }
  return all;
}

}  // namespace

void Audit(const fs::path& source, const std::string& format) {
  config::CatalogueConfig catalogue_config;
  config::SplitConfig split;
  if (fs::is_directory(source)) {
    catalogue_config.set_folder(source.string());
  } else {
    const config::RunConfig config = config::ByProtocol(config::Load(source)).front();
    catalogue_config = config.catalogue();
    split = config.split();
  }
  Facts facts;
  const data::Catalogue whole = data::ReadSource(catalogue_config, facts);
  const data::Catalogue catalogue = data::ApplyShortUsers(whole, split.short_users());
  const auto numbered = [&](const data::Numbering& numbers) {
    return data::Number(catalogue, numbers, split.held_out());
  };
  auto values = Rules(numbered(AsGiven(catalogue)), "", split.negative_seed());
  split.set_item_ids(config::SplitConfig::PERMUTED);
  split.set_user_ids(config::SplitConfig::PERMUTED);
  const data::Split strict = data::MakeSplit(catalogue, split);
  for (auto&& part : {Rules(numbered(strict.train.numbers), ", renumbered", split.negative_seed()),
                      data::TieOrder(catalogue_config)})
    values.insert(values.end(), part.begin(), part.end());
  const auto counts = data::CountReport(catalogue_config);
  if (format == "json") {
    for (const auto& value : data::CountValues(counts)) values.push_back(value);
    std::cout << data::AuditJson(values);
    return;
  }
  std::printf("%-44s %-8s %8s %8s\n", "check", "metric", "value", "users");
  for (const auto& v : values)
    std::printf("%-44s %-8s %8.4f %8lld\n", v.check.c_str(), v.metric.c_str(), v.value,
                static_cast<long long>(v.users));
  if (counts.empty()) return;
  auto rows = counts;
  rows.push_back(data::CountsOf(whole));
  std::cout << "\n" << data::CountTable(rows);
  if (const auto* published = data::FindPublishedCounts(catalogue.dataset))
    std::cout << data::DataMismatch(*published, rows.back())
                     .value_or("the catalogue is that of the paper's table")
              << "\n";
}

}  // namespace whyrec::commands
