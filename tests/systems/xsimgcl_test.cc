// XSimGCL against a dense reference with the same noise (tests/golden/make_xsimgcl.py), in slices,
// and over ranks.
#include "src/systems/xsimgcl.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "src/tensor/bridge.h"
#include "tests/golden/bound.h"
#include "tests/golden/folder.h"
#include "tests/systems/histories.h"
#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

constexpr int64_t kGoldenUsers = 6, kGoldenItems = 9;

// The golden edges as training events, with two more events that are held out.
data::Catalogue CatalogueOfEdges(const HostTensor& edges) {
  Histories histories(kGoldenUsers);
  for (int64_t e = 0; e < edges.dim(0); ++e) {
    const auto edge = edges.row<int64_t>(e);
    histories[static_cast<size_t>(edge[0])].push_back(edge[1]);
  }
  for (auto& row : histories)
    for (int64_t item = 0, more = 0; more < 2; ++item)
      if (std::ranges::count(row, item) == 0) row.push_back(item), ++more;
  return CatalogueOf(histories, kGoldenItems);
}

struct XSimGclGolden {
  explicit XSimGclGolden(bool fp64)
      : tensors(store::ReadSafetensors(kGolden / "xsimgcl_golden.safetensors")),
        world(CatalogueOfEdges(tensors.at("edges")),
              {"system[0].name=xsimgcl", "system[0].knobs.dim=8", "system[0].knobs.l2=0.01",
               "split.direct_negatives=2", fp64 ? "train.dtype=FP64" : "train.dtype=FP32"}),
        model(Context()) {
    const c10::NoGradGuard no_grad;
    model.parameters().Get("nodes").detach().copy_(tensor::View(tensors.at("nodes")));
    model.UseNoise([this](const at::Tensor& z, int64_t k) {
      return tensor::View(tensors.at(Cat("noise.", k))).to(z.scalar_type());
    });
  }

  BuildContext Context() const {
    const System& system = FindSystem("xsimgcl");
    return {.config = world.config,
            .train = world.split.train,
            .knobs = KnobValues(system, world.config.system(0)),
            .artefacts = {{"graphs", world.folder / "graphs"}}};
  }

  // Pairs begin .. end - 1 of the batch, with their share of the anchors.
  ranking::Examples Examples(int64_t begin, int64_t end) const {
    const auto ints = [&](const char* name) { return tensors.at(name).values<int64_t>(); };
    const auto users = ints("batch.users"), positives = ints("batch.positives"),
               negatives = ints("batch.negatives");
    const auto size = std::ssize(users);
    ranking::Examples out;
    out.batch = size;
    for (int64_t i = begin; i < end; ++i) {
      out.users.push_back(users[i]);
      out.positives.Append(positives.subspan(i, 1));
      out.negatives.push_back(negatives[i]);
    }
    const auto distinct = [&](std::span<const int64_t> rows) {
      return ranking::Examples::Distinct{{rows.begin(), rows.end()},
                                         std::ssize(rows) * begin / size,
                                         std::ssize(rows) * end / size};
    };
    out.batch_users = distinct(ints("unique.users"));
    out.batch_items = distinct(ints("unique.items"));
    return out;
  }

  store::TensorMap tensors;
  World world;
  XSimGcl model;
};

TEST(XSimGcl, LossGradientAndScoresEqualDenseOnes) {
  for (const bool fp64 : {true, false}) {
    for (const int64_t slices : {1, 3}) {
      XSimGclGolden golden(fp64);
      const auto size = std::ssize(golden.tensors.at("batch.users").values<int64_t>());
      double sum = 0;
      for (int64_t s = 0; s < slices; ++s) {
        const at::Tensor loss =
            golden.model.LossSum(golden.Examples(size * s / slices, size * (s + 1) / slices), {}) /
            static_cast<double>(size);
        loss.backward();
        sum += loss.item<double>();
      }
      const at::Tensor nodes = golden.model.parameters().Get("nodes");
      EXPECT_LT(ShareOfBound(at::full({1}, sum, nodes.options().requires_grad(false)),
                             golden.tensors, "squares.loss"),
                1)
          << slices << " slices";
      EXPECT_LT(ShareOfBound(nodes.grad(), golden.tensors, "squares.grad.nodes"), 1)
          << slices << " slices";
      const c10::NoGradGuard no_grad;
      golden.model.Prepare();
      std::vector<Query> queries;
      for (int64_t user = 0; user < kGoldenUsers; ++user) queries.push_back({user, {}, {}});
      EXPECT_LT(ShareOfBound(golden.model.Scores(queries, {0, kGoldenItems}), golden.tensors,
                             "clean.scores"),
                1);
    }
  }
}

// Drawn noise, pairs and anchors do not depend on who works at them.
TEST(XSimGcl, RanksAndMicroBatchesGiveTheSameRun) {
  const auto run = [&](const std::string& setting, int ranks) {
    const XSimGclGolden golden(true);
    const World world(
        CatalogueOfEdges(golden.tensors.at("edges")),
        {"system[0].name=xsimgcl", "system[0].knobs.dim=8", "train.dtype=FP64", "train.steps=6",
         "train.epoch_steps=3", "train.global_batch=7", "split.direct_negatives=2", setting});
    return TrainOn(world, "xsimgcl", ranks);
  };
  const Trained whole = run("train.micro_batch=0", 1);
  for (const int ranks : {1, 2, 3}) {
    for (const std::string setting : {"train.micro_batch=0", "train.micro_batch=2"}) {
      const Trained parts = run(setting, ranks);
      EXPECT_LT(Furthest(whole.total, parts.total), 1e-8);  // nine digits
      EXPECT_LT(Furthest(whole.weights.at("nodes"), parts.weights.at("nodes")), 1e-12)
          << ranks << " " << setting;
    }
  }
}

}  // namespace
}  // namespace whyrec::systems
