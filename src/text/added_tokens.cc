#include "src/text/added_tokens.h"

#include <algorithm>

#include "src/text/pattern.h"
#include "src/text/unicode.h"

namespace whyrec::text {
namespace {

// Whether the token's flags allow it at [begin, end); extends the place by white space if they say
// so.
bool Fits(const AddedToken& token, std::string_view text, size_t done, size_t& begin, size_t& end) {
  if (token.single_word && (IsWordCharacter(LastCharacter(text.substr(0, begin)).code) ||
                            IsWordCharacter(FirstCharacter(text.substr(end)).code)))
    return false;
  if (token.lstrip) {
    while (begin > done) {
      const Character c = LastCharacter(text.substr(0, begin));
      if (!IsSpaceCharacter(c.code)) break;
      begin -= c.bytes;
    }
    begin = std::max(begin, done);
  }
  if (token.rstrip) {
    while (end < text.size()) {
      const Character c = FirstCharacter(text.substr(end));
      if (!IsSpaceCharacter(c.code)) break;
      end += c.bytes;
    }
  }
  return true;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, Normalizer normalizer)
    : tokens_(std::move(tokens)), normalizer_(std::move(normalizer)) {
  // Of tokens with the same normalised spelling a special one wins, then the first.
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const auto& a, const auto& b) { return a.special > b.special; });
  for (const AddedToken& token : tokens_) {
    if (token.special) special_.insert(token.id);
    if (!token.normalized)
      as_written_.Add(token.content, token);
    else
      normalized_.Add(normalizer_ ? normalizer_(token.content) : token.content, token);
  }
}

void AddedTokens::Tree::Add(const std::string& spelling, const AddedToken& token) {
  if (spelling.empty()) return;
  first.set(static_cast<uint8_t>(spelling.front()));
  size_t at = 0;
  for (char c : spelling) {
    const auto [next, is_new] = nodes[at].next.try_emplace(c, nodes.size());
    at = next->second;
    if (is_new) nodes.emplace_back();
  }
  if (nodes[at].token == nullptr) nodes[at].token = &token;
}

const AddedToken* AddedTokens::Tree::Find(std::string_view text, size_t* length) const {
  const AddedToken* found = nullptr;
  size_t at = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto next = nodes[at].next.find(text[i]);
    if (next == nodes[at].next.end()) break;
    at = next->second;
    if (nodes[at].token == nullptr) continue;
    found = nodes[at].token;
    *length = i + 1;
  }
  return found;
}

void AddedTokens::SplitBy(const Tree& tree, std::string_view text, std::vector<Part>& parts) {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    const AddedToken* token = tree.first.test(static_cast<uint8_t>(text[at]))
                                  ? tree.Find(text.substr(at), &length)
                                  : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + length;
    at = end;  // a token that its flags rule out here still hides tokens inside it
    if (!Fits(*token, text, done, begin, end)) continue;
    if (begin > done) parts.push_back({std::string(text.substr(done, begin - done)), -1});
    parts.push_back({std::string(text.substr(begin, end - begin)), token->id});
    done = end;
  }
  if (done < text.size()) parts.push_back({std::string(text.substr(done)), -1});
}

std::vector<AddedTokens::Part> AddedTokens::Split(std::string_view text) const {
  std::vector<Part> written, parts;
  SplitBy(as_written_, text, written);
  for (Part& part : written) {
    if (part.id >= 0)
      parts.push_back(std::move(part));
    else
      SplitBy(normalized_, normalizer_ ? normalizer_(part.text) : part.text, parts);
  }
  return parts;
}

bool AddedTokens::CutAtSpaces() const {
  return std::none_of(tokens_.begin(), tokens_.end(), [](const AddedToken& token) {
    return token.content.find(' ') != token.content.npos;
  });
}

}  // namespace whyrec::text
