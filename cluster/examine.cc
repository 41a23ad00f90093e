// What a rank can find out by itself.
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "cluster/collective/module.h"
#include "cluster/doctor.h"

extern char** environ;

namespace whyrec::cluster {
namespace {

// Set by mpirun itself, not by the user.
bool IsLaunchersOwn(const std::string& name) {
  for (const char* prefix : {"OMPI_MCA_orte_", "OMPI_MCA_ess", "OMPI_MCA_pmix", "OMPI_MCA_shmem_",
                             "OMPI_MCA_initial_wdir", "OMPI_MCA_mpi_oversubscribe",
                             "OMPI_MCA_rmaps_base_oversubscribe"}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

void NoteVariables(RankInfo& info) {
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string entry = *at, name = entry.substr(0, entry.find('='));
    const bool ours = name.starts_with("NCCL_") || name.starts_with("OMPI_MCA_") ||
                      name.starts_with("UCX_") || name == "CUDA_VISIBLE_DEVICES";
    if (ours && !IsLaunchersOwn(name)) info["set." + name] = entry.substr(name.size() + 1);
  }
  std::vector<std::filesystem::path> files = {"/etc/nccl.conf"};
  if (const char* home = std::getenv("HOME"))
    files.push_back(std::filesystem::path(home) / ".nccl.conf");
  std::error_code ignored;
  for (const auto& file : files)
    if (std::filesystem::exists(file, ignored)) info["set." + file.string()] = "exists";
}

std::string Network() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "";
  std::set<std::string> names;
  for (const ifaddrs* at = all; at != nullptr; at = at->ifa_next) {
    const bool up = (at->ifa_flags & IFF_UP) != 0 && (at->ifa_flags & IFF_LOOPBACK) == 0;
    const bool address = at->ifa_addr != nullptr && (at->ifa_addr->sa_family == AF_INET ||
                                                     at->ifa_addr->sa_family == AF_INET6);
    if (up && address) names.insert(at->ifa_name);
  }
  freeifaddrs(all);
  std::string joined;
  for (const std::string& name : names) joined += (joined.empty() ? "" : " ") + name;
  return joined;
}

void NoteMpi(RankInfo& info) {
  try {
    char text[256] = "";
    MpiTable().version(text, sizeof text);
    info["mpi"] = text;
  } catch (const Error& e) {
    info["mpi.why"] = e.what();
  }
  if (const char* version = std::getenv("PMIX_VERSION")) info["pmix"] = version;
}

void NoteDevices(RankInfo& info, const Launch& launch) {
  std::ifstream driver("/proc/driver/nvidia/version");
  if (driver) std::getline(driver, info["driver"]);
  int count = 0, cuda = 0, nccl = 0;
  try {
    const WhyrecNcclTable& table = NcclTable();
    if (table.device_count(&count, &cuda) != 0) {
      info["devices.why"] = table.explain();
      return;
    }
    info["devices"] = std::to_string(count);
    info["cuda"] = Cat(cuda / 1000, ".", cuda % 1000 / 10);
    if (table.version(&nccl) == 0) {
      info["nccl"] = Cat(nccl / 10000, ".", nccl / 100 % 100, ".", nccl % 100);
    } else {
      info["nccl.why"] = table.explain();
    }
    if (count == 0) return;
    const int device = ChooseDevice(launch, count);
    WhyrecDevice found{};
    if (table.describe(device, &found) != 0) Fail(Exit::kLaunch, table.explain());
    info["device"] = std::to_string(device);
    info["device_name"] = Cat(found.name, ", ", found.bytes >> 30, " GiB");
    info["uuid"] = found.uuid;
  } catch (const Error& e) {
    info[count > 0 ? "device.why" : "devices.why"] = e.what();
  }
}

}  // namespace

RankInfo Examine(const Launch& launch, bool devices) {
  RankInfo info;
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  info["host"] = host;
  info["program"] = WHYREC_VERSION;
  info["launcher"] = launch.source;
  info["local_rank"] = std::to_string(launch.local_rank);
  info["local_size"] = std::to_string(launch.local_size);
  info["cores"] = std::to_string(std::thread::hardware_concurrency());
  info["network"] = Network();
  struct statvfs shm {};
  if (statvfs("/dev/shm", &shm) == 0)
    info["shm_bytes"] = std::to_string(uint64_t{shm.f_blocks} * shm.f_frsize);
  NoteVariables(info);
  if (devices) {
    NoteMpi(info);
    NoteDevices(info, launch);
  }
  return info;
}

}  // namespace whyrec::cluster
