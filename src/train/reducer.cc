#include "src/train/reducer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "src/base/error.h"
#include "src/tensor/bridge.h"
#include "src/tensor/dist_ops.h"
#include "src/tensor/grad_hooks.h"
#include "src/train/row_sums.h"

namespace whyrec::train {
namespace {

// All ranks' blocks, of equal size, concatenated.
std::vector<int64_t> GatherNumbers(const std::vector<int64_t>& own, cluster::Communicator& comm) {
  std::vector<int64_t> all(own.size() * static_cast<size_t>(comm.size()));
  const auto bytes = static_cast<int64_t>(own.size() * sizeof(int64_t));
  comm.AllGatherInto(own.data(), all.data(),
                     cluster::Sizes(static_cast<size_t>(comm.size()), bytes));
  return all;
}

// FNV-1a: the same on every machine.
int64_t NumberOf(const std::string& text) {
  uint64_t hash = 14695981039346656037u;
  for (const unsigned char c : text) hash = (hash ^ c) * 1099511628211u;
  return static_cast<int64_t>(hash);
}

}  // namespace

Reducer::Reducer(const nn::Parameters& parameters, cluster::Communicator& comm,
                 const ReducerOptions& options)
    : parameters_(parameters), comm_(comm), options_(options) {
  if (comm.size() == 1) return;
  for (size_t p = 0; p < parameters.all().size(); ++p)
    if (Parameter(p).requires_grad() && !Apart(p))
      tensor::OnGradient(Parameter(p), [this, p] { Arrived(p); });
}

Reducer::~Reducer() {
  if (comm_.size() == 1) return;
  for (size_t p = 0; p < parameters_.all().size(); ++p)
    if (Parameter(p).requires_grad() && !Apart(p)) tensor::ForgetOnGradient(Parameter(p));
}

void Reducer::Begin(const std::string& task) {
  if (comm_.size() == 1) return;
  std::lock_guard lock(mutex_);
  const auto found = tasks_.find(task);
  task_ = found == tasks_.end() ? nullptr : &found->second;
  name_ = task;
  arrivals_.assign(parameters_.all().size(), 0);
  places_.assign(parameters_.all().size(), -1);
  arrived_ = 0;
  missing_.clear();
  if (task_)
    for (const Bucket& bucket : task_->plan.buckets)
      missing_.push_back(std::ssize(bucket.parameters));
  next_ = 0;
  flights_.clear();
  failure_ = nullptr;
  active_ = true;
}

void Reducer::Arrived(size_t parameter) {
  std::lock_guard lock(mutex_);
  if (!active_ || failure_) return;
  ++arrivals_[parameter];
  places_[parameter] = arrived_++;
  if (!task_) return;
  try {
    Advance(parameter);
  } catch (...) {  // autograd must not see it
    failure_ = std::current_exception();
  }
}

void Reducer::Advance(size_t parameter) {
  const int64_t bucket = task_->plan.bucket_of[parameter];
  if (bucket == BucketPlan::kTable) return;
  if (bucket == BucketPlan::kOutside)
    Fail(Exit::kInternal, "the task ", name_, " has a gradient for ", Path(parameter),
         ", which it did not have in its first step");
  if (bucket < static_cast<int64_t>(next_))
    Fail(Exit::kInternal, "a gradient of ", Path(parameter),
         " arrived after its all-reduce had started; set train.overlap to false");
  if (arrivals_[parameter] == task_->passes[parameter]) --missing_[static_cast<size_t>(bucket)];
  if (!options_.overlap) return;
  for (; next_ < missing_.size() && missing_[next_] == 0; ++next_) {
    Start(next_);
    ++traffic_.early_buckets;
  }
}

void Reducer::Finish() {
  if (comm_.size() == 1) return;
  std::lock_guard lock(mutex_);
  active_ = false;
  if (failure_) std::rethrow_exception(failure_);
  const c10::NoGradGuard no_grad;
  if (!task_) task_ = &tasks_.emplace(name_, Agree()).first->second;
  const size_t buckets = task_->plan.buckets.size();
  for (; next_ < buckets; ++next_) Start(next_);
  SumTables();
  for (size_t bucket = 0; bucket < buckets; ++bucket) Land(bucket);
}

// The first step of a task: all ranks learn which parameters have gradients anywhere, take rank 0's
// order of arrival, and choose the tables that are cheaper by rows.
Reducer::Task Reducer::Agree() {
  const size_t n = parameters_.all().size(), size = 2 * n + 1;
  std::vector<int64_t> own(size, -1);
  own[2 * n] = NumberOf(name_);
  for (size_t p = 0; p < n; ++p) {
    const at::Tensor parameter = Parameter(p), gradient = parameter.grad();
    if (!gradient.defined() || Apart(p)) continue;
    // A parameter whose hook has not fired waits for Finish, so it comes last.
    own[p] = options_.fixed_order || places_[p] < 0 ? arrived_ + static_cast<int64_t>(n - p)
                                                    : places_[p];
    if (options_.by_rows && parameter.dim() == 2 &&
        static_cast<int64_t>(parameter.nbytes()) >= options_.table_bytes)
      own[n + p] = TouchedRows(gradient).numel();
  }
  const std::vector<int64_t> all = GatherNumbers(own, comm_);
  std::vector<int64_t> place(n, -1), touched(n, -1);  // rank 0's; of all ranks together
  for (size_t begin = 0; begin < all.size(); begin += size) {
    if (all[begin + 2 * n] != own[2 * n])
      Fail(Exit::kInternal, "rank ", comm_.rank(), " works on the task ", name_, ", rank ",
           begin / size, " on another one");
    for (size_t p = 0; p < n; ++p) {
      const int64_t there = all[begin + p], rows = all[begin + n + p];
      // Those that rank 0 lacks come last, in reverse order of registration.
      if (there >= 0 && place[p] < 0)
        place[p] = begin == 0 ? there : INT64_MAX - static_cast<int64_t>(p);
      if (rows >= 0) touched[p] = std::max<int64_t>(touched[p], 0) + rows;
    }
  }
  std::vector<size_t> order;
  for (size_t p = 0; p < n; ++p)
    if (place[p] >= 0) order.push_back(p);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return place[a] < place[b]; });
  Task task{MakeBucketPlan(parameters_, order, Tables(touched, n), options_.bucket_bytes),
            arrivals_};
  for (int64_t& passes : task.passes) passes = std::max<int64_t>(passes, 1);
  return task;
}

