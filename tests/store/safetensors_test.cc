#include "src/store/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include "src/base/durable_file.h"
#include "src/base/text_file.h"

#include "tests/golden/folder.h"
#include "tests/store/temporary.h"

namespace whyrec::store {
namespace {

const std::filesystem::path kSmall = kGolden / "small.safetensors";

template <typename T>
std::vector<T> Values(const HostTensor& tensor) {
  const auto values = tensor.values<T>();
  return {values.begin(), values.end()};
}

std::vector<uint16_t> Halves(const HostTensor& tensor) {
  std::vector<uint16_t> out(static_cast<size_t>(tensor.numel()));
  std::memcpy(out.data(), tensor.bytes(), tensor.nbytes());
  return out;
}

void ExpectGolden(const TensorMap& all) {
  ASSERT_EQ(all.size(), 8u);
  EXPECT_EQ(all.at("matrix").shape(), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(Values<float>(all.at("matrix")), (std::vector<float>{0, .25, .5, .75, 1, 1.25}));
  EXPECT_EQ(all.at("half").dtype(), DType::kF16);
  EXPECT_EQ(Halves(all.at("half")), (std::vector<uint16_t>{0x3e00, 0xc000}));
  EXPECT_EQ(all.at("brain").dtype(), DType::kBF16);
  EXPECT_EQ(Halves(all.at("brain")), (std::vector<uint16_t>{0x3fc0, 0xc000, 0x4040}));
  EXPECT_EQ(Values<double>(all.at("double")), (std::vector<double>{0.1}));
  EXPECT_TRUE(all.at("double").shape().empty());
  EXPECT_EQ(Values<int64_t>(all.at("long")), (std::vector<int64_t>{-1, int64_t{1} << 40}));
  EXPECT_EQ(Values<int32_t>(all.at("int")), (std::vector<int32_t>{7}));
  EXPECT_EQ(Values<uint8_t>(all.at("byte")), (std::vector<uint8_t>{0, 255, 3}));
  EXPECT_EQ(all.at("empty").shape(), (std::vector<int64_t>{0, 4}));
}

// Written with the Python library by tests/golden/make_safetensors.py.
TEST(Safetensors, ReadsAFileOfThePythonLibrary) { ExpectGolden(ReadSafetensors(kSmall)); }

TEST(Safetensors, RoundTrip) {
  const Temporary folder;
  const TensorMap all = ReadSafetensors(kSmall);
  WriteSafetensors(folder / "a.safetensors", all);
  ExpectGolden(ReadSafetensors(folder / "a.safetensors"));
  const std::string text = ReadFile(folder / "a.safetensors");
  EXPECT_NE(text.find(R"("__metadata__":{"format":"pt"})"), std::string::npos);
  for (const auto& [name, tensor] : ReadSafetensors(folder / "a.safetensors"))
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes()) % SizeOf(tensor.dtype()), 0u) << name;
  WriteSafetensors(folder / "b.safetensors", all);
  EXPECT_EQ(text, ReadFile(folder / "b.safetensors"));
  WriteSafetensors(folder / "none.safetensors", {});
  EXPECT_TRUE(ReadSafetensors(folder / "none.safetensors").empty());
}

TEST(Safetensors, ChangesStayInMemoryAndOutliveTheMap) {
  const Temporary folder;
  WriteSafetensors(folder / "a.safetensors", ReadSafetensors(kSmall));
  HostTensor matrix = ReadSafetensors(folder / "a.safetensors").at("matrix");
  matrix.values<float>()[0] = 42;
  EXPECT_EQ(matrix.values<float>()[0], 42);
  ExpectGolden(ReadSafetensors(folder / "a.safetensors"));
}

std::string File(const std::string& header, size_t data) {
  const uint64_t length = header.size();
  std::string out(reinterpret_cast<const char*>(&length), 8);
  return out + header + std::string(data, '\1');
}

std::string Claiming(uint64_t header_length) {
  return std::string(reinterpret_cast<const char*>(&header_length), 8) + "{}";
}

TEST(Safetensors, EveryMalformedFileHasItsOwnMessage) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const struct {
    std::string bytes, message;
  } cases[] = {
      {"", "is empty"},
      {"abc", "is truncated: 3 bytes cannot hold the header's length"},
      {Claiming(3), "header of 3 bytes in a file of 10"},
      {Claiming(UINT64_MAX), "header length 18446744073709551615 is above"},
      {File("{\"a\"", 0), "header is not valid JSON"},
      {File("[1, 2]", 0), "not an object"},
      {File("{" + a + "," + a + "}", 8), "names tensor 'a' twice"},
      {File(R"({"a":[]})", 0), "tensor 'a': its entry is not an object"},
      {File(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "has no data_offsets"},
      {File(R"({"a":{"dtype":"F8","shape":[2],"data_offsets":[0,2]}})", 2), "dtype \"F8\""},
      {File(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,2]}})", 2), "dtype 7"},
      {File(R"({"a":{"dtype":"F32","shape":"2","data_offsets":[0,8]}})", 8), "shape is not a list"},
      {File(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8), "shape holds -2"},
      {File(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8), "shape holds 2.0"},
      {File(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
       "overflows"},
      {File(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,0]}})", 0),
       "overflows"},
      {File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8), "not two numbers"},
      {File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8),
       "ends at 0 before it begins at 8"},
      {File("{" + a + "}", 7), "ends at byte 8 of 7; is the file truncated?"},
      {File(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8), "F32[3] needs 12"},
      {File("{" + a + R"(,"b":{"dtype":"U8","shape":[6],"data_offsets":[4,10]}})", 10),
       "tensor 'b' overlaps"},
      {File("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[9,11]}})", 11),
       "gap of 1 bytes before tensor 'b'"},
      {File(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})", 4), "gap of 3 bytes"},
      {File(R"({"__metadata__":{"format":1}})", 0), "__metadata__ is not an object of texts"},
      {File(std::string(100000, '[') + std::string(100000, ']'), 0), "nested too deeply"},
  };
  const Temporary folder;
  for (const auto& [bytes, message] : cases) {
    WriteDurably(folder / "bad.safetensors", bytes);
    try {
      ReadSafetensors(folder / "bad.safetensors");
      ADD_FAILURE() << "accepted; expected: " << message;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::kData);
      EXPECT_TRUE(std::string(error.what()).starts_with((folder / "bad.safetensors").string()));
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos)
          << error.what() << "\nexpected: " << message;
    }
  }
}

