// The counting systems through the whole chain, against figures that were computed elsewhere on the
// same files (data/README.md: training counts, last item out, all items ranked; four digits).
#include <nlohmann/json.hpp>

#include "src/base/text_file.h"
#include "src/systems/system.h"
#include "tests/data/shared_data.h"
#include "tests/stages/run.h"

namespace whyrec::stages {
namespace {

using data::SharedData;                         // for WR_SHARED_DATA
using Figures = std::map<std::string, double>;  // "task metric"

Figures FiguresOf(const fs::path& workspace, const std::string& system) {
  Figures out;
  const auto rows =
      nlohmann::json::parse(ReadFile(workspace / ("metrics." + system) / "metrics.json"));
  for (const auto& row : rows)
    out[row.at("task").get<std::string>() + " " + row.at("metric").get<std::string>()] =
        row.at("value");
  return out;
}

Figures Sequential(double hr5, double ndcg5, double hr10, double ndcg10) {
  return {{"sequential HR@5", hr5},
          {"sequential NDCG@5", ndcg5},
          {"sequential HR@10", hr10},
          {"sequential NDCG@10", ndcg10}};
}

void ExpectNear(const Figures& got, const Figures& want, double tolerance,
                const std::string& what) {
  for (const auto& [name, value] : want)
    EXPECT_NEAR(got.at(name), value, tolerance) << what << ": " << name;
}

struct Table {
  Figures popularity, popularity_masked, markov, markov_masked, popularity_direct;
  double tolerance = 5e-4;
};

// File order and the file's numbers, as in the figures. The catalogue is read once; a knob of a
// system reruns that system alone.
void Compare(const Names& source, const Table& want) {
  Names overrides = {"protocol=AS_PUBLISHED", "metrics.bootstrap=100", "predict.batch_users=4096"};
  overrides.insert(overrides.end(), source.begin(), source.end());
  const Temporary folder;
  std::ofstream(folder / "counting.txtpb") << "system { name: \"popularity\" }\n"
                                              "system { name: \"markov\" }\n";
  for (bool masked : {true, false}) {
    if (!masked)
      for (const char* i : {"0", "1"})
        overrides.push_back(Cat("system[", i, "].knobs.mask_history=false"));
    const Names ran =
        RunAlone(config::Load(folder / "counting.txtpb", overrides), folder / "workspace");
    EXPECT_EQ(ran.size(), masked ? 10u : 7u);
    const Figures popularity = FiguresOf(folder / "workspace", "popularity");
    ExpectNear(popularity, masked ? want.popularity_masked : want.popularity, want.tolerance,
               masked ? "popularity, masked" : "popularity");
    ExpectNear(FiguresOf(folder / "workspace", "markov"), masked ? want.markov_masked : want.markov,
               want.tolerance, masked ? "markov, masked" : "markov");
    // Its candidates are another draw: three standard errors of a share.
    ExpectNear(popularity, want.popularity_direct, 0.013, "popularity, direct");
  }
}

Figures Direct(double hr5, double ndcg5, double hr10, double ndcg10) {
  return {{"direct HR@5", hr5},
          {"direct NDCG@5", ndcg5},
          {"direct HR@10", hr10},
          {"direct NDCG@10", ndcg10}};
}

TEST(Baselines, Beauty) {
  WR_SHARED_DATA(folder, "beauty");
  Compare(Names{"catalogue.folder=" + folder->string()},
          {.popularity = Sequential(.0073, .0040, .0114, .0053),
           .popularity_masked = Sequential(.0074, .0041, .0115, .0055),
           .markov = Sequential(.0504, .0377, .0656, .0427),
           .markov_masked = Sequential(.0514, .0390, .0666, .0439),
           .popularity_direct = Direct(.172, .112, .289, .149)});
}

TEST(Baselines, Toys) {
  WR_SHARED_DATA(folder, "toys");
  Compare(Names{"catalogue.folder=" + folder->string()},
          {.popularity = Sequential(.0055, .0038, .0089, .0049),
           .popularity_masked = Sequential(.0055, .0038, .0090, .0049),
           .markov = Sequential(.0576, .0431, .0705, .0474),
           .markov_masked = Sequential(.0585, .0439, .0706, .0479),
           .popularity_direct = Direct(.153, .101, .240, .129)});
}

TEST(Baselines, GiftCards) {
  const std::string data = kGiftCards;
  Compare(Names{"catalogue.reviews=" + data + "/reviews.jsonl.gz",
                "catalogue.items=" + data + "/items.jsonl.gz", "catalogue.fields.user=user",
                "catalogue.fields.time=time", "catalogue.fields.rating=rating",
                "catalogue.fields.text=text"},
          {.popularity = Sequential(.0742, .0443, .0983, .0520),
           .popularity_masked = {{"sequential HR@10", .122}},
           .markov = Sequential(.2096, .1458, .3035, .1755),
           // One of 458 users has a tie across place 5, which counts by half here, by lot there.
           .tolerance = .5 / 458 + 5e-5});
}

}  // namespace
}  // namespace whyrec::stages
