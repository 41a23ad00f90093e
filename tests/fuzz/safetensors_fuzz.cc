// safetensors: whatever the file holds, it is read or refused, and every byte of a tensor that is
// read can be touched.
#include "src/store/safetensors.h"

#include "tests/fuzz/fuzz.h"

namespace whyrec::fuzz {
namespace {

std::string File(const std::string& header, size_t data_bytes) {
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i)
    file[i] = static_cast<char>(static_cast<uint64_t>(header.size()) >> (8 * i));
  return file + header + std::string(data_bytes, '\x3f');
}

}  // namespace

Corpus MakeCorpus() {
  const auto golden = std::filesystem::path(WHYREC_SOURCE_DIR) / "tests/golden";
  return {
      .seeds =
          {ReadBytes(golden / "small.safetensors"),
           File(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],)"
                R"("data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]}})",
                26),
           File(R"({"x":{"dtype":"I64","shape":[0,9],"data_offsets":[0,0]},)"
                R"("y":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
                3)},
      .words = {"null", "-1", "0", "1", "4294967296", "9223372036854775808", "18446744073709551615",
                "1e3", "\"F64\"", "\"F8_E4M3\"", "[]", "{}", "[[[[", "\"a\"", "__metadata__",
                "\"data_offsets\":[0,8]", std::string(8, '\0'),
                "\xff\xff\xff\xff\xff\xff\xff\x7f"}};
}

void TryFile(const std::filesystem::path& file) {
  uint64_t sum = 0;
  for (const auto& [name, tensor] : store::ReadSafetensors(file)) {
    const auto* bytes = static_cast<const uint8_t*>(tensor.bytes());
    for (uint64_t i = 0; i < tensor.nbytes(); ++i) sum += bytes[i];
  }
  [[maybe_unused]] volatile uint64_t seen = sum;
}

}  // namespace whyrec::fuzz
