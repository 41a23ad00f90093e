#include "src/base/text_file.h"

#include <zlib.h>

#include <array>
#include <cstring>
#include <fstream>
#include <iterator>

#include "src/base/error.h"

namespace whyrec {

std::string ReadFile(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file))
    Fail(Exit::kData, file.string(), ": cannot be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string ReadFileIfAny(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

LineReader::LineReader(const std::filesystem::path& file)
    : stream_(std::filesystem::is_directory(file) ? nullptr : gzopen(file.c_str(), "rb")),
      path_(file) {
  if (stream_ == nullptr) Fail(Exit::kData, file.string(), ": cannot be read");
  gzbuffer(static_cast<gzFile>(stream_), 1 << 17);
}

LineReader::~LineReader() { gzclose(static_cast<gzFile>(stream_)); }

bool LineReader::Next(std::string& line) {
  line.clear();
  std::array<char, 4096> part;
  while (part.fill('\1'),
         gzgets(static_cast<gzFile>(stream_), part.data(), part.size()) != nullptr) {
    // The last zero byte is the terminator; one before it belongs to the text.
    const char* end = static_cast<const char*>(memrchr(part.data(), 0, part.size()));
    line.append(part.data(), static_cast<size_t>(end - part.data()));
    if (line.ends_with('\n')) break;
  }
  int code = Z_OK;
  const char* problem = gzerror(static_cast<gzFile>(stream_), &code);
  if (code != Z_OK && code != Z_STREAM_END)
    Fail(Exit::kData, path_.string(), ":", line_number_ + 1, ": broken gzip stream: ", problem);
  if (line.empty()) return false;
  if (line.ends_with('\n')) line.pop_back();
  if (line.ends_with('\r')) line.pop_back();
  ++line_number_;
  return true;
}

std::string Gzip(const std::string& text) {
  constexpr int kGzipWindow = 15 + 16, kMemory = 8;
  z_stream stream{};
  WR_CHECK(deflateInit2(&stream, 6, Z_DEFLATED, kGzipWindow, kMemory, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int end = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  WR_CHECK(end == Z_STREAM_END, end);
  return out;
}

}  // namespace whyrec
