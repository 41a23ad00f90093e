#include "src/train/trainer.h"

#include <ATen/Context.h>

#include <cmath>
#include <fstream>
#include <iomanip>
#include <optional>
#include <sstream>

#include "src/base/durable_file.h"
#include "src/base/log.h"
#include "src/base/stop.h"
#include "src/train/checkpoint.h"
#include "src/train/optimizer.h"
#include "src/train/reducer.h"
#include "src/train/schedule.h"

namespace whyrec::train {
namespace fs = std::filesystem;
namespace {

// losses.csv, cut back to the checkpoint when a run continues.
class LossLog {
 public:
  LossLog(const fs::path& file, int64_t steps_done) : file_(file) {
    std::string kept = "step,task,loss\n", line;
    std::ifstream former(file);
    for (std::getline(former, line); std::getline(former, line) && steps_done-- > 0;)
      kept += line + "\n";
    former.close();
    WriteDurably(file, kept);
    out_.open(file, std::ios::app);
  }
  void Add(int64_t step, const std::string& task, double loss) {
    out_ << step << "," << task << "," << std::setprecision(9) << loss << "\n";
  }
  void Sync() {
    out_.flush();
    if (!out_) Fail(Exit::kCannotWrite, file_.string(), ": cannot be written (disk full?)");
    SyncToDisk(file_);
  }

 private:
  fs::path file_;
  std::ofstream out_;
};

ReducerOptions OptionsOf(const config::TrainConfig& config) {
  return {.bucket_bytes = int64_t{config.bucket_mb()} << 20,
          .overlap = config.overlap(),
          .bf16 = config.bf16_gradients(),
          .by_rows = config.row_gradients(),
          .fixed_order = config.deterministic()};
}

AdamWOptions RulesOf(const config::TrainConfig& config, const Trainable& model) {
  return {.learning_rate = config.learning_rate(),
          .weight_decay = config.weight_decay(),
          .beta2 = config.beta2(),
          .rule_for = [&](const std::string& path) { return model.RuleFor(path); }};
}

class Loop {
 public:
  Loop(Trainable& model, const config::TrainConfig& config, const fs::path& folder,
       cluster::Communicator& comm)
      : model_(model),
        config_(config),
        folder_(folder),
        comm_(comm),
        optimizer_(model.parameters(), RulesOf(config, model)),
        reducer_(model.parameters(), comm, OptionsOf(config)),
        checkpoints_(folder),
        patience_(config.patience_rule(), config.patience()) {
    if (comm.size() > config.global_batch())
      Fail(Exit::kUsage, "train.global_batch is ", config.global_batch(), ", fewer than the ",
           comm.size(), " ranks: raise it, or start fewer ranks");
    if (config.micro_batch() > 0 && !model.splits())
      Fail(Exit::kUsage, "this system cannot split its batch: set train.micro_batch to 0");
  }

  Facts Run() {
    try {
      return RunSteps();
    } catch (const Error& error) {
      if (error.code() != Exit::kLaunch) throw;
      Fail(Exit::kLaunch, error.what(), "; ", StandingCheckpoint());
    }
  }

 private:
  Facts RunSteps() {
    const int64_t per_epoch = model_.steps_per_epoch();
    const int64_t total = TotalSteps();
    if (checkpoints_.Load(progress_, model_.parameters(), optimizer_)) {
      Info(Cat("  continues after step ", progress_.step));
      saved_ = progress_.step;
    }
    std::optional<LossLog> losses;  // rank 0 writes
    if (root()) losses.emplace(folder_ / "losses.csv", progress_.step);
    whyrec::Progress bar("  steps", total, "steps");
    bar.Resume(progress_.step);
    while (progress_.step < total && !progress_.stopped) {
      const auto [task, loss] = Step();
      if (losses) losses->Add(progress_.step, task, loss);
      bar.Advance(1, Note(task, loss));
      const bool epoch_ends = progress_.step % per_epoch == 0 || progress_.step == total;
      if (epoch_ends) ValidateEpoch();
      const bool stop = AnyRankStops();
      if (stop || epoch_ends || progress_.step % config_.checkpoint_steps() == 0) {
        if (losses) losses->Sync();
        Save();
      }
      if (stop)
        Fail(Exit::kStoppedEarly, "stopped by a signal after step ", progress_.step,
             "; the checkpoint is complete: run the same command again to continue");
    }
    return Finish();
  }

  bool root() const { return comm_.rank() == 0; }

  int64_t TotalSteps() const {
    return config_.steps() > 0 ? config_.steps() : config_.epochs() * model_.steps_per_epoch();
  }

  // Forward, backward, sum over ranks, update. Returns task and global loss.
  std::pair<std::string, double> Step() {
    optimizer_.ZeroGrad();
    const auto [task, own] = Backward();
    const double value = Sum(own.first, comm_) + own.second;
    if (!std::isfinite(value))
      Fail(Exit::kInternal, "the ", task, " loss of step ", progress_.step + 1, " is ", value,
           "; lower train.learning_rate or look at the samples of that step");
    Update();
    ++progress_.step;
    return {task, value};
  }

