// Byte-pair merging (Sennrich et al., ACL 2016): of all neighbours in a word, the pair learnt first
// is joined first, the leftmost of equals.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/text/vocabulary.h"

namespace whyrec::text {

// The byte-level alphabet of GPT-2 represents each byte by one printable letter.
int32_t LetterOfByte(uint8_t byte);
int ByteOfLetter(int32_t code);                        // -1: no such letter
std::string LettersOf(std::string_view bytes);         // in UTF-8
std::string BytesOfLetters(const std::string& piece);  // the piece itself when it is no such text

class BytePairs {
 public:
  struct Options {
    int64_t unknown = -1;       // for bytes whose letter is no piece; -1: they are left out
    bool join_unknown = false;  // a run of them is one token
    bool whole_words = false;   // a word that is a piece stays whole, whatever the merges say
  };
  BytePairs(const Vocabulary& vocabulary, Options options);

  // The rank is the order of the calls. Joining a pair again gives it the later rank.
  void AddMerge(int64_t left, int64_t right, int64_t joined);

  // n log n in the length of the word. Appends its ids.
  void Encode(std::string_view word, std::vector<int64_t>& ids) const;

 private:
  struct Merge {
    uint32_t rank;
    int32_t joined;
  };
  const Merge* Find(int32_t left, int32_t right) const;
  std::vector<int32_t> Letters(std::string_view word) const;

  Options options_;
  std::array<int32_t, 256> letter_ids_;
  TextMap<int32_t> words_;  // by their bytes, if whole words count
  std::unordered_map<uint64_t, Merge> merges_;
  uint32_t next_rank_ = 0;
};

}  // namespace whyrec::text
