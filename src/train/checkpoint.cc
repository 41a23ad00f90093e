#include "src/train/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/base/durable_file.h"
#include "src/base/text_file.h"
#include "src/train/tensor_files.h"

namespace whyrec::train {
namespace fs = std::filesystem;
namespace {

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

void SaveParameters(const nn::Parameters& parameters, const fs::path& file,
                    cluster::Communicator& comm) {
  SaveTensors(Named(parameters), file, comm);
}

void LoadParameters(nn::Parameters& parameters, const fs::path& file) {
  LoadTensors(Named(parameters), file);
}

Checkpoints::Checkpoints(fs::path folder) : folder_(std::move(folder) / ".checkpoint") {
  fs::create_directories(folder_);
}

fs::path Checkpoints::BestFile(int64_t step) const {
  return folder_ / (StepName("best", step) + ".safetensors");
}

void Checkpoints::Save(const Progress& progress, const nn::Parameters& parameters,
                       const AdamW& optimizer, cluster::Communicator& comm) const {
  const bool root = comm.rank() == 0;
  const std::vector<fs::path> before = root ? StepFolders(folder_) : std::vector<fs::path>();
  const fs::path final = folder_ / StepName("step", progress.step);
  fs::path partial = final;
  partial += ".tmp";
  if (root) {
    fs::remove_all(partial);
    fs::create_directories(partial);
  }
  comm.Barrier();
  SaveParameters(parameters, partial / "model.safetensors", comm);
  SaveTensors(optimizer.State(), partial / "optimizer.safetensors", comm);
  if (!root) return;
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
