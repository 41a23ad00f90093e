#include "src/nn/top_k.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <span>
#include <vector>

#include "src/base/error.h"
#include "src/nn/at.h"
#include "src/tensor/bridge.h"
#include "src/tensor/parallel.h"
#include "src/tensor/vectorised.h"

namespace whyrec::nn {
namespace {

constexpr int64_t kBlock = 512;

struct Scored {
  float score;
  int32_t row;
};

bool Better(const Scored& a, const Scored& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

// Whether any of 64 scores reaches `least`.
WR_VECTORISED int32_t AnyReaches(const float* scores, float least) {
  int32_t any = 0;
  for (int64_t j = 0; j < 64; ++j) any |= scores[j] >= least ? 1 : 0;
  return any;
}

// sum_d a[d] b[d] in double; eight partial sums, so that the order is the same on every CPU.
WR_VECTORISED double Dot(const float* a, const float* b, int64_t n) {
  double sums[8] = {};
  int64_t d = 0;
  for (; d + 8 <= n; d += 8)
    for (int64_t l = 0; l < 8; ++l)
      sums[l] += static_cast<double>(a[d + l]) * static_cast<double>(b[d + l]);
  double sum = 0;
  for (; d < n; ++d) sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
  for (const double part : sums) sum += part;
  return sum;
}

// The rows that may be among the k best of one row, by screened scores.
class Shortlist {
 public:
  // Scores of the rows first .. first + n - 1, without `self`. What is lower than the k-th best so
  // far by more than the margin is dropped.
  void Add(const float* scores, int64_t n, int64_t first, int64_t self, int64_t k, float margin) {
    for (int64_t j = 0; j < n;) {
      if (j + 64 <= n && !AnyReaches(scores + j, least_)) {
        j += 64;
        continue;
      }
      for (const int64_t end = std::min(n, j + 64); j < end; ++j)
        if (scores[j] >= least_ && first + j != self)
          found_.push_back({scores[j], static_cast<int32_t>(first + j)});
    }
    if (std::ssize(found_) > 2 * k + 256) Cut(k, margin);
  }

  void Cut(int64_t k, float margin) {
    if (std::ssize(found_) < k) return;
    std::nth_element(found_.begin(), found_.begin() + (k - 1), found_.end(), Better);
    least_ = found_[static_cast<size_t>(k - 1)].score - margin;
    std::erase_if(found_, [&](const Scored& x) { return x.score < least_; });
  }

  std::vector<Scored>& found() { return found_; }

 private:
  std::vector<Scored> found_;
  float least_ = -std::numeric_limits<float>::infinity();
};

class Cosines {
 public:
  explicit Cosines(const HostTensor& x)
      : x_(x), n_(x.dim(0)), width_(x.dim(1)), unit_(at::empty({n_, width_})) {
    inverse_.resize(static_cast<size_t>(n_));
    tensor::ParallelFor(n_, [this](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto row = x_.row<float>(i);
        const double squares = Dot(row.data(), row.data(), width_);
        const double inverse = squares == 0             ? 0
                               : std::isfinite(squares) ? 1 / std::sqrt(squares)
                                                        : std::numeric_limits<double>::quiet_NaN();
        inverse_[static_cast<size_t>(i)] = inverse;
        float* unit = unit_.mutable_data_ptr<float>() + i * width_;
        for (size_t j = 0; j < row.size(); ++j) unit[j] = static_cast<float>(row[j] * inverse);
      }
    });
    const auto broken = std::ranges::find_if(inverse_, [](double v) { return std::isnan(v); });
    WR_CHECK(broken == inverse_.end(), "row ", broken - inverse_.begin(), " is not finite");
  }

  int64_t rows() const { return n_; }

  // Twice what fp32 may be off by: |u.v| of unit vectors is at most 1, so a sum of w rounded
  // products, in any order, is within (w + 2) eps of the exact one, eps = 2^-24; rounding the unit
  // vectors and the exact score adds 3 eps.
  float margin() const { return 2 * static_cast<float>(width_ + 5) * 0x1p-24f * 1.01f; }

  at::Tensor Unit(int64_t begin, int64_t end) const { return unit_.narrow(0, begin, end - begin); }

  float Exact(int64_t i, int64_t j) const {
    const double sum = Dot(x_.row<float>(i).data(), x_.row<float>(j).data(), width_);
    return static_cast<float>(sum * inverse_[static_cast<size_t>(i)] *
                              inverse_[static_cast<size_t>(j)]);
  }

 private:
  const HostTensor& x_;
  int64_t n_, width_;
  at::Tensor unit_;  // [n, w]
  std::vector<double> inverse_;
};

}  // namespace

HostTensor TopKCosine(const HostTensor& x, int64_t k) { return TopKCosine(x, k, 0, x.dim(0)); }

namespace {

struct Block {
  int64_t begin, end;
};

std::vector<Block> BlocksOf(int64_t begin, int64_t end) {
  std::vector<Block> out;
  for (int64_t at = begin; at < end; at += kBlock) out.push_back({at, std::min(end, at + kBlock)});
  return out;
}

// The shortlists of the rows [begin, end).
class Screening {
 public:
  Screening(const Cosines& cosines, int64_t k, int64_t begin, int64_t end)
      : cosines_(cosines), k_(k), begin_(begin), lists_(static_cast<size_t>(end - begin)) {
    const std::vector<Block> own = BlocksOf(begin, end);
    std::vector<Block> others = BlocksOf(0, begin);
    std::ranges::copy(BlocksOf(end, cosines.rows()), std::back_inserter(others));
    const auto count = std::ssize(own);
    tensor::ParallelForSerialOps(count, [&](int64_t from, int64_t to) {
      const c10::NoGradGuard no_grad;
      for (int64_t i = from; i < to; ++i) {
        const Block& rows = own[static_cast<size_t>(i)];
        Add(rows, rows, Products(rows, rows));
        for (const Block& columns : others) Add(rows, columns, Products(rows, columns));
      }
    });
    // A tournament: in each round every block meets one other, so that no two threads work on one
    // list. With an odd number of blocks one rests.
    const int64_t players = count + count % 2;
    for (int64_t round = 0; round + 1 < players; ++round)
      tensor::ParallelForSerialOps(players / 2, [&](int64_t from, int64_t to) {
        const c10::NoGradGuard no_grad;
        for (int64_t pair = from; pair < to; ++pair) {
          const auto seat = [&](int64_t i) {
            return i == 0 ? 0 : 1 + (i - 1 + round) % (players - 1);
          };
          const int64_t a = seat(pair), b = seat(players - 1 - pair);
          if (std::max(a, b) >= count) continue;
          const Block &rows = own[static_cast<size_t>(a)], &columns = own[static_cast<size_t>(b)];
          const at::Tensor scores = Products(rows, columns);
          Add(rows, columns, scores);
          Add(columns, rows, scores.t().contiguous());
        }
      });
  }

