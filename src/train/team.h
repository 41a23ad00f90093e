// The ranks that work together, as a system sees them: functions to divide work, sum and gather,
// without asking which rank this is. All ranks call the same functions in the same order.
#pragma once

#include <functional>
#include <memory>

#include "cluster/collective/communicator.h"
#include "src/nn/at.h"
#include "src/train/share.h"

namespace whyrec::train {

class Team {
 public:
  explicit Team(cluster::Communicator& comm) : comm_(&comm) {}
  static Team Alone();  // one rank, whoever else there is

  cluster::Communicator& comm() const { return *comm_; }  // for the training loop

  // This rank's share of n things.
  Slice Own(int64_t n) const;
  // Divides n things into units [begin, end) of at most `unit` and returns the sum of f over them.
  // Each unit is computed on one rank; the sum is in unit order, so it is the same on every rank.
  // Together: f is called on every rank for every unit of a round, on those that have none with
  // begin = end, so that it may call what all ranks must.
  enum class Calls { kOwn, kTogether };
  double SumOverUnits(int64_t n, int64_t unit,
                      const std::function<double(int64_t begin, int64_t end)>& f,
                      Calls calls = Calls::kOwn) const;
  // [n_rank, ..] -> [sum of n_rank, ..] in rank order; the gradient of a rank's rows comes back to
  // it, summed over the ranks' losses.
  at::Tensor Gather(const at::Tensor& rows) const;
  // For a parameter that every rank's loss uses in the same way: lets its gradient flow on one rank
  // only, so that the sum over the ranks counts it once.
  at::Tensor CountOnce(const at::Tensor& parameter) const;
  // Every rank's values become their sum over the ranks, with the same bits on each.
  void Sum(const at::Tensor& values) const;
  // f on one rank, while the others wait.
  void Once(const std::function<void()>& f) const;

 private:
  std::shared_ptr<cluster::Communicator> own_;  // Alone's
  cluster::Communicator* comm_;
};

}  // namespace whyrec::train
