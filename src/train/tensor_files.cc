#include "src/train/tensor_files.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>

#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "src/train/row_exchange.h"

namespace whyrec::train {
namespace {

namespace fs = std::filesystem;

// Of the whole table.
std::vector<int64_t> ShapeOf(const NamedTensor& tensor) {
  std::vector<int64_t> shape = tensor.value.sizes().vec();
  if (tensor.shard) shape[0] = tensor.shard->map->size();
  return shape;
}

// In rounds of one range for each rank.
void SaveShard(const NamedTensor& table, const store::SafetensorsParts& file,
               cluster::Communicator& comm) {
  const NodeMap& map = *table.shard->map;
  const int64_t width = table.value.size(1), rows = map.size();
  for (int64_t round = 0; round * kRowsAtOnce * comm.size() < rows; ++round) {
    const int64_t begin = std::min(rows, (round * comm.size() + comm.rank()) * kRowsAtOnce);
    const int64_t end = std::min(rows, begin + kRowsAtOnce);
    std::vector<int64_t> order(static_cast<size_t>(end - begin));  // of the range, by place
    std::iota(order.begin(), order.end(), begin);
    std::ranges::sort(order, {}, [&](int64_t row) { return map.Of(row); });
    std::vector<Place> wanted;
    for (const int64_t row : order) wanted.push_back(map.Of(row));
    RowExchange exchange(comm, wanted);
    const at::Tensor by_place = at::empty({end - begin, width}, table.value.options());
    exchange.Get(table.value, by_place);
    if (begin == end) continue;
    at::Tensor by_row = at::empty_like(by_place);
    by_row.index_copy_(0, (at::tensor(order, at::kLong) - begin).to(by_row.device()), by_place);
    file.Write(table.name, begin * width, tensor::ToHost(by_row));
  }
}

}  // namespace

NamedTensors Named(const nn::Parameters& parameters) {
  NamedTensors out;
  for (const auto& [path, value] : parameters.all())
    out.push_back({path, value.detach(), parameters.ShardOf(path)});
  return out;
}

void SaveTensors(const NamedTensors& tensors, const fs::path& file, cluster::Communicator& comm) {
  const c10::NoGradGuard no_grad;
  const bool root = comm.rank() == 0;
  if (std::ranges::none_of(tensors, [](const NamedTensor& t) { return t.shard != nullptr; })) {
    store::TensorMap whole;
    if (root) {
      for (const NamedTensor& t : tensors) whole[t.name] = tensor::ToHost(t.value);
      store::WriteSafetensors(file, whole);
    }
    comm.Barrier();
    return;
  }
  fs::path draft = file;
  draft += ".parts";
  std::map<std::string, store::SafetensorsParts::Shape> shapes;
  for (const NamedTensor& t : tensors)
    shapes[t.name] = {tensor::DTypeOf(t.value.scalar_type()), ShapeOf(t)};
  const store::SafetensorsParts parts(draft, shapes);
  if (root) parts.Create();
  comm.Barrier();
  for (const NamedTensor& t : tensors) {
    if (t.shard)
      SaveShard(t, parts, comm);
    else if (root)
      parts.Write(t.name, 0, tensor::ToHost(t.value));
  }
  parts.Sync();
  comm.Barrier();
  if (root) RenameDurably(draft, file);
  comm.Barrier();
}

void LoadTensors(const NamedTensors& tensors, const fs::path& file) {
  const c10::NoGradGuard no_grad;
  const store::TensorMap map = store::ReadSafetensors(file);
  for (const NamedTensor& t : tensors) {
    const auto found = map.find(t.name);
    if (found == map.end()) Fail(Exit::kData, file.string(), ": no tensor \"", t.name, "\"");
    if (found->second.shape() != ShapeOf(t))
      Fail(Exit::kData, file.string(), ": tensor \"", t.name, "\" has shape ",
           ShapeString(found->second.shape()), "; the model has ", ShapeString(ShapeOf(t)));
    const at::Tensor stored = tensor::View(found->second);
    at::Tensor value = t.value;
    if (t.shard)
      value.copy_(stored.index_select(0, at::tensor(t.shard->rows(), at::kLong)));
    else
      value.copy_(stored);
  }
  if (map.size() != tensors.size())
    Fail(Exit::kData, file.string(), ": holds ", map.size(), " tensors; the model has ",
         tensors.size());
}

}  // namespace whyrec::train
