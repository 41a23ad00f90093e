// peft's adapter folder: adapter_config.json and adapter_model.safetensors.
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "src/base/error.h"
#include "src/lm/json_file.h"
#include "src/lm/lora.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::lm {
namespace {

using nlohmann::json;

constexpr char kBefore[] = "base_model.model.";

bool Inert(const json& value) {
  return value.is_null() || value == json(false) || value == json("none") ||
         ((value.is_object() || value.is_array()) && value.empty());
}

// peft takes regular expressions in some places; we take plain paths.
void ExpectPath(const JsonFile& file, const std::string& key, const std::string& path) {
  const bool plain = !path.empty() && std::all_of(path.begin(), path.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.';
  });
  if (!plain)
    Fail(Exit::kData, file.path().string(), ": \"", key, "\" has '", path,
         "'; only ends of module paths are supported, no regular expressions");
}

std::vector<std::string> ReadTargets(const JsonFile& file) {
  if (file.Has("target_modules") && file.json()["target_modules"].is_string()) {
    const auto all = file.Get<std::string>("target_modules");
    if (all == "all-linear") return {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"};
    ExpectPath(file, "target_modules", all);
    return {all};
  }
  auto targets = file.Get<std::vector<std::string>>("target_modules");
  for (const std::string& target : targets) ExpectPath(file, "target_modules", target);
  return targets;
}

// What Phi3 with a scalar head trains in full: peft lists "classifier" beside "score" although the
// network has only the latter.
std::vector<std::string> ReadModulesToSave(const JsonFile& file) {
  const auto names = file.Get<std::vector<std::string>>("modules_to_save", {});
  for (const std::string& name : names)
    if (name != "score" && name != "classifier")
      Fail(Exit::kData, file.path().string(), ": \"modules_to_save\" has '", name,
           "'; only 'score' is supported");
  if (names.empty()) return {};
  return {"score"};
}

void RefuseWhatChangesNumbers(const JsonFile& file) {
  for (const char* key :
       {"bias", "use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "layers_to_transform",
        "layers_pattern", "exclude_modules", "layer_replication", "trainable_token_indices",
        "target_parameters", "alora_invocation_tokens", "arrow_config", "loftq_config"}) {
    if (file.Has(key) && !Inert(file.json()[key]))
      Fail(Exit::kData, file.path().string(), ": \"", key, "\" is ", file.json()[key].dump(),
           "; not supported");
  }
  // PiSSA and its like are differences from a base that was changed at the start.
  if (!file.Has("init_lora_weights")) return;
  const json& init = file.json()["init_lora_weights"];
  if (!init.is_boolean() && init != "gaussian" && init != "eva")
    Fail(Exit::kData, file.path().string(), ": \"init_lora_weights\" is ", init.dump(),
         "; convert the adapter to plain LoRA first");
}

}  // namespace

LoraConfig LoadLoraConfig(const std::filesystem::path& folder) {
  const JsonFile file(folder / "adapter_config.json");
  file.Expect("peft_type", std::string("LORA"));
  RefuseWhatChangesNumbers(file);
  LoraConfig config;
  config.rank = file.Get<int64_t>("r");
  config.alpha = file.Get<double>("lora_alpha");
  config.dropout = file.Get<double>("lora_dropout", 0);
  config.rslora = file.Get<bool>("use_rslora", false);
  config.targets = ReadTargets(file);
  config.rank_pattern = file.Get<std::map<std::string, int64_t>>("rank_pattern", {});
  config.alpha_pattern = file.Get<std::map<std::string, double>>("alpha_pattern", {});
  for (const auto& [path, rank] : config.rank_pattern) ExpectPath(file, "rank_pattern", path);
  for (const auto& [path, alpha] : config.alpha_pattern) ExpectPath(file, "alpha_pattern", path);
  config.modules_to_save = ReadModulesToSave(file);
  config.base_model = file.Get<std::string>("base_model_name_or_path", "");
  config.task_type = file.Get<std::string>("task_type", "");
  const auto positive = [&](const char* key, int64_t rank) {
    if (rank <= 0) Fail(Exit::kData, file.path().string(), ": \"", key, "\" has a rank of ", rank);
  };
  positive("r", config.rank);
  for (const auto& [path, rank] : config.rank_pattern) positive("rank_pattern", rank);
  if (!(config.dropout >= 0 && config.dropout < 1))
    Fail(Exit::kData, file.path().string(), ": \"lora_dropout\" is ", config.dropout,
         "; must be in [0, 1)");
  return config;
}

