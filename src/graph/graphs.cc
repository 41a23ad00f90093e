#include "src/graph/graphs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "src/base/error.h"
#include "src/store/hdf5_file.h"

namespace whyrec::graph {
namespace {

void CheckNodes(int64_t nodes) {
  if (nodes > std::numeric_limits<int32_t>::max())
    Fail(Exit::kData, "a graph of ", nodes, " nodes: at most ", std::numeric_limits<int32_t>::max(),
         " can be numbered");
}

template <typename T>
HostTensor Flat(const std::vector<T>& values) {
  return HostTensor::From(values, {static_cast<int64_t>(values.size())});
}

template <typename T>
std::vector<T> Values(const store::Hdf5Reader& file, const std::string& name) {
  const HostTensor read = file.Read(name);
  const auto values = read.values<T>();
  return {values.begin(), values.end()};
}

}  // namespace

Csr InteractionGraph(const Ragged<int64_t>& train_histories, int64_t items) {
  const int64_t users = train_histories.rows(), nodes = users + items + 1;
  CheckNodes(nodes);
  Csr out;
  out.columns = nodes;
  out.offsets.assign(static_cast<size_t>(nodes) + 1, 0);
  for (int64_t u = 0; u < users; ++u)
    for (const int64_t item : train_histories.row(u)) {
      WR_CHECK(item >= 0 && item < items, "item row ", item, " of ", items);
      ++out.offsets[static_cast<size_t>(u + 2)];
      ++out.offsets[static_cast<size_t>(users + item + 2)];
    }
  for (size_t node = 1; node < out.offsets.size(); ++node) {
    const auto degree = static_cast<double>(out.offsets[node]);
    out.row_scale.push_back(degree == 0 ? 0 : 1 / std::sqrt(degree));
  }
  out.column_scale = out.row_scale;
  std::partial_sum(out.offsets.begin(), out.offsets.end(), out.offsets.begin());
  out.indices.resize(static_cast<size_t>(out.offsets.back()));
  std::vector<int64_t> next(out.offsets.begin(), out.offsets.end() - 1);
  const auto add = [&](int64_t node, int64_t neighbour) {
    out.indices[static_cast<size_t>(next[static_cast<size_t>(node)]++)] =
        static_cast<int32_t>(neighbour);
  };
  for (int64_t u = 0; u < users; ++u) {
    for (const int64_t item : train_histories.row(u)) {
      add(u + 1, users + 1 + item);
      add(users + 1 + item, u + 1);
    }
    std::sort(out.indices.begin() + out.offsets[static_cast<size_t>(u + 1)],
              out.indices.begin() + out.offsets[static_cast<size_t>(u + 2)]);
  }
  return out;
}

Csr UserGraph(const HostTensor& neighbours) {
  WR_CHECK(neighbours.shape().size() == 2, "neighbours are ", ShapeString(neighbours.shape()));
  const int64_t users = neighbours.dim(0), k = neighbours.dim(1);
  CheckNodes(users + 1);
  Csr out;
  out.columns = users + 1;
  out.row_scale.assign(static_cast<size_t>(users + 1), 1.0 / static_cast<double>(k + 1));
  out.row_scale[0] = 1;
  out.indices.push_back(0);
  out.offsets.push_back(1);
  for (int64_t u = 0; u < users; ++u) {
    const auto begin = std::ssize(out.indices);
    out.indices.push_back(static_cast<int32_t>(u + 1));
    for (const int32_t neighbour : neighbours.row<int32_t>(u)) {
      WR_CHECK(neighbour >= 0 && neighbour < users, "user row ", neighbour, " of ", users);
      out.indices.push_back(neighbour + 1);
    }
    std::sort(out.indices.begin() + begin, out.indices.end());
    out.offsets.push_back(std::ssize(out.indices));
  }
  return out;
}

void Save(const Csr& graph, store::Hdf5Writer& file, const std::string& name) {
  file.WriteInts(name + "/columns", std::vector<int64_t>{graph.columns});
  file.WriteInts(name + "/offsets", graph.offsets);
  file.Write(name + "/indices", Flat(graph.indices));
  file.WriteFloats(name + "/values", graph.values);
  file.Write(name + "/row_scale", Flat(graph.row_scale));
  file.Write(name + "/column_scale", Flat(graph.column_scale));
}

Csr LoadCsr(const store::Hdf5Reader& file, const std::string& name) {
  return {.columns = file.ReadInts(name + "/columns").at(0),
          .offsets = file.ReadInts(name + "/offsets"),
          .indices = Values<int32_t>(file, name + "/indices"),
          .values = file.ReadFloats(name + "/values"),
          .row_scale = Values<double>(file, name + "/row_scale"),
          .column_scale = Values<double>(file, name + "/column_scale")};
}

}  // namespace whyrec::graph
