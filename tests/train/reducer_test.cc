// Gradients summed over 2 to 4 ranks against autograd's on one rank with all samples.
#include "src/train/reducer.h"

#include <ATen/Parallel.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <map>

#include "src/base/error.h"
#include "src/train/row_sums.h"

namespace whyrec::train {
namespace {

using cluster::Communicator;
using Gradients = std::map<std::string, at::Tensor>;

constexpr int64_t kTableRows = 300, kTableWidth = 4, kSamples = 12;

// A table of which a sample reads one row, a weight used three times, one behind it, one that
// nothing uses.
struct Net {
  explicit Net(at::ScalarType dtype = at::kDouble) : parameters(dtype) {
    at::set_num_threads(1);
    nn::FillNormal(parameters.Add("table", {kTableRows, kTableWidth}), "table", 1, 1);
    for (const char* path : {"tied", "last", "never"})
      nn::FillNormal(parameters.Add(path, {kTableWidth, kTableWidth}), path, 1, 0.5);
    parameters.Add("frozen", {3}, /*trainable=*/false);
  }

  // Samples begin, ..., end - 1 of a step that reads `rows` rows of the table, with or without
  // "last".
  at::Tensor Loss(int64_t step, int64_t begin, int64_t end, bool with_last = true,
                  int64_t rows_each = 1) const {
    std::vector<int64_t> ids;
    for (int64_t i = begin * rows_each; i < end * rows_each; ++i)
      ids.push_back((i * 7 + step * 31) % kTableRows);
    const at::Tensor tied = parameters.Get("tied");
    at::Tensor x = at::embedding(parameters.Get("table"), at::tensor(ids));
    for (int i = 0; i < 3; ++i) x = at::tanh(at::matmul(x, tied));
    if (with_last) x = at::matmul(x, parameters.Get("last"));
    return x.pow(2).sum();
  }

  void Clear() const {
    for (const auto& [path, p] : parameters.all()) p.mutable_grad() = at::Tensor();
  }
  Gradients Taken() const {
    Gradients out;
    for (const auto& [path, p] : parameters.all())
      if (p.grad().defined()) out[path] = p.grad().clone();
    return out;
  }

  nn::Parameters parameters;
};

// A step on one rank of several, or alone.
Gradients StepOn(const Net& net, Reducer& reducer, const Communicator& comm, int64_t step,
                 bool with_last = true, int64_t rows_each = 1) {
  net.Clear();
  reducer.Begin(with_last ? "long" : "short");
  net.Loss(step, kSamples * comm.rank() / comm.size(), kSamples * (comm.rank() + 1) / comm.size(),
           with_last, rows_each)
      .backward();
  reducer.Finish();
  return net.Taken();
}

Gradients Alone(int64_t step, bool with_last = true, int64_t rows_each = 1) {
  Net net;
  net.Loss(step, 0, kSamples, with_last, rows_each).backward();
  return net.Taken();
}

void ExpectClose(const Gradients& got, const Gradients& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [path, gradient] : want) {
    ASSERT_TRUE(got.contains(path)) << path;
    const at::Tensor difference = got.at(path).to(at::kDouble) - gradient.to(at::kDouble);
    EXPECT_LE(difference.abs().max().item<double>(),
              tolerance * std::max(1.0, gradient.abs().max().item<double>()))
        << path;
  }
}

void ExpectSameBits(const Gradients& a, const Gradients& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [path, gradient] : a) EXPECT_TRUE(gradient.equal(b.at(path))) << path;
}

// Gradients of four steps of two tasks on rank 0; all ranks' bits are compared.
std::vector<Gradients> StepsOn(int ranks, const ReducerOptions& options, Traffic* traffic = nullptr,
                               at::ScalarType dtype = at::kDouble) {
  std::vector<std::vector<Gradients>> all(static_cast<size_t>(ranks));
  cluster::RunThreads(ranks, [&](Communicator& comm) {
    const Net net(dtype);
    Reducer reducer(net.parameters, comm, options);
    for (int64_t step = 0; step < 4; ++step)
      all[static_cast<size_t>(comm.rank())].push_back(
          StepOn(net, reducer, comm, step, /*with_last=*/step % 2 == 0));
    if (traffic && comm.rank() == 0) *traffic = reducer.traffic();
  });
  for (const auto& of_rank : all)
    for (size_t step = 0; step < 4; ++step) ExpectSameBits(of_rank[step], all[0][step]);
  return all[0];
}

