// neighbours: PULSE's similar users, those whose states in another system (SASRec) have the
// largest cosine, for each split -> neighbours.h5: <split>/neighbours I64 [U, k], <split>/state F32
// [U, d].
#include <algorithm>
#include <cstring>

#include "src/base/error.h"
#include "src/nn/top_k.h"
#include "src/stages/examples.h"
#include "src/stages/system_run.h"
#include "src/store/hdf5_file.h"

namespace whyrec::stages {
namespace {

SystemRun Asked(const config::RunConfig& config) {
  return {config, NeedPlayer(systems::Role::kNeighbours, config, "similar users")};
}

// This rank's rows of n.
std::pair<int64_t, int64_t> RowsOf(const cluster::Communicator& comm, int64_t n) {
  return {n * comm.rank() / comm.size(), n * (comm.rank() + 1) / comm.size()};
}

// All ranks' rows, one block of bytes each.
HostTensor Gather(const HostTensor& own, int64_t rows, cluster::Communicator& comm) {
  HostTensor all = HostTensor::Zeros(own.dtype(), {rows, own.dim(1)});
  const auto row_bytes = static_cast<int64_t>(SizeOf(own.dtype())) * own.dim(1);
  cluster::Sizes bytes;
  for (int r = 0; r < comm.size(); ++r)
    bytes.push_back((rows * (r + 1) / comm.size() - rows * r / comm.size()) * row_bytes);
  comm.AllGatherInto(own.bytes(), all.bytes(), bytes);
  return all;
}

// States of the users, F32 [end - begin, d]. Users without a held-out item in the split get the
// state after their training items; users without any item get zeros.
HostTensor StatesOf(ranking::Recommender& asked, const Examples& users,
                    const data::TrainView& train, const std::string& split, int64_t begin,
                    int64_t end, const config::NeighboursConfig& config) {
  std::vector<ranking::Query> queries;
  for (int64_t user = begin; user < end; ++user) {
    ranking::Query query{.user = user};
    // In the public code the states include all training items, whatever the split.
    if (config.with_target() || (split != "train" && !users.Has(split, user))) {
      const auto row = train.histories.row(user);
      query.history.assign(row.begin(), row.end());
    } else if (users.Has(split, user)) {
      for (const auto& event : users.Events(split, user)) query.history.push_back(event.item);
    }
    if (!query.history.empty()) queries.push_back(std::move(query));
  }
  const bool padded = config.vector() == config::NeighboursConfig::PADDED;
  const HostTensor known = asked.UserVectors(queries, padded);
  HostTensor states = HostTensor::Zeros(known.dtype(), {end - begin, known.dim(1)});
  for (size_t i = 0; i < queries.size(); ++i)
    std::ranges::copy(known.row<float>(static_cast<int64_t>(i)),
                      states.row<float>(queries[i].user - begin).begin());
  return states;
}

Facts WriteNeighbours(const RunContext& context, const std::filesystem::path& partial) {
  const auto& config = context.config.pulse().neighbours();
  const auto train = data::LoadTrainView(context.workspace.Of("split"));
  const auto labels = data::LoadLabels(context.workspace.Of("split"));
  const Examples users(train, labels);
  const int64_t count = train.user_count(), k = std::min<int64_t>(config.count(), count - 1);
  const SystemRun run = Asked(context.config);
  const auto asked = run.Build(context, train, run.trained_as);
  asked->Load(context.workspace.Of(run.Train()));
  const bool root = context.comm.rank() == 0;
  std::optional<store::Hdf5Writer> file;
  if (root) file.emplace(partial / "neighbours.h5");
  const auto [begin, end] = RowsOf(context.comm, count);
  for (const std::string split : kSplits) {
    const HostTensor own = StatesOf(*asked, users, train, split, begin, end, config);
    const HostTensor states = Gather(own, count, context.comm);
    if (k == 0) continue;
    const HostTensor nearest = Gather(nn::TopKCosine(states, k, begin, end), count, context.comm);
    if (!root) continue;
    file->Write(split + "/neighbours", nearest);
    file->Write(split + "/state", states);
  }
  if (file) file->Close();
  return {{"neighbours of a user", Cat(k)}};
}

}  // namespace

Stage NeighboursStage(const config::RunConfig& config) {
  const SystemRun run = Asked(config);
  return {.name = "neighbours",
          .revision = 2,
          .config_parts = {"pulse.neighbours.count", "pulse.neighbours.vector",
                           "pulse.neighbours.with_target"},
          .inputs = {"split", run.Train()},
          .kind = Kind::kCollective,
          .run = WriteNeighbours};
}

}  // namespace whyrec::stages
