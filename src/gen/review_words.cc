#include "src/gen/review_words.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>

#include "src/gen/words.h"

namespace whyrec::gen {
namespace {

constexpr size_t kShortest = 3, kLongest = 40;  // bytes of a content word

bool IsLetter(unsigned char c) {  // bytes of other alphabets, too
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

bool IsContent(const std::string& word) {
  return word.size() >= kShortest && word.size() <= kLongest && !IsStopWord(word);
}

std::set<std::string> ContentWords(std::string_view text) {
  std::set<std::string> words;
  for (std::string& word : PlainWords(text))
    if (IsContent(word)) words.insert(std::move(word));
  return words;
}

// Words of at least half of the titles, and of two.
std::set<std::string> SharedByTitles(const Evidence& evidence) {
  std::map<std::string, size_t> titles_with;
  size_t titles = 0;
  const auto count = [&](const std::string& title) {
    ++titles;
    for (const std::string& word : ContentWords(title)) ++titles_with[word];
  };
  for (const Event& event : evidence.history) count(event.title);
  for (const auto& neighbour : evidence.neighbours)
    for (const std::string& title : neighbour) count(title);
  std::set<std::string> shared;
  for (const auto& [word, with] : titles_with)
    if (with >= 2 && 2 * with >= titles) shared.insert(word);
  return shared;
}

struct Use {
  size_t texts = 0, times = 0, last = 0;
};

std::vector<std::string> Ranked(const std::map<std::string, Use>& uses) {
  std::vector<std::string> words;
  for (const auto& [word, use] : uses) words.push_back(word);
  std::stable_sort(words.begin(), words.end(), [&](const auto& a, const auto& b) {
    const Use &x = uses.at(a), &y = uses.at(b);
    return std::tie(x.texts, x.times, x.last) > std::tie(y.texts, y.times, y.last);
  });
  return words;
}

std::vector<std::string> WordsOf(const std::vector<std::string>& texts,
                                 const std::set<std::string>& without) {
  std::map<std::string, Use> uses;
  std::set<std::string> sentences;
  for (size_t i = 0; i < texts.size(); ++i) {
    std::set<std::string> here;
    for (const std::string& sentence : Sentences(texts[i])) {
      const bool is_new = sentences.insert(sentence).second;
      for (const std::string& word : PlainWords(sentence)) {
        if (!IsContent(word) || without.contains(word)) continue;
        Use& use = uses[word];
        use.texts += here.insert(word).second;
        use.times += is_new;
        use.last = i;
      }
    }
  }
  return Ranked(uses);
}

}  // namespace

std::vector<std::string> PlainWords(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto end = [&] {
    if (word.ends_with("'s")) word.resize(word.size() - 2);
    while (word.ends_with('\'')) word.pop_back();
    if (!word.empty()) words.push_back(word);
    word.clear();
  };
  for (const char c : text) {
    if (IsLetter(static_cast<unsigned char>(c)))
      word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    else if (c == '\'' && !word.empty())
      word += c;
    else
      end();
  }
  end();
  return words;
}

bool IsStopWord(std::string_view word) {
  static const std::unordered_set<std::string_view> kWords{
      // function words
      "about", "above", "after", "again", "against", "all", "almost", "also", "although", "always",
      "among", "and", "another", "any", "anyone", "anything", "are", "aren't", "around", "away",
      "back", "because", "been", "before", "being", "below", "between", "both", "but", "can",
      "can't", "cannot", "could", "couldn't", "did", "didn't", "does", "doesn't", "doing", "don't",
      "done", "down", "during", "each", "either", "else", "enough", "especially", "etc", "even",
      "ever", "every", "everyone", "everything", "except", "far", "few", "for", "from", "further",
      "had", "hadn't", "has", "hasn't", "have", "haven't", "having", "her", "here", "hers", "him",
      "his", "how", "however", "i'd", "i'll", "i'm", "i've", "into", "isn't", "it's", "its",
      "itself", "just", "least", "less", "like", "lot", "lots", "made", "many", "may", "maybe",
      "might", "mine", "more", "most", "much", "must", "myself", "near", "need", "needed", "needs",
      "neither", "never", "next", "none", "nor", "not", "nothing", "now", "off", "often", "once",
      "one", "ones", "only", "onto", "other", "others", "our", "ours", "out", "over", "own", "per",
      "quite", "rather", "same", "seem", "seemed", "seems", "several", "shall", "she", "should",
      "shouldn't", "since", "some", "someone", "something", "soon", "still", "such", "than", "that",
      "that's", "the", "their", "theirs", "them", "then", "there", "there's", "these", "they",
      "they're", "thing", "things", "this", "those", "though", "three", "through", "thus", "till",
      "together", "too", "toward", "two", "under", "until", "upon", "use", "used", "uses", "using",
      "very", "was", "wasn't", "way", "well", "were", "weren't", "what", "whatever", "when",
      "where", "whether", "which", "while", "who", "whole", "whom", "whose", "why", "will", "with",
      "within", "without", "won't", "would", "wouldn't", "yes", "yet", "you", "you'll", "you're",
      "your", "yours", "yourself",
      // words of any review
      "absolutely", "actually", "amazing", "amazon", "arrive", "arrived", "ask", "asked", "awesome",
      "bad", "beautiful", "believe", "best", "better", "big", "bit", "bought", "brand", "buy",
      "buying", "came", "cheap", "choice", "come", "comes", "company", "cool", "cost", "customer",
      "customers", "day", "days", "definitely", "delivered", "delivery", "description", "different",
      "disappointed", "easy", "else", "enjoy", "enjoyed", "exactly", "excellent", "expected",
      "expensive", "extra", "extremely", "fantastic", "fast", "favorite", "feel", "find", "fine",
      "first", "five", "four", "found", "fun", "gave", "get", "gets", "getting", "give", "given",
      "glad", "goes", "going", "good", "got", "gotten", "great", "happy", "hard", "hope", "huge",
      "item", "items", "job", "keep", "kind", "knew", "know", "last", "later", "little", "long",
      "longer", "look", "looked", "looking", "looks", "love", "loved", "loves", "make", "makes",
      "making", "mean", "money", "month", "months", "new", "nice", "nicely", "okay", "old", "order",
      "ordered", "ordering", "overall", "pack", "package", "packaging", "paid", "pay", "people",
      "perfect", "perfectly", "person", "piece", "place", "pleased", "pretty", "price", "priced",
      "probably", "problem", "problems", "product", "products", "purchase", "purchased",
      "purchases", "purchasing", "put", "quality", "quick", "quickly", "rating", "reading", "real",
      "really", "reason", "received", "recommend", "recommended", "review", "reviews", "right",
      "said", "satisfied", "saw", "say", "see", "seen", "seller", "sent", "service", "shipped",
      "shipping", "shop", "simple", "simply", "size", "small", "sold", "star", "stars", "store",
      "stuff", "super", "sure", "take", "takes", "taking", "tell", "terrible", "thank", "thanks",
      "think", "thought", "time", "times", "took", "tried", "try", "trying", "twice", "used",
      "usually", "value", "want", "wanted", "wants", "waste", "week", "weeks", "went", "wish",
      "wonderful", "work", "worked", "working", "works", "worth", "year", "years"};
  return kWords.contains(word);
}

std::vector<std::string> RecurringWords(const Evidence& evidence) {
  std::vector<std::string> reviews, titles;
  for (const Event& event : evidence.history) {
    reviews.push_back(event.review);
    titles.push_back(event.title);
  }
  std::vector<std::string> words = WordsOf(reviews, SharedByTitles(evidence));
  if (!words.empty()) return words;
  words = WordsOf(titles, {});
  if (!words.empty()) return words;
  for (const auto& neighbour : evidence.neighbours)
    titles.insert(titles.end(), neighbour.begin(), neighbour.end());
  return WordsOf(titles, {});
}

std::vector<std::string> TellingSentences(const Evidence& evidence,
                                          const std::vector<std::string>& recurring, size_t words) {
  std::vector<std::vector<std::string>> by_word(std::min(words, recurring.size()));
  std::set<std::string> seen;
  for (auto event = evidence.history.rbegin(); event != evidence.history.rend(); ++event)
    for (std::string& sentence : Sentences(event->review)) {
      const int64_t length = WordCount(sentence);
      if (length < 4 || length > 30 || seen.contains(sentence)) continue;
      const std::set<std::string> held = ContentWords(sentence);
      for (size_t w = 0; w < by_word.size(); ++w)
        if (held.contains(recurring[w])) {
          seen.insert(sentence);
          by_word[w].push_back(std::move(sentence));
          break;
        }
    }
  std::vector<std::string> telling;
  for (auto& sentences : by_word) telling.insert(telling.end(), sentences.begin(), sentences.end());
  return telling;
}

}  // namespace whyrec::gen