std::vector<size_t> Reducer::Tables(const std::vector<int64_t>& touched, size_t parameters) const {
  std::vector<size_t> tables;
  for (size_t p = 0; p < parameters; ++p) {
    const at::Tensor parameter = Parameter(p);
    const auto bytes = static_cast<int64_t>(c10::elementSize(Wire(parameter)));
    // A gradient that is all zero (LoRA's A while B = 0) says nothing about the next steps. Tables
    // are not overlapped, so they have to save more than some rows of a weight behind dead ReLUs.
    if (touched[p] > 0 && 4 * RowBytes(touched[p], parameter.size(1), bytes, comm_.size()) <
                              DenseBytes(parameter.numel(), bytes, comm_.size()))
      tables.push_back(p);
  }
  return tables;
}

at::ScalarType Reducer::Wire(const at::Tensor& parameter) const {
  return options_.bf16 ? at::kBFloat16 : parameter.scalar_type();
}

// Kept from step to step: fresh memory of this size costs as much as copying it.
at::Tensor Reducer::Buffer(size_t bucket) {
  const Bucket& wanted = task_->plan.buckets[bucket];
  const at::Tensor first = Parameter(wanted.parameters.front());
  const at::TensorOptions options = first.options().dtype(Wire(first)).requires_grad(false);
  if (bucket >= buffers_.size()) buffers_.resize(bucket + 1);
  at::Tensor& kept = buffers_[bucket];
  if (!kept.defined() || kept.numel() < wanted.count || kept.scalar_type() != Wire(first) ||
      kept.device() != first.device())
    kept = at::empty({wanted.count}, options);
  return kept.narrow(0, 0, wanted.count);
}

void Reducer::Start(size_t bucket) {
  const c10::NoGradGuard no_grad;
  Flight flight{.buffer = Buffer(bucket), .pending = nullptr};
  int64_t at = 0;
  for (const size_t p : task_->plan.buckets[bucket].parameters) {
    const at::Tensor parameter = Parameter(p), gradient = parameter.grad();
    at::Tensor place = flight.buffer.narrow(0, at, parameter.numel());
    if (gradient.defined())
      place.view(parameter.sizes()).copy_(gradient);
    else
      place.zero_();
    at += parameter.numel();
  }
  const at::Tensor buffer = flight.buffer;
  flight.pending = comm_.StartAllReduce(buffer.mutable_data_ptr(), buffer.numel(),
                                        tensor::DTypeOf(buffer.scalar_type()),
                                        cluster::Reduce::kSum, tensor::PlaceOf(buffer));
  flights_.push_back(std::move(flight));
  ++traffic_.buckets;
  traffic_.dense_bytes +=
      DenseBytes(buffer.numel(), static_cast<int64_t>(buffer.element_size()), comm_.size());
}

// Gradients become views of the buffer where it has their type.
void Reducer::Land(size_t bucket) {
  flights_[bucket].pending->Wait();
  int64_t at = 0;
  for (const size_t p : task_->plan.buckets[bucket].parameters) {
    const at::Tensor parameter = Parameter(p);
    const at::Tensor sum =
        flights_[bucket].buffer.narrow(0, at, parameter.numel()).view(parameter.sizes());
    parameter.mutable_grad() = sum.to(parameter.scalar_type());
    at += parameter.numel();
  }
}

void Reducer::SumTables() {
  BucketPlan& plan = task_->plan;
  if (plan.tables.empty()) return;
  std::vector<at::Tensor> rows;
  std::vector<int64_t> own;
  for (const size_t p : plan.tables) {
    at::Tensor parameter = Parameter(p);
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter.detach());
    rows.push_back(TouchedRows(parameter.grad()));
    own.push_back(rows.back().numel());
  }
  const std::vector<int64_t> all = GatherNumbers(own, comm_);
  const std::vector<size_t> tables = plan.tables;  // MakeDense takes from the plan's
  for (size_t t = 0; t < tables.size(); ++t) {
    cluster::Sizes counts;
    int64_t total = 0;
    for (size_t i = t; i < all.size(); i += tables.size()) {
      counts.push_back(all[i]);
      total += all[i];
    }
    const at::Tensor parameter = Parameter(tables[t]);
    const auto bytes = static_cast<int64_t>(c10::elementSize(Wire(parameter)));
    if (RowBytes(total, parameter.size(1), bytes, comm_.size()) <
        DenseBytes(parameter.numel(), bytes, comm_.size())) {
      traffic_.row_bytes += SumRows(parameter.grad(), rows[t], counts, Wire(parameter), comm_);
      ++traffic_.tables;
    } else {
      plan.MakeDense(tables[t], parameter.numel());
      Start(plan.buckets.size() - 1);
      Land(plan.buckets.size() - 1);
    }
  }
}

double Sum(double value, cluster::Communicator& comm) {
  comm.AllReduce(&value, 1, DType::kF64, cluster::Reduce::kSum);
  return value;
}

}  // namespace whyrec::train
