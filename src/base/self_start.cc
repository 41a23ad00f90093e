#include "src/base/self_start.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/error.h"

namespace whyrec {
namespace {

using Variables = std::map<std::string, std::string>;

// Set to the process id, which a second start keeps; child processes have another one.
constexpr const char* kStarted = "WHYREC_STARTED";

// How often a waiting thread looks before it sleeps; 5,000 times take about 0.15 ms. With libgomp's
// default, 300,000, spinning threads use up the time that working ones need beside other programs;
// without any spinning, generating texts of small operators takes two to three times as long.
constexpr const char* kSpins = "5000";

// getenv may not work yet: the C library's initialiser may not have run.
Variables Read(char** environment) {
  Variables out;
  for (; *environment != nullptr; ++environment) {
    const std::string_view line = *environment;
    const size_t name = std::min(line.find('='), line.size());
    out.emplace(line.substr(0, name), line.substr(std::min(name + 1, line.size())));
  }
  return out;
}

// The C library's exp, log, sin ... for FMA round differently from its plain ones. Its tunables
// share one variable, separated by colons; other tunables are kept.
std::string PlainTunables(std::string_view given) {
  constexpr std::string_view kVariants = "glibc.cpu.hwcaps=";
  std::string out;
  while (!given.empty()) {
    const std::string_view one = given.substr(0, given.find(':'));
    given.remove_prefix(std::min(given.size(), one.size() + 1));
    if (!one.empty() && !one.starts_with(kVariants)) out.append(one) += ':';
  }
  return out.append(kVariants) + "-AVX2,-FMA,-FMA4";
}

Variables Wanted(const Variables& given, bool plain_kernels) {
  Variables out = given;
  if (!given.contains("OMP_WAIT_POLICY") && !given.contains("GOMP_SPINCOUNT"))
    out["GOMP_SPINCOUNT"] = kSpins;
  if (!plain_kernels) return out;
  out["ATEN_CPU_CAPABILITY"] = "default";
  out["MKL_CBWR"] = "COMPATIBLE";
  out["ONEDNN_MAX_CPU_ISA"] = "SSE41";
  out["GLIBC_TUNABLES"] = PlainTunables(out["GLIBC_TUNABLES"]);
  out["OMP_NUM_THREADS"] = out["MKL_NUM_THREADS"] = "1";
  return out;
}

// The real path: a process started as /proc/self/exe would be listed as "exe".
std::string OwnProgram() {
  std::array<char, PATH_MAX> path;
  const ssize_t n = readlink("/proc/self/exe", path.data(), path.size());
  return n > 0 ? std::string(path.data(), static_cast<size_t>(n)) : "/proc/self/exe";
}

// Returns only on failure.
void Start(char** arguments, const Variables& variables) {
  std::vector<std::string> lines;
  for (const auto& [name, value] : variables) lines.push_back(name + "=" + value);
  std::vector<char*> environment;
  for (std::string& line : lines) environment.push_back(line.data());
  environment.push_back(nullptr);
  execve(OwnProgram().c_str(), arguments, environment.data());
}

}  // namespace

void StartSelf(char** arguments, char** environment, bool plain_kernels) {
  const Variables given = Read(environment);
  Variables wanted = Wanted(given, plain_kernels);
  if (wanted == given) return;
  std::string& started = wanted[kStarted];
  const std::string now = std::to_string(getpid()) + (plain_kernels ? " plain" : "");
  std::string problem = "its environment does not stay as it was set";
  if (started != now) {
    started = now;
    Start(arguments, wanted);
    problem = std::strerror(errno);
  }
  // Without the other settings the program is only slower beside other programs.
  if (plain_kernels)
    Fail(Exit::kLaunch, "execution.reproducible: the program cannot start itself again: ", problem);
}

}  // namespace whyrec