// Every single damage of one byte of the header, and every truncation: an error or a sound result.
TEST(Safetensors, DamageNeverReadsOutsideTheFile) {
  const Temporary folder;
  const std::string good = ReadFile(kSmall);
  const auto file = folder / "damaged.safetensors";
  int refused = 0;
  const auto attempt = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
    try {
      for (const auto& [name, tensor] : ReadSafetensors(file)) {
        ASSERT_LE(tensor.nbytes(), bytes.size()) << name;
        std::string copy(tensor.nbytes(), 0);  // faults when the tensor lies outside
        std::memcpy(copy.data(), tensor.bytes(), tensor.nbytes());
      }
    } catch (const Error&) {
      ++refused;
    }
  };
  for (size_t n = 0; n < good.size(); n += 7) attempt(good.substr(0, n));
  EXPECT_EQ(refused, static_cast<int>((good.size() + 6) / 7));  // all tensors are needed
  for (size_t i = 0; i < 520; i += 3)
    for (char byte : {'\0', '9', '}'}) {
      std::string bytes = good;
      bytes[i] = byte;
      attempt(bytes);
    }
  EXPECT_GT(refused, 300);
}

TEST(Safetensors, TrailingBytesAndUnalignedTensorsAreRead) {
  const Temporary folder;
  WriteDurably(folder / "odd.safetensors",
               File(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                    R"("f":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                    9));
  const TensorMap all = ReadSafetensors(folder / "odd.safetensors");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(all.at("f").bytes()) % 4, 0u);
  uint32_t bits = 0;
  std::memcpy(&bits, all.at("f").bytes(), 4);
  EXPECT_EQ(bits, 0x01010101u);
}

std::string FolderError(const std::filesystem::path& folder) {
  try {
    ReadSafetensors(folder);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Safetensors, FolderWithIndex) {
  const Temporary folder;
  WriteDurably(folder / "config.json", "{}");
  EXPECT_NE(FolderError(folder.path()).find("it holds: config.json"), std::string::npos);

  const auto all = ReadSafetensors(kSmall);
  WriteSafetensors(folder / "model-1.safetensors", {{"int", all.at("int")}});
  WriteSafetensors(folder / "model-2.safetensors",
                   {{"byte", all.at("byte")}, {"half", all.at("half")}});
  const auto index = folder / "model.safetensors.index.json";
  WriteDurably(index, R"({"metadata":{"total_size":11},"weight_map":{
      "int":"model-1.safetensors","byte":"model-2.safetensors","half":"model-2.safetensors"}})");
  const TensorMap read = ReadSafetensors(folder.path());
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(Values<uint8_t>(read.at("byte")), (std::vector<uint8_t>{0, 255, 3}));

  WriteDurably(index, R"({"weight_map":{"long":"model-1.safetensors"}})");
  EXPECT_NE(FolderError(folder.path()).find("'long' is not in model-1"), std::string::npos);
  WriteDurably(index, R"({"weight_map":{"int":"../model-1.safetensors"}})");
  EXPECT_NE(FolderError(folder.path()).find("not the name of a file beside"), std::string::npos);
  WriteDurably(index, "[]");
  EXPECT_NE(FolderError(folder.path()).find("weight_map"), std::string::npos);
  WriteSafetensors(folder / "model.safetensors", {{"long", all.at("long")}});
  EXPECT_EQ(ReadSafetensors(folder.path()).count("long"), 1u);
}

}  // namespace
}  // namespace whyrec::store
