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
                      "train.isrf.isrf_code", 17);
}

TEST(Ranks, EveryArtefactOfAGraphIsTheSame) {
  ExpectSameArtefacts({"system[0].name=lightgcn"}, "train.lightgcn", 8);
}

// Units of numbers, merged as lines. `stop_at`: the unit that fails with `code`.
struct Work {
  Work(int ranks, const fs::path& partial, int64_t stop_at = -1, Exit code = Exit::kUnavailable) {
    const auto config = LoadTiny({});
    const Temporary folder;
    cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
      store::Workspace workspace(folder.path());
      RunContext context{config, comm, workspace};
      context.fingerprint = "squares";
      const bool led = DoUnits(
          context, partial, {"", "", 50, 7},
          [&](int64_t begin, int64_t end) {
            std::string lines;
            for (int64_t i = begin; i < end; ++i) lines += Cat(i * i, "\n");
            if (begin / 7 == stop_at) Fail(code, "interrupted");
            const std::lock_guard lock(mutex);
            units.insert(begin / 7);
            return lines;
          },
          [&](const std::string& lines) { merged += lines; });
      EXPECT_EQ(led, comm.rank() == 0);
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
  }
}

// One process alone leaves in unit 5: an endpoint that is away, not the unit's fault.
TEST(Units, FinishedOnesAreKept) {
  const Temporary partial, other;
  EXPECT_THROW(Work(1, partial.path(), 5), Error);
  const Work rest(3, partial.path());
  EXPECT_EQ(rest.units, (std::set<int64_t>{5, 6, 7}));
  EXPECT_EQ(rest.merged, Work(1, other.path()).merged);
}

// Two items of three levels each in a unit; the first run ends after one level of the second unit.
TEST(Units, ABegunOneGoesOnWhereItWasSaved) {
  const Temporary partial, folder;
  const auto config = LoadTiny({});
  const auto alone = cluster::MakeSelf();
  store::Workspace workspace(folder.path());
  RunContext context{config, *alone, workspace};
  context.fingerprint = "levels";
  std::string levels, merged;
  bool away = true;
  const auto run = [&] {
    return DoUnits(
        context, partial.path(), {"", "", 4, 2},
        [&](int64_t begin, int64_t end, UnitProgress& progress) {
          std::string text = progress.begun();
          for (auto done = text.size(); done < 3; ++done) {
            if (away && begin == 2 && done == 1) Fail(Exit::kUnavailable, "away");
            levels += Cat(begin, done, " ");
            progress.Save(text += 'x');
          }
          return Cat(begin, "-", end, text, " ");
        },
        [&](const std::string& bytes) { merged += bytes; });
  };
  EXPECT_THROW(run(), Error);
  away = false;
  EXPECT_TRUE(run());
  EXPECT_EQ(levels, "00 01 02 20 21 22 ");
  EXPECT_EQ(merged, "0-2xxx 2-4xxx ");
}

TEST(Units, OneThatFailsEndsTheStageAndIsNamed) {
  for (int ranks : {1, 2}) {
    const Temporary partial;
    try {
      Work(ranks, partial.path(), 5, Exit::kData);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::kData) << error.what();
      const std::string said = error.what();
      EXPECT_NE(said.find("unit 5, "), std::string::npos) << said;
      EXPECT_NE(said.find("interrupted"), std::string::npos) << said;
      EXPECT_NE(said.find("remove " + (partial / ".leases").string()), std::string::npos) << said;
    }
  }
}

}  // namespace
}  // namespace whyrec::stages
