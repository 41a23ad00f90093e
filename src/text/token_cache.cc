#include "src/text/token_cache.h"

#include <algorithm>

namespace whyrec::text {
namespace {

void Append(const std::vector<int64_t>& values, std::vector<int64_t>& to) {
  to.insert(to.end(), values.begin(), values.end());
}

}  // namespace

const TokenCache::Word& TokenCache::Lookup(std::string_view word) {
  const auto [at, is_new] = words_.try_emplace(std::string(word));
  if (is_new)
    at->second = {tokenizer_.Encode(word), tokenizer_.Pieces(word), tokenizer_.CutsAlone(word)};
  return at->second;
}

std::vector<const TokenCache::Word*> TokenCache::Words(std::string_view text) {
  std::vector<const Word*> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.push_back(&Lookup(text.substr(0, end)));
    if (end > 0 && !words.back()->cuts_alone) return {};
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::vector<int64_t> TokenCache::EncodeIds(std::string_view text) {
  const auto words = Words(text);
  if (words.empty()) return tokenizer_.Encode(text);
  std::vector<int64_t> ids;
  for (const Word* word : words) Append(word->ids, ids);
  return ids;
}

Tokens TokenCache::Encode(std::string_view prompt, WholeWordRule rule, int64_t users) {
  const auto words = Words(prompt);
  if (words.empty())
    return {tokenizer_.Encode(prompt), WholeWordIds(tokenizer_.Pieces(prompt), rule, users)};
  Tokens tokens;
  int64_t mentions = 0;
  for (const Word* word : words) {
    // A mention never crosses a space: the first piece of a word begins with the word marker.
    auto ids = WholeWordIds(word->pieces, rule, users);
    if (rule == WholeWordRule::kOrdinal) {
      for (int64_t& id : ids) id += id > 0 ? mentions : 0;
      mentions += std::count(word->pieces.begin(), word->pieces.end(), "_");
    }
    Append(word->ids, tokens.ids);
    Append(ids, tokens.whole_words);
  }
  return tokens;
}

}  // namespace whyrec::text
