#include "src/lm/weights.h"

#include <ATen/ops/isfinite.h>

#include <cstdio>
#include <map>

#include "src/base/error.h"
#include "src/lm/json_file.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::lm {
namespace {

bool Ignored(const std::string& name, const Dialect& dialect) {
  for (const std::string& rule : dialect.ignored) {
    const bool beginning = rule.ends_with('*');
    if (beginning ? name.starts_with(rule.substr(0, rule.size() - 1)) : name == rule) return true;
  }
  return false;
}

std::string Today(std::string name, const Dialect& dialect) {
  for (const auto& [old_ending, ending] : dialect.endings)
    if (name.ends_with(old_ending))
      return name.replace(name.size() - old_ending.size(), old_ending.size(), ending);
  return name;
}

// The name as the table has it, or the whole name where no prefix helps.
std::string InTable(const std::string& published, const std::map<std::string, at::Tensor>& table,
                    const Dialect& dialect) {
  const std::string name = Today(published, dialect);
  if (table.contains(name)) return name;
  for (const std::string& prefix : dialect.prefixes)
    if (name.starts_with(prefix) && table.contains(name.substr(prefix.size())))
      return name.substr(prefix.size());
  return name;
}

bool IgnoredUnderPrefix(const std::string& name, const Dialect& dialect) {
  if (Ignored(name, dialect)) return true;
  for (const std::string& prefix : dialect.prefixes)
    if (name.starts_with(prefix) && Ignored(name.substr(prefix.size()), dialect)) return true;
  return false;
}

int64_t Bytes(const at::Tensor& tensor) {
  return tensor.numel() * static_cast<int64_t>(tensor.element_size());
}

std::string ShardName(size_t shard, size_t shards) {
  char name[48];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, shards);
  return name;
}

}  // namespace

const char* TorchTypeName(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";
  }
}

void LoadWeights(const std::filesystem::path& folder, const NameTable& table,
                 const Dialect& dialect) {
  std::map<std::string, at::Tensor> ours(table.begin(), table.end());
  std::map<std::string, std::string> given;  // table name -> published name
  for (const auto& [published, host] : store::ReadSafetensors(folder)) {
    const std::string name = InTable(published, ours, dialect);
    const auto at = ours.find(name);
    if (at == ours.end()) {
      if (IgnoredUnderPrefix(name, dialect)) continue;
      Fail(Exit::kData, folder.string(), ": unknown tensor '", published,
           "'; the configuration describes a network without it");
    }
    if (const auto [before, is_new] = given.try_emplace(name, published); !is_new)
      Fail(Exit::kData, folder.string(), ": '", published, "' and '", before->second,
           "' are the same parameter");
    const at::Tensor& tensor = at->second;
    if (host.shape() != tensor.sizes().vec())
      Fail(Exit::kData, folder.string(), ": '", published, "' is ", ShapeString(host.shape()),
           ", the configuration asks for ", ShapeString(tensor.sizes().vec()));
    const at::Tensor values = tensor::View(host);
    if (!at::isfinite(values).all().item<bool>())
      Fail(Exit::kData, folder.string(), ": '", published, "' holds values that are not finite");
    tensor.detach().copy_(values);
  }
  for (const auto& [name, tensor] : table)
    if (!given.contains(name)) Fail(Exit::kData, folder.string(), ": lacks tensor '", name, "'");
}

void SaveWeights(const std::filesystem::path& folder, const NameTable& table, int64_t shard_bytes) {
  std::vector<NameTable> shards(1);
  int64_t filled = 0, total = 0;
  for (const auto& [name, tensor] : table) {
    if (filled > 0 && filled + Bytes(tensor) > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().emplace_back(name, tensor);
    filled += Bytes(tensor);
    total += Bytes(tensor);
  }
  std::filesystem::create_directories(folder);
  if (shards.size() == 1) {
    store::WriteSafetensors(folder / "model.safetensors", tensor::ToHost(shards[0]));
    return;
  }
  nlohmann::json index = {{"metadata", {{"total_size", total}}}};
  for (size_t s = 0; s < shards.size(); ++s) {
    const std::string file = ShardName(s, shards.size());
    store::WriteSafetensors(folder / file, tensor::ToHost(shards[s]));
    for (const auto& [name, tensor] : shards[s]) index["weight_map"][name] = file;
  }
  WriteJson(folder / "model.safetensors.index.json", index);  // last: it names whole files
}

}  // namespace whyrec::lm
