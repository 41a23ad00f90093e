// SHA-256 of bytes and files, in lower-case hexadecimal.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace whyrec {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Add(const void* bytes, size_t n);
  void Add(std::string_view text) { Add(text.data(), text.size()); }
  std::string Hex();  // finishes the digest; call it once, last

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string Sha256Of(std::string_view bytes);
// Throws Error(kData) when the file cannot be read.
std::string Sha256OfFile(const std::filesystem::path& file);

}  // namespace whyrec
