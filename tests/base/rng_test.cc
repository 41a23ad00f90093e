#include "src/base/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

namespace whyrec {
namespace {

// First numbers of SplitMix64 from seed 1234567, as its public test vectors give them.
TEST(Rng, MixIsSplitMix64) {
  const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                               4593380528125082431u, 16408922859458223821u};
  uint64_t state = 1234567;
  for (uint64_t value : expected) EXPECT_EQ(Mix(state += 0x9e3779b97f4a7c15u), value);
}

TEST(Rng, EveryPartOfTheKeyMattersAndNothingElse) {
  const auto first = [](Rng rng) { return rng.Next(); };
  std::set<uint64_t> seen;
  for (uint64_t seed : {0, 1, 2})
    for (const char* purpose : {"", "a", "b", "ab"})
      for (uint64_t epoch : {0, 1, 2})
        for (uint64_t sample : {0, 1, 2})
          EXPECT_TRUE(seen.insert(first(Rng(seed, purpose, epoch, sample))).second);
  Rng again(2, "ab", 2, 1);
  Rng disturbed(1, "ab", 2, 1);
  disturbed.Next();
  EXPECT_EQ(first(Rng(2, "ab", 2, 1)), again.Next());
}

// Numbers are part of the artefacts' identity: a change of the stream must not pass unseen.
TEST(Rng, StreamIsFixed) {
  // The definition, written out: FNV-1a of the purpose, then three rounds of mixing.
  const auto key = [](uint64_t seed, std::string_view purpose, uint64_t epoch, uint64_t sample) {
    uint64_t name = 14695981039346656037u;
    for (char c : purpose) name = (name ^ static_cast<unsigned char>(c)) * 1099511628211u;
    const uint64_t gamma = 11400714819323198485u;
    uint64_t key = Mix(seed + gamma);
    key = Mix(key ^ Mix(name + gamma));
    key = Mix(key ^ Mix(epoch + gamma));
    return Mix(key ^ Mix(sample + gamma));
  };
  Rng rng(2025, "split", 3, 14);
  for (uint64_t i = 1; i < 5; ++i)
    EXPECT_EQ(rng.Next(), Mix(key(2025, "split", 3, 14) + i * 11400714819323198485u));
}

// Chi-squared over n cells; its mean is n - 1 and its standard deviation sqrt(2 (n - 1)).
double ChiSquared(const std::vector<int64_t>& counts) {
  double total = 0, out = 0;
  for (int64_t count : counts) total += static_cast<double>(count);
  const double expected = total / static_cast<double>(counts.size());
  for (int64_t count : counts) out += std::pow(static_cast<double>(count) - expected, 2) / expected;
  return out;
}

void ExpectUniform(const std::vector<int64_t>& counts) {
  const double freedom = static_cast<double>(counts.size() - 1);
  EXPECT_NEAR(ChiSquared(counts), freedom, 4 * std::sqrt(2 * freedom));
}

TEST(Rng, BelowIsUniformAndInRange) {
  Rng rng(1, "below");
  for (uint64_t n : {2u, 3u, 7u, 100u}) {
    std::vector<int64_t> counts(n);
    for (uint64_t i = 0; i < 1000 * n; ++i) ++counts.at(rng.Below(n));
    ExpectUniform(counts);
  }
  EXPECT_EQ(rng.Below(1), 0u);
  // Of 3 * 2^62 values a plain remainder would favour the first third by a factor of two.
  int64_t low = 0;
  for (int i = 0; i < 30000; ++i) low += rng.Below(uint64_t{3} << 62) < (uint64_t{1} << 62);
  EXPECT_NEAR(low, 10000, 4 * std::sqrt(30000 * 2 / 9.0));
  std::set<int64_t> values;
  for (int i = 0; i < 200; ++i) values.insert(rng.Between(-2, 2));
  EXPECT_EQ(values, (std::set<int64_t>{-2, -1, 0, 1, 2}));
}

TEST(Rng, UniformAndNormalMoments) {
  Rng rng(1, "moments");
  constexpr int kN = 200000;
  std::vector<int64_t> cells(50);
  std::array<double, 4> power{};
  for (int i = 0; i < kN; ++i) {
    const double u = rng.Uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    ++cells[static_cast<size_t>(u * 50)];
    const double x = rng.Normal();
    for (size_t k = 0; k < 4; ++k) power[k] += std::pow(x, k + 1) / kN;
  }
  ExpectUniform(cells);
  // Moments 0, 1, 0, 3 with variances of the estimates 1, 2, 15, 96 over n.
  EXPECT_NEAR(power[0], 0, 4 * std::sqrt(1.0 / kN));
  EXPECT_NEAR(power[1], 1, 4 * std::sqrt(2.0 / kN));
  EXPECT_NEAR(power[2], 0, 4 * std::sqrt(15.0 / kN));
  EXPECT_NEAR(power[3], 3, 4 * std::sqrt(96.0 / kN));

  std::vector<float> filled(1000);
  Rng(3, "fill").FillNormal(filled, 5);
  Rng same(3, "fill");
  for (float x : filled) EXPECT_EQ(x, static_cast<float>(5 * same.Normal()));
}

TEST(Rng, PermutationsAreUniform) {
  Rng rng(1, "permutation");
  std::vector<int64_t> counts(24);  // of the permutations of four
  for (int i = 0; i < 24000; ++i) {
    const std::vector<int64_t> p = rng.Permutation(4);
    int64_t rank = 0;
    for (size_t a = 0; a < 4; ++a) {
      int64_t smaller = 0;
      for (size_t b = a + 1; b < 4; ++b) smaller += p[b] < p[a];
      rank = rank * static_cast<int64_t>(4 - a) + smaller;
    }
    ++counts.at(static_cast<size_t>(rank));
  }
  ExpectUniform(counts);
  EXPECT_TRUE(rng.Permutation(0).empty());
  std::vector<int64_t> large = rng.Permutation(1000);
  EXPECT_FALSE(std::is_sorted(large.begin(), large.end()));
  std::sort(large.begin(), large.end());
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(large[static_cast<size_t>(i)], i);
}

}  // namespace
}  // namespace whyrec
