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

void NoteVariables(Facts& facts) {
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string entry = *at, name = entry.substr(0, entry.find('='));
    const bool ours = name.starts_with("NCCL_") || name.starts_with("OMPI_MCA_") ||
                      name.starts_with("UCX_") || name == "CUDA_VISIBLE_DEVICES";
    if (ours && !IsLaunchersOwn(name)) facts["set." + name] = entry.substr(name.size() + 1);
  }
  std::vector<std::filesystem::path> files = {"/etc/nccl.conf"};
  if (const char* home = std::getenv("HOME"))
    files.push_back(std::filesystem::path(home) / ".nccl.conf");
  std::error_code ignored;
  for (const auto& file : files)
    if (std::filesystem::exists(file, ignored)) facts["set." + file.string()] = "exists";
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

void NoteMpi(Facts& facts) {
  try {
    char text[256] = "";
    MpiTable().version(text, sizeof text);
    facts["mpi"] = text;
  } catch (const Error& e) {
    facts["mpi.why"] = e.what();
  }
  if (const char* version = std::getenv("PMIX_VERSION")) facts["pmix"] = version;
}

void NoteDevices(Facts& facts, const Launch& launch) {
  std::ifstream driver("/proc/driver/nvidia/version");
  if (driver) std::getline(driver, facts["driver"]);
  int count = 0, cuda = 0, nccl = 0;
  try {
    const WhyrecNcclTable& table = NcclTable();
    if (table.device_count(&count, &cuda) != 0) {
      facts["devices.why"] = table.explain();
      return;
    }
    facts["devices"] = std::to_string(count);
    facts["cuda"] = Cat(cuda / 1000, ".", cuda % 1000 / 10);
    if (table.version(&nccl) == 0) {
      facts["nccl"] = Cat(nccl / 10000, ".", nccl / 100 % 100, ".", nccl % 100);
    } else {
      facts["nccl.why"] = table.explain();
    }
    if (count == 0) return;
    const int device = ChooseDevice(launch, count);
    WhyrecDevice found{};
    if (table.describe(device, &found) != 0) Fail(Exit::kLaunch, table.explain());
    facts["device"] = std::to_string(device);
    facts["device_name"] = Cat(found.name, ", ", found.bytes >> 30, " GiB");
    facts["uuid"] = found.uuid;
  } catch (const Error& e) {
    facts[count > 0 ? "device.why" : "devices.why"] = e.what();
  }
}

}  // namespace

Facts Examine(const Launch& launch, bool devices) {
  Facts facts;
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  facts["host"] = host;
  facts["program"] = WHYREC_VERSION;
  facts["launcher"] = launch.source;
  facts["local_rank"] = std::to_string(launch.local_rank);
  facts["local_size"] = std::to_string(launch.local_size);
  facts["cores"] = std::to_string(std::thread::hardware_concurrency());
  facts["network"] = Network();
  struct statvfs shm {};
  if (statvfs("/dev/shm", &shm) == 0)
    facts["shm_bytes"] = std::to_string(uint64_t{shm.f_blocks} * shm.f_frsize);
  NoteVariables(facts);
  if (devices) {
    NoteMpi(facts);
    NoteDevices(facts, launch);
  }
  return facts;
}

}  // namespace whyrec::cluster
