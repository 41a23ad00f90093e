// Nccl without a GPU: the module finds stand-ins for the driver and for NCCL (procs/fake) that work
// between threads. What it says to NCCL is checked against the conformance suite; what NCCL does on
// real devices is procs.nccl_gpu (label gpu).
#include <gtest/gtest.h>

#include "tests/cluster/collective/conformance.h"
#include "tests/procs/command.h"

namespace whyrec {
namespace {

Outcome RunRanks(int ranks, const std::string& what, const std::string& environment = "") {
  return RunCommand(Cat("env LD_LIBRARY_PATH=" WHYREC_BINARY_DIR "/fake ", environment,
                        " " WHYREC_BINARY_DIR "/nccl_ranks ", ranks, " ", what),
                    60);
}

TEST(Nccl, ConformsOnDeviceBuffers) {
  for (int ranks : {1, 2, 3, 5}) {
    const Outcome out = RunRanks(ranks, "device");
    ExpectOutcome(out, 0, {Cat("BarrierSeparates holds on ", ranks, " ranks")});
    EXPECT_EQ(out.output.find("SumsBF16InFp32") == std::string::npos, ranks > 1) << out.output;
  }
}

TEST(Nccl, ConformsOnHostBuffers) {
  ExpectOutcome(RunRanks(3, "host"), 0, {"SumsF32InRankOrder holds on 3"});
}

TEST(Nccl, TwoRanksOnOneGpuAreNamed) {
  ExpectOutcome(RunRanks(3, "one-gpu"), 71,
                {"ranks 0 and 1 both use GPU-00000000-0000-0000-0000-000000000000"});
}

TEST(Nccl, FewerDevicesThanRanksAreNamed) {
  ExpectOutcome(RunRanks(3, "device", "FAKE_DEVICES=2"), 71,
                {"device 2 is asked for, 2 are visible"});
}

TEST(Nccl, AMissingRankIsATimeOut) {
  const Outcome out = RunRanks(2, "hang");
  ExpectOutcome(
      out, 71,
      {"rank 0 of 2 gives up AllReduce(sum) of 1 F32, operation 1: no progress within 1 s"});
  EXPECT_LT(out.seconds, 10);
}

// What Connect makes of a job whose ranks all have a device.
TEST(Nccl, JoinsTheHostsCommunicatorByPlace) {
  for (int ranks : {2, 3}) {
    const Outcome out = RunRanks(ranks, "joined");
    ExpectOutcome(out, 0, {Cat("SumsF32InRankOrder holds on ", ranks, " hosts")});
    ExpectOutcome(out, 0, {Cat("BarrierSeparates holds on ", ranks, " devices")});
  }
}

// Host buffers work on; a device buffer has no way, and the message says why.
TEST(Nccl, IsLeftOutWhereItCannotBe) {
  const auto expect = [](const std::string& environment, const std::string& why) {
    const Outcome out = RunRanks(3, "joined", environment);
    ExpectOutcome(out, 71, {"BarrierSeparates holds on 3 hosts"});
    ExpectOutcome(out, 71, {"buffers of devices need NCCL, which is not used: " + why});
  };
  expect("WHYREC_NCCL=off", "rank 0: WHYREC_NCCL is off");
  expect("FAKE_DEVICES=2", "rank 0: local rank 0 of 3 sees 2 devices");
  expect("FAKE_DEVICES=1", "ranks 0 and 1 both use GPU-00000000-0000-0000-0000-000000000000");
}

// Without the stand-ins and without a GPU: the reason, on every rank alike.
TEST(Nccl, NoDriverIsAnErrorThatSaysSo) {
  if (RunCommand(WHYREC_BINARY_DIR "/nccl_ranks 1 host", 60).code != 77)
    GTEST_SKIP() << "this machine has a GPU";
  ExpectOutcome(RunCommand(WHYREC_BINARY_DIR "/nccl_ranks 2 no-device", 60), 71, {"rank 0 on "});
}

}  // namespace
}  // namespace whyrec
