// The commands of the program. Results go to stdout, progress and messages to stderr.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cluster/communicator.h"

namespace whyrec::stages {

struct RunOptions {
  std::filesystem::path config;
  std::string workspace;               // empty: runs/<config name>
  std::vector<std::string> overrides;  // "path=value"
  bool fresh = false;                  // forget the workspace's artefacts
};

void Run(const RunOptions& options, const cluster::Launch& launch);
void Plan(const RunOptions& options);
// `where`: a workspace, or a configuration whose default workspace is meant. format: "md" | "json".
void PrintReport(const std::filesystem::path& where, const std::string& format);
void Describe(const std::string& system);  // empty: the configuration's fields
void ListSystems();
// Hashes of every artefact of a workspace; Error(kData) listing what is wrong.
void Verify(const std::filesystem::path& workspace);
// Rules R1-R3 on a P5 folder or a configuration's data, as numbered and after STRICT renumbering;
// popularity and Markov under file order and shuffled ties where there are time stamps.
void Audit(const std::filesystem::path& folder_or_config, const std::string& format);

}  // namespace whyrec::stages
