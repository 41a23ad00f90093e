// Beam search against exhaustive enumeration and a plain version of the published search.
#include "src/decode/beam_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "src/base/error.h"
#include "tests/decode/toy_language.h"

namespace whyrec::decode {
namespace {

using Scored = std::vector<std::pair<double, Tokens>>;

void SortBest(Scored& list, size_t keep) {
  std::stable_sort(list.begin(), list.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  if (list.size() > keep) list.resize(keep);
}

struct PlainRow {
  double score;
  Tokens tokens;
  int64_t node;
};

struct PlainGroup {
  std::vector<PlainRow> rows = {{0, {}, Trie::kRoot}};
  Scored stored;
  bool done = false;
};

// One step of the published search, all candidates sorted; `lost`: diversity penalty per token.
void PlainStep(PlainGroup& group, int64_t sample, const BeamOptions& options, int64_t length,
               const std::vector<double>& lost, const Trie* trie) {
  const auto beams = static_cast<size_t>(options.beams / options.groups);
  std::vector<PlainRow> candidates;
  for (const PlainRow& row : group.rows) {
    const auto p = ToyLogProbabilities(sample, row.tokens);
    for (int64_t v = 0; v < kVocabulary; ++v) {
      const int64_t node = trie ? trie->Child(row.node, v) : 0;
      if (node == Trie::kNone || (v == kEos && length <= options.min_new_tokens)) continue;
      const auto at = static_cast<size_t>(v);
      candidates.push_back({row.score + p[at] - lost[at], row.tokens, node});
      candidates.back().tokens.push_back(v);
    }
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const PlainRow& a, const PlainRow& b) { return a.score > b.score; });
  if (candidates.size() > 2 * beams) candidates.resize(2 * beams);
  group.rows.clear();
  for (size_t rank = 0; rank < candidates.size() && group.rows.size() < beams; ++rank) {
    PlainRow& row = candidates[rank];
    if (row.tokens.back() != kEos) {
      group.rows.push_back(row);
    } else if (rank < beams) {
      row.tokens.pop_back();
      group.stored.push_back({row.score / std::pow(length, options.length_penalty), row.tokens});
    }
  }
  SortBest(group.stored, beams);
  group.done = group.stored.size() == beams || group.rows.empty();
}

// One sample; groups one after the other in every step.
Scored PlainBeamSearch(int64_t sample, const BeamOptions& options, const Trie* trie = nullptr) {
  const auto beams = static_cast<size_t>(options.beams / options.groups);
  std::vector<PlainGroup> groups(static_cast<size_t>(options.groups));
  for (int64_t length = 1; length <= options.max_new_tokens; ++length) {
    std::vector<double> lost(static_cast<size_t>(kVocabulary), 0.0);
    for (PlainGroup& group : groups) {
      if (group.done) {
        lost[0] += options.diversity * static_cast<double>(beams);
        continue;
      }
      PlainStep(group, sample, options, length, lost, trie);
      for (const PlainRow& row : group.rows) {
        lost[static_cast<size_t>(row.tokens.back())] += options.diversity;
      }
    }
  }
  Scored all;
  for (PlainGroup& group : groups) {
    for (const PlainRow& row : group.rows) {
      if (group.done || trie) break;
      group.stored.push_back(
          {row.score / std::pow(row.tokens.size(), options.length_penalty), row.tokens});
    }
    SortBest(group.stored, beams);
    all.insert(all.end(), group.stored.begin(), group.stored.end());
  }
  SortBest(all, static_cast<size_t>(options.returned));
  return all;
}

void ExpectSame(const std::vector<Hypothesis>& got, const Scored& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].tokens, want[i].second) << i;
    EXPECT_NEAR(got[i].score, want[i].first, 1e-5) << i;
  }
}

void ExpectEqual(const std::vector<Hypothesis>& a, const std::vector<Hypothesis>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].tokens, b[i].tokens) << i;
    EXPECT_EQ(a[i].score, b[i].score) << i;  // to the last bit
  }
}

void Enumerate(int64_t sample, const Tokens& prefix, double score, int64_t limit, Scored& out) {
  const auto p = ToyLogProbabilities(sample, prefix);
  const auto length = static_cast<int64_t>(prefix.size()) + 1;
  for (int64_t v = 0; v < kVocabulary; ++v) {
    const double total = score + p[static_cast<size_t>(v)];
    Tokens longer = prefix;
    if (v != kEos) longer.push_back(v);
    if (v == kEos || length == limit) {
      out.push_back({total / static_cast<double>(length), longer});
    } else {
      Enumerate(sample, longer, total, limit, out);
    }
  }
}

