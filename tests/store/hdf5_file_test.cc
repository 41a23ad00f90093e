#include "src/store/hdf5_file.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <thread>
#include "src/base/durable_file.h"
#include "src/base/ragged.h"
#include "src/base/text_file.h"

#include "src/base/hash.h"
#include "tests/golden/folder.h"
#include "tests/store/temporary.h"

namespace whyrec::store {
namespace {

std::string ReadError(const std::filesystem::path& file, const auto& read) {
  try {
    Hdf5Reader reader(file);
    read(reader);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::kData);
    EXPECT_NE(std::string(error.what()).find(file.string()), std::string::npos) << error.what();
    return error.what();
  }
  return "no error";
}

// One of everything, empty things included.
void WriteAll(const std::filesystem::path& file) {
  Hdf5Writer out(file);
  out.Attribute("rule", "äöü of 2018");
  out.Attribute("nothing", "");
  out.WriteInts("a/b/ints", std::vector<int64_t>{1, -2, std::numeric_limits<int64_t>::max()});
  out.WriteFloats("a/floats", {0.1f, -0.0f});
  out.WriteInts("none", std::vector<int64_t>{});
  Ragged<int64_t> rows;
  rows.Append(std::vector<int64_t>{5, 6});
  rows.Append(std::vector<int64_t>{});
  rows.Append(std::vector<int64_t>{7});
  out.WriteInts("a/rows", rows);
  out.WriteInts("no rows", Ragged<int64_t>{});
  out.WriteTexts("texts", {"", "naïve", std::string("a\0b", 3), ""});
  out.WriteTexts("no texts", {});
  for (DType dtype : {DType::kF64, DType::kF16, DType::kBF16, DType::kI32, DType::kU8}) {
    HostTensor values = HostTensor::Zeros(dtype, {2, 3});
    for (size_t i = 0; i < values.nbytes(); ++i) static_cast<uint8_t*>(values.bytes())[i] = i;
    out.Write(std::string("types/") + NameOf(dtype), values);
  }
  out.Write("scalar", HostTensor::From<double>({0.1}, {}));
  out.Write("empty", HostTensor::Zeros(DType::kF32, {0, 7}));
  out.Close();
}

TEST(Hdf5File, RoundTripOfEverything) {
  const Temporary folder;
  WriteAll(folder / "all.h5");
  const Hdf5Reader in(folder / "all.h5");
  EXPECT_EQ(in.Attribute("rule"), "äöü of 2018");
  EXPECT_EQ(in.Attribute("nothing"), "");
  EXPECT_EQ(in.ReadInts("a/b/ints"),
            (std::vector<int64_t>{1, -2, std::numeric_limits<int64_t>::max()}));
  EXPECT_EQ(in.ReadFloats("a/floats"), (std::vector<float>{0.1f, 0.0f}));
  EXPECT_TRUE(std::signbit(in.ReadFloats("a/floats")[1]));
  EXPECT_TRUE(in.ReadInts("none").empty());
  const auto rows = in.ReadRagged("a/rows");
  EXPECT_EQ(rows.offsets, (std::vector<int64_t>{0, 2, 2, 3}));
  EXPECT_EQ(rows.values, (std::vector<int64_t>{5, 6, 7}));
  EXPECT_EQ(in.ReadRagged("no rows").rows(), 0);
  EXPECT_EQ(in.ReadTexts("texts"),
            (std::vector<std::string>{"", "naïve", std::string("a\0b", 3), ""}));
  EXPECT_TRUE(in.ReadTexts("no texts").empty());
  for (DType dtype : {DType::kF64, DType::kF16, DType::kBF16, DType::kI32, DType::kU8}) {
    const HostTensor values = in.Read(std::string("types/") + NameOf(dtype));
    EXPECT_EQ(values.dtype(), dtype);
    EXPECT_EQ(values.shape(), (std::vector<int64_t>{2, 3}));
    for (size_t i = 0; i < values.nbytes(); ++i)
      EXPECT_EQ(static_cast<uint8_t*>(values.bytes())[i], i) << NameOf(dtype);
  }
  EXPECT_EQ(in.Read("scalar").values<double>()[0], 0.1);
  EXPECT_TRUE(in.Read("scalar").shape().empty());
  EXPECT_EQ(in.Read("empty").shape(), (std::vector<int64_t>{0, 7}));
  EXPECT_TRUE(in.Has("a/rows"));
  EXPECT_FALSE(in.Has("a/x/rows"));
}

// Time stamps have a resolution of one second, so the two writes lie more than that apart.
TEST(Hdf5File, EqualContentsAreEqualBytes) {
  const Temporary folder;
  WriteAll(folder / "one.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  WriteAll(folder / "two.h5");
  EXPECT_EQ(Sha256OfFile(folder / "one.h5"), Sha256OfFile(folder / "two.h5"));
}

// Written with h5py by tests/golden/make_hdf5.py.
TEST(Hdf5File, ReadsAFileOfThePythonLibrary) {
  const Hdf5Reader in(kGolden / "small.h5");
  EXPECT_EQ(in.ReadInts("group/ints"), (std::vector<int64_t>{3, -4}));
  EXPECT_EQ(in.ReadFloats("packed"), (std::vector<float>(1000, 0.25f)));
  EXPECT_EQ(in.Read("half").dtype(), DType::kF16);
  EXPECT_EQ(in.Attribute("rule"), "plain");
  EXPECT_THROW(in.Attribute("variable"), Error);
  EXPECT_THROW(in.Read("big endian"), Error);
}

TEST(Hdf5File, ErrorsNameFileAndDataset) {
  const Temporary folder;
  const auto good = folder / "good.h5", bad = folder / "bad.h5";
  WriteAll(good);
  EXPECT_NE(ReadError(good, [](auto& in) { in.Read("absent"); }).find("no dataset 'absent'"),
            std::string::npos);
  EXPECT_NE(ReadError(good, [](auto& in) { in.Read("a"); }).find("'a' is not a dataset"),
            std::string::npos);
  EXPECT_NE(ReadError(good, [](auto& in) { in.ReadInts("a/floats"); }).find("is F32[2]"),
            std::string::npos);
  EXPECT_NE(ReadError(good, [](auto& in) { in.Attribute("x"); }).find("no attribute 'x'"),
            std::string::npos);
  EXPECT_NE(ReadError(folder / "absent.h5", [](auto&) {}).find("no such file"), std::string::npos);
  const std::string bytes = ReadFile(good);
  WriteDurably(bad, std::string_view(bytes).substr(0, bytes.size() / 2));
  EXPECT_NE(ReadError(bad, [](auto& in) { in.Read("empty"); }).find("complete HDF5"),
            std::string::npos);
  {
    Hdf5Writer out(bad);
    out.WriteInts("rows/offsets", std::vector<int64_t>{0, 3, 2});
    out.WriteInts("rows/values", std::vector<int64_t>{1, 2});
  }
  EXPECT_NE(ReadError(bad, [](auto& in) { in.ReadRagged("rows"); }).find("does not rise"),
            std::string::npos);
  try {
    Hdf5Writer out(folder / "no" / "folder.h5");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::kCannotWrite);
  }
}

}  // namespace
}  // namespace whyrec::store
