// A text that spells an added token ("[SEP]", "</s>", "<|end|>") means that token, as in the
// reference tokenizers; the text around it is tokenized on its own.
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace whyrec::text {

// The flags of tokenizer.json.
struct AddedToken {
  std::string content;
  int64_t id = 0;
  bool single_word = false;  // not inside a word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and behind it
  bool normalized = false;   // looked for in the normalised text, in its normalised spelling
  bool special = true;       // dropped by Decode
};

class AddedTokens {
 public:
  using Normalizer = std::function<std::string(std::string_view)>;
  AddedTokens() = default;
  // Where two could begin, the longer one is taken. Without a normalizer texts stay as they are.
  explicit AddedTokens(std::vector<AddedToken> tokens, Normalizer normalizer = nullptr);
  AddedTokens(AddedTokens&&) = default;  // the trees point into tokens_, which only moves
  AddedTokens& operator=(AddedTokens&&) = default;

  struct Part {
    std::string text;  // ordinary text is normalised; for a token the text that it takes
    int64_t id;        // of the added token; -1: ordinary text
  };
  std::vector<Part> Split(std::string_view text) const;  // without empty parts
  bool IsSpecial(int64_t id) const { return special_.contains(id); }
  // False when a token could lie across a space.
  bool CutAtSpaces() const;

 private:
  // A tree over bytes that finds the longest token at a place.
  struct Tree {
    struct Node {
      std::map<char, size_t> next;
      const AddedToken* token = nullptr;
    };
    std::vector<Node> nodes = std::vector<Node>(1);
    std::bitset<256> first;  // bytes that begin a token

    void Add(const std::string& spelling, const AddedToken& token);
    const AddedToken* Find(std::string_view text, size_t* length) const;
  };
  static void SplitBy(const Tree& tree, std::string_view text, std::vector<Part>& parts);

  std::vector<AddedToken> tokens_;
  Normalizer normalizer_;
  Tree as_written_, normalized_;
  std::unordered_set<int64_t> special_;
};

}  // namespace whyrec::text