  // The k best of a row of [begin, end), best first.
  void Best(int64_t row, std::span<int32_t> out) {
    auto& list = lists_[static_cast<size_t>(row - begin_)];
    list.Cut(k_, cosines_.margin());
    std::vector<Scored>& found = list.found();
    std::ranges::sort(found, Better);
    // Runs of rows that the margin cannot tell apart.
    for (size_t from = 0, to = 0; from < found.size(); from = to) {
      for (to = from + 1; to < found.size(); ++to)
        if (found[to - 1].score - found[to].score > cosines_.margin()) break;
      if (to - from == 1 || from >= out.size()) continue;
      for (size_t i = from; i < to; ++i) found[i].score = cosines_.Exact(row, found[i].row);
      std::sort(found.begin() + static_cast<int64_t>(from),
                found.begin() + static_cast<int64_t>(to), Better);
    }
    for (size_t i = 0; i < out.size(); ++i) out[i] = found[i].row;
  }

 private:
  at::Tensor Products(const Block& rows, const Block& columns) const {
    return at::mm(cosines_.Unit(rows.begin, rows.end),
                  cosines_.Unit(columns.begin, columns.end).t());
  }

  void Add(const Block& rows, const Block& columns, const at::Tensor& scores) {
    const int64_t width = scores.size(1);
    for (int64_t i = rows.begin; i < rows.end; ++i)
      lists_[static_cast<size_t>(i - begin_)].Add(
          scores.const_data_ptr<float>() + (i - rows.begin) * width, width, columns.begin, i, k_,
          cosines_.margin());
  }

  const Cosines& cosines_;
  const int64_t k_, begin_;
  std::vector<Shortlist> lists_;
};

}  // namespace

HostTensor TopKCosine(const HostTensor& x, int64_t k, int64_t begin, int64_t end) {
  WR_CHECK(k >= 1 && k < x.dim(0), "k = ", k, " of ", x.dim(0), " rows");
  const c10::NoGradGuard no_grad;
  const Cosines cosines(x);
  Screening screening(cosines, k, begin, end);
  HostTensor out = HostTensor::Zeros(DType::kI32, {end - begin, k});
  tensor::ParallelFor(end - begin, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) screening.Best(begin + i, out.row<int32_t>(i));
  });
  return out;
}

}  // namespace whyrec::nn
