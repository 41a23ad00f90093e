#include "src/graph/csr.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "src/base/error.h"
#include "src/base/ragged.h"
#include "src/store/hdf5_file.h"

namespace whyrec::graph {
namespace {

using Entries = std::vector<std::pair<int64_t, double>>;  // column, weight

// Appends a row: columns sorted, weights of one column added up.
void AppendRow(Entries entries, Csr& out) {
  std::ranges::sort(entries, {}, &Entries::value_type::first);
  for (size_t i = 0; i < entries.size();) {
    const int64_t column = entries[i].first;
    WR_CHECK(column >= 0 && column < out.columns, "column ", column, " of ", out.columns);
    double weight = 0;
    for (; i < entries.size() && entries[i].first == column; ++i) weight += entries[i].second;
    out.indices.push_back(column);
    out.weights.push_back(static_cast<float>(weight));
  }
  out.offsets.push_back(static_cast<int64_t>(out.indices.size()));
}

}  // namespace

Csr Transpose(const Csr& a) {
  Csr out;
  out.columns = a.rows();
  out.offsets.assign(static_cast<size_t>(a.columns) + 1, 0);
  for (int64_t column : a.indices) ++out.offsets[static_cast<size_t>(column) + 1];
  for (size_t i = 1; i < out.offsets.size(); ++i) out.offsets[i] += out.offsets[i - 1];
  out.indices.resize(a.indices.size());
  out.weights.resize(a.weights.size());
  std::vector<int64_t> next(out.offsets.begin(), out.offsets.end() - 1);
  for (int64_t row = 0; row < a.rows(); ++row)
    for (int64_t i = a.offsets[static_cast<size_t>(row)];
         i < a.offsets[static_cast<size_t>(row) + 1]; ++i) {
      const auto from = static_cast<size_t>(i);
      const auto to = static_cast<size_t>(next[static_cast<size_t>(a.indices[from])]++);
      out.indices[to] = row;
      out.weights[to] = a.weights[from];
    }
  return out;
}

Csr InteractionGraph(const Ragged<int64_t>& train_histories, int64_t items) {
  const int64_t users = train_histories.rows();
  std::vector<Entries> rows(static_cast<size_t>(users + items + 1));
  for (int64_t u = 0; u < users; ++u)
    for (int64_t item : train_histories.row(u)) {
      WR_CHECK(item >= 0 && item < items, "item row ", item, " of ", items);
      const int64_t user_node = u + 1, item_node = users + 1 + item;
      rows[static_cast<size_t>(user_node)].emplace_back(item_node, 1.0);
      rows[static_cast<size_t>(item_node)].emplace_back(user_node, 1.0);
    }
  const auto degree = [&](int64_t node) {
    return static_cast<double>(rows[static_cast<size_t>(node)].size());
  };
  Csr out;
  out.columns = std::ssize(rows);
  for (const Entries& row : rows) {
    Entries scaled = row;
    for (auto& [column, weight] : scaled)
      weight /= std::sqrt(static_cast<double>(row.size()) * degree(column));
    AppendRow(std::move(scaled), out);
  }
  return out;
}

Csr UserGraph(const HostTensor& neighbours) {
  WR_CHECK(neighbours.shape().size() == 2, "neighbours are ", ShapeString(neighbours.shape()));
  const int64_t users = neighbours.dim(0), k = neighbours.dim(1);
  const double weight = 1.0 / static_cast<double>(k + 1);
  Csr out;
  out.columns = users + 1;
  AppendRow({{0, 1.0}}, out);
  for (int64_t u = 0; u < users; ++u) {
    Entries row{{u + 1, weight}};
    for (int32_t neighbour : neighbours.row<int32_t>(u)) row.emplace_back(neighbour + 1, weight);
    AppendRow(std::move(row), out);
  }
  return out;
}

void Save(const Csr& graph, store::Hdf5Writer& file, const std::string& name) {
  file.WriteInts(name + "/columns", std::vector<int64_t>{graph.columns});
  file.WriteInts(name + "/offsets", graph.offsets);
  file.WriteInts(name + "/indices", graph.indices);
  file.WriteFloats(name + "/weights", graph.weights);
}

Csr LoadCsr(const store::Hdf5Reader& file, const std::string& name) {
  return {file.ReadInts(name + "/columns").at(0), file.ReadInts(name + "/offsets"),
          file.ReadInts(name + "/indices"), file.ReadFloats(name + "/weights")};
}

}  // namespace whyrec::graph
