#include "src/text/byte_pairs.h"

#include <functional>
#include <queue>
#include <tuple>

#include "src/text/unicode.h"

namespace whyrec::text {
namespace {

// Printable bytes represent themselves, the others get the code points from 256 on.
struct Alphabet {
  std::array<int32_t, 256> letters;
  std::array<int, 512> bytes;

  Alphabet() {
    bytes.fill(-1);
    int32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool prints = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
      letters[b] = prints ? b : next++;
      bytes[letters[b]] = b;
    }
  }
};

const Alphabet& GptAlphabet() {
  static const Alphabet alphabet;
  return alphabet;
}

uint64_t Key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

int32_t LetterOfByte(uint8_t byte) { return GptAlphabet().letters[byte]; }

int ByteOfLetter(int32_t code) {
  return code >= 0 && code < 512 ? GptAlphabet().bytes[static_cast<size_t>(code)] : -1;
}

std::string LettersOf(std::string_view bytes) {
  std::string letters;
  for (char byte : bytes) AppendUtf8(LetterOfByte(static_cast<uint8_t>(byte)), letters);
  return letters;
}

std::string BytesOfLetters(const std::string& piece) {
  std::string bytes;
  bool all = true;
  ForEachCharacter(piece, [&](int32_t code, std::string_view) {
    const int byte = ByteOfLetter(code);
    all = all && byte >= 0;
    bytes += static_cast<char>(byte);
  });
  return all ? bytes : piece;
}

BytePairs::BytePairs(const Vocabulary& vocabulary, Options options) : options_(options) {
  for (int b = 0; b < 256; ++b)
    letter_ids_[b] = static_cast<int32_t>(
        vocabulary.Id(LettersOf(std::string(1, static_cast<char>(b)))).value_or(-1));
  if (!options.whole_words) return;
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& piece = vocabulary.Piece(id);
    const std::string bytes = BytesOfLetters(piece);
    if (LettersOf(bytes) == piece) words_.emplace(bytes, static_cast<int32_t>(id));
  }
}

void BytePairs::AddMerge(int64_t left, int64_t right, int64_t joined) {
  merges_[Key(static_cast<int32_t>(left), static_cast<int32_t>(right))] = {
      next_rank_++, static_cast<int32_t>(joined)};
}

const BytePairs::Merge* BytePairs::Find(int32_t left, int32_t right) const {
  const auto found = merges_.find(Key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::vector<int32_t> BytePairs::Letters(std::string_view word) const {
  std::vector<int32_t> ids;
  bool after_unknown = false;
  for (char c : word) {
    const int32_t id = letter_ids_[static_cast<uint8_t>(c)];
    if (id >= 0)
      ids.push_back(id);
    else if (options_.unknown >= 0 && !(after_unknown && options_.join_unknown))
      ids.push_back(static_cast<int32_t>(options_.unknown));
    after_unknown = id < 0;
  }
  return ids;
}

void BytePairs::Encode(std::string_view word, std::vector<int64_t>& ids) const {
  if (options_.whole_words) {
    const auto whole = words_.find(word);
    if (whole != words_.end()) {
      ids.push_back(whole->second);
      return;
    }
  }
  // A linked list of symbols, and the pairs that may be joined in a queue by (rank, place). A join
  // leaves stale pairs in the queue; they are known by joining to something else now.
  std::vector<int32_t> symbols = Letters(word);
  const auto size = static_cast<uint32_t>(symbols.size());
  constexpr int32_t kGone = -1;
  std::vector<uint32_t> next(size), before(size);
  using Candidate = std::tuple<uint32_t, uint32_t, int32_t>;  // rank, place, joined id
  std::vector<Candidate> first;
  const auto candidate = [&](uint32_t at, auto& queue) {
    if (next[at] == size) return;
    if (const Merge* merge = Find(symbols[at], symbols[next[at]]))
      queue.emplace(merge->rank, at, merge->joined);
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  for (uint32_t i = 0; i < size; ++i) next[i] = i + 1, before[i] = i - 1;
  for (uint32_t i = 0; i < size; ++i) candidate(i, queue);
  for (; !queue.empty();) {
    const auto [rank, at, joined] = queue.top();
    queue.pop();
    if (symbols[at] == kGone || next[at] == size) continue;
    const uint32_t right = next[at];
    const Merge* merge = Find(symbols[at], symbols[right]);
    if (merge == nullptr || merge->joined != joined) continue;
    symbols[at] = joined;
    symbols[right] = kGone;
    next[at] = next[right];
    if (next[at] < size) before[next[at]] = at;
    if (at > 0) candidate(before[at], queue);
    candidate(at, queue);
  }
  for (uint32_t i = 0; i < size; i = next[i]) ids.push_back(symbols[i]);
}

}  // namespace whyrec::text
