// Rows of distributed tables: read, added back, saved and loaded, on 1 to 4 ranks.
#include "src/train/row_exchange.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/base/text_file.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "src/train/tensor_files.h"
#include "tests/store/temporary.h"

namespace whyrec::train {
namespace {

// Owners drawn at random; with `idle`, the last rank owns nothing.
NodeMap DrawnMap(int64_t nodes, int parts, bool idle = false) {
  std::vector<int32_t> owner(static_cast<size_t>(nodes));
  Rng rng(1, "owners");
  const int drawn = idle && parts > 1 ? parts - 1 : parts;
  for (int32_t& part : owner) part = static_cast<int32_t>(rng.Below(static_cast<uint64_t>(drawn)));
  return MakeNodeMap(owner, parts);
}

at::Tensor RowsOf(const at::Tensor& table, const NodeMap& map, int part) {
  return table.index_select(0, at::tensor(map.nodes[static_cast<size_t>(part)], at::kLong));
}

TEST(RowExchange, ReadsWhatItsOwnersHoldAndAddsBack) {
  constexpr int64_t kNodes = 37, kWidth = 5;
  const at::Tensor table = at::randn({kNodes, kWidth}, at::kDouble);
  for (const int ranks : {1, 2, 3, 4}) {
    const NodeMap map = DrawnMap(kNodes, ranks, true);
    at::Tensor sums = at::zeros({kNodes, kWidth}, at::kDouble), want = at::zeros_like(sums);
    std::mutex mutex;
    cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
      std::vector<int64_t> nodes;  // others for each rank; rank 1 wants none
      for (int64_t n = comm.rank() == 1 ? kNodes : 0; n < kNodes; n += comm.rank() + 2)
        nodes.push_back(n);
      std::ranges::sort(nodes, {}, [&](int64_t n) { return map.Of(n); });
      std::vector<Place> wanted;
      for (const int64_t n : nodes) wanted.push_back(map.Of(n));
      RowExchange exchange(comm, wanted);
      const at::Tensor out = at::empty({exchange.wanted(), kWidth}, at::kDouble);
      exchange.Get(RowsOf(table, map, comm.rank()), out);
      const at::Tensor picked = table.index_select(0, at::tensor(nodes, at::kLong));
      EXPECT_TRUE(at::equal(out, picked));
      const at::Tensor own = RowsOf(at::zeros_like(table), map, comm.rank());
      exchange.Add(out * (comm.rank() + 1), own);
      const std::lock_guard lock(mutex);
      const auto& rows = map.nodes[static_cast<size_t>(comm.rank())];
      sums.index_add_(0, at::tensor(rows, at::kLong), own);
      want.index_add_(0, at::tensor(nodes, at::kLong), picked * (comm.rank() + 1));
    });
    EXPECT_LT((sums - want).abs().max().item<double>(), 1e-14) << ranks;
  }
}

TEST(RowExchange, RefusesDisorder) {
  const auto self = cluster::MakeSelf();
  EXPECT_THROW(RowExchange(*self, std::vector<Place>{{0, 2}, {0, 1}}), Error);
}

// Beyond one range for each rank; the file has the bytes of one that knows no ranks.
TEST(TensorFiles, AnyNumberOfRanksWritesTheSameFileAndLoadsIt) {
  constexpr int64_t kNodes = 5 * kRowsAtOnce / 2 + 3, kWidth = 2;
  const at::Tensor table = at::arange(kNodes * kWidth, at::kFloat).view({kNodes, kWidth});
  const at::Tensor plain = at::full({3}, 7.0);
  const Temporary folder;
  store::WriteSafetensors(folder / "whole",
                          {{"plain", tensor::ToHost(plain)}, {"table", tensor::ToHost(table)}});
  for (const int ranks : {1, 2, 3}) {
    const auto map = std::make_shared<const NodeMap>(DrawnMap(kNodes, ranks, true));
    cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
      const nn::Shard shard{map, comm.rank()};
      const at::Tensor own = RowsOf(table, *map, comm.rank());
      SaveTensors({{"plain", plain}, {"table", own, &shard}}, folder / "parts", comm);
      const at::Tensor loaded = at::zeros_like(own), loaded_plain = at::zeros_like(plain);
      LoadTensors({{"plain", loaded_plain}, {"table", loaded, &shard}}, folder / "parts");
      EXPECT_TRUE(at::equal(loaded, own) && at::equal(loaded_plain, plain));
    });
    EXPECT_EQ(ReadFile(folder / "parts"), ReadFile(folder / "whole")) << ranks;
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

TEST(TensorFiles, OtherSizesAreErrors) {
  const Temporary folder;
  const auto self = cluster::MakeSelf();
  const at::Tensor table = at::zeros({4, 2});
  SaveTensors({{"table", table}}, folder / "file", *self);
  EXPECT_THROW(LoadTensors({{"other", table}}, folder / "file"), Error);
  EXPECT_THROW(LoadTensors({{"table", at::zeros({5, 2})}}, folder / "file"), Error);
  const auto map = std::make_shared<const NodeMap>(DrawnMap(5, 2));
  const nn::Shard shard{map, 0};
  EXPECT_THROW(
      LoadTensors({{"table", RowsOf(at::zeros({5, 2}), *map, 0), &shard}}, folder / "file"), Error);
}

// Rows of a shard are those of the whole table's draws.
TEST(Shards, InitialValuesAreThoseOfTheTable) {
  constexpr int64_t kNodes = 2000, kWidth = 33;  // rows across the borders of blocks
  const at::Tensor whole = at::empty({kNodes, kWidth});
  nn::FillNormal(whole, "nodes", 3, 0.1);
  EXPECT_NEAR(whole.std().item<double>(), 0.1, 0.002);
  for (const int parts : {1, 3}) {
    const auto map = std::make_shared<const NodeMap>(DrawnMap(kNodes, parts));
    for (int part = 0; part < parts; ++part) {
      nn::Parameters parameters;
      parameters.Add("nodes", {kNodes, kWidth});
      parameters.Distribute("nodes", {map, part});
      const at::Tensor own = parameters.Get("nodes");
      EXPECT_EQ(parameters.Count(), kNodes * kWidth);
      nn::FillNormal(own, "nodes", 3, 0.1, parameters.ShardOf("nodes"));
      EXPECT_TRUE(at::equal(own.detach(), RowsOf(whole, *map, part)));
    }
  }
}

}  // namespace
}  // namespace whyrec::train
