#include "src/train/checkpoint.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/base/durable_file.h"
#include "src/base/text_file.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::train {
namespace fs = std::filesystem;
namespace {

using Named = std::vector<std::pair<std::string, at::Tensor>>;

void LoadTensors(const Named& tensors, const fs::path& file) {
  c10::NoGradGuard no_grad;
  const store::TensorMap map = store::ReadSafetensors(file);
  for (const auto& [name, value] : tensors) {
    const auto found = map.find(name);
    if (found == map.end()) Fail(Exit::kData, file.string(), ": no tensor \"", name, "\"");
    if (found->second.shape() != value.sizes().vec())
      Fail(Exit::kData, file.string(), ": tensor \"", name, "\" has shape ",
           ShapeString(found->second.shape()), "; the model has ",
           ShapeString(value.sizes().vec()));
    at::Tensor(value).copy_(tensor::View(found->second));
  }
  if (map.size() != tensors.size())
    Fail(Exit::kData, file.string(), ": holds ", map.size(), " tensors; the model has ",
         tensors.size());
}

std::string StepName(const char* prefix, int64_t step) {
  char name[40];
  std::snprintf(name, sizeof name, "%s-%010lld", prefix, static_cast<long long>(step));
  return name;
}

std::vector<fs::path> StepFolders(const fs::path& folder) {
  std::vector<fs::path> steps;
  if (fs::exists(folder))
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().filename().string().starts_with("step-") &&
          entry.path().extension() != ".tmp")
        steps.push_back(entry.path());
  std::sort(steps.begin(), steps.end());
  return steps;
}

}  // namespace

void SaveParameters(const nn::Parameters& parameters, const fs::path& file) {
  store::WriteSafetensors(file, tensor::ToHost(parameters.all()));
}

void LoadParameters(nn::Parameters& parameters, const fs::path& file) {
  LoadTensors(parameters.all(), file);
}

Checkpoints::Checkpoints(fs::path folder) : folder_(std::move(folder) / ".checkpoint") {
  fs::create_directories(folder_);
}

fs::path Checkpoints::BestFile(int64_t step) const {
  return folder_ / (StepName("best", step) + ".safetensors");
}

void Checkpoints::Save(const Progress& progress, const nn::Parameters& parameters,
                       const AdamW& optimizer) const {
  const std::vector<fs::path> before = StepFolders(folder_);
  const fs::path final = folder_ / StepName("step", progress.step);
  fs::path partial = final;
  partial += ".tmp";
  fs::remove_all(partial);
  fs::create_directories(partial);
  SaveParameters(parameters, partial / "model.safetensors");
  store::WriteSafetensors(partial / "optimizer.safetensors", tensor::ToHost(optimizer.State()));
  const nlohmann::json state = {{"step", progress.step},
                                {"best", progress.best},
                                {"best_step", progress.best_step},
                                {"endured", progress.endured},
                                {"stopped", progress.stopped}};
  WriteDurably(partial / "progress.json", state.dump(1) + "\n");
  fs::remove_all(final);
  RenameDurably(partial, final);
  for (const fs::path& old : before)
    if (old != final) fs::remove_all(old);
  for (const auto& entry : fs::directory_iterator(folder_))
    if (entry.path().filename().string().starts_with("best-") &&
        entry.path() != BestFile(progress.best_step))
      fs::remove(entry.path());
}

bool Checkpoints::Load(Progress& progress, nn::Parameters& parameters, AdamW& optimizer) const {
  std::vector<fs::path> steps = StepFolders(folder_);
  while (!steps.empty() && !fs::exists(steps.back() / "progress.json")) steps.pop_back();
  if (steps.empty()) return false;
  const auto state = nlohmann::json::parse(ReadFile(steps.back() / "progress.json"));
  progress = {.step = state.at("step"),
              .best = state.at("best"),
              .best_step = state.at("best_step"),
              .endured = state.at("endured"),
              .stopped = state.at("stopped")};
  LoadParameters(parameters, steps.back() / "model.safetensors");
  LoadTensors(optimizer.State(), steps.back() / "optimizer.safetensors");
  return true;
}

void Checkpoints::Drop() const {
  for (const fs::path& step : StepFolders(folder_))
    fs::remove(step / "progress.json");  // first: without it a checkpoint does not count
  fs::remove_all(folder_);
}

}  // namespace whyrec::train
