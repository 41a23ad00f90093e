#include "src/store/hdf5_file.h"

#include <hdf5.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/ragged.h"

namespace whyrec::store {
namespace {

static_assert(std::is_same_v<hid_t, int64_t>, "the headers keep file handles as int64_t");

// Closes an HDF5 identifier when it goes.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  bool ok() const { return id_ >= 0; }
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// The library prints its own error stack unless told not to; our messages name file and dataset.
// Nor may it tidy up at the program's end: every handle is closed by then, but a file that could
// not be flushed (disk full) stays behind in the library and would crash it.
void Silence() {
  H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

hid_t HalfType(size_t mantissa, size_t exponent, size_t bias) {
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(type, 15, mantissa, exponent, 0, mantissa);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, bias);
  return type;
}

// The file's type for `dtype`; memory uses the same, so bytes pass unchanged.
hid_t TypeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return H5Tcopy(H5T_IEEE_F32LE);
    case DType::kF64:
      return H5Tcopy(H5T_IEEE_F64LE);
    case DType::kF16:
      return HalfType(10, 5, 15);
    case DType::kBF16:
      return HalfType(7, 8, 127);
    case DType::kI64:
      return H5Tcopy(H5T_STD_I64LE);
    case DType::kI32:
      return H5Tcopy(H5T_STD_I32LE);
    case DType::kU8:
      return H5Tcopy(H5T_STD_U8LE);
  }
  return -1;
}

Handle Timeless(hid_t list_class) {
  Handle list(H5Pcreate(list_class), H5Pclose);
  H5Pset_obj_track_times(list, false);
  return list;
}

// Every path that ends before a '/' of `name`: "a/b/c" -> "a", "a/b".
std::vector<std::string> Parents(const std::string& name) {
  std::vector<std::string> out;
  for (size_t at = name.find('/'); at != std::string::npos; at = name.find('/', at + 1))
    out.push_back(name.substr(0, at));
  return out;
}

bool Exists(hid_t file, const std::string& name) {
  std::vector<std::string> steps = Parents(name);
  steps.push_back(name);
  for (const std::string& step : steps)
    if (H5Lexists(file, step.c_str(), H5P_DEFAULT) <= 0) return false;
  return true;
}

Handle SpaceOf(const std::vector<int64_t>& shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  return {H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose};
}

// A list as a tensor without a copy. `values` must outlive it; do not write through it.
template <typename T>
HostTensor View(const std::vector<T>& values) {
  if (values.empty()) return HostTensor::Zeros(DTypeOf<T>(), {0});
  return HostTensor::Borrow(DTypeOf<T>(), {static_cast<int64_t>(values.size())},
                            const_cast<T*>(values.data()), nullptr);
}

template <typename T>
std::vector<T> ReadVector(const Hdf5Reader& reader, const std::string& where,
                          const std::string& name) {
  const HostTensor all = reader.Read(name);
  if (all.shape().size() != 1 || all.dtype() != DTypeOf<T>())
    Fail(Exit::kData, where, ": dataset '", name, "' is ", NameOf(all.dtype()),
         ShapeString(all.shape()), "; a list of ", NameOf(DTypeOf<T>()), " was expected");
  const auto values = all.values<T>();
  return {values.begin(), values.end()};
}

template <typename T>
Ragged<T> ReadRows(const Hdf5Reader& reader, const std::string& where, const std::string& name,
                   const char* part) {
  Ragged<T> out{ReadVector<int64_t>(reader, where, name + "/offsets"),
                ReadVector<T>(reader, where, name + part)};
  bool good = !out.offsets.empty() && out.offsets.front() == 0 &&
              out.offsets.back() == static_cast<int64_t>(out.values.size());
  for (size_t i = 1; good && i < out.offsets.size(); ++i)
    good = out.offsets[i - 1] <= out.offsets[i];
  if (!good)
    Fail(Exit::kData, where, ": dataset '", name, "/offsets' does not rise from 0 to the ",
         out.values.size(), " values of '", name, part, "'");
  return out;
}

}  // namespace

Hdf5Writer::Hdf5Writer(const std::filesystem::path& file) : path_(file) {
  Silence();
  file_ = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, Timeless(H5P_FILE_CREATE), H5P_DEFAULT);
  if (file_ < 0) Fail(Exit::kCannotWrite, file.string(), ": cannot be created");
}

Hdf5Writer::~Hdf5Writer() {
  if (file_ >= 0) H5Fclose(file_);
}

void Hdf5Writer::Write(const std::string& name, const HostTensor& values) {
  WR_CHECK(values.defined(), path_.string(), ": ", name);
  WR_CHECK(file_ >= 0, path_.string(), " is closed");
  WR_CHECK(!Exists(file_, name), path_.string(), ": '", name, "' is written twice");
  for (const std::string& parent : Parents(name))
    if (!Exists(file_, parent))
      Handle(
          H5Gcreate2(file_, parent.c_str(), H5P_DEFAULT, Timeless(H5P_GROUP_CREATE), H5P_DEFAULT),
          H5Gclose);
  const Handle type(TypeOf(values.dtype()), H5Tclose);
  const Handle dataset(H5Dcreate2(file_, name.c_str(), type, SpaceOf(values.shape()), H5P_DEFAULT,
                                  Timeless(H5P_DATASET_CREATE), H5P_DEFAULT),
                       H5Dclose);
  if (!dataset.ok() || (values.numel() > 0 &&
                        H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.bytes()) < 0))
    Fail(Exit::kCannotWrite, path_.string(), ": dataset '", name, "' cannot be written");
}

