// What every communicator must do, for threads (communicator_test.cc), processes
// (procs/cluster_ranks.cc) and GPUs (procs/nccl_ranks.cc) alike. Each rank runs the same check; a
// check throws when it fails.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <ostream>
#include <thread>
#include <vector>

#include "cluster/collective/communicator.h"
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

// Values whose sums leave the 8 and 11 bits of bf16 and f16: what one rounding of the fp32 sum
// keeps, a rounding per rank loses. T holds the stored bits; `widen` is the plain definition.
inline float WidenBF16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
inline float WidenF16(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  WR_CHECK(exponent != 31, "no infinities here");
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>(bits >> 15 ? -magnitude : magnitude);
}

// The stored value nearest to x, ties to the even one, by search over all 2^16.
inline uint16_t Nearest(float (*widen)(uint16_t), int infinity, float x) {
  int low = 0, high = infinity - 1;  // of the magnitude
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    (widen(static_cast<uint16_t>(middle)) <= std::abs(x) ? low : high) =
        widen(static_cast<uint16_t>(middle)) <= std::abs(x) ? middle : middle - 1;
  }
  const double down = std::abs(x) - double{widen(static_cast<uint16_t>(low))};
  const double up =
      low + 1 < infinity ? widen(static_cast<uint16_t>(low + 1)) - double{std::abs(x)} : INFINITY;
  const int bits = down < up || (down == up && low % 2 == 0) ? low : low + 1;
  return static_cast<uint16_t>(bits | (std::signbit(x) ? 0x8000 : 0));
}

template <DType dtype>
void SumsHalvesInFp32(Communicator& comm) {
  constexpr bool kBrain = dtype == DType::kBF16;
  const auto widen = kBrain ? WidenBF16 : WidenF16;
  const int infinity = kBrain ? 0x7f80 : 0x7c00;
  for (int64_t count : {int64_t{0}, int64_t{1}, int64_t{501}, int64_t{4001}}) {
    std::vector<float> sum(static_cast<size_t>(count));
    std::vector<uint16_t> mine(sum.size());
    for (int r = 0; r < comm.size(); ++r) {
      const std::vector<float> values = ValuesOf<float>(r, count);
      for (size_t i = 0; i < sum.size(); ++i) {
        const uint16_t bits = Nearest(widen, infinity, values[i]);
        if (r == comm.rank()) mine[i] = bits;
        sum[i] = r == 0 ? widen(bits) : sum[i] + widen(bits);
      }
    }
    comm.AllReduce(mine.data(), count, dtype, Reduce::kSum);
    for (size_t i = 0; i < sum.size(); ++i) {
      const uint16_t want = Nearest(widen, infinity, sum[i]);
      WR_CHECK(mine[i] == want || sum[i] == 0, NameOf(dtype), " value ", i, " of ", count, ": ",
               widen(mine[i]), " for ", sum[i]);
    }
  }
}

// A NaN stays one, in each format, whatever its bits; a sum past the largest becomes infinite.
inline void HalvesKeepNaNAndInfinity(Communicator& comm) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const bool brain = dtype == DType::kBF16;
    const uint16_t nan = brain ? 0x7f81 : 0x7c01, infinite = brain ? 0x7f80 : 0x7c00;
    const auto is_nan = [&](uint16_t bits) { return (bits & 0x7fff) > infinite; };
    const bool last = comm.rank() == comm.size() - 1;
    for (const Reduce op : {Reduce::kSum, Reduce::kMax}) {
      uint16_t values[] = {last ? nan : uint16_t{0}, static_cast<uint16_t>(infinite - 1)};
      comm.AllReduce(values, 2, dtype, op);
      WR_CHECK(is_nan(values[0]), NameOf(dtype), " ", values[0]);
      const bool over = op == Reduce::kSum && comm.size() > 1;
      WR_CHECK(values[1] == (over ? infinite : infinite - 1), NameOf(dtype), " ", values[1]);
    }
  }
}

