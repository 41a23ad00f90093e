// A small world for the systems that train: users of the Gift Cards set, a split, artefact folders
// with drawn vectors, and a backbone that fits a test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "src/base/facts.h"
#include "src/base/log.h"
#include "src/base/rng.h"
#include "src/config/run_config.h"
#include "src/data/catalogue.h"
#include "src/data/split.h"
#include "src/graph/graphs.h"
#include "src/nn/numeric.h"
#include "src/nn/top_k.h"
#include "src/store/hdf5_file.h"
#include "src/store/safetensors.h"
#include "src/systems/system.h"
#include "tests/data/shared_data.h"
#include "tests/store/temporary.h"

namespace whyrec::systems {

namespace fs = std::filesystem;

// The first `users` users with all items.
inline data::Catalogue GiftCardUsers(int64_t users) {
  Facts facts;
  data::Catalogue all = data::ReadReviews(
      data::GiftCards(fs::path(WHYREC_SOURCE_DIR) / "examples/gift-cards"), facts);
  const auto values = static_cast<size_t>(all.histories.offsets.at(static_cast<size_t>(users)));
  all.users.resize(static_cast<size_t>(users));
  all.histories.offsets.resize(static_cast<size_t>(users) + 1);
  all.histories.values.resize(values);
  all.times.resize(values);
  all.ratings.resize(values);
  all.reviews.resize(values);
  return all;
}

// A STRICT configuration of a small T5 and nine negatives; overrides as on the command line.
inline config::RunConfig SmallConfig(const fs::path& folder,
                                     const std::vector<std::string>& overrides) {
  std::ofstream(folder / "run.txtpb")
      << "split { direct_negatives: 9 }\n"
         "isrf {\n"
         "  backbone { d_model: 16 d_ff: 32 d_kv: 4 heads: 4 layers: 1\n"
         "    tokenizer: \"" WHYREC_SOURCE_DIR
         "/examples/t5-tokenizer/spiece.model\" }\n"
         "  explanation_tokens: 6\n"
         "}\n"
         "train { global_batch: 7 dropout: 0.1 validation_users: 8 patience: 1000 }\n"
         "execution { device: \"cpu\" }\n";  // ranks are threads
  return config::Load(folder / "run.txtpb", overrides);
}

inline HostTensor DrawnVectors(const char* name, int64_t rows, int64_t width) {
  HostTensor out = HostTensor::Zeros(DType::kF32, {rows, width});
  Rng(1, name).FillNormal(out.values<float>(), 0.1);
  return out;
}

struct World {
  World(int64_t users, const std::vector<std::string>& overrides)
      : World(GiftCardUsers(users), overrides) {}
  World(const data::Catalogue& catalogue, const std::vector<std::string>& overrides)
      : config(SmallConfig(folder.path(), overrides)),
        split(data::MakeSplit(catalogue, config.split())) {
    WriteInputs();
  }
  // The catalogue that the configuration names.
  explicit World(config::RunConfig given)
      : config(std::move(given)), split(data::MakeSplit(Read(config), config.split())) {
    config.mutable_execution()->set_device("cpu");  // ranks are threads
    WriteInputs();
  }

  std::unique_ptr<Recommender> Build(const std::string& name = "isrf") const {
    const System& system = FindSystem(name);
    config::SystemConfig chosen;
    for (const auto& given : config.system())
      if (given.name() == name) chosen = given;
    BuildContext context{.config = config,
                         .train = split.train,
                         .knobs = KnobValues(system, chosen),
                         .variant = chosen.variant()};
    for (const std::string& need : system.needs(config, chosen.variant()))
      context.artefacts[need] = folder / need;
    return system.build(context);
  }

  // Negatives avoid training items, as under STRICT.
  Facts Train(Recommender& system, cluster::Communicator& comm, const fs::path& into) const {
    TrainContext context{.labels = split.labels,
                         .negative_exclusion = split.train.histories,
                         .comm = comm,
                         .folder = into};
    return system.Train(context);
  }

  Temporary folder;
  config::RunConfig config;
  data::Split split;

 private:
  static data::Catalogue Read(const config::RunConfig& config) {
    Facts facts;
    return data::ReadSource(config.catalogue(), facts);
  }

  // Stands for the stages before training.
  void WriteInputs() const {
    SetProgressMode(ProgressMode::kNone);
    nn::SetThreads(1);  // ranks are threads themselves
    fs::create_directories(folder / "graphs");
    fs::create_directories(folder / "embeddings");
    const int64_t users = split.train.user_count(), items = split.train.item_count();
    store::Hdf5Writer file(folder / "graphs" / "graph.h5");
    graph::Save(graph::InteractionGraph(split.train.histories, items), file, "interactions");
    const HostTensor profiles = DrawnVectors("users", users, 8);
    graph::Save(graph::UserGraph(nn::TopKCosine(profiles, std::min<int64_t>(5, users - 1))), file,
                "users");
    file.Close();
    store::WriteSafetensors(folder / "embeddings" / "embeddings.safetensors",
                            {{"items_pca", DrawnVectors("items", items, 12)}});
  }
};

}  // namespace whyrec::systems
