// A run's configuration: text-format files, each on top of its `base` file, overrides, protocol
// values, checks.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/config.pb.h"

namespace whyrec::config {

// Something wrong with a field, found by those who know what it means.
struct Problem {
  std::string path;  // "system[0].name"
  std::string message;
};
using Check = std::function<std::vector<Problem>(const RunConfig&)>;

// Loads `file`; each override is "path=value" ("train.global_batch=32",
// "system[0].name=popularity"). Order: base file, file, overrides, then for every unset field with
// a protocol value the value of `protocol` (and, for PULSE, `reading`). A list that a file states
// replaces its base's list; `base` and the base's `name` do not pass on. An override's index may be
// the list's length, which appends. Paths become absolute (against the file that states them;
// overrides against the working directory), with ${NAME} replaced from the environment
// (WHYREC_CACHE falls back to
// ${XDG_CACHE_HOME:-$HOME/.cache}/whyrec). `name` falls back to the file's stem. `check` adds what
// the schema does not know. Throws Error(kUsage) whose text holds every error found, one a line, as
//   file:line:column: message; did you mean "..."?
//   --set #2 (train.epochs=ten): message
RunConfig Load(const std::filesystem::path& file, const std::vector<std::string>& overrides = {},
               const Check& check = {});

// The configuration itself, or under BOTH one for each protocol: STRICT, AS_PUBLISHED. Until then
// the fields that the protocol decides are unset.
std::vector<RunConfig> ByProtocol(const RunConfig& config);

// `config` with the training that a system or a model of its own states over the run's.
RunConfig WithTraining(const RunConfig& config, const TrainConfig& over);

// Whether a field ("system[0].train.dropout") is stated, rather than left to its default. A path
// that the schema does not have is an internal error.
bool IsStated(const RunConfig& config, const std::string& path);

// Error(kUsage) with all messages, one a line, if there are any problems.
void Require(const std::vector<Problem>& problems);

// "path=value" lines, sorted, defaults included, floats in hexadecimal: equal configurations print
// equally, whatever their history. `parts` are paths of fields ("split", "isrf.backbone"); all if
// empty. Fields marked outside_fingerprint are left out. A path prints as "set" or "unset" only:
// what it leads to enters a fingerprint by content, as an input.
std::vector<std::string> Canonical(const RunConfig& config,
                                   const std::vector<std::string>& parts = {});

// "path=value" of every field that the protocol decides, with the effective value; a value that
// differs from the protocol's own ends with "  (protocol: X)". `parts` as above.
std::vector<std::string> ProtocolKeys(const RunConfig& config,
                                      const std::vector<std::string>& parts = {});

// The candidate most similar to `word` by edit distance; empty when none is similar.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);
// As the end of a message: '; did you mean "hidden"?', or nothing.
std::string Suggest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace whyrec::config
