// The same artefacts from one, two and three ranks, and from work that was interrupted.
#include <atomic>
#include <mutex>

#include "src/stages/units.h"
#include "tests/stages/run.h"

namespace whyrec::stages {
namespace {

// Training sums gradients over ranks, so its last digits depend on their number: the other runs get
// the model of the single rank. It stands for them only because all its inputs have the same
// content.
void ExpectSameArtefacts(const Names& systems, const std::string& trained, size_t stages) {
  const auto config = LoadTiny(systems);
  const Temporary alone;
  const Names all = RunAlone(config, alone.path());
  const auto want = Contents(alone.path());
  EXPECT_EQ(all.size(), stages);
  for (int ranks : {2, 3}) {
    const Temporary shared;
    fs::copy(alone / trained, shared / trained, fs::copy_options::recursive);
    const Names ran = RunOn(ranks, config, shared.path());
    EXPECT_EQ(ran.size(), all.size() - 1);
    EXPECT_EQ(std::count(ran.begin(), ran.end(), trained), 0);
    EXPECT_EQ(Contents(shared.path()), want) << ranks << " ranks";
  }
}

TEST(Ranks, EveryArtefactIsTheSame) {
  WR_NEEDS_ENCODER();
  ExpectSameArtefacts({"system[0].name=isrf", "system[1].name=markov", "system[2].name=popularity"},
                      "train.isrf", 17);
}

TEST(Ranks, EveryArtefactOfAGraphIsTheSame) {
  ExpectSameArtefacts({"system[0].name=lightgcn"}, "train.lightgcn", 8);
}

// Units of numbers, merged as lines. `stop_at`: the unit in which its rank fails.
struct Work {
  Work(int ranks, const fs::path& partial, int64_t stop_at = -1) {
    const auto config = LoadTiny({});
    const Temporary folder;
    cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
      store::Workspace workspace(folder.path());
      const auto files = DoUnits({config, comm, workspace}, partial, "", "", 50, 7,
                                 [&](int64_t begin, int64_t end, const fs::path& file) {
                                   std::ofstream out(file);
                                   for (int64_t i = begin; i < end; ++i) out << i * i << "\n";
                                   out.close();
                                   if (begin / 7 == stop_at) Fail(Exit::kData, "interrupted");
                                   const std::lock_guard lock(mutex);
                                   units.insert(begin / 7);
                                 });
      if (comm.rank() != 0) return;
      for (const fs::path& file : files) merged += store::ReadTextFile(file);
      DropUnits(partial);
    });
  }
  std::set<int64_t> units;  // that were done
  std::string merged;
  std::mutex mutex;
};

TEST(Units, MergeInOrderForAnyNumberOfRanks) {
  std::string want;
  for (int64_t i = 0; i < 50; ++i) want += Cat(i * i, "\n");
  for (int ranks : {1, 2, 3, 9}) {
    const Temporary partial;
    SetProgressMode(ProgressMode::kNone);
    const Work work(ranks, partial.path());
    EXPECT_EQ(work.merged, want) << ranks << " ranks";
    EXPECT_EQ(work.units.size(), 8u);
    EXPECT_TRUE(fs::is_empty(partial.path()));
  }
}

// Rank 1 of 2 does the units 1, 3, 5 and 7 and fails in 5, with a file half made.
TEST(Units, FinishedOnesAreKept) {
  const Temporary partial, other;
  EXPECT_THROW(Work(2, partial.path(), 5), Error);
  ASSERT_FALSE(fs::is_empty(partial / ".units"));
  const Work rest(3, partial.path());
  for (int64_t done : {1, 3}) EXPECT_EQ(rest.units.count(done), 0u) << done;
  for (int64_t open : {5, 7}) EXPECT_EQ(rest.units.count(open), 1u) << open;
  EXPECT_EQ(rest.merged, Work(1, other.path()).merged);
}

}  // namespace
}  // namespace whyrec::stages
