// What the doctor makes of what ranks know: closed cases, each with one fault planted.
#include "cluster/doctor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <fstream>

namespace whyrec::cluster {
namespace {

namespace fs = std::filesystem;

// Two hosts with two ranks and two GPUs each.
std::vector<RankInfo> Sound() {
  std::vector<RankInfo> ranks;
  for (int r = 0; r < 4; ++r) {
    ranks.push_back({{"host", Cat("node", r / 2)},
                     {"program", "1.0"},
                     {"launcher", "Open MPI"},
                     {"local_rank", Cat(r % 2)},
                     {"local_size", "2"},
                     {"mpi", "Open MPI v4.1.4"},
                     {"devices", "2"},
                     {"device", Cat(r % 2)},
                     {"device_name", "H200, 139 GiB"},
                     {"uuid", Cat("GPU-", r)},
                     {"cuda", "13.0"},
                     {"nccl", "2.28.9"},
                     {"network", "eth0 ib0"},
                     {"shm_bytes", "1073741824"}});
  }
  return ranks;
}

std::vector<std::string> Failures(const std::vector<RankInfo>& ranks) {
  std::vector<std::string> out;
  for (const Finding& finding : Diagnose(ranks)) {
    if (finding.ok) continue;
    EXPECT_FALSE(finding.to_do.empty()) << finding.what;
    out.push_back(Print(finding));
  }
  return out;
}

void ExpectOnly(const std::vector<RankInfo>& ranks, const std::string& part) {
  const auto failures = Failures(ranks);
  ASSERT_EQ(failures.size(), 1u) << part;
  EXPECT_NE(failures[0].find(part), std::string::npos) << failures[0];
  EXPECT_EQ(failures[0].find("FAILED  "), 0u);
  EXPECT_NE(failures[0].find("; try: "), std::string::npos);
}

TEST(Diagnose, SoundRanksPass) { EXPECT_EQ(Failures(Sound()), std::vector<std::string>{}); }

TEST(Diagnose, EachFaultIsNamed) {
  const auto with = [](size_t rank, const std::string& name, const std::string& value) {
    auto ranks = Sound();
    ranks[rank][name] = value;
    return ranks;
  };
  ExpectOnly(with(3, "program", "0.9"), "1.0 on rank 0, 0.9 on rank 3 on node1");
  ExpectOnly(with(2, "mpi", "Open MPI v5"), "Open MPI v5 on rank 2 on node1");
  ExpectOnly(with(3, "uuid", "GPU-2"), "ranks 2 and 3 both use GPU-2 of node1");
  ExpectOnly(with(1, "device.why", "local rank 1 of 2 sees"), "rank 1 on node0: local rank 1");
  ExpectOnly(with(1, "nccl", "2.20.5"), "2.20.5 on rank 1");
  ExpectOnly(with(2, "nccl.why", "libnccl.so.2: no such file"), "rank 2 on node1: libnccl.so.2");
  ExpectOnly(with(3, "network", ""), "rank 3 on node1 has no interface but lo");
  ExpectOnly(with(0, "shm_bytes", "67108864"), "64 MiB for 2 ranks of node0");
  ExpectOnly(with(3, "local_size", "1"), "the launcher told rank 3 on node1 that 1 ranks");
  // The same UUID on another host is another device of a cloned machine.
  EXPECT_EQ(Failures(with(2, "uuid", "GPU-0")), std::vector<std::string>{});
}

TEST(Diagnose, ARankWithoutDevicesIsAFaultAmongOthersOrWhenAskedFor) {
  auto ranks = Sound();
  ranks[1].erase("uuid");
  ranks[1]["devices.why"] = "no driver";
  ExpectOnly(ranks, "rank 1 on node0 has none: no driver, other ranks have");
  for (RankInfo& rank : ranks) {
    rank.erase("uuid");
    rank["devices.why"] = "no driver";
  }
  EXPECT_EQ(Failures(ranks), std::vector<std::string>{});
  ranks[2]["set.CUDA_VISIBLE_DEVICES"] = "0,1";
  ExpectOnly(ranks, "though CUDA_VISIBLE_DEVICES is 0,1");
}

TEST(Diagnose, VariablesAreShownWithTheirDifferences) {
  auto ranks = Sound();
  ranks[0]["set.NCCL_SOCKET_IFNAME"] = "eth0";
  ranks[1]["set.NCCL_SOCKET_IFNAME"] = "eth0";
  ranks[2]["set.NCCL_SOCKET_IFNAME"] = "ib0";
  std::string all;
  for (const Finding& finding : Diagnose(ranks)) all += Print(finding) + "\n";
  EXPECT_NE(all.find("NCCL_SOCKET_IFNAME=eth0 (ib0 on rank 2 on node1)"), std::string::npos) << all;
}

TEST(Examine, SeesVariablesOfTheUser) {
  setenv("NCCL_DEBUG", "WARN", 1);
  setenv("OMPI_MCA_orte_launch", "1", 1);  // mpirun's own
  const RankInfo info = Examine(Launch{}, false);
  unsetenv("NCCL_DEBUG");
  unsetenv("OMPI_MCA_orte_launch");
  EXPECT_EQ(info.at("set.NCCL_DEBUG"), "WARN");
  EXPECT_FALSE(info.contains("set.OMPI_MCA_orte_launch"));
  EXPECT_GT(std::stoull(info.at("shm_bytes")), 0u);
  EXPECT_FALSE(info.contains("devices.why"));
}

TEST(SharedFolder, IsReadByAllOrTheBlindRankIsNamed) {
  const fs::path folder = fs::path(testing::TempDir()) / "doctor_shared";
  fs::create_directories(folder);
  RunThreads(3, [&](Communicator& comm) {
    const Finding all = CheckSharedFolder(comm, folder);
    WR_CHECK(all.ok, all.what);
    // As a path that is another disk on rank 2.
    const Finding two = CheckSharedFolder(comm, comm.rank() == 2 ? folder / "elsewhere" : folder);
    WR_CHECK(!two.ok && two.what.find("rank 2 does not see") != std::string::npos, two.what);
    const Finding none = CheckSharedFolder(comm, folder / "absent");
    WR_CHECK(!none.ok && none.what.find("rank 0 cannot write") != std::string::npos, none.what);
  });
  EXPECT_TRUE(fs::is_empty(folder)) << "the files are removed";
}

TEST(CheckRanks, ThrowsTheFirstFailureOnAllRanks) {
  const fs::path folder = testing::TempDir();
  std::atomic<int> thrown = 0;
  RunThreads(2, [&](Communicator& comm) {
    const Launch launch = {comm.rank(), 2, comm.rank(), 2, "threads"};
    CheckRanks(comm, launch, folder);
    try {
      CheckRanks(comm, launch, folder / "absent");
    } catch (const Error& e) {
      thrown += e.code() == Exit::kLaunch;
    }
  });
  EXPECT_EQ(thrown, 2);
}

}  // namespace
}  // namespace whyrec::cluster