// Several at a time, waited for out of order, with blocking operations in between.
inline void StartedSumsOverlap(Communicator& comm) {
  std::vector<int> order(static_cast<size_t>(comm.size()));
  for (int r = 0; r < comm.size(); ++r) order[static_cast<size_t>(r)] = r;
  std::vector<std::vector<float>> buckets;
  std::vector<std::unique_ptr<Pending>> started;
  for (int64_t count : kCounts) {
    buckets.push_back(ValuesOf<float>(comm.rank(), count));
    started.push_back(comm.StartAllReduce(buckets.back().data(), count, DType::kF32, Reduce::kSum));
  }
  started.back()->Wait();
  started.back().reset();
  int64_t one = 1;
  comm.AllReduce(&one, 1, DType::kI64, Reduce::kSum);
  WR_CHECK(one == comm.size(), one);
  double late = comm.rank();
  const auto pending = comm.StartAllReduce(&late, 1, DType::kF64, Reduce::kMax);
  comm.Barrier();
  for (auto& sum : started)
    if (sum) sum->Wait();
  pending->Wait();
  WR_CHECK(late == comm.size() - 1, late);
  for (size_t i = 0; i < buckets.size(); ++i)
    WR_CHECK(SameBits(buckets[i], SumOver<float>(order, kCounts[i])), "bucket ", i);
}

