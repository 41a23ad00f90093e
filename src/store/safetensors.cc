#include "src/store/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/open_file.h"
#include "src/base/text_file.h"

namespace whyrec::store {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr char kMetadata[] = "__metadata__";
constexpr uint64_t kMaxHeader = 100'000'000;  // the limit of the reference library

// A private map of a whole file: tensors may be changed in memory, the file never is.
struct Map {
  std::shared_ptr<void> owner;
  uint8_t* bytes = nullptr;
  uint64_t size = 0;
};

Map MapFile(const fs::path& file) {
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) Fail(Exit::kData, file.string(), ": cannot be read");
  struct stat info {};
  fstat(descriptor, &info);
  const auto size = static_cast<uint64_t>(info.st_size);
  void* bytes = size == 0 ? MAP_FAILED
                          : mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
                                 descriptor, 0);
  close(descriptor);
  if (bytes == MAP_FAILED) Fail(Exit::kData, file.string(), ": is empty or cannot be mapped");
  return {std::shared_ptr<void>(bytes, [size](void* p) { munmap(p, size); }),
          static_cast<uint8_t*>(bytes), size};
}

std::optional<uint64_t> Times(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

// One tensor as its header entry describes it, in bytes from the start of the data.
struct Entry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

class Reader {
 public:
  explicit Reader(const fs::path& file) : file_(file), map_(MapFile(file)) {}

  TensorMap Read() {
    const Json header = ParseHeader();
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == kMetadata)
        CheckMetadata(value);
      else
        entries.push_back(ParseEntry(name, value));
    }
    CheckCover(entries);
    TensorMap out;
    for (const Entry& entry : entries) out[entry.name] = Tensor(entry);
    return out;
  }

 private:
  template <typename... Parts>
  [[noreturn]] void Bad(const Parts&... parts) const {
    Fail(Exit::kData, file_.string(), ": ", parts...);
  }

  Json ParseHeader() {
    if (map_.size < 8) Bad("is truncated: ", map_.size, " bytes cannot hold the header's length");
    uint64_t length = 0;
    std::memcpy(&length, map_.bytes, 8);
    if (length > kMaxHeader) Bad("header length ", length, " is above ", kMaxHeader);
    if (length > map_.size - 8)
      Bad("is truncated: header of ", length, " bytes in a file of ", map_.size);
    data_ = map_.bytes + 8 + length;
    data_size_ = map_.size - 8 - length;

    std::set<std::string> names;  // a JSON object would keep the last of two equal keys silently
    std::string twice;
    const auto note = [&](int depth, Json::parse_event_t event, Json& parsed) {
      if (depth > 3) throw std::length_error("deep");
      if (event == Json::parse_event_t::key && depth == 1 &&
          !names.insert(parsed.get<std::string>()).second)
        twice = parsed.get<std::string>();
      return true;
    };
    try {
      Json header = Json::parse(map_.bytes + 8, data_, note);
      if (!header.is_object()) Bad("header is JSON, but not an object");
      if (!twice.empty()) Bad("header names tensor '", twice, "' twice");
      return header;
    } catch (const Json::exception&) {
      Bad("header is not valid JSON");
    } catch (const std::length_error&) {
      Bad("header is nested too deeply");
    }
  }

  void CheckMetadata(const Json& value) const {
    const auto is_text = [](const Json& text) { return text.is_string(); };
    if (!value.is_object() || !std::all_of(value.begin(), value.end(), is_text))
      Bad(kMetadata, " is not an object of texts");
  }

  Entry ParseEntry(const std::string& name, const Json& value) const {
    const std::string where = "tensor '" + name + "': ";
    if (!value.is_object()) Bad(where, "its entry is not an object");
    for (const char* key : {"dtype", "shape", "data_offsets"})
      if (!value.contains(key)) Bad(where, "has no ", key);
    Entry out;
    out.name = name;
    const auto dtype = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                    [&](DType known) { return value["dtype"] == NameOf(known); });
    if (dtype == std::end(kDTypes))
      Bad(where, "dtype ", value["dtype"].dump(), " is not supported");
    out.dtype = *dtype;

    std::optional<uint64_t> bytes = SizeOf(out.dtype);
    if (!value["shape"].is_array()) Bad(where, "shape is not a list");
    for (const Json& dim : value["shape"]) {
      if (!dim.is_number_unsigned()) Bad(where, "shape holds ", dim.dump());
      const auto size = dim.get<uint64_t>();
      bytes = Times(*bytes, size);
      if (!bytes || size > INT64_MAX)
        Bad(where, "the size of shape ", value["shape"].dump(), " overflows");
      out.shape.push_back(static_cast<int64_t>(size));
    }
    const Json& offsets = value["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
      Bad(where, "data_offsets is ", offsets.dump(), ", not two numbers");
    out.begin = offsets[0], out.end = offsets[1];
    if (out.begin > out.end) Bad(where, "ends at ", out.end, " before it begins at ", out.begin);
    if (out.end > data_size_)
      Bad(where, "ends at byte ", out.end, " of ", data_size_, "; is the file truncated?");
    if (out.end - out.begin != *bytes)
      Bad(where, "has ", out.end - out.begin, " bytes; ", NameOf(out.dtype), ShapeString(out.shape),
          " needs ", *bytes);
    return out;
  }

  // Tensors must lie one after the other. Files with a few bytes after the last one are in use.
  void CheckCover(std::vector<Entry>& entries) const {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    uint64_t end = 0;
    for (const Entry& entry : entries) {
      if (entry.begin < end) Bad("tensor '", entry.name, "' overlaps the one before it");
      if (entry.begin > end)
        Bad("gap of ", entry.begin - end, " bytes before tensor '", entry.name, "'");
      end = entry.end;
    }
    if (end < data_size_)
      Warn(Cat(file_.string(), ": ", data_size_ - end, " bytes after the last tensor are ignored"));
  }

  HostTensor Tensor(const Entry& entry) const {
    uint8_t* bytes = data_ + entry.begin;
    if (reinterpret_cast<uintptr_t>(bytes) % SizeOf(entry.dtype) == 0)
      return HostTensor::Borrow(entry.dtype, entry.shape, bytes, map_.owner);
    HostTensor out = HostTensor::Zeros(entry.dtype, entry.shape);
    std::memcpy(out.bytes(), bytes, out.nbytes());
    return out;
  }

  fs::path file_;
  Map map_;
  uint8_t* data_ = nullptr;
  uint64_t data_size_ = 0;
};

