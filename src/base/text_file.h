// Files read whole, and lines of a text file, plain or gzip, streamed.
#pragma once

#include <filesystem>
#include <string>

namespace whyrec {

std::string ReadFile(const std::filesystem::path& file);       // all bytes; Error(kData)
std::string ReadFileIfAny(const std::filesystem::path& file);  // "" when it cannot be read

class LineReader {
 public:
  explicit LineReader(const std::filesystem::path& file);  // Error(kData) when it cannot be opened
  ~LineReader();
  LineReader(const LineReader&) = delete;

  // False at the end of the file. `line` has no line break ("\n" or "\r\n"). Error(kData) when the
  // gzip stream is damaged.
  bool Next(std::string& line);
  int64_t line_number() const { return line_number_; }  // of the last line, from 1
  const std::filesystem::path& file() const { return path_; }

 private:
  void* stream_;
  std::filesystem::path path_;
  int64_t line_number_ = 0;
};

// One gzip member without a time stamp: equal texts give equal bytes, and concatenated members are
// a valid gzip file.
std::string Gzip(const std::string& text);

}  // namespace whyrec
