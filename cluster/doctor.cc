#include "cluster/doctor.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <ostream>
#include <set>

namespace whyrec::cluster {
namespace fs = std::filesystem;
namespace {

std::string Of(const RankInfo& info, const std::string& name) {
  const auto found = info.find(name);
  return found == info.end() ? "" : found->second;
}

std::string Who(const std::vector<RankInfo>& ranks, size_t r) {
  return Cat("rank ", r, " on ", Of(ranks[r], "host"));
}

// key, value, key, value, ... with a zero byte after each.
std::string Pack(const RankInfo& info) {
  std::string out;
  for (const auto& [name, value] : info) (out += name + '\0') += value + '\0';
  return out;
}

RankInfo Unpack(const std::vector<std::byte>& bytes) {
  const auto* at = reinterpret_cast<const char*>(bytes.data());
  const auto* end = at + bytes.size();
  RankInfo info;
  const auto next = [&] {
    std::string text(at);
    at += text.size() + 1;
    return text;
  };
  while (at < end) {
    const std::string name = next();
    info[name] = next();
  }
  return info;
}

std::vector<RankInfo> GatherInfo(Communicator& comm, const RankInfo& mine) {
  const std::string packed = Pack(mine);
  std::vector<RankInfo> ranks;
  for (const auto& bytes : comm.AllGather(packed.data(), packed.size()))
    ranks.push_back(Unpack(bytes));
  return ranks;
}

Finding Hosts(const std::vector<RankInfo>& ranks) {
  std::map<std::string, int> hosts;
  for (const RankInfo& rank : ranks) ++hosts[Of(rank, "host")];
  Finding finding{.what = Cat("ranks: ", ranks.size(), " (", Of(ranks[0], "launcher"), ") on")};
  for (const auto& [host, n] : hosts) {
    finding.what += Cat(" ", host, ":", n);
  }
  for (size_t r = 0; r < ranks.size(); ++r) {
    if (std::stoi(Of(ranks[r], "local_size")) == hosts[Of(ranks[r], "host")]) continue;
    finding.ok = false;
    finding.what += Cat("; the launcher told ", Who(ranks, r), " that ", Of(ranks[r], "local_size"),
                        " ranks are on its host");
    finding.to_do = "launch/run.sh, or mpirun with a hostfile that names each host once";
    break;
  }
  return finding;
}

// One value on all ranks.
Finding Same(const std::vector<RankInfo>& ranks, const std::string& name, const std::string& title,
             const std::string& to_do) {
  for (size_t r = 1; r < ranks.size(); ++r) {
    if (Of(ranks[r], name) != Of(ranks[0], name))
      return {false,
              Cat(title, ": ", Of(ranks[0], name), " on rank 0, ", Of(ranks[r], name), " on ",
                  Who(ranks, r)),
              to_do};
  }
  return {.what = Cat(title, ": ", Of(ranks[0], name))};
}

Finding Mpi(const std::vector<RankInfo>& ranks) {
  const std::string why = Of(ranks[0], "mpi.why");
  if (!why.empty()) return {.what = "MPI: not needed by one rank, and absent: " + why};
  Finding finding = Same(ranks, "mpi", "MPI", "install the same MPI on all hosts");
  if (const std::string pmix = Of(ranks[0], "pmix"); !pmix.empty())
    finding.what += ", launcher's PMIx " + pmix;
  return finding;
}

Finding Devices(const std::vector<RankInfo>& ranks) {
  std::map<std::string, size_t> owners;
  Finding finding{.what = "devices:"};
  size_t with = 0;
  for (size_t r = 0; r < ranks.size(); ++r) {
    const RankInfo& rank = ranks[r];
    if (const std::string why = Of(rank, "device.why"); !why.empty())
      return {false, Cat("devices: ", Who(ranks, r), ": ", why),
              "one rank per GPU: mpirun -n <number of GPUs>, or sbatch --gpus-per-task=1"};
    const std::string uuid = Of(rank, "uuid");
    if (uuid.empty()) continue;
    ++with;
    finding.what +=
        Cat(" rank ", r, ": ", Of(rank, "device"), " ", Of(rank, "device_name"), " ", uuid, ";");
    const auto [first, fresh] = owners.emplace(Of(rank, "host") + uuid, r);
    if (!fresh)
      return {false,
              Cat("devices: ranks ", first->second, " and ", r, " both use ", uuid, " of ",
                  Of(rank, "host")),
              "one rank per GPU: mpirun -n <number of GPUs>, or sbatch --gpus-per-task=1"};
  }
  for (size_t r = 0; r < ranks.size(); ++r) {
    const std::string wanted = Of(ranks[r], "set.CUDA_VISIBLE_DEVICES");
    const bool asked = !wanted.empty() && wanted != "-1";
    if (Of(ranks[r], "uuid").empty() && (asked || with > 0))
      return {false,
              Cat("devices: ", Who(ranks, r), " has none: ", Of(ranks[r], "devices.why"),
                  asked ? ", though CUDA_VISIBLE_DEVICES is " + wanted : ", other ranks have"),
              "nvidia-smi on that host; in a container start it with --gpus all or --nv"};
  }
  if (with == 0) finding.what += " none (" + Of(ranks[0], "devices.why") + "); work runs on CPUs";
  return finding;
}

Finding Nccl(const std::vector<RankInfo>& ranks) {
  for (size_t r = 0; r < ranks.size() && ranks.size() > 1; ++r) {
    if (!Of(ranks[r], "nccl.why").empty())
      return {false, Cat("NCCL: ", Who(ranks, r), ": ", Of(ranks[r], "nccl.why")),
              "LibTorch_ROOT=<a CUDA build> launch/setup, or LD_LIBRARY_PATH=<folder of "
              "libnccl.so.2>"};
  }
  Finding finding = Same(ranks, "nccl", "NCCL", "install the same NCCL on all hosts");
  finding.what += Cat(", CUDA ", Of(ranks[0], "cuda"), ", driver ", Of(ranks[0], "driver"));
  return finding;
}

Finding Network(const std::vector<RankInfo>& ranks) {
  std::set<std::string> hosts;
  for (const RankInfo& rank : ranks) hosts.insert(Of(rank, "host"));
  for (size_t r = 0; r < ranks.size() && hosts.size() > 1; ++r) {
    if (Of(ranks[r], "network").empty())
      return {false, Cat("network: ", Who(ranks, r), " has no interface but lo"),
              "ip addr on that host; in a container start it with --network host"};
  }
  return {.what =
              "network: rank 0 has " +
              (Of(ranks[0], "network").empty() ? "no interface but lo" : Of(ranks[0], "network"))};
}

// NCCL and MPI move messages between ranks of one host through it; containers give 64 MB.
Finding SharedMemory(const std::vector<RankInfo>& ranks) {
  constexpr uint64_t kPerRank = 64 << 20;
  for (size_t r = 0; r < ranks.size(); ++r) {
    const uint64_t bytes = std::strtoull(Of(ranks[r], "shm_bytes").c_str(), nullptr, 10);
    const uint64_t local = std::strtoull(Of(ranks[r], "local_size").c_str(), nullptr, 10);
    if (local > 1 && bytes < local * kPerRank)
      return {
          false,
          Cat("/dev/shm: ", bytes >> 20, " MiB for ", local, " ranks of ", Of(ranks[r], "host")),
          Cat("docker run --shm-size=", local, "g, or --ipc=host")};
  }
  const uint64_t bytes = std::strtoull(Of(ranks[0], "shm_bytes").c_str(), nullptr, 10);
  return {.what = Cat("/dev/shm: ", bytes >> 20, " MiB")};
}

Finding Variables(const std::vector<RankInfo>& ranks) {
  std::map<std::string, std::string> set;
  for (size_t r = 0; r < ranks.size(); ++r) {
    for (const auto& [name, value] : ranks[r]) {
      if (!name.starts_with("set.")) continue;
      std::string& text = set[name.substr(4)];
      if (text.empty()) {
        text = value;
      } else if (value != Of(ranks[0], name) && text.find(" (") == std::string::npos) {
        text += Cat(" (", value, " on ", Who(ranks, r), ")");
      }
    }
  }
  Finding finding{.what = "variables:"};
  for (const auto& [name, value] : set) finding.what += " " + name + "=" + value;
  if (set.empty()) finding.what += " no NCCL_*, OMPI_MCA_*, UCX_*, CUDA_VISIBLE_DEVICES";
  return finding;
}

// 1 MiB of ones.
Finding FirstSum(Communicator& comm) {
  std::vector<float> ones(1 << 18, 1);
  const auto start = std::chrono::steady_clock::now();
  comm.AllReduce(ones.data(), std::ssize(ones), DType::kF32, Reduce::kSum);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  int64_t wrong = std::count_if(ones.begin(), ones.end(),
                                [&](float x) { return x != static_cast<float>(comm.size()); });
  comm.AllReduce(&wrong, 1, DType::kI64, Reduce::kSum);
  if (wrong > 0)
    return {false, Cat("all-reduce: ", wrong, " values of 1 MiB arrived wrong"),
            "mpirun --mca btl self,tcp ..."};
  return {.what = Cat("all-reduce: 1 MiB in ", std::llround(took.count() * 1000), " us")};
}

}  // namespace

std::string Print(const Finding& finding) {
  return finding.ok ? "ok      " + finding.what
                    : "FAILED  " + finding.what + "; try: " + finding.to_do;
}

std::vector<Finding> Diagnose(const std::vector<RankInfo>& ranks) {
  std::vector<Finding> findings = {
      Hosts(ranks),
      Same(ranks, "program", "whyrec", "launch/build on all hosts, or one container")};
  const RankInfo& first = ranks[0];
  if (first.contains("mpi") || first.contains("mpi.why")) {
    findings.push_back(Mpi(ranks));
    findings.push_back(Devices(ranks));
  }
  if (first.contains("nccl") || first.contains("nccl.why")) findings.push_back(Nccl(ranks));
  findings.push_back(Network(ranks));
  findings.push_back(SharedMemory(ranks));
  findings.push_back(Variables(ranks));
  return findings;
}

Finding CheckSharedFolder(Communicator& comm, const fs::path& folder) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  int64_t nonce = now ^ getpid();
  comm.Broadcast(&nonce, sizeof nonce, 0);
  const fs::path file = folder / Cat(".whyrec-doctor-", nonce);
  if (comm.rank() == 0) std::ofstream(file) << nonce;
  comm.Barrier();
  int64_t read = 0;
  std::ifstream(file) >> read;
  int64_t blind = read == nonce ? -1 : comm.rank();
  comm.AllReduce(&blind, 1, DType::kI64, Reduce::kMax);
  std::error_code ignored;
  if (comm.rank() == 0) fs::remove(file, ignored);
  const std::string path = fs::absolute(folder, ignored).string();
  if (blind < 0) return {.what = "shared folder: " + path};
  int64_t written = read == nonce;
  comm.Broadcast(&written, sizeof written, 0);
  if (written == 0)
    return {false, Cat("shared folder: rank 0 cannot write to ", path), "another folder: --folder"};
  return {false, Cat("shared folder: rank ", blind, " does not see what rank 0 wrote to ", path),
          "a folder that all hosts mount: --folder, and --workspace for runs"};
}

