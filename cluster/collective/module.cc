#include "cluster/collective/module.h"

#include <dlfcn.h>

#include <filesystem>

#include "src/base/error.h"

namespace whyrec::cluster {

void* OpenModule(const std::string& name, const char* symbol, const std::string& need,
                 const std::string& remedy) {
  const std::string file = Cat("lib", name, ".so");
  std::error_code ignored;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / file;
  // RTLD_GLOBAL: MPI's plug-ins need the symbols of the MPI library that the module loads.
  void* module = dlopen(beside.c_str(), RTLD_NOW | RTLD_GLOBAL);
  const std::string why = module == nullptr ? dlerror() : "";
  if (module == nullptr && !std::filesystem::exists(beside))
    module = dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (module == nullptr) Fail(Exit::kLaunch, need, ", but ", why, "; ", remedy);
  void* found = dlsym(module, symbol);
  if (found == nullptr) Fail(Exit::kLaunch, dlerror());
  return found;
}

}  // namespace whyrec::cluster
