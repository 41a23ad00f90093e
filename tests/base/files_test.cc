// Hashes, lines of files and host tensors.
#include <gtest/gtest.h>
#include <zlib.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/base/host_tensor.h"
#include "src/base/text_file.h"
#include "tests/store/temporary.h"

namespace whyrec {
namespace {

namespace fs = std::filesystem;

// Published examples of FIPS 180-4.
TEST(Hash, StandardVectors) {
  EXPECT_EQ(Sha256Of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 parts;
  for (int i = 0; i < 1000000; ++i) parts.Add("a");
  EXPECT_EQ(parts.Hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Hash, FileEqualsItsBytes) {
  const Temporary folder;
  std::string bytes(3 << 20, 'x');
  bytes[12345] = '\0';
  for (size_t n : {size_t{0}, size_t{1} << 20, bytes.size() - 1}) {
    std::ofstream(folder / "f", std::ios::binary) << bytes.substr(0, n);
    EXPECT_EQ(Sha256OfFile(folder / "f"), Sha256Of(bytes.substr(0, n)));
  }
  EXPECT_THROW(Sha256OfFile(folder / "absent"), Error);
}

std::vector<std::string> Lines(const fs::path& file) {
  LineReader in(file);
  std::vector<std::string> out;
  for (std::string line; in.Next(line);) {
    out.push_back(line);
    EXPECT_EQ(in.line_number(), static_cast<int64_t>(out.size()));
  }
  return out;
}

const std::vector<std::string> kLines = {"first", "", std::string(10000, 'y'), "naïve\tx", "last"};

std::string Joined(const std::string& end) {
  std::string out;
  for (const std::string& line : kLines) out += line + end;
  return out;
}

void Gzip(const fs::path& file, const std::string& text, const char* mode) {
  const gzFile out = gzopen(file.c_str(), mode);
  gzwrite(out, text.data(), static_cast<unsigned>(text.size()));
  gzclose(out);
}

TEST(LineReader, PlainAndGzipAreTheSame) {
  const Temporary folder;
  const fs::path file = folder / "lines";
  std::ofstream(file) << Joined("\n");
  EXPECT_EQ(Lines(file), kLines);
  std::ofstream(file) << Joined("\r\n");
  EXPECT_EQ(Lines(file), kLines);
  const std::string open_end = Joined("\n");
  std::ofstream(file) << open_end.substr(0, open_end.size() - 1);
  EXPECT_EQ(Lines(file), kLines);
  Gzip(file, Joined("\n"), "wb");
  EXPECT_EQ(Lines(file), kLines);
  Gzip(file, "one more\n", "ab");  // two members, as `cat a.gz b.gz` makes
  EXPECT_EQ(Lines(file).size(), kLines.size() + 1);
  std::ofstream(file, std::ios::trunc).close();
  EXPECT_TRUE(Lines(file).empty());
}

TEST(Gzip, EqualTextsAreEqualBytesThatConcatenate) {
  const Temporary folder;
  const std::string once = whyrec::Gzip(Joined("\n"));
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // gzip time stamps count seconds
  EXPECT_EQ(whyrec::Gzip(Joined("\n")), once);
  std::ofstream(folder / "a.gz", std::ios::binary) << once << once;
  EXPECT_EQ(Lines(folder / "a.gz").size(), 2 * kLines.size());
}

TEST(LineReader, LinesAroundTheBufferSize) {
  const Temporary folder;
  for (size_t n = 4090; n < 4100; ++n) {
    std::ofstream(folder / "f") << std::string(n, 'a') << "\n" << std::string(n, 'b') << "\n";
    EXPECT_EQ(Lines(folder / "f"),
              (std::vector<std::string>{std::string(n, 'a'), std::string(n, 'b')}));
  }
}

TEST(LineReader, ZeroBytesBelongToTheirLine) {
  const Temporary folder;
  const std::string zero(1, '\0');
  std::ofstream(folder / "f") << zero << "a" << zero << zero << "\nb\n" << zero;
  EXPECT_EQ(Lines(folder / "f"), (std::vector<std::string>{zero + "a" + zero + zero, "b", zero}));
}

TEST(LineReader, BrokenInputIsAnError) {
  const Temporary folder;
  EXPECT_THROW(LineReader(folder / "absent"), Error);
  EXPECT_THROW(LineReader(folder.path()), Error);
  std::string text;
  for (int i = 0; i < 10000; ++i) text += std::to_string(i * 7919 % 10007) + "\n";
  Gzip(folder / "f.gz", text, "wb");
  EXPECT_EQ(Lines(folder / "f.gz").size(), 10000u);
  fs::resize_file(folder / "f.gz", fs::file_size(folder / "f.gz") / 2);
  try {
    Lines(folder / "f.gz");
    FAIL() << "a truncated stream passed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::kData);
    EXPECT_NE(std::string(error.what()).find("f.gz:"), std::string::npos) << error.what();
  }
}

TEST(HostTensor, SharesAndClones) {
  HostTensor a = HostTensor::From<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  HostTensor shared = a;
  HostTensor own = a.Clone();
  a.row<float>(1)[0] = 9;
  EXPECT_EQ(shared.values<float>()[3], 9);
  EXPECT_EQ(own.values<float>()[3], 4);
  EXPECT_EQ(a.nbytes(), 24u);
  EXPECT_EQ(ShapeString(a.shape()), "[2, 3]");
  EXPECT_THROW(a.values<double>(), Error);
  EXPECT_THROW(HostTensor::From<float>({1}, {2}), Error);
  EXPECT_EQ(HostTensor::Zeros(DType::kI64, {0, 4}).numel(), 0);
  EXPECT_EQ(HostTensor::Zeros(DType::kF64, {}).numel(), 1);
  EXPECT_FALSE(HostTensor().defined());
  for (DType dtype :
       {DType::kF32, DType::kF64, DType::kF16, DType::kBF16, DType::kI64, DType::kI32, DType::kU8})
    EXPECT_EQ(HostTensor::Zeros(dtype, {3}).nbytes(), 3 * SizeOf(dtype));
}

// The owner of borrowed bytes lives as long as any tensor on them.
TEST(HostTensor, BorrowedBytesKeepTheirOwner) {
  auto owner = std::make_shared<std::vector<int64_t>>(std::vector<int64_t>{7, 8});
  const std::weak_ptr<void> watch = owner;
  HostTensor tensor = HostTensor::Borrow(DType::kI64, {2}, owner->data(), owner);
  owner.reset();
  EXPECT_EQ(tensor.values<int64_t>()[1], 8);
  EXPECT_FALSE(watch.expired());
  tensor = {};
  EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace whyrec
