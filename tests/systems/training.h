// Training watched: the sums over ranks, the losses, the weights in the end.
#pragma once

#include <cmath>
#include <sstream>

#include "src/base/text_file.h"
#include "tests/systems/world.h"

namespace whyrec::systems {

// Passes everything on. Keeps the sums of single values, which are the text losses (losses.csv has
// nine digits, fewer than the comparison needs), and the last sum of several, which are gradients;
// fails at a chosen operation.
class Spy final : public cluster::Communicator {
 public:
  explicit Spy(cluster::Communicator& comm, int64_t last = -1) : comm_(comm), left_(last) {}
  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }
  void AllReduce(void* values, int64_t count, DType dtype, cluster::Reduce op,
                 cluster::Place at) override {
    if (left_-- == 0) throw Broken();
    comm_.AllReduce(values, count, dtype, op, at);
    if (count == 1 && dtype == DType::kF64) sums.push_back(*static_cast<double*>(values));
  }
  std::unique_ptr<cluster::Pending> StartAllReduce(void* values, int64_t count, DType dtype,
                                                   cluster::Reduce op, cluster::Place at) override {
    if (left_-- == 0) throw Broken();
    auto pending = comm_.StartAllReduce(values, count, dtype, op, at);  // over at once, on threads
    const auto* doubles = static_cast<double*>(values);
    const auto* floats = static_cast<float*>(values);
    if (dtype == DType::kF64) block.assign(doubles, doubles + count);
    if (dtype == DType::kF32) block.assign(floats, floats + count);
    return pending;
  }
  void ReduceScatter(const void* values, void* own, const cluster::Sizes& counts, DType dtype,
                     cluster::Reduce op, cluster::Place at) override {
    comm_.ReduceScatter(values, own, counts, dtype, op, at);
  }
  void AllGatherInto(const void* own, void* all, const cluster::Sizes& bytes,
                     cluster::Place at) override {
    comm_.AllGatherInto(own, all, bytes, at);
  }
  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    return comm_.AllGather(bytes, n);
  }
  void AllToAll(const void* in, const cluster::Sizes& send, void* out,
                const cluster::Sizes& receive, cluster::Place at) override {
    comm_.AllToAll(in, send, out, receive, at);
  }
  void Broadcast(void* bytes, size_t n, int root, cluster::Place at) override {
    comm_.Broadcast(bytes, n, root, at);
  }
  void Barrier(cluster::Waiting waiting) override { comm_.Barrier(waiting); }
  void Abort(int code) override { comm_.Abort(code); }

  struct Broken {};
  std::vector<double> sums, block;

 private:
  cluster::Communicator& comm_;
  int64_t left_;
};

struct Trained {
  std::vector<double> sums, total;  // losses per step; `sums` also holds those of validation
  std::vector<double> gradient;     // of the last step, where there are several ranks
  std::vector<std::string> tasks;
  std::map<std::string, std::vector<double>> weights;  // model.safetensors
};

inline void ReadLosses(const fs::path& folder, Trained& run) {
  std::istringstream lines(ReadFile(folder / "losses.csv"));
  std::string line;
  for (std::getline(lines, line); std::getline(lines, line);) {
    const size_t first = line.find(','), last = line.rfind(',');
    run.tasks.push_back(line.substr(first + 1, last - first - 1));
    run.total.push_back(std::stod(line.substr(last + 1)));
  }
}

inline std::vector<double> Doubles(const HostTensor& tensor) {
  if (tensor.dtype() == DType::kF64)
    return {tensor.values<double>().begin(), tensor.values<double>().end()};
  return {tensor.values<float>().begin(), tensor.values<float>().end()};
}

// Ranks are threads.
inline Trained TrainOn(const World& world, const std::string& system, int ranks) {
  Temporary folder;
  std::vector<std::unique_ptr<Recommender>> systems;  // built here: HDF5 belongs to one thread
  for (int i = 0; i < ranks; ++i) systems.push_back(world.Build(system));
  Trained run;
  cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
    Spy spy(comm);
    world.Train(*systems[static_cast<size_t>(comm.rank())], spy, folder.path());
    if (comm.rank() != 0) return;
    run.sums = spy.sums;
    run.gradient = spy.block;
  });
  ReadLosses(folder.path(), run);
  for (const auto& [path, tensor] : store::ReadSafetensors(folder / "model.safetensors"))
    run.weights[path] = Doubles(tensor);
  return run;
}

// Largest difference, relative to the value where that is above 1.
inline double Furthest(const std::vector<double>& a, const std::vector<double>& b) {
  double far = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i)
    far = std::max(far, std::abs(a[i] - b[i]) / std::max(1.0, std::abs(a[i])));
  return far;
}

}  // namespace whyrec::systems