TEST(BeamSearch, WideBeamsFindWhatExhaustiveEnumerationFinds) {
  const BeamOptions options{.beams = 1500, .returned = 40, .max_new_tokens = 3};
  const auto got = BeamSearch(ToyStep(2), 2, options);
  for (int64_t sample = 0; sample < 2; ++sample) {
    Scored all;
    Enumerate(sample, {}, 0, options.max_new_tokens, all);
    SortBest(all, 40);
    ExpectSame(got[static_cast<size_t>(sample)], all);
  }
}

TEST(BeamSearch, NarrowBeamsFollowThePlainVersion) {
  for (const int64_t beams : {1, 2, 3, 5, 6}) {
    for (const double penalty : {1.0, 0.0, 2.0}) {
      for (const int64_t least : {0, 3, 7}) {
        const BeamOptions options{.beams = beams,
                                  .returned = std::min<int64_t>(beams, 3),
                                  .max_new_tokens = 7,
                                  .length_penalty = penalty,
                                  .min_new_tokens = least};
        const auto got = BeamSearch(ToyStep(6), 6, options);
        for (int64_t sample = 0; sample < 6; ++sample) {
          ExpectSame(got[static_cast<size_t>(sample)], PlainBeamSearch(sample, options));
        }
      }
    }
  }
}

TEST(BeamSearch, DiverseGroupsFollowThePlainVersion) {
  for (const auto& [beams, groups] :
       std::vector<std::pair<int64_t, int64_t>>{{6, 3}, {4, 4}, {10, 2}}) {
    for (const double diversity : {0.0, 0.3, 1.0, 50.0}) {
      for (const int64_t least : {0, 2}) {
        const BeamOptions options{.beams = beams,
                                  .returned = beams,
                                  .max_new_tokens = 6,
                                  .min_new_tokens = least,
                                  .groups = groups,
                                  .diversity = diversity};
        const auto got = BeamSearch(ToyStep(5), 5, options);
        for (int64_t sample = 0; sample < 5; ++sample) {
          ExpectSame(got[static_cast<size_t>(sample)], PlainBeamSearch(sample, options));
        }
      }
    }
  }
}

TEST(BeamSearch, EqualGroupsAreOneSearch) {
  const BeamOptions one{.beams = 4, .returned = 4, .max_new_tokens = 6};
  BeamOptions three = one;
  three.beams = three.returned = 12;
  three.groups = 3;
  ToyCounts narrow, wide;
  const auto a = BeamSearch(ToyStep({0, 1, 2}, &narrow), 3, one);
  const auto b = BeamSearch(ToyStep({0, 1, 2}, &wide), 3, three);
  EXPECT_EQ(narrow.rows, wide.rows);
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(b[i].size(), 12u);
    for (size_t j = 0; j < 12; ++j) EXPECT_EQ(b[i][j].tokens, a[i][j / 3].tokens);
  }
}

TEST(BeamSearch, FinishedSamplesLeaveAndNothingChanges) {
  for (const int64_t groups : {1, 2}) {
    BeamOptions options{.beams = 4, .returned = 4, .max_new_tokens = 30};
    options.groups = groups;
    options.diversity = groups > 1 ? 0.4 : 0;
    std::vector<int64_t> all;
    for (int64_t i = 0; i < 24; ++i) all.push_back(i);
    std::vector<std::vector<std::vector<Hypothesis>>> results;
    std::vector<ToyCounts> counts;
    for (const double share : {2.0, 0.125, 0.5, 0.0}) {
      options.compact_share = share;
      counts.emplace_back();
      results.push_back(BeamSearch(ToyStep(all, &counts.back()), 24, options));
    }
    for (size_t r = 1; r < results.size(); ++r) {
      for (size_t i = 0; i < 24; ++i) ExpectEqual(results[r][i], results[0][i]);
    }
    EXPECT_EQ(counts[0].drops, 0);
    EXPECT_GT(counts[3].drops, counts[1].drops);
    EXPECT_GE(counts[1].drops, counts[2].drops);
    EXPECT_GT(counts[2].drops, 0);
    EXPECT_LT(counts[3].rows, counts[1].rows);
    EXPECT_LT(counts[1].rows, counts[0].rows);
    for (int64_t i = 0; i < 24; ++i) {  // without its batch mates
      const auto alone = BeamSearch(ToyStep({i}, nullptr), 1, options);
      ExpectEqual(alone[0], results[0][static_cast<size_t>(i)]);
    }
  }
}