TEST(Reducer, EqualsOneRankWhateverTheOptions) {
  for (const int ranks : {1, 2, 3, 4})
    for (const bool overlap : {false, true})
      for (const int64_t bucket_bytes : {1, 200, 1 << 20})
        for (const int64_t table_bytes : {0, 1 << 20}) {
          SCOPED_TRACE(Cat(ranks, " ranks, overlap ", overlap, ", buckets of ", bucket_bytes,
                           ", tables from ", table_bytes));
          const auto steps = StepsOn(
              ranks,
              {.bucket_bytes = bucket_bytes, .overlap = overlap, .table_bytes = table_bytes});
          for (int64_t step = 0; step < 4; ++step) {
            const Gradients want = Alone(step, step % 2 == 0);
            EXPECT_EQ(want.size(), step % 2 == 0 ? 3u : 2u);  // a task without "last" leaves it out
            ExpectClose(steps[static_cast<size_t>(step)], want, 1e-13);
          }
        }
}

TEST(Reducer, RowsHaveTheBitsOfADenseSum) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    Traffic dense, rows;
    const auto by_dense = StepsOn(3, {.by_rows = false, .table_bytes = 0}, &dense, dtype);
    const auto by_rows = StepsOn(3, {.by_rows = true, .table_bytes = 0}, &rows, dtype);
    for (size_t step = 0; step < 4; ++step) ExpectSameBits(by_dense[step], by_rows[step]);
    EXPECT_EQ(dense.tables, 0);
    EXPECT_EQ(rows.tables, 4);
    const auto bytes = static_cast<int64_t>(c10::elementSize(dtype));
    EXPECT_EQ(rows.row_bytes,
              4 * 8 * (8 + kTableWidth * bytes));  // eight rows of others in each step
    EXPECT_EQ(dense.dense_bytes - rows.dense_bytes,
              4 * DenseBytes(kTableRows * kTableWidth, bytes, 3));
  }
}

TEST(Reducer, StartsBucketsWithinTheBackwardPass) {
  Traffic overlapped, late;
  StepsOn(2, {.bucket_bytes = 1, .by_rows = false}, &overlapped);
  StepsOn(2, {.bucket_bytes = 1, .overlap = false, .by_rows = false}, &late);
  EXPECT_EQ(overlapped.buckets, 10);       // 3 + 2 + 3 + 2
  EXPECT_EQ(overlapped.early_buckets, 5);  // the first step of each task looks on
  EXPECT_EQ(late.early_buckets, 0);
  EXPECT_EQ(late.dense_bytes, overlapped.dense_bytes);
}

TEST(Reducer, ATableThatIsReadMoreBecomesDense) {
  std::vector<Gradients> got;
  Traffic traffic;
  cluster::RunThreads(2, [&](Communicator& comm) {
    const Net net;
    Reducer reducer(net.parameters, comm, {.table_bytes = 0});
    for (const int64_t rows_each : {1, 1, 50, 50, 1}) {
      Gradients one = StepOn(net, reducer, comm, 0, true, rows_each);
      if (comm.rank() == 0) got.push_back(std::move(one));
    }
    if (comm.rank() == 0) traffic = reducer.traffic();
  });
  const Gradients few = Alone(0), many = Alone(0, true, 50);
  for (const size_t step : {0, 1, 4}) ExpectClose(got[step], few, 1e-13);
  for (const size_t step : {2, 3}) ExpectClose(got[step], many, 1e-13);
  EXPECT_EQ(traffic.tables, 2);
}

