#include "src/graph/partition.h"

#include <algorithm>
#include <numeric>

#include "src/base/error.h"
#include "src/base/rng.h"

namespace whyrec::graph {
namespace {

constexpr int64_t kRowWork = 4;  // of a row without entries

std::span<const int32_t> Neighbours(const Csr& a, int64_t node) {
  const auto n = static_cast<size_t>(node);
  return std::span(a.indices).subspan(static_cast<size_t>(a.offsets[n]),
                                      static_cast<size_t>(a.offsets[n + 1] - a.offsets[n]));
}

int64_t Work(const Csr& a, int64_t node) { return std::ssize(Neighbours(a, node)) + kRowWork; }

// Heavy nodes first: they decide where the light ones go. Equal ones in a drawn order.
std::vector<int32_t> Order(const Csr& a, uint64_t seed) {
  std::vector<int32_t> out(static_cast<size_t>(a.rows()));
  std::iota(out.begin(), out.end(), 0);
  Rng rng(seed, "partition order");
  for (size_t i = out.size(); i > 1; --i) std::swap(out[i - 1], out[rng.Below(i)]);
  std::ranges::stable_sort(out, std::greater<>(), [&](int32_t node) { return Work(a, node); });
  return out;
}

class Streaming {
 public:
  Streaming(const Csr& a, const PartitionOptions& options)
      : a_(a),
        owner_(static_cast<size_t>(a.rows()), -1),
        work_(static_cast<size_t>(options.parts), 0),
        near_(static_cast<size_t>(options.parts), 0) {
    const double all = static_cast<double>(a.entries() + kRowWork * a.rows());
    room_ = (1 + options.slack) * all / options.parts;
  }

  void Place(int32_t node) {
    int32_t& owner = owner_[static_cast<size_t>(node)];
    const int64_t work = Work(a_, node);
    if (owner >= 0) work_[static_cast<size_t>(owner)] -= work;
    owner = Best(node, work);
    work_[static_cast<size_t>(owner)] += work;
  }

  std::vector<int32_t> Take() { return std::move(owner_); }

 private:
  // Ties go to the part with more room, then to the lower number.
  int32_t Best(int32_t node, int64_t work) {
    std::ranges::fill(near_, 0);
    for (const int32_t neighbour : Neighbours(a_, node))
      if (const int32_t part = owner_[static_cast<size_t>(neighbour)]; part >= 0)
        ++near_[static_cast<size_t>(part)];
    size_t best = 0;
    double best_score = -1, best_room = -1;
    for (size_t part = 0; part < work_.size(); ++part) {
      const double room = room_ - static_cast<double>(work_[part]);
      if (room < static_cast<double>(work)) continue;
      const double score = static_cast<double>(near_[part]) * room / room_;
      if (score > best_score || (score == best_score && room > best_room)) {
        best = part;
        best_score = score;
        best_room = room;
      }
    }
    if (best_room < 0)  // a node heavier than any room
      best = static_cast<size_t>(std::ranges::min_element(work_) - work_.begin());
    return static_cast<int32_t>(best);
  }

  const Csr& a_;
  std::vector<int32_t> owner_;        // -1: none yet
  std::vector<int64_t> work_, near_;  // by part
  double room_;
};

}  // namespace

std::vector<int32_t> Partition(const Csr& a, const PartitionOptions& options) {
  WR_CHECK(a.rows() == a.columns && options.parts >= 1, a.rows(), " x ", a.columns, " over ",
           options.parts);
  Streaming streaming(a, options);
  const std::vector<int32_t> order = Order(a, options.seed);
  for (int pass = 0; pass < options.passes; ++pass)
    for (const int32_t node : order) streaming.Place(node);
  return streaming.Take();
}

PartitionCost CostOf(const Csr& a, std::span<const int32_t> owner, int parts) {
  const auto n = static_cast<size_t>(parts);
  PartitionCost out{std::vector<int64_t>(n), std::vector<int64_t>(n), std::vector<int64_t>(n), 0};
  std::vector<std::vector<int32_t>> read(n);  // rows of others, repeated
  for (int64_t row = 0; row < a.rows(); ++row) {
    const auto part = static_cast<size_t>(owner[static_cast<size_t>(row)]);
    ++out.rows[part];
    for (const int32_t column : Neighbours(a, row)) {
      ++out.entries[part];
      if (static_cast<size_t>(owner[static_cast<size_t>(column)]) == part) continue;
      ++out.cut;
      read[part].push_back(column);
    }
  }
  for (size_t part = 0; part < n; ++part) {
    std::ranges::sort(read[part]);
    out.halo[part] = std::unique(read[part].begin(), read[part].end()) - read[part].begin();
  }
  return out;
}

}  // namespace whyrec::graph
