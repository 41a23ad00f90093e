// lightgcn: matrix factorisation after linear propagation over the user-item graph, trained on
// pairs (He et al., SIGIR 2020; BPR: Rendle et al., UAI 2009). U users, I items, d width, n pairs.
#include "src/systems/lightgcn.h"

#include <ATen/core/Tensor.h>

#include "src/base/ragged.h"
#include "src/nn/losses.h"
#include "src/nn/ranking_losses.h"
#include "src/systems/system.h"

namespace whyrec::systems {

using ranking::Examples;

LightGcn::LightGcn(const BuildContext& context)
    : layers_(context.knobs.Count("layers")),
      init_(context.knobs.Number("init")),
      l2_(context.knobs.Number("l2")),
      nodes_(context, context.knobs.Count("dim"), nn::StorageOf(context.knobs.On("bf16_layers"))) {}

// Eq. 3 and 4: Z = mean over k = 0..K of A^k Z^0, of the nodes that the pairs read.
void LightGcn::BeginStep(const Examples& pairs) {
  std::vector<int64_t> items = pairs.positives.values;
  items.insert(items.end(), pairs.negatives.begin(), pairs.negatives.end());
  nodes_.BeginStep(pairs.users, items, layers_);
}

// Eq. 15: the sum over the pairs of -log s(Z_u . Z_+ - Z_u . Z_-) + l2/2 |Z^0_u, Z^0_+, Z^0_-|^2.
at::Tensor LightGcn::LossSum(const Examples& pairs, const nn::Draws&) {
  const std::vector<int64_t>&users = pairs.users, &liked = pairs.positives.values,
        &others = pairs.negatives;
  const ranking::NodeRows &z = nodes_.Mean(), &start = nodes_.Start();
  const at::Tensor u = z.Users(users);
  const at::Tensor bpr = nn::BprLossSum((u * z.Items(liked)).sum(1), (u * z.Items(others)).sum(1));
  return bpr + nn::SumOfSquares({start.Users(users), start.Items(liked), start.Items(others)}) *
                   (l2_ / 2);
}

void LightGcn::Save(const std::filesystem::path& folder) {
  Prepare();
  nodes_.Save(folder);
}

namespace {

std::unique_ptr<Recommender> Build(const BuildContext& context) {
  auto scorer = std::make_unique<LightGcn>(context);
  ranking::TakePositives refit;
  if (context.knobs.On("refit"))
    refit = [lightgcn = scorer.get()](const auto& positives) { lightgcn->SetEdges(positives); };
  return ranking::MakePairwise(context, std::move(scorer), refit);
}

const Registration kRegistration({
    .name = "lightgcn",
    .description = "linear propagation over training interactions, pairwise loss (He et al. 2020)",
    .knobs =
        {knob::Count("dim", 64, {1, 4096}, "d, width of the node table; the paper's value"),
         knob::Count(
             "layers", 3, {0, 16},
             "K, propagations over the graph; the paper's value; 0 is matrix factorisation"),
         knob::Number("init", 0.1, {0, 10},
                      "standard deviation of the node table at the start; the authors' code"),
         knob::Number(
             "l2", 1e-4, {0, 1},
             "weight of the squared start vectors of a batch's nodes, per pair; the paper's value"),
         knob::Switch("bf16_layers", false,
                      "on CPUs, keep layers in bf16 between products (sums stay in fp32): half the "
                      "bytes to read; ours"),
         knob::Switch("refit", false,
                      "train again from the start with validation items included, for the number "
                      "of steps that validated best; ours"),
         knob::Switch("mask_history", true,
                      "leave items of the user's history out of full rankings")},
    .ignores = ranking::IgnoredTraining(),
    .config_parts = {"seed", "split.negative_exclude", "train"},
    .needs = [](const auto&, const auto&) { return System::Names{"graphs"}; },
    .build = Build,
});

}  // namespace
}  // namespace whyrec::systems