// The tensors of a model that an index spreads over several files of its folder.
TensorMap ReadIndexed(const fs::path& index) {
  const Json json = Json::parse(ReadFile(index), nullptr, false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    Fail(Exit::kData, index.string(), ": is not JSON with an object weight_map");
  std::map<std::string, TensorMap> shards;
  TensorMap out;
  for (const auto& [name, value] : json["weight_map"].items()) {
    const std::string shard = value.is_string() ? value.get<std::string>() : "";
    if (shard.empty() || fs::path(shard).filename() != shard)
      Fail(Exit::kData, index.string(), ": tensor '", name, "' is in ", value.dump(),
           ", which is not the name of a file beside the index");
    if (!shards.contains(shard)) shards[shard] = ReadSafetensors(index.parent_path() / shard);
    const auto tensor = shards[shard].find(name);
    if (tensor == shards[shard].end())
      Fail(Exit::kData, index.string(), ": tensor '", name, "' is not in ", shard);
    out[name] = tensor->second;
  }
  return out;
}

TensorMap ReadFolder(const fs::path& folder) {
  constexpr char kSingle[] = "model.safetensors", kIndex[] = "model.safetensors.index.json";
  if (fs::exists(folder / kSingle)) return ReadSafetensors(folder / kSingle);
  if (fs::exists(folder / kIndex)) return ReadIndexed(folder / kIndex);
  std::set<std::string> there;
  for (const auto& entry : fs::directory_iterator(folder)) there.insert(entry.path().filename());
  std::string list;
  for (const std::string& name : there) list += (list.empty() ? "" : ", ") + name;
  Fail(Exit::kData, folder.string(), ": has neither ", kSingle, " nor ", kIndex,
       "; it holds: ", list.empty() ? "nothing" : list);
}

}  // namespace

TensorMap ReadSafetensors(const fs::path& file) {
  return fs::is_directory(file) ? ReadFolder(file) : Reader(file).Read();
}

SafetensorsParts::SafetensorsParts(fs::path file, const std::map<std::string, Shape>& shapes)
    : file_(std::move(file)) {
  // Wide elements first, so that every tensor is aligned whatever the sizes.
  std::vector<const std::pair<const std::string, Shape>*> order;
  for (const auto& shape : shapes) order.push_back(&shape);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return SizeOf(a->second.dtype) > SizeOf(b->second.dtype);
  });
  nlohmann::ordered_json header;
  header[kMetadata] = {{"format", "pt"}};
  for (const auto* tensor : order) {
    const auto& [name, shape] = *tensor;
    WR_CHECK(name != kMetadata, file_.string(), ": ", name);
    uint64_t bytes = SizeOf(shape.dtype);
    for (const int64_t dim : shape.dims) bytes *= static_cast<uint64_t>(dim);
    header[name] = {{"dtype", NameOf(shape.dtype)},
                    {"shape", shape.dims},
                    {"data_offsets", {size_, size_ + bytes}}};
    order_.push_back(name);
    begins_[name] = size_;
    size_ += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  header_ = std::string(reinterpret_cast<const char*>(&length), 8) + text;
  for (auto& [name, begin] : begins_) begin += header_.size();
  size_ += header_.size();
}

void SafetensorsParts::Create() const {
  OpenFile out(file_, O_WRONLY | O_CREAT | O_TRUNC);
  out.Write(header_);
  out.SetSize(size_);
}

void SafetensorsParts::Write(const std::string& name, int64_t first,
                             const HostTensor& values) const {
  OpenFile out(file_, O_WRONLY);
  const uint64_t skipped = static_cast<uint64_t>(first) * SizeOf(values.dtype());
  out.WriteAt(begins_.at(name) + skipped,
              {static_cast<const char*>(values.bytes()), values.nbytes()});
}

void SafetensorsParts::Sync() const { SyncToDisk(file_); }

void WriteSafetensors(const fs::path& file, const TensorMap& tensors) {
  std::map<std::string, SafetensorsParts::Shape> shapes;
  for (const auto& [name, values] : tensors) {
    WR_CHECK(values.defined(), file.string(), ": ", name);
    shapes[name] = {values.dtype(), values.shape()};
  }
  const SafetensorsParts layout(file, shapes);
  std::vector<std::string_view> bytes{layout.header()};
  for (const std::string& name : layout.order()) {
    const HostTensor& values = tensors.at(name);
    bytes.emplace_back(static_cast<const char*>(values.bytes()), values.nbytes());
  }
  WriteDurably(file, bytes);
}

}  // namespace whyrec::store
