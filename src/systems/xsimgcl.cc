// xsimgcl: LightGCN with noise in its layers, two of which are contrasted in one propagation (Yu et
// al., TKDE 2023), as in SELFRec. Z^k = A Z^{k-1} + eps sign(A Z^{k-1}) u/|u|, u uniform; Z is the
// mean of layers 1..K, layer 0 left out; the view is one layer. B pairs in the global batch.
#include "src/systems/xsimgcl.h"

#include <ATen/core/Tensor.h>

#include "src/nn/contrast.h"
#include "src/nn/noise.h"
#include "src/nn/ranking_losses.h"
#include "src/systems/system.h"

namespace whyrec::systems {

using ranking::Examples;
using ranking::NodeRows;

XSimGcl::XSimGcl(const BuildContext& context)
    : layers_(context.knobs.Count("layers")),
      view_(context.knobs.Count("view")),
      init_(context.knobs.Number("init")),
      eps_(context.knobs.Number("noise")),
      tau_(context.knobs.Number("temperature")),
      weight_(context.knobs.Number("contrast")),
      l2_(context.knobs.Number("l2")),
      seed_(context.config.seed()),
      nodes_(context, context.knobs.Count("dim")) {
  ranking::RefuseRows(context, "xsimgcl");
  if (view_ > layers_)
    Fail(Exit::kUsage, "system xsimgcl: view is layer ", view_, " of ", layers_,
         "; it must be one of them");
}

void XSimGcl::Initialise(uint64_t seed) { nodes_.Initialise(seed, init_); }

// The sum over the pairs of -log(1e-5 + s(Z_u . Z_+ - Z_u . Z_-)) + l2/2 (|Z_u|^2 + |Z_+|^2), and
// B weight times the means over the batch's distinct users and items of their InfoNCE between Z and
// the view.
at::Tensor XSimGcl::LossSum(const Examples& pairs, const nn::Draws&) {
  const auto [z, view] = nodes_.Propagate(
      {.count = layers_,
       .first = 1,
       .keep = view_,
       .each = [&](const at::Tensor& layer, int64_t k) {
         const at::Tensor uniform =
             given_ ? given_(layer, k)
                    : nn::Uniform(
                          nn::NoiseKeys(seed_, pairs.step, 0, layer.size(0), layer.device()).At(k),
                          layer.size(1), layer.scalar_type());
         return nn::Perturb(layer, uniform, eps_);
       }});
  const at::Tensor users = z.Users(pairs.users), liked = z.Items(pairs.positives.values);
  const at::Tensor others = z.Items(pairs.negatives);
  const at::Tensor bpr =
      nn::FlooredBprLossSum((users * liked).sum(1), (users * others).sum(1), 1e-5);
  const auto contrast = [&](const Examples::Distinct& distinct, const auto& rows) {
    const at::Tensor all = rows(z, distinct.rows), keys = rows(view, distinct.rows);
    const at::Tensor sum = nn::InBatchContrastSum(
        all.narrow(0, distinct.begin, distinct.end - distinct.begin), keys, distinct.begin, tau_);
    return sum / static_cast<double>(distinct.rows.size());
  };
  const at::Tensor both =
      contrast(pairs.batch_users,
               [](const NodeRows& of, const auto& rows) { return of.Users(rows); }) +
      contrast(pairs.batch_items,
               [](const NodeRows& of, const auto& rows) { return of.Items(rows); });
  return bpr + nn::SumOfSquares({users, liked}) * (l2_ / 2) +
         both * (weight_ * static_cast<double>(pairs.batch));
}

namespace {

const Registration kRegistration({
    .name = "xsimgcl",
    .description = "LightGCN with noisy layers contrasted in one propagation (Yu et al. 2023)",
    .knobs = {knob::Count("dim", 64, {1, 4096}, "d, width of the node table; SELFRec's default"),
              knob::Count("layers", 2, {1, 16},
                          "K, propagations over the graph; SELFRec's default"),
              knob::Count("view", 1, {1, 16},
                          "l*, the layer that Z is contrasted with; SELFRec's default"),
              knob::Number("init", 0.1, {0, 10},
                           "standard deviation of the node table at the start; ours"),
              knob::Number("noise", 0.2, {0, 10}, "eps, length of the noise; SELFRec's default"),
              knob::Number("temperature", 0.15, {1e-4, 100}, "tau; SELFRec's default"),
              knob::Number("contrast", 0.2, {0, 100},
                           "lambda, weight of the contrasts; SELFRec's default"),
              knob::Number("l2", 1e-4, {0, 1},
                           "weight of the squared vectors of a batch's users and positives, per "
                           "pair; SELFRec's default, for norms there"),
              knob::Switch("mask_history", true,
                           "leave items of the user's history out of full rankings")},
    .ignores = ranking::IgnoredTraining(),
    .config_parts = {"seed", "split.negative_exclude", "train"},
    .needs = [](const auto&, const auto&) { return System::Names{"graphs"}; },
    .build =
        [](const BuildContext& c) {
          return ranking::MakePairwise(c, std::make_unique<XSimGcl>(c));
        },
});

}  // namespace
}  // namespace whyrec::systems
