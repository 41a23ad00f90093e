#include "src/lm/lora.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.h"
#include "src/lm/phi.h"

namespace whyrec::lm {
namespace {

bool EndsAt(const std::string& path, const std::string& ending) {
  return path == ending || path.ends_with("." + ending);
}

template <typename T>
T ByPattern(const std::map<std::string, T>& pattern, const std::string& path, T otherwise) {
  for (const auto& [ending, value] : pattern)
    if (EndsAt(path, ending)) return value;
  return otherwise;
}

std::string Parent(const std::string& path) { return path.substr(0, path.rfind('.') + 1); }

}  // namespace

double LoraConfig::Scale(double of_alpha, int64_t of_rank) const {
  const auto r = static_cast<double>(of_rank);
  return of_alpha / (rslora ? std::sqrt(r) : r);
}

at::Tensor Projection::operator()(const at::Tensor& x, const nn::RowKeys& keys) const {
  const at::Tensor y = at::linear(x, weight);
  if (!a.defined()) return y;
  const at::Tensor low = at::linear(nn::Dropout(x.to(a.scalar_type()), dropout, keys), a);
  return (y + at::linear(low, b) * scale).to(y.scalar_type());
}

bool Lora::Targeted(const std::string& path) const {
  return std::any_of(config_.targets.begin(), config_.targets.end(),
                     [&](const std::string& target) { return EndsAt(path, target); });
}

// The published A and B over one module: of the whole, or of its parts; none: not targeted.
std::vector<Lora::Slot> Lora::Slots(const std::string& path, const Projection& module,
                                    double* scale) const {
  std::vector<Slot> slots;
  const auto add = [&](const std::string& name, int64_t first_row, int64_t rows) {
    const int64_t first = slots.empty() ? 0 : slots.back().first_rank + slots.back().rank;
    const int64_t rank = ByPattern(config_.rank_pattern, name, config_.rank);
    const double s = config_.Scale(ByPattern(config_.alpha_pattern, name, config_.alpha), rank);
    if (!slots.empty() && s != *scale)
      Fail(Exit::kData, "adapter: the parts of ", path, " have the scales ", *scale, " and ", s,
           "; one map takes one scale");
    *scale = s;
    slots.push_back({name, first, rank, first_row, rows});
  };
  if (Targeted(path)) add(path, 0, module.weight.size(0));
  int64_t row = 0;
  for (const auto& [part, rows] : module.parts) {
    const std::string name = Parent(path) + part;
    if (Targeted(name)) {
      if (!slots.empty() && slots[0].path == path)
        Fail(Exit::kData, "adapter: targets both ", path, " and its part ", part);
      add(name, row, rows);
    }
    row += rows;
  }
  return slots;
}

Lora::Lora(Phi& model, const LoraConfig& config, nn::Parameters& parameters,
           const std::string& prefix)
    : config_(config), prefix_(prefix), modules_(model.modules()) {
  for (const auto& [path, module] : modules_) {
    WR_CHECK(!module->a.defined(), path, " has an adapter already");
    Adapter adapter{.path = path, .module = module, .scale = 0};
    adapter.slots = Slots(path, *module, &adapter.scale);
    if (adapter.slots.empty()) continue;
    const int64_t rank = adapter.slots.back().first_rank + adapter.slots.back().rank;
    const at::Tensor& weight = module->weight;
    adapter.a = parameters.Add(prefix + path + ".lora_A.weight", {rank, weight.size(1)});
    adapter.b = parameters.Add(prefix + path + ".lora_B.weight", {weight.size(0), rank});
    adapters_.push_back(adapter);
  }
  for (const std::string& target : config.targets) {
    const bool found = std::any_of(adapters_.begin(), adapters_.end(), [&](const Adapter& adapter) {
      return std::any_of(adapter.slots.begin(), adapter.slots.end(),
                         [&](const Slot& slot) { return EndsAt(slot.path, target); });
    });
    if (!found)
      Fail(Exit::kData, "adapter: no module of the model is called '", target, "'",
           config.base_model.empty() ? "" : "; the adapter is for " + config.base_model);
  }
  if (!config.modules_to_save.empty())
    score_ = parameters.Add(prefix + "score.weight", {1, model.config().width});
  for (Adapter& adapter : adapters_) {  // only now: a refused adapter leaves the model as it was
    adapter.module->a = adapter.a;
    adapter.module->b = adapter.b;
    adapter.module->scale = adapter.scale;
    adapter.module->dropout = config.dropout;
  }
}

void Lora::Initialise(uint64_t seed) {
  for (const Adapter& adapter : adapters_) {
    const std::string path = prefix_ + adapter.path + ".lora_A.weight";
    nn::FillUniform(adapter.a, path, seed, 1 / std::sqrt(static_cast<double>(adapter.a.size(1))));
    nn::Fill(adapter.b, 0);
  }
  if (score_.defined()) nn::FillNormal(score_, prefix_ + "score.weight", seed, 0.02);
}

void Lora::Merge(bool undoable) {
  WR_CHECK(!merged_, "the adapter is merged already");
  const c10::NoGradGuard no_grad;
  for (Adapter& adapter : adapters_) {
    at::Tensor& weight = adapter.module->weight;
    if (undoable) adapter.unmerged = weight.clone();
    const at::Tensor wide = at::matmul(adapter.b, adapter.a) * adapter.scale;
    weight.copy_(wide + weight.to(wide.scalar_type()));
    adapter.module->a = adapter.module->b = at::Tensor();
  }
  merged_ = true;
}

void Lora::Unmerge() {
  WR_CHECK(merged_, "the adapter is not merged");
  const c10::NoGradGuard no_grad;
  for (Adapter& adapter : adapters_) {
    WR_CHECK(adapter.unmerged.defined(), "merged for good: the old weights were not kept");
    adapter.module->weight.copy_(adapter.unmerged);
    adapter.unmerged = at::Tensor();
    adapter.module->a = adapter.a;
    adapter.module->b = adapter.b;
  }
  merged_ = false;
}

int64_t Lora::Count() const {
  int64_t count = score_.defined() ? score_.numel() : 0;
  for (const Adapter& adapter : adapters_) count += adapter.a.numel() + adapter.b.numel();
  return count;
}

}  // namespace whyrec::lm