std::set<Tokens> RandomEntries(uint64_t seed, size_t count) {
  std::set<Tokens> out;
  Rng rng(seed, "entries");
  while (out.size() < count) {
    Tokens entry;
    for (int64_t n = rng.Between(1, 5); n > 0; --n) entry.push_back(rng.Between(2, 6));
    out.insert(entry);
  }
  return out;
}

TEST(BeamSearch, TrieLimitsTheOutputAndKeepsTheNormaliser) {
  for (const int64_t beams : {2, 4, 25}) {
    std::vector<std::set<Tokens>> entries;
    std::vector<Trie> tries(3);
    std::vector<const Trie*> pointers;
    for (uint64_t i = 0; i < 3; ++i) {
      entries.push_back(RandomEntries(i, 20));
      Trie::Builder builder;
      for (const Tokens& entry : entries.back()) builder.Insert(entry);
      tries[i] = builder.Build();
      pointers.push_back(&tries[i]);
    }
    const BeamOptions options{.beams = beams, .returned = beams, .max_new_tokens = 10};
    const auto got = BeamSearch(ToyStep(3), 3, options, pointers);
    for (size_t i = 0; i < 3; ++i) {
      ExpectSame(got[i], PlainBeamSearch(static_cast<int64_t>(i), options, &tries[i]));
      for (const Hypothesis& h : got[i]) EXPECT_TRUE(entries[i].contains(h.tokens));
      if (beams < 20) continue;
      Scored all;  // every entry, scored by itself
      for (const Tokens& entry : entries[i]) {
        double score = 0;
        Tokens prefix, ended = entry;
        ended.push_back(kEos);
        for (const int64_t token : ended) {
          score += ToyLogProbabilities(static_cast<int64_t>(i), prefix)[static_cast<size_t>(token)];
          prefix.push_back(token);
        }
        all.push_back({score / static_cast<double>(ended.size()), entry});
      }
      SortBest(all, 20);
      ExpectSame(got[i], all);
    }
  }
}

TEST(BeamSearch, TriesThatDieEarlyAndDiverseGroupsUnderATrie) {
  std::vector<Trie> tries(4);
  Trie::Builder none, one, two;
  one.Insert(Tokens{5});
  two.Insert(Tokens{});
  two.Insert(Tokens{3, 3, 3, 3});
  tries[1] = one.Build();
  tries[2] = two.Build();
  Trie::Builder many;
  for (const Tokens& entry : RandomEntries(9, 30)) many.Insert(entry);
  tries[3] = many.Build();
  const std::vector<const Trie*> pointers = {&tries[0], &tries[1], &tries[2], &tries[3]};
  for (const int64_t groups : {1, 2, 3}) {
    for (const int64_t limit : {2, 10}) {
      BeamOptions options{.beams = 6, .returned = 6, .max_new_tokens = limit};
      options.groups = groups;
      options.diversity = groups > 1 ? 0.8 : 0;
      const auto got = BeamSearch(ToyStep(4), 4, options, pointers);
      for (size_t i = 0; i < 4; ++i) {
        ExpectSame(got[i], PlainBeamSearch(static_cast<int64_t>(i), options, pointers[i]));
      }
      EXPECT_TRUE(got[0].empty());
      EXPECT_EQ(got[1].size(), static_cast<size_t>(groups));  // every group finds the one entry
    }
  }
}

TEST(BeamSearch, EqualScoresGoByBeamThenToken) {
  const auto flat = [](const StepInput& input) {
    static std::vector<float> zeros(1000, 0.0F);
    return at::from_blob(zeros.data(), {input.tokens.size(0), 8}, at::kFloat);
  };
  const auto got =
      BeamSearch(flat, 1, {.beams = 3, .returned = 3, .max_new_tokens = 2, .min_new_tokens = 2});
  ASSERT_EQ(got[0].size(), 3u);
  EXPECT_EQ(got[0][0].tokens, (Tokens{0, 0}));
  EXPECT_EQ(got[0][1].tokens, (Tokens{0, 2}));
  EXPECT_EQ(got[0][2].tokens, (Tokens{0, 3}));
}

TEST(BeamSearch, NaNIsAnError) {
  std::vector<float> logits(24, 0.5F);
  logits[17] = std::numeric_limits<float>::quiet_NaN();
  const auto step = [&](const StepInput&) {
    return at::from_blob(logits.data(), {2, 12}, at::kFloat);
  };
  try {
    BeamSearch(step, 2, {.beams = 1, .returned = 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::kData);
    EXPECT_NE(std::string(error.what()).find("row 1"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace whyrec::decode
