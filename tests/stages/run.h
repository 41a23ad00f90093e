// Chains in this process.
#pragma once

#include <gtest/gtest.h>

#include "src/base/log.h"
#include "src/config/run_config.h"
#include "src/nn/numeric.h"
#include "src/stages/runner.h"
#include "tests/stages/tiny.h"
#include "tests/store/temporary.h"

namespace whyrec::stages {

using Names = std::vector<std::string>;

inline const Names kCounting = {"system[0].name=popularity", "system[1].name=markov"};

inline config::RunConfig LoadTiny(const Names& overrides, const Names& systems = {}) {
  const Temporary folder;
  Names all = systems;
  all.insert(all.end(), overrides.begin(), overrides.end());
  return config::Load(WriteTiny(folder.path()), all);
}

// The stages that ran; several ranks are threads.
inline Names RunOn(int ranks, const config::RunConfig& config, const fs::path& folder) {
  SetProgressMode(ProgressMode::kNone);
  nn::SetThreads(1);
  store::Workspace workspace(folder);
  if (ranks == 1) return RunChain({config, *cluster::MakeSelf(), workspace});
  Names ran;
  cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
    const Names mine = RunChain({config, comm, workspace});
    if (comm.rank() == 0) ran = mine;
  });
  return ran;
}

inline Names RunAlone(const config::RunConfig& config, const fs::path& folder) {
  return RunOn(1, config, folder);
}

}  // namespace whyrec::stages
