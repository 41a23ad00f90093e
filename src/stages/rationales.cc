// rationales.item and rationales.user: the texts ISRF has a language model write about every item
// (who would like it, who would not, both merged) and every user (likewise). records.jsonl.gz holds
// the texts, prompts.jsonl.gz the prompts.
#include <nlohmann/json.hpp>

#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/ragged.h"
#include "src/base/text_file.h"
#include "src/data/split.h"
#include "src/gen/isrf_chain.h"
#include "src/gen/record.h"
#include "src/stages/backend.h"
#include "src/stages/units.h"

namespace whyrec::stages {
namespace fs = std::filesystem;
namespace {

gen::ItemFacts ItemFactsOf(const data::Item& item) {
  return {item.title, item.brand, item.categories, item.description};
}

// The positions a user's profile may use: training positions, unless the published protocol is
// asked for.
Ragged<int64_t> ProfileHistories(const RunContext& context, const data::TrainView& train) {
  const auto published = data::PublishedProtocol::ForProfiles(context.config.rationales());
  if (!published) return train.histories;
  return data::LoadLabels(context.workspace.Of("split")).FullHistories(*published, train);
}

std::vector<std::string> ItemTraits(const RunContext& context, int64_t items) {
  std::vector<std::string> traits(static_cast<size_t>(items));
  gen::RecordReader reader(context.workspace.Of("rationales.item") / "records.jsonl.gz");
  for (gen::Record record; reader.Next(record);)
    if (record.step == "fused") traits.at(record.id) = record.answer.text;
  return traits;
}

// The last 20 entries, latest first. Only training positions have ratings and reviews.
gen::UserFacts UserFactsOf(const data::TrainView& train, std::span<const int64_t> history,
                           const std::vector<std::string>& traits, int64_t user) {
  gen::UserFacts facts;
  const int64_t first = train.histories.offsets[user];
  const auto trained = std::ssize(train.histories.row(user));
  for (int64_t i = std::ssize(history) - 1; i >= 0 && facts.purchases.size() < gen::kMostPurchases;
       --i) {
    const data::Item& item = train.items[history[i]];
    gen::Purchase purchase{item.title, item.brand, item.categories, traits[history[i]], 0, ""};
    if (i < trained && !train.ratings.empty()) purchase.rating = train.ratings[first + i];
    if (i < trained && !train.reviews.empty()) purchase.review = train.reviews[first + i];
    facts.purchases.push_back(std::move(purchase));
  }
  return facts;
}

// Lines of one unit.
struct Lines {
  std::string records, prompts;
  void Add(const gen::Request& request, const gen::Answer& answer) {
    records += gen::RecordLine(request, answer) + "\n";
    prompts += nlohmann::json{{"kind", request.kind},
                              {"id", request.id},
                              {"step", request.step},
                              {"prompt", request.prompt}}
                   .dump() +
               "\n";
  }
};

class Writer {
 public:
  Writer(const RunContext& context, const std::string& kind)
      : train_(data::LoadTrainView(context.workspace.Of("split"))), kind_(kind) {
    const auto& config = context.config.rationales();
    generator_ = MakeBackend(context, context.config, Prompts::kIsrf);
    attempts_ = config.attempts();
    if (kind == "item") return;
    histories_ = ProfileHistories(context, train_);
    traits_ = ItemTraits(context, train_.item_count());
  }

  int64_t total() const { return kind_ == "item" ? train_.item_count() : train_.user_count(); }
  std::string model() const { return generator_->name(); }

  // One unit: its records and its prompts, two gzip members.
  std::string Write(int64_t begin, int64_t end) {
    Lines lines;
    kind_ == "item" ? Items(begin, end, lines) : Users(begin, end, lines);
    const std::string records = Gzip(lines.records);
    return Cat(records.size(), "\n", records, Gzip(lines.prompts));
  }

 private:
  void Items(int64_t begin, int64_t end, Lines& lines) {
    std::vector<std::pair<int64_t, gen::ItemFacts>> block;
    for (int64_t i = begin; i < end; ++i) block.emplace_back(i, ItemFactsOf(train_.items[i]));
    const auto texts = gen::RunItemChain(*generator_, train_.domain, block, attempts_);
    for (size_t i = 0; i < block.size(); ++i) {
      const auto& [id, facts] = block[i];
      const auto& [pos, neg, fused] = texts[i];
      lines.Add({kind_, id, "pos", gen::ItemPosPrompt(train_.domain, facts), ""}, pos);
      lines.Add({kind_, id, "neg", gen::ItemNegPrompt(facts, pos.text), ""}, neg);
      lines.Add({kind_, id, "fused", gen::ItemFusedPrompt(facts, pos.text, neg.text), ""}, fused);
    }
  }

  void Users(int64_t begin, int64_t end, Lines& lines) {
    std::vector<std::pair<int64_t, gen::UserFacts>> block;
    for (int64_t u = begin; u < end; ++u)
      block.emplace_back(u, UserFactsOf(train_, histories_.row(u), traits_, u));
    const auto texts = gen::RunUserChain(*generator_, train_.domain, block, attempts_);
    for (size_t i = 0; i < block.size(); ++i) {
      const auto& [id, facts] = block[i];
      const auto& [pos, neg, fused] = texts[i];
      lines.Add({kind_, id, "pos", gen::UserPosPrompt(train_.domain, facts), ""}, pos);
      lines.Add({kind_, id, "neg", gen::UserNegPrompt(facts, pos.text), ""}, neg);
      lines.Add({kind_, id, "fused", gen::UserFusedPrompt(facts, pos.text, neg.text), ""}, fused);
    }
  }

  data::TrainView train_;
  std::string kind_;
  std::unique_ptr<gen::Generator> generator_;
  int64_t attempts_ = 1;
  Ragged<int64_t> histories_;
  std::vector<std::string> traits_;
};

}  // namespace

Stage RationalesStage(const config::RunConfig& config, const std::string& kind) {
  Stage stage{.name = "rationales." + kind,
              .revision = 2,  // records keep the raw answers
              .config_parts = {"rationales"},
              .inputs = {"split"},
              .kind = Kind::kLeased};
  if (kind == "user") stage.inputs.push_back("rationales.item");
  BackendNeedsOf(config, Prompts::kIsrf).AddTo(stage);
  stage.run = [kind](const RunContext& context, const fs::path& partial) -> Facts {
    Writer writer(context, kind);
    std::string records, prompts;  // gzip members in unit order are one gzip file
    const bool merged = DoUnits(
        context, partial,
        {"  texts", kind + "s", writer.total(), context.config.rationales().unit_size()},
        [&](int64_t begin, int64_t end) { return writer.Write(begin, end); },
        [&](const std::string& unit) {
          const size_t line = unit.find('\n'), size = std::stoull(unit);
          records += unit.substr(line + 1, size);
          prompts += unit.substr(line + 1 + size);
        });
    if (merged) {
      WriteDurably(partial / "records.jsonl.gz", records);
      WriteDurably(partial / "prompts.jsonl.gz", prompts);
    }
    return {{"texts", DescribeBackend(context.config)}};
  };
  return stage;
}

}  // namespace whyrec::stages