void CheckRanks(Communicator& comm, const Launch& launch, const fs::path& folder) {
  if (comm.size() == 1) return;
  std::vector<Finding> findings = Diagnose(GatherInfo(comm, Examine(launch, false)));
  findings.push_back(CheckSharedFolder(comm, folder));
  findings.push_back(FirstSum(comm));
  for (const Finding& finding : findings)
    if (!finding.ok) Fail(Exit::kLaunch, finding.what, "; try: ", finding.to_do);
}

int Doctor(const DoctorOptions& options, std::ostream& out) {
  constexpr int kFailed = static_cast<int>(Exit::kLaunch);
  std::unique_ptr<Communicator> comm;
  Launch launch;
  try {
    launch = ReadLaunch();
    comm = Connect(launch, {.seconds = options.seconds, .first_seconds = options.seconds});
  } catch (const Error& e) {
    out << Print({false, Cat("launch: ", e.what()), "launch/run.sh -n N CONFIG"}) << std::endl;
    return kFailed;
  }
  bool ok = true;
  const auto tell = [&](const Finding& finding) {
    ok = ok && finding.ok;
    if (comm->rank() == 0) out << Print(finding) << std::endl;  // now: the next one may wait
  };
  for (const Finding& finding : Diagnose(GatherInfo(*comm, Examine(launch, true)))) tell(finding);
  tell(CheckSharedFolder(*comm, options.folder));
  tell(FirstSum(*comm));
  return ok ? 0 : kFailed;
}

}  // namespace whyrec::cluster
