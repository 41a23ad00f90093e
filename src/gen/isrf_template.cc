// Texts from the facts alone: whole sentences made of titles, brands, categories, the description's
// and the user's own sentences, so that they differ wherever the facts do.
#include <algorithm>
#include <map>

#include "src/gen/facts_json.h"
#include "src/gen/template_texts.h"
#include "src/gen/words.h"

namespace whyrec::gen {
namespace {

using Texts = std::vector<std::string>;

// Sentences in order while they fit into `limit` words; the first is cut where it alone does not.
std::string Fill(const Texts& sentences, int64_t limit) {
  std::string text;
  for (const auto& sentence : sentences) {
    if (sentence.empty() || WordCount(text) + WordCount(sentence) > limit) continue;
    text += (text.empty() ? "" : " ") + sentence;
  }
  return text.empty() && !sentences.empty() ? FirstWords(sentences[0], limit) : text;
}

void AddOnce(std::string text, Texts& texts) {
  const bool known = text.empty() || std::find(texts.begin(), texts.end(), text) != texts.end();
  if (!known) texts.push_back(std::move(text));
}

// At most `n` words, ending in a full stop.
std::string Clause(std::string_view text, int64_t n) {
  std::string clause = FirstWords(text, n);
  while (!clause.empty() && std::string_view(" .,;:!?-").find(clause.back()) != std::string::npos)
    clause.pop_back();
  return clause.empty() ? "" : clause + ".";
}

// "a, b and c" of the first `n`.
std::string List(const Texts& words, size_t n) {
  std::string text;
  const size_t count = std::min(n, words.size());
  for (size_t i = 0; i < count; ++i)
    text += (i == 0 ? "" : i + 1 == count ? " and " : ", ") + words[i];
  return text;
}

std::string Phrase(const std::string& before, const std::string& words) {
  return words.empty() ? "" : before + words;
}

// Sentences worth quoting: not headings, not whole paragraphs.
Texts Quotable(std::string_view text) {
  Texts kept;
  for (auto& sentence : Sentences(text))
    if (WordCount(sentence) >= 4 && WordCount(sentence) <= 40) AddOnce(std::move(sentence), kept);
  return kept;
}

// The first words of a title; a bracket that would stay open is left out.
std::string ShortName(const std::string& title, int64_t words) {
  std::string name = FirstWords(title, words);
  const size_t open = name.rfind(" (");
  if (open != name.npos && name.find(')', open) == name.npos) name.resize(open);
  return name;
}

std::string Product(const std::string& domain) {
  return domain == "product" ? domain : domain + " product";
}

bool NamesLimit(const std::string& sentence) {
  static const Texts kSigns{" not ",     " no ",     " only ",     " cannot ",
                            " without ", " except ", " requires ", " separately",
                            "limit",     "n't ",     " must "};
  return std::any_of(kSigns.begin(), kSigns.end(), [&](const std::string& sign) {
    return sentence.find(sign) != std::string::npos;
  });
}

// --- items --------------------------------------------------------------------------------------

// Some records list selling points among the categories; those are sentences.
Texts SpecialFirst(const Texts& categories) {
  Texts special;
  for (auto c = categories.rbegin(); c != categories.rend(); ++c)
    if (WordCount(*c) <= 6 && !c->ends_with('.')) AddOnce(*c, special);
  return special;
}

std::string Named(const std::string& domain, const ItemFacts& facts, int64_t words) {
  const bool in_title = facts.brand.empty() || facts.title.find(facts.brand) != std::string::npos;
  const std::string name =
      facts.title.empty() ? "This " + Product(domain) : ShortName(facts.title, words);
  return name + (in_title ? "" : " by " + facts.brand);
}

std::string ItemPos(const std::string& domain, const ItemFacts& facts) {
  const std::string kinds = List(SpecialFirst(facts.categories), 4);
  Texts sentences{Named(domain, facts, 30) + " would please shoppers who look for " +
                  (kinds.empty() ? "this kind of " + Product(domain) : kinds) + "."};
  const Texts described = Quotable(facts.description);
  sentences.insert(sentences.end(), described.begin(),
                   described.begin() + std::min<size_t>(4, described.size()));
  return Fill(sentences, kItemWords);
}

std::string ItemNeg(const std::string& domain, const ItemFacts& facts) {
  const Texts kinds = SpecialFirst(facts.categories);
  Texts sentences{Named(domain, facts, 30) +
                  " would let down shoppers who want something other than " +
                  (kinds.empty() ? "this kind of " + Product(domain) : kinds[0]) +
                  Phrase(" or trust another brand than ", facts.brand) + "."};
  for (const auto& sentence : Quotable(facts.description))
    if (NamesLimit(sentence)) sentences.push_back(sentence);
  if (facts.description.empty())
    sentences.push_back(
        "Its record has no description, so those who compare details would hesitate.");
  return Fill(sentences, kItemWords);
}

std::string ItemFused(const std::string& domain, const ItemFacts& facts) {
  const std::string kinds = List(SpecialFirst(facts.categories), 2);
  Texts sentences{Clause(Named(domain, facts, 12) + Phrase(", for ", kinds), kItemFusedWords)};
  const int64_t left = kItemFusedWords - WordCount(sentences[0]);
  const Texts described = Quotable(facts.description);
  if (!described.empty() && left >= 4) sentences.push_back(Clause(described[0], left));
  for (const auto& sentence : described)
    if (NamesLimit(sentence) && sentence != described[0]) sentences.push_back(sentence);
  return Fill(sentences, kItemFusedWords);
}

// --- users --------------------------------------------------------------------------------------

bool Disliked(const Purchase& purchase) { return purchase.rating > 0 && purchase.rating <= 3; }

// Values by how often they occur, then by how recently.
struct Frequent {
  Texts values;
  std::map<std::string, int64_t> counts;
};

Frequent Rank(const Texts& values) {
  Frequent ranked;
  for (const auto& value : values)
    if (!value.empty() && ++ranked.counts[value] == 1) ranked.values.push_back(value);
  std::stable_sort(ranked.values.begin(), ranked.values.end(), [&](const auto& a, const auto& b) {
    return ranked.counts[a] > ranked.counts[b];
  });
  return ranked;
}

std::string Ended(const std::string& sentence) {
  return std::string_view(".!?").find(sentence.back()) == std::string::npos ? sentence + "."
                                                                            : sentence;
}

// What the steps say about a user, gathered once.
struct Taste {
  Texts kinds, brands;      // favourites first, of purchases that were not disliked
  Texts rare;               // categories bought once by somebody who buys others more often
  Texts liked, disliked;    // names of purchases, latest first
  Texts praise, complaint;  // own sentences
};

Taste TasteOf(const UserFacts& facts) {
  Taste taste;
  Texts kinds, brands;
  for (const auto& purchase : facts.purchases) {
    const bool disliked = Disliked(purchase);
    AddOnce(ShortName(purchase.title.empty() ? purchase.traits : purchase.title, 8),
            disliked ? taste.disliked : taste.liked);
    const Texts own = Quotable(purchase.review);
    if (!own.empty()) AddOnce(Ended(own[0]), disliked ? taste.complaint : taste.praise);
    if (disliked) continue;
    const Texts special = SpecialFirst(purchase.categories);
    kinds.insert(kinds.end(), special.begin(), special.end());
    brands.push_back(purchase.brand);
  }
  const Frequent ranked = Rank(kinds);
  taste.kinds = ranked.values;
  taste.brands = Rank(brands).values;
  for (auto kind = ranked.values.rbegin(); kind != ranked.values.rend(); ++kind)
    if (ranked.counts.at(*kind) == 1 && ranked.counts.at(ranked.values[0]) > 1)
      taste.rare.push_back(*kind);
  return taste;
}

std::string Favourites(const std::string& domain, const Taste& taste, size_t n) {
  return (taste.kinds.empty() ? Product(domain) + "s" : List(taste.kinds, n)) +
         Phrase(", often from ", List(taste.brands, n - 1));
}

// The first quotation gets `lead`.
void AddQuotation(const std::string& lead, const Texts& quotations, Texts& sentences) {
  for (size_t i = 0; i < quotations.size(); ++i)
    sentences.push_back(i == 0 ? lead + quotations[i] : quotations[i]);
}

std::string UserPos(const std::string& domain, const Taste& taste) {
  Texts sentences{"This shopper looks for " + Favourites(domain, taste, 4) + ".",
                  Phrase("Recent choices are ", Clause(List(taste.liked, 3), 30))};
  AddQuotation("What pleased, in own words: ", taste.praise, sentences);
  return Fill(sentences, kUserWords);
}

std::string UserNeg(const std::string& domain, const Taste& taste) {
  Texts sentences{Phrase("This shopper was let down by ", Clause(List(taste.disliked, 3), 30))};
  AddQuotation("The complaints: ", taste.complaint, sentences);
  if (!taste.rare.empty())
    sentences.push_back("This shopper rarely buys " + List(taste.rare, 3) +
                        " and would likely skip what strays from " + List(taste.kinds, 3) + ".");
  else
    sentences.push_back("This shopper has stayed with " + Favourites(domain, taste, 3) +
                        ", and would likely skip anything else.");
  return Fill(sentences, kUserWords);
}

std::string UserFused(const std::string& domain, const Taste& taste) {
  const std::string skips = !taste.disliked.empty() ? "Was let down by " + taste.disliked[0]
                            : !taste.rare.empty()   ? "Rarely buys " + List(taste.rare, 2)
                                                    : "";
  return Fill({"This shopper keeps to " + Favourites(domain, taste, 3) + ".", Clause(skips, 12),
               Phrase("Recent choices are ", Clause(List(taste.liked, 2), 16)),
               taste.praise.empty() ? "" : Clause(taste.praise[0], 14)},
              kUserFusedWords);
}

// --- the back end -------------------------------------------------------------------------------

std::string ItemText(const std::string& step, const std::string& domain, const ItemFacts& facts) {
  const bool empty = facts.title.empty() && facts.brand.empty() && facts.categories.empty() &&
                     facts.description.empty();
  if (empty) return "";
  if (step == "pos") return ItemPos(domain, facts);
  return step == "neg" ? ItemNeg(domain, facts) : ItemFused(domain, facts);
}

std::string UserText(const std::string& step, const std::string& domain, const UserFacts& facts) {
  if (facts.purchases.empty()) return "";
  const Taste taste = TasteOf(facts);
  if (step == "pos") return UserPos(domain, taste);
  return step == "neg" ? UserNeg(domain, taste) : UserFused(domain, taste);
}

}  // namespace

std::string IsrfTemplate(const Request& request) {
  const auto carried = nlohmann::json::parse(request.facts);
  const std::string domain = carried.at("domain");
  const auto& facts = carried.at("facts");
  const std::string text = request.kind == "item"
                               ? ItemText(request.step, domain, facts.get<ItemFacts>())
                               : UserText(request.step, domain, facts.get<UserFacts>());
  return nlohmann::ordered_json{{"summary", text.empty() ? "None" : text},
                                {"why", "Written from the record by rules."}}
      .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace whyrec::gen
