// A driver for fuzz targets that needs no fuzzing engine: it changes the target's seeds, keyed by a
// printed number, and runs LLVMFuzzerTestOneInput on them. Any end but success or whyrec::Error is
// a failure; sanitizers make it see more. Built with WHYREC_LIBFUZZER (clang), libFuzzer drives the
// same targets instead.
//
//   NAME_fuzz [ITERATIONS [SEED]]
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "src/base/error.h"
#include "src/base/rng.h"

namespace whyrec::fuzz {

// What a target gives: valid inputs, and words of its format that make new inputs less random.
struct Corpus {
  std::vector<std::string> seeds, words;
};
Corpus MakeCorpus();
// Throws whyrec::Error for a bad input. The path holds the input.
void TryFile(const std::filesystem::path& file);

inline std::string ReadBytes(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// One place of the text is changed.
inline void Change(std::string& text, const Corpus& corpus, Rng& rng) {
  const size_t at = rng.Below(text.size() + 1);
  const size_t length = std::min<size_t>(text.size() - at, rng.Below(rng.Below(2) ? 8 : 200));
  switch (rng.Below(8)) {
    case 0:
      if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << rng.Below(8)));
      break;
    case 1:
      text.insert(at, 1, static_cast<char>(rng.Below(256)));
      break;
    case 2:
      text.erase(at, length);
      break;
    case 3:
      text.insert(rng.Below(text.size() + 1), text.substr(at, length));
      break;
    case 4: {  // a number grows or turns
      const size_t digit = text.find_first_of("0123456789", at);
      if (digit != text.npos) text[digit] = "0123456789-."[rng.Below(12)];
      break;
    }
    case 5: {
      const std::string& other = corpus.seeds[rng.Below(corpus.seeds.size())];
      text = text.substr(0, at) + other.substr(rng.Below(other.size() + 1));
      break;
    }
    default: {  // a word of the format, often in place of one
      const std::string& word = corpus.words[rng.Below(corpus.words.size())];
      const size_t begin = text.find_first_of(":[,", at);
      if (begin == text.npos || rng.Below(3) == 0) {
        text.insert(at, word);
      } else {
        const size_t end = std::min(text.find_first_of(",]}", begin + 1), text.size());
        text.replace(begin + 1, end - begin - 1, word);
      }
    }
  }
}

}  // namespace whyrec::fuzz

extern "C" inline int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" __attribute__((used)) inline int LLVMFuzzerTestOneInput(const uint8_t* data,
                                                                   size_t size) {
  namespace fs = std::filesystem;
  static const fs::path file =
      fs::temp_directory_path() / ("whyrec_fuzz_" + std::to_string(getpid()));
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    whyrec::fuzz::TryFile(file);
  } catch (const whyrec::Error& e) {
    if (e.code() != whyrec::Exit::kData) throw;  // a bad file is not an error of ours
  }
  fs::remove(file);
  return 0;
}

#ifndef WHYREC_LIBFUZZER
int main(int argc, char** argv) {
  using namespace whyrec;
  const uint64_t iterations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 300;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const fuzz::Corpus corpus = fuzz::MakeCorpus();
  std::string text;
  uint64_t i = 0;
  try {
    for (; i < iterations; ++i) {
      Rng rng(seed, "fuzz", 0, i);
      text = corpus.seeds[i % corpus.seeds.size()];
      if (i >= corpus.seeds.size())
        for (uint64_t n = 1 + rng.Below(4); n > 0; --n) fuzz::Change(text, corpus, rng);
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    }
  } catch (const std::exception& e) {
    std::ofstream("fuzz_failure.bin", std::ios::binary) << text;
    std::printf("seed %llu, input %llu (now fuzz_failure.bin): %s\n",
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(i),
                e.what());
    return 1;
  }
  std::printf("seed %llu: %llu inputs, each read or refused\n",
              static_cast<unsigned long long>(seed), static_cast<unsigned long long>(iterations));
  return 0;
}
#endif