void Lora::Load(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "adapter_model.safetensors";
  if (!std::filesystem::exists(file))
    Fail(Exit::kData, file.string(), ": is not there; peft writes it with safe_serialization=True");
  const store::TensorMap found = store::ReadSafetensors(file);
  std::set<std::string> used;
  const auto another_base = [&](const std::string& why) {
    Fail(Exit::kData, file.string(), ": ", why, "; the adapter was trained over another base",
         config_.base_model.empty() ? "" : " (" + config_.base_model + ")");
  };
  const auto read = [&](const std::string& name, at::Tensor into) {
    const std::string key = kBefore + name;
    const auto at = found.find(key);
    if (at == found.end()) Fail(Exit::kData, file.string(), ": lacks '", key, "'");
    used.insert(key);
    if (at->second.shape() != into.sizes().vec())
      another_base(Cat("'", key, "' is ", ShapeString(at->second.shape()), ", the model asks for ",
                       ShapeString(into.sizes().vec())));
    const at::Tensor values = tensor::View(at->second);
    if (!at::isfinite(values).all().item<bool>())
      Fail(Exit::kData, file.string(), ": '", key, "' holds values that are not finite");
    into.copy_(values);
  };
  for (const Adapter& adapter : adapters_) {
    const at::Tensor a = adapter.a.detach(), b = adapter.b.detach();
    b.zero_();  // a part's B reads only its own A
    for (const Slot& slot : adapter.slots) {
      read(slot.path + ".lora_A.weight", a.narrow(0, slot.first_rank, slot.rank));
      read(slot.path + ".lora_B.weight",
           b.narrow(0, slot.first_row, slot.rows).narrow(1, slot.first_rank, slot.rank));
    }
  }
  if (score_.defined()) read("score.weight", score_.detach());
  for (const auto& [key, host] : found) {
    if (used.contains(key)) continue;
    const std::string name = key.starts_with(kBefore) ? key.substr(sizeof kBefore - 1) : key;
    const std::string path = name.substr(0, name.find(".lora_"));
    const bool ours = std::any_of(adapters_.begin(), adapters_.end(), [&](const Adapter& adapter) {
      return std::any_of(adapter.slots.begin(), adapter.slots.end(),
                         [&](const Slot& slot) { return slot.path == path; });
    });
    if (!ours && Targeted(path))
      another_base(Cat("'", key, "' adapts a module that the model lacks"));
    Fail(Exit::kData, file.string(), ": unknown key '", key, "'");
  }
}

// The adapter's configuration over fused maps: the ranks of split targets are added.
LoraConfig Lora::FusedConfig() const {
  LoraConfig fused = config_;
  fused.targets.clear();
  fused.rank_pattern.clear();
  fused.alpha_pattern.clear();
  const auto leaf = [](const std::string& path) { return path.substr(path.rfind('.') + 1); };
  const auto alike = [](const Adapter& x, const Adapter& y) {
    return x.scale == y.scale && x.a.size(0) == y.a.size(0);
  };
  for (const Adapter& adapter : adapters_) {
    // One name covers all layers when all have the same adapter.
    const std::string name = leaf(adapter.path);
    const auto modules = std::count_if(modules_.begin(), modules_.end(),
                                       [&](const auto& m) { return leaf(m.first) == name; });
    const auto same = std::count_if(adapters_.begin(), adapters_.end(), [&](const Adapter& other) {
      return leaf(other.path) == name && alike(adapter, other);
    });
    const std::string target = same == modules ? name : adapter.path;
    if (std::find(fused.targets.begin(), fused.targets.end(), target) != fused.targets.end())
      continue;
    fused.targets.push_back(target);
    const int64_t rank = adapter.a.size(0);
    const double alpha = adapter.scale / config_.Scale(1, rank);
    if (rank != config_.rank) fused.rank_pattern[target] = rank;
    if (std::abs(alpha - config_.alpha) > 1e-9 * std::abs(alpha))
      fused.alpha_pattern[target] = alpha;
  }
  return fused;
}

void Lora::Save(const std::filesystem::path& folder) const {
  const LoraConfig config = FusedConfig();
  const bool has_score = score_.defined();
  std::filesystem::create_directories(folder);
  store::TensorMap tensors;
  for (const Adapter& adapter : adapters_) {
    tensors[kBefore + adapter.path + ".lora_A.weight"] = tensor::ToHost(adapter.a.detach());
    tensors[kBefore + adapter.path + ".lora_B.weight"] = tensor::ToHost(adapter.b.detach());
  }
  if (has_score) tensors[std::string(kBefore) + "score.weight"] = tensor::ToHost(score_.detach());
  store::WriteSafetensors(folder / "adapter_model.safetensors", tensors);
  json out = {{"peft_type", "LORA"},
              {"task_type", has_score ? "SEQ_CLS" : config.task_type},
              {"base_model_name_or_path", config.base_model},
              {"r", config.rank},
              {"lora_alpha", config.alpha},
              {"lora_dropout", config.dropout},
              {"target_modules", config.targets},
              {"rank_pattern", config.rank_pattern},
              {"alpha_pattern", config.alpha_pattern},
              {"bias", "none"},
              {"fan_in_fan_out", false},
              {"init_lora_weights", true},
              {"use_rslora", config.rslora},
              {"use_dora", false},
              {"modules_to_save", nullptr},
              {"inference_mode", true}};
  if (has_score) out["modules_to_save"] = config.modules_to_save;
  WriteJson(folder / "adapter_config.json", out);
}

}  // namespace whyrec::lm