  void Update() {
    if (config_.clip_norm() > 0) {
      const double norm = ClipGradients(model_.parameters(), config_.clip_norm(), comm_);
      if (!std::isfinite(norm))
        Fail(Exit::kInternal, "the gradient of step ", progress_.step + 1, " has the norm ", norm,
             "; lower train.learning_rate or look at the samples of that step");
    }
    optimizer_.Step(RateFactor(config_, progress_.step, TotalSteps()));
  }

  // Gradients summed over passes and ranks. Returns the task and the own and shared losses.
  std::pair<std::string, std::pair<double, double>> Backward() {
    std::string task;
    double own = 0, shared = 0;
    model_.BeginStep(Share(progress_.step, config_.global_batch(), comm_.rank(), comm_.size(), {}));
    for (Part part{.index = 0, .count = Passes()}; part.index < part.count; ++part.index) {
      const Share share(progress_.step, config_.global_batch(), comm_.rank(), comm_.size(), part);
      const StepLoss loss = model_.Loss(share);
      if (part.last()) reducer_.Begin(loss.task);
      (loss.shared.defined() ? loss.own + loss.shared : loss.own).backward();
      own += loss.own.item<double>();
      if (loss.shared.defined()) shared += loss.shared.item<double>();
      task = loss.task;
    }
    reducer_.Finish();
    model_.EndStep();
    return {task, {own, shared}};
  }

  // No pass is empty, so ranks with shorter slices may make fewer.
  int64_t Passes() const {
    const int64_t size = RankSlice(config_.global_batch(), comm_.rank(), comm_.size()).size();
    const int64_t most = config_.micro_batch() > 0 ? config_.micro_batch() : size;
    return most > 0 ? (size + most - 1) / most : 1;
  }

  std::string StandingCheckpoint() const {
    if (saved_ < 0) return "no checkpoint has been written: the same command starts over";
    return Cat("the checkpoint after step ", saved_,
               " is complete: run the same command again to continue from it, on any number of "
               "ranks");
  }

  static std::string Note(const std::string& task, double loss) {
    std::ostringstream out;
    out << task << " loss " << std::setprecision(4) << loss;
    return out.str();
  }

  void ValidateEpoch() {
    const Validation v = model_.Validate(progress_.step);
    const bool improved = progress_.best_step < 0 ||
                          (v.lower_is_better ? v.value < progress_.best : v.value > progress_.best);
    std::ostringstream line;
    line << "  step " << progress_.step << " validation" << std::setprecision(4);
    for (const auto& [name, value] : v.parts) line << " " << name << " " << value;
    Info(line.str() + (improved ? " *" : ""));
    if (improved) {
      progress_.best = v.value;
      progress_.best_step = progress_.step;
      SaveParameters(model_.parameters(), checkpoints_.BestFile(progress_.step), comm_);
    }
    progress_.stopped = !patience_.Continue(improved, progress_.endured);
  }

  bool AnyRankStops() {
    int64_t stop = StopRequested();
    comm_.AllReduce(&stop, 1, DType::kI64, cluster::Reduce::kMax);
    return stop != 0;
  }

  void Save() {
    checkpoints_.Save(progress_, model_.parameters(), optimizer_, comm_);
    comm_.Barrier();
    saved_ = progress_.step;
  }

  Facts Finish() {
    comm_.Barrier();
    if (root()) {
      fs::copy_file(checkpoints_.BestFile(progress_.best_step), folder_ / "model.safetensors",
                    fs::copy_options::overwrite_existing);
      checkpoints_.Drop();
    }
    comm_.Barrier();
    return {{"steps", Cat(progress_.step)},
            {"best step", Cat(progress_.best_step)},
            {"best validation", Cat(progress_.best)},
            {"parameters", Cat(model_.parameters().Count())}};
  }

  Trainable& model_;
  const config::TrainConfig& config_;
  fs::path folder_;
  cluster::Communicator& comm_;
  AdamW optimizer_;
  Reducer reducer_;
  Checkpoints checkpoints_;
  Patience patience_;
  train::Progress progress_;
  int64_t saved_ = -1;  // step of the last checkpoint; -1: none
};

}  // namespace

bool Patience::Continue(bool improved, int64_t& endured) const {
  if (!improved)
    ++endured;
  else if (rule_ == config::TrainConfig::CONSECUTIVE)
    endured = 0;
  return endured < limit_;
}

Facts Run(Trainable& model, const config::TrainConfig& config, const fs::path& folder,
          cluster::Communicator& comm) {
  // Operators without a deterministic form throw and say what to do. Of the whole process.
  if (config.deterministic()) at::globalContext().setDeterministicAlgorithms(true, false);
  return Loop(model, config, folder, comm).Run();
}

}  // namespace whyrec::train