void Hdf5Writer::WriteInts(const std::string& name, const std::vector<int64_t>& values) {
  Write(name, View(values));
}

void Hdf5Writer::WriteFloats(const std::string& name, const std::vector<float>& values) {
  Write(name, View(values));
}

void Hdf5Writer::WriteInts(const std::string& name, const Ragged<int64_t>& rows) {
  WriteInts(name + "/offsets", rows.offsets);
  WriteInts(name + "/values", rows.values);
}

void Hdf5Writer::WriteTexts(const std::string& name, const std::vector<std::string>& texts) {
  Ragged<uint8_t> rows;
  for (const std::string& text : texts) rows.Append(text);
  WriteInts(name + "/offsets", rows.offsets);
  Write(name + "/bytes", View(rows.values));
}

void Hdf5Writer::Attribute(const std::string& name, std::string_view value) {
  const std::string padded(value.empty() ? std::string_view("\0", 1) : value);
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, padded.size());
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, H5T_CSET_UTF8);
  const Handle attribute(
      H5Acreate2(file_, name.c_str(), type, SpaceOf({}), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!attribute.ok() || H5Awrite(attribute, type, padded.data()) < 0)
    Fail(Exit::kCannotWrite, path_.string(), ": attribute '", name, "' cannot be written");
}

void Hdf5Writer::Close() {
  if (file_ < 0) return;
  const bool flushed = H5Fflush(file_, H5F_SCOPE_GLOBAL) >= 0;
  if (H5Fclose(std::exchange(file_, -1)) < 0 || !flushed)
    Fail(Exit::kCannotWrite, path_.string(), ": cannot be flushed; is the disk full?");
  SyncToDisk(path_);
}

Hdf5Reader::Hdf5Reader(const std::filesystem::path& file) : path_(file) {
  Silence();
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access, false, true);  // shared file systems often lack locks
  file_ = H5Fopen(file.c_str(), H5F_ACC_RDONLY, access);
  if (file_ >= 0) return;
  if (!std::filesystem::exists(file)) Fail(Exit::kData, file.string(), ": no such file");
  Fail(Exit::kData, file.string(), ": is not a readable, complete HDF5 file");
}

Hdf5Reader::~Hdf5Reader() {
  if (file_ >= 0) H5Fclose(file_);
}

bool Hdf5Reader::Has(const std::string& name) const { return Exists(file_, name); }

HostTensor Hdf5Reader::Read(const std::string& name) const {
  if (!Has(name)) Fail(Exit::kData, path_.string(), ": has no dataset '", name, "'");
  const Handle dataset(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset.ok()) Fail(Exit::kData, path_.string(), ": '", name, "' is not a dataset");
  const Handle type(H5Dget_type(dataset), H5Tclose);
  const Handle space(H5Dget_space(dataset), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space);
  std::vector<hsize_t> dims(static_cast<size_t>(std::max(rank, 0)));
  if (rank > 0) H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  for (DType dtype : kDTypes) {
    if (H5Tequal(type, Handle(TypeOf(dtype), H5Tclose)) <= 0) continue;
    HostTensor out = HostTensor::Zeros(dtype, {dims.begin(), dims.end()});
    if (out.numel() > 0 && H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.bytes()) < 0)
      Fail(Exit::kData, path_.string(), ": dataset '", name, "' cannot be read");
    return out;
  }
  Fail(Exit::kData, path_.string(), ": dataset '", name,
       "' has an element type other than F32, F64, F16, BF16, I64, I32, U8 (little-endian)");
}

std::vector<int64_t> Hdf5Reader::ReadInts(const std::string& name) const {
  return ReadVector<int64_t>(*this, path_.string(), name);
}

std::vector<float> Hdf5Reader::ReadFloats(const std::string& name) const {
  return ReadVector<float>(*this, path_.string(), name);
}

Ragged<int64_t> Hdf5Reader::ReadRagged(const std::string& name) const {
  return ReadRows<int64_t>(*this, path_.string(), name, "/values");
}

std::vector<std::string> Hdf5Reader::ReadTexts(const std::string& name) const {
  const auto rows = ReadRows<uint8_t>(*this, path_.string(), name, "/bytes");
  std::vector<std::string> out;
  out.reserve(static_cast<size_t>(rows.rows()));
  for (int64_t i = 0; i < rows.rows(); ++i)
    out.emplace_back(rows.row(i).begin(), rows.row(i).end());
  return out;
}

std::string Hdf5Reader::Attribute(const std::string& name) const {
  const Handle attribute(H5Aopen(file_, name.c_str(), H5P_DEFAULT), H5Aclose);
  if (!attribute.ok()) Fail(Exit::kData, path_.string(), ": has no attribute '", name, "'");
  const Handle type(H5Aget_type(attribute), H5Tclose);
  std::string out(H5Tget_size(type), '\0');
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
      H5Aread(attribute, type, out.data()) < 0)
    Fail(Exit::kData, path_.string(), ": attribute '", name, "' is not a text of fixed length");
  out.resize(out.find_last_not_of('\0') + 1);
  return out;
}

}  // namespace whyrec::store
