// Sums gradients over the ranks, in all-reduce buckets that overlap with the backward pass.
#pragma once

#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cluster/collective/communicator.h"
#include "src/nn/parameters.h"
#include "src/train/bucket_plan.h"

namespace whyrec::train {

struct ReducerOptions {
  int64_t bucket_bytes = 25 << 20;
  // Buckets start during the backward pass. Off for models that communicate within it: hooks fire
  // in another order on each rank, and collectives must not.
  bool overlap = true;
  bool bf16 = false;         // sends gradients as bf16; Self, Thread and Mpi add them in fp32
  bool by_rows = true;       // tables of which few rows have a gradient send only these rows
  bool fixed_order = false;  // buckets in reverse order of registration, not in the observed one
  int64_t table_bytes = 64 << 10;  // smaller ones are never sent by rows
};

// What this rank has received so far (buckets: by the plan of docs/communicators.md) and sent to
// the communicator.
struct Traffic {
  int64_t dense_bytes = 0, row_bytes = 0;
  int64_t buckets = 0, early_buckets = 0;  // early: started within the backward pass
  int64_t tables = 0;                      // sums by rows
};

// One step: backward passes whose gradients add up (micro-batches), then Begin, the last backward
// pass, Finish. Afterwards the gradients are sums over the ranks, with the same bits on each.
//
// Each task has a set of parameters with gradients, agreed in its first step: those that have one
// on any rank. The others keep none, so the optimiser skips them as on one rank: ISRF's tasks train
// different parameters. A later step without a gradient for a member counts as zero; a gradient for
// a parameter outside the set is
// an Error(kInternal), and so are ranks that work on different tasks. Nothing happens at one rank,
// and to parameters that stand apart (nn::Parameters::IsApart): distributed tables, and those whose
// rows a system adds up. Belongs to one thread, besides those of autograd; parameters have one
// Reducer at a time.
class Reducer {
 public:
  Reducer(const nn::Parameters& parameters, cluster::Communicator& comm,
          const ReducerOptions& options = {});
  ~Reducer();
  Reducer(const Reducer&) = delete;
  Reducer& operator=(const Reducer&) = delete;

  void Begin(const std::string& task);
  void Finish();
  const Traffic& traffic() const { return traffic_; }

 private:
  struct Task {
    BucketPlan plan;
    std::vector<int64_t> passes;  // by parameter: how often its gradient arrives in one step
  };
  struct Flight {
    at::Tensor buffer;  // [count]
    std::unique_ptr<cluster::Pending> pending;
  };
  void Arrived(size_t parameter);  // within the backward pass
  void Advance(size_t parameter);
  Task Agree();
  std::vector<size_t> Tables(const std::vector<int64_t>& touched, size_t parameters) const;
  void Start(size_t bucket);
  void Land(size_t bucket);
  void SumTables();
  at::Tensor Buffer(size_t bucket);
  at::ScalarType Wire(const at::Tensor& parameter) const;
  const std::string& Path(size_t parameter) const { return parameters_.all()[parameter].first; }
  bool Apart(size_t parameter) const { return parameters_.IsApart(Path(parameter)); }
  at::Tensor Parameter(size_t parameter) const { return parameters_.all()[parameter].second; }

  const nn::Parameters& parameters_;
  cluster::Communicator& comm_;
  const ReducerOptions options_;
  std::map<std::string, Task> tasks_;
  std::vector<at::Tensor> buffers_;  // by bucket, of any task
  Traffic traffic_;

  // The step under way. Autograd may call from several threads.
  std::mutex mutex_;
  bool active_ = false;
  std::string name_;                        // of the task
  Task* task_ = nullptr;                    // null in the task's first step
  std::vector<int64_t> arrivals_, places_;  // by parameter: how many, and the last one's place
  int64_t arrived_ = 0;
  std::vector<int64_t> missing_;  // by bucket: parameters still to come
  size_t next_ = 0;               // bucket to start
  std::vector<Flight> flights_;   // by bucket
  std::exception_ptr failure_;    // of a hook
};

// One value: the sum over the ranks.
double Sum(double value, cluster::Communicator& comm);

}  // namespace whyrec::train