// Each rank is late once, in a started and in a plain sum: the bits are the same every time.
inline void BitsDoNotDependOnWhoIsLate(Communicator& comm) {
  std::vector<float> first;
  for (int late = 0; late < comm.size(); ++late) {
    std::vector<float> values = ValuesOf<float>(comm.rank(), 30011), again = values;
    const auto sleep = [&] {
      if (comm.rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    };
    sleep();
    const auto pending = comm.StartAllReduce(values.data(), 30011, DType::kF32, Reduce::kSum);
    sleep();
    pending->Wait();
    sleep();
    comm.AllReduce(again.data(), 30011, DType::kF32, Reduce::kSum);
    if (late == 0) first = values;
    WR_CHECK(SameBits(first, values) && SameBits(first, again), "rank ", late, " was late");
  }
}

// Slices of every kind: equal, growing with the rank, all on one rank, none.
template <typename T>
void ReducesAndScatters(Communicator& comm) {
  const std::function<int64_t(int)> kSlices[] = {
      [](int) { return 5; }, [](int r) { return r * 7001; }, [](int) { return 0; },
      [&](int r) { return r == comm.size() - 1 ? 1000003 : r % 2; }};
  std::vector<int> order(static_cast<size_t>(comm.size()));
  for (int r = 0; r < comm.size(); ++r) order[static_cast<size_t>(r)] = r;
  for (const auto& slice : kSlices) {
    Sizes counts;
    int64_t begin = 0, total = 0;
    for (int r = 0; r < comm.size(); ++r) {
      counts.push_back(slice(r));
      if (r < comm.rank()) begin += slice(r);
      total += slice(r);
    }
    const std::vector<T> values = ValuesOf<T>(comm.rank(), total), sum = SumOver<T>(order, total);
    std::vector<T> own(static_cast<size_t>(slice(comm.rank())));
    comm.ReduceScatter(values.data(), own.data(), counts, DTypeOf<T>(), Reduce::kSum);
    WR_CHECK(SameBits(own, {sum.begin() + begin, sum.begin() + begin + std::ssize(own)}), total);
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

// Into one buffer, from elsewhere and from this rank's place in it.
inline void GathersIntoOneBuffer(Communicator& comm) {
  const std::function<size_t(int)> kSizes[] = {
      [](int) { return 8; }, [](int r) { return r * 10007; }, [](int) { return 0; },
      [&](int r) { return r == 0 ? 6000011 : r; }};
  for (const auto& size_of : kSizes) {
    Sizes bytes;
    std::vector<std::byte> want;
    size_t begin = 0;
    for (int r = 0; r < comm.size(); ++r) {
      const std::vector<std::byte> block = BlockOf(r, size_of(r));
      if (r == comm.rank()) begin = want.size();
      bytes.push_back(std::ssize(block));
      want.insert(want.end(), block.begin(), block.end());
    }
    const std::vector<std::byte> mine = BlockOf(comm.rank(), size_of(comm.rank()));
    std::vector<std::byte> all(want.size());
    comm.AllGatherInto(mine.data(), all.data(), bytes);
    WR_CHECK(all == want, "from elsewhere");
    std::vector<std::byte> in_place(want.size());
    std::copy(mine.begin(), mine.end(), in_place.begin() + static_cast<int64_t>(begin));
    comm.AllGatherInto(in_place.data() + begin, in_place.data(), bytes);
    WR_CHECK(in_place == want, "in place");
  }
}

// What rank `from` sends to rank `to`, in blocks whose sizes follow `pattern`.
inline void MovesBlocksBetweenAll(Communicator& comm) {
  const std::function<int64_t(int, int)> kSizes[] = {
      [](int, int) { return 16; }, [](int from, int to) { return from * 1009 + to * 13; },
      [](int, int) { return 0; },
      [](int from, int to) { return from == to ? 0 : (from + to) % 2 * 4; },
      [&](int from, int to) { return from == 0 && to == comm.size() - 1 ? 7000003 : to; }};
  for (const auto& size_of : kSizes) {
    Sizes send, receive;
    std::vector<std::byte> in, want;
    const auto block = [&](int from, int to) {
      return BlockOf(from * 100 + to, static_cast<size_t>(size_of(from, to)));
    };
    for (int r = 0; r < comm.size(); ++r) {
      const auto out = block(comm.rank(), r), back = block(r, comm.rank());
      send.push_back(std::ssize(out));
      receive.push_back(std::ssize(back));
      in.insert(in.end(), out.begin(), out.end());
      want.insert(want.end(), back.begin(), back.end());
    }
    std::vector<std::byte> out(want.size());
    comm.AllToAll(in.data(), send, out.data(), receive);
    WR_CHECK(out == want, "blocks");
  }
}

// The receiver expects one byte more than rank 0 sends.
inline void RefusesUnequalBlocks(Communicator& comm) {
  Sizes send(static_cast<size_t>(comm.size()), 4), receive = send;
  receive[0] = 5;
  std::vector<std::byte> in(4 * send.size()), out(4 * send.size() + 1);
  try {
    comm.AllToAll(in.data(), send, out.data(), receive);
  } catch (const Error& e) {
    WR_CHECK(e.code() == Exit::kLaunch, e.what());
    WR_CHECK(std::string(e.what()).find("rank 0 sends 4 bytes") != std::string::npos, e.what());
    return;
  }
  WR_CHECK(false, "five bytes of four were accepted");
}

inline void BroadcastsFromEveryRoot(Communicator& comm) {
  for (int root = 0; root < comm.size(); ++root) {
    for (size_t n : {0, 1, 7, 1000003}) {
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
    {"SumsBF16InFp32", SumsHalvesInFp32<DType::kBF16>},
    {"SumsF16InFp32", SumsHalvesInFp32<DType::kF16>},
    {"HalvesKeepNaNAndInfinity", HalvesKeepNaNAndInfinity},
    {"StartedSumsOverlap", StartedSumsOverlap},
    {"BitsDoNotDependOnWhoIsLate", BitsDoNotDependOnWhoIsLate},
    {"ReducesAndScattersF32", ReducesAndScatters<float>},
    {"ReducesAndScattersI64", ReducesAndScatters<int64_t>},
    {"RefusesOtherTypes", RefusesOtherTypes},
    {"GathersBlocksOfAnySize", GathersBlocksOfAnySize},
    {"GathersIntoOneBuffer", GathersIntoOneBuffer},
    {"MovesBlocksBetweenAll", MovesBlocksBetweenAll},
    {"BroadcastsFromEveryRoot", BroadcastsFromEveryRoot},
    {"BarrierSeparates", BarrierSeparates},
    {"RefusesUnequalBlocks", RefusesUnequalBlocks},  // last: Thread's ranks are over after it
};

}  // namespace whyrec::cluster
