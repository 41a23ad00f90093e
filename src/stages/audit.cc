// audit: how often rules that look at item and user numbers only (src/data/audit.h) find the
// target. Under STRICT such a rule must not beat counting purchases; if it does, the run ends with
// code 65. Also counts what the source holds under each core filter that a paper may have meant.
#include "src/data/audit.h"

#include <algorithm>
#include <cmath>

#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/data/count_models.h"
#include "src/data/count_report.h"
#include "src/eval/metrics.h"
#include "src/stages/stage.h"

namespace whyrec::stages {
namespace {

// HR@10 of popularity on the test targets, history masked, ties at their expected rank: what no
// rule may exceed.
double PopularityBar(const data::TrainView& train, const data::LabelStore& labels) {
  const auto scores = data::Popularity(train.histories, train.item_count());
  const std::vector<int64_t> users = labels.EvaluatedUsers(data::Phase::kTest);
  double sum = 0;
  for (int64_t user : users) {
    std::vector<uint8_t> mask(scores.size(), 0);
    for (int64_t item : labels.InputHistory(data::Phase::kTest, train, user)) mask[item] = 1;
    const auto rank = eval::RankOf(scores, labels.Target(data::Phase::kTest, user), mask);
    sum += eval::HitRate(rank, 10, eval::Ties::kExpected);
  }
  return users.empty() ? 0 : sum / static_cast<double>(users.size());
}

void CheckStrict(const std::vector<data::AuditValue>& values, double bar, int64_t items) {
  const double allowed = std::max(bar, 10.0 / static_cast<double>(items));
  for (const auto& v : values) {
    if (v.metric != "HR@10" || !v.check.starts_with("R")) continue;
    const double slack = 3 * std::sqrt(allowed * (1 - allowed) / static_cast<double>(v.users));
    if (v.value > allowed + slack)
      Fail(Exit::kData, "STRICT audit: rule ", v.check,
           ", which looks at item and user numbers only, reaches HR@10 ", v.value,
           " where counting purchases reaches ", bar,
           "; set split.item_ids and split.user_ids to PERMUTED, or protocol: AS_PUBLISHED");
  }
}

// Under AS_PUBLISHED, whether the data are those of the paper's table, where that names them.
Facts Mismatch(const config::RunConfig& config, const data::Catalogue& catalogue) {
  const auto* published = data::FindPublishedCounts(catalogue.dataset);
  if (config.protocol() != config::RunConfig::AS_PUBLISHED || published == nullptr) return {};
  const auto mismatch = data::DataMismatch(*published, data::CountsOf(catalogue));
  if (mismatch) Warn(Cat("the data differ from the paper's: ", *mismatch));
  return {{"data_mismatch", mismatch ? "true: " + *mismatch : "false"}};
}

}  // namespace

Stage AuditStage(const config::RunConfig& config) {
  Stage stage{.name = "audit",
              .revision = 2,
              .config_parts = {"catalogue", "protocol", "split"},
              .inputs = {"catalogue", "split"}};
  // The tie-order check reads the source again, under other orders.
  stage.files = CatalogueStage(config).files;
  stage.run = [](const RunContext& context, const std::filesystem::path& partial) -> Facts {
    const auto& workspace = context.workspace;
    const auto catalogue = data::LoadCatalogue(workspace.Of("catalogue") / "catalogue.h5");
    const auto train = data::LoadTrainView(workspace.Of("split"));
    const auto labels = data::LoadLabels(workspace.Of("split"));
    const auto& split = context.config.split();
    const auto numbered = data::Number(data::ApplyShortUsers(catalogue, split.short_users()),
                                       train.numbers, split.held_out());
    std::vector<data::AuditValue> values;
    for (auto&& part : {data::RuleR1(numbered), data::RuleR2(numbered), data::RuleR3(numbered),
                        data::RuleDigitCount(numbered, split.negative_seed()),
                        data::TieOrder(context.config.catalogue())})
      values.insert(values.end(), part.begin(), part.end());
    if (context.config.protocol() == config::RunConfig::STRICT)
      CheckStrict(values, PopularityBar(train, labels), train.item_count());
    const auto counts = data::CountValues(data::CountReport(context.config.catalogue()));
    values.insert(values.end(), counts.begin(), counts.end());
    WriteDurably(partial / "audit.json", data::AuditJson(values));
    return Mismatch(context.config, catalogue);
  };
  return stage;
}

}  // namespace whyrec::stages
