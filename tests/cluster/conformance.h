// What every communicator must do, for threads (communicator_test.cc) and processes
// (procs/cluster_ranks.cc) alike. Each rank runs the same check; a check throws when it fails.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <ostream>
#include <thread>
#include <vector>

#include "cluster/communicator.h"
#include "src/base/rng.h"

namespace whyrec::cluster {

// Fewer values than ranks, sizes that no number of ranks divides, for Mpi's way with few values
// and, past its piece, its way with many.
constexpr int64_t kCounts[] = {0, 1, 7, 501, 1000003};

// Rank r's values, which any rank can make. Magnitudes over six decades, so that the order of a
// floating-point sum shows in its last bits.
template <typename T>
std::vector<T> ValuesOf(int rank, int64_t count) {
  Rng rng(7, "conformance", static_cast<uint64_t>(rank), static_cast<uint64_t>(count));
  std::vector<T> out(static_cast<size_t>(count));
  for (T& x : out) {
    const uint64_t bits = rng.Next();
    if constexpr (std::is_integral_v<T>) {
      x = static_cast<T>(bits >> 4) - (int64_t{1} << 58);  // beyond the 53 bits of a double
    } else {
      static constexpr T kScale[] = {1e-3, 1e-2, 1e-1, 1, 1e1, 1e2, 1e3, 1e-1};
      x = (static_cast<T>(bits >> 40) / static_cast<T>(1 << 24) - T{0.5}) * kScale[bits & 7];
    }
  }
  return out;
}

// The plain slow version: one loop over the ranks in the given order.
template <typename T>
std::vector<T> SumOver(const std::vector<int>& order, int64_t count) {
  std::vector<T> sum = ValuesOf<T>(order.at(0), count);
  for (size_t i = 1; i < order.size(); ++i) {
    const std::vector<T> more = ValuesOf<T>(order[i], count);
    for (size_t k = 0; k < sum.size(); ++k) sum[k] += more[k];
  }
  return sum;
}

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <typename T>
void SumsInRankOrder(Communicator& comm) {
  std::vector<int> order(static_cast<size_t>(comm.size()));
  for (int r = 0; r < comm.size(); ++r) order[static_cast<size_t>(r)] = r;
  for (int64_t count : kCounts) {
    std::vector<T> values = ValuesOf<T>(comm.rank(), count);
    comm.AllReduce(values.data(), count, DTypeOf<T>(), Reduce::kSum);
    const std::vector<T> want = SumOver<T>(order, count);
    WR_CHECK(SameBits(values, want), NameOf(DTypeOf<T>()), " sum of ", count);
    if (std::is_floating_point_v<T> && comm.size() > 2 && count > 7) {
      const std::vector<int> backwards(order.rbegin(), order.rend());
      WR_CHECK(!SameBits(want, SumOver<T>(backwards, count)), "these values hide the order");
    }
  }
}

// Integers in doubles: exact whatever the order, so a failure here is a lost or doubled value.
inline void SumsIntegersExactly(Communicator& comm) {
  const int64_t ranks = comm.size();
  for (int64_t count : kCounts) {
    std::vector<double> values(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i)
      values[static_cast<size_t>(i)] = static_cast<double>(i + comm.rank());
    comm.AllReduce(values.data(), count, DType::kF64, Reduce::kSum);
    for (int64_t i = 0; i < count; ++i) {
      const auto want = static_cast<double>(ranks * i + ranks * (ranks - 1) / 2);
      WR_CHECK(values[static_cast<size_t>(i)] == want, "value ", i, " of ", count);
    }
  }
}

template <typename T>
void TakesMaxima(Communicator& comm) {
  for (int64_t count : kCounts) {
    std::vector<T> values = ValuesOf<T>(comm.rank(), count), want = ValuesOf<T>(0, count);
    for (int r = 1; r < comm.size(); ++r) {
      const std::vector<T> more = ValuesOf<T>(r, count);
      for (size_t k = 0; k < want.size(); ++k) want[k] = std::max(want[k], more[k]);
    }
    comm.AllReduce(values.data(), count, DTypeOf<T>(), Reduce::kMax);
    WR_CHECK(SameBits(values, want), NameOf(DTypeOf<T>()), " maximum of ", count);
  }
}

// A NaN of any one rank, first, middle or last, reaches all.
inline void MaximumKeepsNaN(Communicator& comm) {
  for (int broken = 0; broken < comm.size(); ++broken) {
    double values[] = {1.0, comm.rank() == broken ? std::numeric_limits<double>::quiet_NaN() : 2.0};
    comm.AllReduce(values, 2, DType::kF64, Reduce::kMax);
    WR_CHECK(values[0] == 1.0 && std::isnan(values[1]), values[0], " ", values[1]);
  }
}

inline void RefusesOtherTypes(Communicator& comm) {
  int32_t value = 1;
  try {
    comm.AllReduce(&value, 1, DType::kI32, Reduce::kSum);
  } catch (const Error& e) {
    WR_CHECK(e.code() == Exit::kInternal, e.what());
    return;
  }
  WR_CHECK(false, "an I32 sum was accepted");
}

inline std::vector<std::byte> BlockOf(int rank, size_t n) {
  Rng rng(8, "block", static_cast<uint64_t>(rank), n);
  std::vector<std::byte> out(n);
  for (std::byte& b : out) b = static_cast<std::byte>(rng.Next());
  return out;
}

// Equal, different and empty blocks; the last longer than a piece of Mpi, beside an empty one.
inline void GathersBlocksOfAnySize(Communicator& comm) {
  const std::function<size_t(int)> kSizes[] = {
      [](int) { return 5; }, [](int r) { return r * 1001; }, [](int) { return 0; },
      [&](int r) { return r == comm.size() - 1 ? 6000011 : r; }};
  for (const auto& size_of : kSizes) {
    const std::vector<std::byte> mine = BlockOf(comm.rank(), size_of(comm.rank()));
    const auto all = comm.AllGather(mine.data(), mine.size());
    WR_CHECK(all.size() == static_cast<size_t>(comm.size()), all.size());
    for (int r = 0; r < comm.size(); ++r) {
      WR_CHECK(all[static_cast<size_t>(r)] == BlockOf(r, size_of(r)), "block of rank ", r);
    }
  }
}

inline void BroadcastsFromEveryRoot(Communicator& comm) {
  for (int root = 0; root < comm.size(); ++root) {
    for (size_t n : {0, 1, 7, 5000011}) {
      const std::vector<std::byte> want = BlockOf(root, n);
      std::vector<std::byte> bytes = comm.rank() == root ? want : std::vector<std::byte>(n);
      comm.Broadcast(bytes.data(), n, root);
      WR_CHECK(bytes == want, n, " bytes from ", root);
    }
  }
}

// Ranks arrive 30 ms apart: by the host's common clock, nobody leaves before the last has come.
inline void BarrierSeparates(Communicator& comm) {
  auto now = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
  for (int late = 0; late < comm.size(); ++late) {
    std::this_thread::sleep_for(std::chrono::milliseconds(comm.rank() == late ? 30 : 0));
    int64_t came = now();
    comm.Barrier();
    const int64_t left = now();
    comm.AllReduce(&came, 1, DType::kI64, Reduce::kMax);
    WR_CHECK(left >= came, "left ", came - left, " ns before rank ", late, " came");
  }
}

struct Check {
  const char* name;
  void (*run)(Communicator&);
  friend std::ostream& operator<<(std::ostream& out, const Check& check) {
    return out << check.name;
  }
};

constexpr Check kConformance[] = {
    {"SumsIntegersExactly", SumsIntegersExactly},
    {"SumsF32InRankOrder", SumsInRankOrder<float>},
    {"SumsF64InRankOrder", SumsInRankOrder<double>},
    {"SumsI64", SumsInRankOrder<int64_t>},
    {"TakesF32Maxima", TakesMaxima<float>},
    {"TakesF64Maxima", TakesMaxima<double>},
    {"TakesI64Maxima", TakesMaxima<int64_t>},
    {"MaximumKeepsNaN", MaximumKeepsNaN},
    {"RefusesOtherTypes", RefusesOtherTypes},
    {"GathersBlocksOfAnySize", GathersBlocksOfAnySize},
    {"BroadcastsFromEveryRoot", BroadcastsFromEveryRoot},
    {"BarrierSeparates", BarrierSeparates},
};

}  // namespace whyrec::cluster
