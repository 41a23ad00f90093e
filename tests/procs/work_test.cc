// Leased stages on several processes: workers that join late, die, or have no business here; a
// coordinator that dies. Compared with the bytes of one process that worked alone.
#include <deque>
#include <memory>

#include "tests/procs/process.h"

namespace whyrec {
namespace {

// Users' and items' texts by template, in very small units; ends before the training.
const Words kLeasedSettings = {"system[0].name=isrf", "rationales.unit_size=3",
                               "embeddings.unit_size=8"};

class Work : public TinyRuns {
 protected:
  void SetUp() override {
    WR_NEEDS_ENCODER();
    TinyRuns::SetUp();
  }
  Words Coordinator(const std::string& workspace, const Words& more = {},
                    const Words& settings = kLeasedSettings) const {
    Words out = Program(workspace, settings);
    out.insert(out.end(), {"--stages", "leased"});
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  Words Worker(const std::string& workspace, const Words& more = {},
               const Words& settings = kLeasedSettings) const {
    Words out = Arguments(workspace, settings);
    out.insert(out.begin(), {kProgram, "work"});
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  std::unique_ptr<Process> Start(const Words& words, const std::string& who) const {
    return std::make_unique<Process>(words, folder_ / who);
  }
  std::string Said(const std::string& who) const { return ReadAll(folder_ / who); }
  std::string Address(const std::string& stage) const {
    const std::string text = ReadAll(folder_ / "w" / (stage + ".partial") / ".leases/address");
    return text.substr(0, text.find('\n'));
  }
  // Alone and undisturbed.
  std::map<std::string, std::string> Calm() const {
    EXPECT_EQ(Finish(Coordinator("calm")), 0) << TinyRuns::Said();
    return Contents(folder_ / "calm");
  }
};

TEST_F(Work, KilledWorkersAndCoordinatorsLeaveTheSameBytes) {
  const auto calm = Calm();
  ASSERT_EQ(calm.count("rationales.user/records.jsonl.gz"), 1u);
  ASSERT_EQ(calm.count("embeddings/embeddings.safetensors"), 1u);
  const Words words = Coordinator("w", {"--listen", "127.0.0.1"});
  auto coordinator = Start(words, "coordinator");
  ASSERT_TRUE(coordinator->Until([&] { return fs::exists(folder_ / "w"); }));
  std::deque<std::unique_ptr<Process>> workers;
  int hired = 0, kills = 0;
  const auto hire = [&] { workers.push_back(Start(Worker("w"), Cat("worker", hired++))); };
  for (int i = 0; i < 2; ++i) hire();
  // Somebody dies every 150 ms of the first seconds, every third time the coordinator.
  while (kills < 9) {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    if (coordinator->Code()) break;
    if (++kills % 3 == 0) {
      coordinator->Signal(SIGKILL);
      coordinator->Wait();
      coordinator = Start(words, "coordinator");
      continue;
    }
    workers.front()->Signal(SIGKILL);
    workers.pop_front();
    hire();
  }
  EXPECT_EQ(coordinator->Wait(), 0) << Said("coordinator");
  EXPECT_GE(kills, 3);
  int joined = 0;
  for (int i = 0; i < hired; ++i)
    joined += Said(Cat("worker", i)).find("] joined the coordinator") != std::string::npos;
  EXPECT_GE(joined, 2);
  for (auto& worker : workers) EXPECT_EQ(worker->Wait(30), 0) << Said(Cat("worker", hired - 1));
  EXPECT_EQ(Contents(folder_ / "w"), calm);
}

// Frozen in the middle of a stage, awake when everything is over: it leaves, it does not wait for
// a coordinator that has ended.
TEST_F(Work, AWorkerThatSleptLeaves) {
  auto coordinator = Start(Coordinator("w", {"--listen", "127.0.0.1"}), "coordinator");
  ASSERT_TRUE(coordinator->Until([&] { return fs::exists(folder_ / "w"); }));
  auto worker = Start(Worker("w"), "worker");
  ASSERT_TRUE(worker->Until([&] {
    return Said("worker").find("] joined the coordinator") != std::string::npos;
  })) << Said("worker");
  worker->Signal(SIGSTOP);
  EXPECT_EQ(coordinator->Wait(), 0) << Said("coordinator");
  worker->Signal(SIGCONT);
  EXPECT_EQ(worker->Wait(30), 0) << Said("worker");
}

TEST_F(Work, StrangersAreToldWhatIsWrong) {
  EXPECT_EQ(Start(Worker("nowhere"), "a")->Wait(20), 71);
  EXPECT_NE(Said("a").find("no such workspace on this host"), std::string::npos) << Said("a");

  Words slow = kLeasedSettings;
  slow.push_back("embeddings.max_tokens=200");
  auto coordinator = Start(Coordinator("w", {"--listen", "127.0.0.1"}, slow), "coordinator");
  ASSERT_TRUE(coordinator->Until([&] { return !Address("embeddings").empty(); }))
      << Said("coordinator");
  const Words join = {"--join", Address("embeddings")};
  auto other_texts = Start(Worker("w", join), "a");
  setenv("WHYREC_LEASE_TOKEN", "wrong", 1);
  auto other_token = Start(Worker("w", join, slow), "b");
  unsetenv("WHYREC_LEASE_TOKEN");
  EXPECT_EQ(other_texts->Wait(20), 71);
  EXPECT_NE(Said("a").find("refused this worker: other work"), std::string::npos) << Said("a");
  EXPECT_NE(Said("a").find("CONFIG and --set must be the coordinator's"), std::string::npos);
  EXPECT_EQ(other_token->Wait(20), 71);
  EXPECT_NE(Said("b").find("refused this worker: wrong token"), std::string::npos) << Said("b");

  Words other_split = slow;
  other_split.push_back("split.negative_seed=7");
  EXPECT_EQ(Start(Worker("w", join, other_split), "a")->Wait(20), 71);
  EXPECT_NE(Said("a").find("the coordinator has finished split"), std::string::npos) << Said("a");
  EXPECT_EQ(Start(Worker("w", {"--patience", "0.3"}, other_split), "a")->Wait(20), 71);
  EXPECT_NE(Said("a").find("no coordinator appeared within 0.3 s"), std::string::npos) << Said("a");
  coordinator->Signal(SIGTERM);
  EXPECT_EQ(coordinator->Wait(20), 75) << Said("coordinator");
}

}  // namespace
}  // namespace whyrec
