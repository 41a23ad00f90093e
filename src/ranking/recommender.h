// The interface of every system: queries in, scores or lists out. No LibTorch types here: stages
// never see a network.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cluster/collective/communicator.h"
#include "proto/config.pb.h"
#include "src/base/facts.h"
#include "src/base/host_tensor.h"
#include "src/base/ragged.h"
#include "src/config/knobs.h"
#include "src/data/split.h"
#include "src/eval/metrics.h"

namespace whyrec::ranking {

// The tasks that are evaluated: next item over all items; the held-out item among candidates.
enum class Task { kSequential, kDirect };
const char* NameOf(Task task);

// What a system is asked for one user; the target is not part of it.
struct Query {
  int64_t user;                         // row
  std::vector<int64_t> history;         // item rows, oldest first
  std::span<const int64_t> candidates;  // item rows; empty: the whole catalogue
};

// Either one score per candidate (per item where the query names none), or an ordered list of item
// rows in which -1 means an answer that is not an item.
struct Prediction {
  std::vector<double> scores;
  std::vector<int64_t> list;
};

// From the scores of all items, [I]: those of the query's candidates, or all.
Prediction FromScores(const Query& query, std::span<const double> scores);
// The same from a table, F64 [queries, I].
std::vector<Prediction> FromScores(const std::vector<Query>& queries, const HostTensor& scores);

// What a system is built from.
struct BuildContext {
  const config::RunConfig& config;  // with the system's own training; execution.device is chosen
  const data::TrainView& train;
  config::Knobs knobs;
  std::string variant = {};
  std::map<std::string, std::filesystem::path> artefacts = {};  // folders of what it asked for
};

// Error(kUsage) where graphs.placement is ROWS: of graph systems that keep all nodes on every rank.
void RefuseRows(const BuildContext& context, const std::string& system);

// What training may use besides: validation targets for early stopping, the items that negatives
// avoid, and the communicator of its ranks.
struct TrainContext {
  const data::LabelStore& labels;
  const Ragged<int64_t>& negative_exclusion;
  cluster::Communicator& comm;
  std::filesystem::path folder;  // checkpoints while under way; the model in the end
};

// How a query's target is ranked among all items.
struct RankOptions {
  bool mask_history = true;  // items of the query's history do not count
  int64_t list = 10;         // best items that are listed
};
struct Ranked {
  std::optional<eval::Rank> rank;  // of the target; none where the system only lists
  std::vector<int64_t> list;       // item rows, best first
};

class Recommender {
 public:
  virtual ~Recommender() = default;
  // Trains into context.folder, continuing from what an earlier try left there. Systems that only
  // count do nothing.
  virtual Facts Train(TrainContext& context) = 0;
  virtual void Load(const std::filesystem::path& folder) = 0;
  // Answers in the order of the queries; queries of one call form one batch.
  virtual std::vector<Prediction> Predict(Task task, const std::vector<Query>& queries) = 0;
  // Ranks queries without candidates over all items. `targets`: their true items, which the scorer
  // does not see. A system that produces lists returns its lists, whatever the options.
  virtual std::vector<Ranked> Rank(Task task, const std::vector<Query>& queries,
                                   std::span<const int64_t> targets, const RankOptions& options);
  // F32 [queries, d]: states that users are compared by, of systems that have them. `padded`: with
  // as much padding before the history as in training; else of the history alone.
  virtual HostTensor UserVectors(const std::vector<Query>& queries, bool padded);
};

// The positions of the best scores, at most `count`; masked ones and NaN are left out, equal scores
// keep their order.
std::vector<int64_t> Best(std::span<const double> scores, std::span<const uint8_t> mask,
                          int64_t count);

// The users that early stopping evaluates: train.validation_users of those with a validation item,
// drawn by seed, or all.
std::vector<int64_t> ValidationUsers(const data::LabelStore& labels,
                                     const config::RunConfig& config);

}  // namespace whyrec::ranking
