// A made-up world for PULSE's scorer: titles of an adjective and a noun, users whose events are
// random items, and reasons that name the adjective of the item that comes next. Histories tell
// nothing, reasons all; with `cards` titles do, too: what comes next is always a card.
#pragma once

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "src/base/facts.h"
#include "src/base/log.h"
#include "src/base/rng.h"
#include "src/config/run_config.h"
#include "src/gen/reason_pool.h"
#include "src/nn/numeric.h"
#include "src/systems/pulse/language.h"
#include "src/systems/system.h"
#include "tests/store/temporary.h"

namespace whyrec::systems {

namespace fs = std::filesystem;

inline const std::vector<std::string> kAdjectives = {
    "red",   "blue",  "green", "black", "white", "small", "large", "soft",  "hard",  "warm",
    "cold",  "sweet", "sour",  "fresh", "dry",   "light", "dark",  "quick", "slow",  "loud",
    "quiet", "round", "flat",  "thin",  "thick", "old",   "new",   "plain", "fancy", "cheap"};
inline const std::vector<std::string> kNouns = {"card", "box",  "cup",  "bag",   "book",
                                                "lamp", "game", "ring", "shirt", "clock"};

inline const char* const kPhiTokenizer = WHYREC_SOURCE_DIR "/examples/phi-tokenizer/tokenizer.json";

struct PulseWorld {
  PulseWorld(int64_t users, const std::vector<std::string>& overrides, bool cards = false)
      : config(Load(overrides)), split(data::MakeSplit(Catalogue(users, cards), config.split())) {
    SetProgressMode(ProgressMode::kNone);
    nn::SetThreads(1);
    config = config::WithTraining(config, config.pulse().scorer().train());
    SaveReasons();
  }

  // The artefact "language": trained as the configuration says.
  Facts TrainBase(cluster::Communicator& comm) const {
    fs::create_directories(folder / "language");
    return TrainLanguage(config, split.train, comm, folder / "language");
  }

  std::unique_ptr<Recommender> Build(const std::string& variant = "THOUGHT") const {
    const System& system = FindSystem("pulse");
    BuildContext context{.config = config, .train = split.train, .knobs = {}, .variant = variant};
    for (const std::string& need : system.needs(config, variant))
      context.artefacts[need] = folder / need;
    return system.build(context);
  }

  Facts Train(Recommender& system, cluster::Communicator& comm, const fs::path& into) const {
    fs::create_directories(into);
    TrainContext context{.labels = split.labels,
                         .negative_exclusion = split.train.histories,
                         .comm = comm,
                         .folder = into};
    return system.Train(context);
  }

  std::vector<Query> TestQueries() const {
    std::vector<Query> queries;
    for (int64_t user = 0; user < split.train.user_count(); ++user)
      queries.push_back({user, split.labels.InputHistory(data::Phase::kTest, split.train, user),
                         split.labels.Candidates(data::Phase::kTest, user)});
    return queries;
  }

  // HR@1 of the test, ties against the system.
  double TestHits(Recommender& system) const {
    const auto queries = TestQueries();
    double hits = 0;
    for (size_t begin = 0; begin < queries.size(); begin += 50) {
      const std::vector<Query> part(
          queries.begin() + static_cast<std::ptrdiff_t>(begin),
          queries.begin() + static_cast<std::ptrdiff_t>(std::min(begin + 50, queries.size())));
      const auto predictions = system.Predict(Task::kDirect, part);
      for (size_t i = 0; i < part.size(); ++i) {
        const int64_t target = split.labels.Target(data::Phase::kTest, part[i].user);
        const auto place = std::ranges::find(part[i].candidates, target);
        hits +=
            eval::HitRate(eval::RankOf(predictions[i].scores, place - part[i].candidates.begin()),
                          1, eval::Ties::kPessimistic);
      }
    }
    return hits / static_cast<double>(queries.size());
  }

  Temporary folder;
  config::RunConfig config;
  data::Split split;

 private:
  config::RunConfig Load(const std::vector<std::string>& overrides) const {
    std::ofstream(folder / "run.txtpb")
        << "split { direct_negatives: 9 train_candidates: true }\n"
           "pulse {\n"
           "  language { tokenizer: \""
        << kPhiTokenizer
        << "\" width: 32 inner: 64 layers: 2 heads: 4 key_heads: 2 text_tokens: 32\n"
           "    train { steps: 20 epoch_steps: 20 global_batch: 8 weight_decay: 0 } }\n"
           "  scorer { train_weights: FULL dropout: 0.1 validation_users: 40\n"
           "    train { steps: 6 epoch_steps: 3 global_batch: 5 weight_decay: 0 } }\n"
           "}\n"
           "train { patience: 1000 }\n"
           "execution { device: \"cpu\" }\n";  // ranks are threads
    return config::Load(folder / "run.txtpb", overrides);
  }

  static data::Catalogue Catalogue(int64_t users, bool cards) {
    data::Catalogue out;
    out.dataset = "made-up";
    out.domain = "thing";
    for (const std::string& adjective : kAdjectives)
      for (const std::string& noun : kNouns)
        out.items.push_back({.id = adjective + noun,
                             .title = adjective + " " + noun,
                             .brand = {},
                             .categories = {noun},
                             .description = {}});
    for (int64_t user = 0; user < users; ++user) {
      Rng rng(3, "made-up events", 0, static_cast<uint64_t>(user));
      auto items = rng.Permutation(out.item_count());
      if (cards) {  // two other things, then cards
        const auto is_card = [](int64_t item) {
          return item % static_cast<int64_t>(kNouns.size()) == 0;
        };
        std::ranges::stable_partition(items, is_card);
        std::rotate(items.begin(), items.end() - 2, items.end());
      }
      items.resize(5);
      out.users.push_back("u" + std::to_string(user));
      out.histories.Append(items);
      for (const int64_t item : items) {
        out.times.push_back(std::ssize(out.times));
        out.ratings.push_back(5);
        out.reviews.push_back("I like this " + out.items[static_cast<size_t>(item)].title + ".");
      }
    }
    return out;
  }

  // The adjective of the item, in a sentence.
  gen::ChosenReason ReasonFor(int64_t item) const {
    const std::string& title = split.train.items[static_cast<size_t>(item)].title;
    return {.node = 0,
            .score = 0.5,
            .text = "The customer looks for something " + title.substr(0, title.find(' ')) +
                    " at the moment."};
  }

  void SaveReasons() const {
    gen::ChosenReasons choices;
    for (int64_t user = 0; user < split.train.user_count(); ++user) {
      choices["train"].push_back(ReasonFor(split.train.histories.row(user).back()));
      choices["validation"].push_back(
          ReasonFor(split.labels.Target(data::Phase::kValidation, user)));
      choices["test"].push_back(ReasonFor(split.labels.Target(data::Phase::kTest, user)));
    }
    for (const char* select : {"select.thought", "select.base", "select.oracle", "select.blind"}) {
      fs::create_directories(folder / select);
      gen::SaveChosen(choices, folder / select / "selection.h5");
    }
  }
};

}  // namespace whyrec::systems