// bf16 has 8 significant bits; sums are made in fp32 and rounded once.
TEST(Reducer, Bf16Buckets) {
  for (const int64_t table_bytes : {0, 1 << 20}) {
    const auto steps = StepsOn(4, {.bf16 = true, .table_bytes = table_bytes}, nullptr, at::kFloat);
    for (int64_t step = 0; step < 4; ++step) {
      const Gradients& got = steps[static_cast<size_t>(step)];
      ExpectClose(got, Alone(step, step % 2 == 0), 1.0 / 128);
      for (const auto& [path, gradient] : got) EXPECT_EQ(gradient.scalar_type(), at::kFloat);
    }
  }
}

TEST(Reducer, EarlierPartsAddUp) {
  cluster::RunThreads(3, [&](Communicator& comm) {
    const Net net;
    Reducer reducer(net.parameters, comm, {.bucket_bytes = 1, .table_bytes = 0});
    for (int64_t step = 0; step < 3; ++step) {
      net.Clear();
      const int64_t begin = 4 * comm.rank();
      net.Loss(step, begin, begin + 1).backward();
      net.Loss(step, begin + 1, begin + 3).backward();
      reducer.Begin("long");
      net.Loss(step, begin + 3, begin + 4).backward();
      reducer.Finish();
      ExpectClose(net.Taken(), Alone(step), 1e-13);
    }
  });
}

TEST(Reducer, AGradientOfOneRankReachesAll) {
  cluster::RunThreads(3, [&](Communicator& comm) {
    const Net net;
    Reducer reducer(net.parameters, comm, {.table_bytes = 0});
    for (int64_t step = 0; step < 2; ++step) {
      net.Clear();
      reducer.Begin("one");
      const bool uses = comm.rank() == 2;
      net.Loss(step, comm.rank(), comm.rank() + 1, uses).backward();
      reducer.Finish();
      Net alone;
      (alone.Loss(step, 0, 2, false) + alone.Loss(step, 2, 3, true)).backward();
      ExpectClose(net.Taken(), alone.Taken(), 1e-13);
    }
  });
}

// What every rank's Finish says.
std::vector<std::string> Complaints(int ranks,
                                    const std::function<void(Net&, Reducer&, int)>& step) {
  std::vector<std::string> out(static_cast<size_t>(ranks), "nothing");
  cluster::RunThreads(ranks, [&](Communicator& comm) {
    Net net;
    Reducer reducer(net.parameters, comm, {.bucket_bytes = 1, .by_rows = false});
    try {
      step(net, reducer, comm.rank());
    } catch (const Error& error) {
      out[static_cast<size_t>(comm.rank())] = error.what();
    }
  });
  return out;
}

TEST(Reducer, RefusesAGradientOutsideTheTasksSet) {
  for (const std::string& text : Complaints(2, [](Net&net, Reducer&reducer, int) {
         for (const bool with_last : {false, true}) {
           net.Clear();
           reducer.Begin("short");
           net.Loss(0, 0, 2, with_last).backward();
           reducer.Finish();
         }
       }))
    EXPECT_EQ(text,
              "the task short has a gradient for last, which it did not have in its first step");
}

TEST(Reducer, RefusesAGradientAfterItsBucket) {
  for (const std::string& text : Complaints(2, [](Net&net, Reducer&reducer, int) {
         for (const int passes : {1, 2}) {
           net.Clear();
           reducer.Begin("long");
           for (int i = 0; i < passes; ++i) net.Loss(0, 0, 2).backward();
           reducer.Finish();
         }
       }))
    EXPECT_NE(text.find("arrived after its all-reduce had started; set train.overlap to false"),
              std::string::npos)
        << text;
}

TEST(Reducer, RefusesDifferentTasks) {
  const auto said = Complaints(2, [](Net& net, Reducer& reducer, int rank) {
    reducer.Begin(rank == 0 ? "long" : "other");
    net.Loss(0, 0, 2).backward();
    reducer.Finish();
  });
  EXPECT_EQ(said[0], "rank 0 works on the task long, rank 1 on another one");
}

}  // namespace
}  // namespace whyrec::train
