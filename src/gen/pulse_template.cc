// Reasons from the evidence alone.
#include <algorithm>
#include <array>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/gen/facts_json.h"
#include "src/gen/review_words.h"
#include "src/gen/template_texts.h"
#include "src/gen/words.h"

namespace whyrec::gen {
namespace {

using Texts = std::vector<std::string>;

constexpr int64_t kMostWords = 150;
constexpr size_t kStressed = 5;  // recurring words that texts may name

// Each has a place for the first word and one for another.
struct Opening {
  const char *before, *between, *after;
};
constexpr std::array<Opening, 8> kOpenings{{
    {"This customer keeps asking for ", " and values ", "."},
    {"Whatever is bought next should offer ", ", with an eye on ", "."},
    {"The lasting taste is ", "; beside it stands ", "."},
    {"Reviews return to ", " again and again, often together with ", "."},
    {"The need that recurs is ", ", followed by ", "."},
    {"What decides for this customer is ", ", then ", "."},
    {"Praise goes to ", " above all, and also to ", "."},
    {"Anything with ", " would be welcome, the more so with ", "."},
}};
// What a rewriting adds, each with a place for a word.
constexpr std::array<std::pair<const char*, const char*>, 8> kAdditions{{
    {"A second motive is ", "."},
    {"One point is specific: ", " matters to this customer."},
    {"The reviews also dwell on ", "."},
    {"Choices without ", " would likely be skipped."},
    {"It is ", " that past purchases have in common."},
    {"Mentions of ", " support this."},
    {"More of ", " is what comes next."},
    {"No review speaks against ", "."},
}};

struct Portrait {
  Texts words, sentences;
  uint64_t turn = 0;  // where this user's lists begin
};

Portrait PortraitOf(const Evidence& evidence, uint64_t seed) {
  Portrait portrait;
  portrait.words = RecurringWords(evidence);
  portrait.sentences = TellingSentences(evidence, portrait.words, kStressed);
  portrait.turn =
      Rng(seed, "template of " + evidence.split, 0, static_cast<uint64_t>(evidence.user))
          .Below(1 << 16);
  return portrait;
}

// The first word, or the one stressed beside it.
std::string Word(const Portrait& portrait, size_t number) {
  const size_t count = std::min(kStressed, portrait.words.size());
  if (count == 0) return number == 0 ? "what was bought before" : "things of the same kind";
  return number == 0 || count == 1 ? portrait.words[0]
                                   : portrait.words[1 + (number - 1) % (count - 1)];
}

std::string Quoted(const Portrait& portrait, size_t number) {
  if (portrait.sentences.empty()) return "";
  const std::string& own = portrait.sentences[number % portrait.sentences.size()];
  return Cat(number % 2 == 0 ? "In own words: " : "One review says: ", own,
             EndsSentence(own) ? "" : ".");
}

std::string Open(const Portrait& portrait, size_t number) {
  const Opening& opening = kOpenings[(portrait.turn + number) % kOpenings.size()];
  return Cat(opening.before, Word(portrait, 0), opening.between, Word(portrait, 1 + number),
             opening.after);
}

std::string Add(const Portrait& portrait, size_t level, size_t number) {
  const auto& [before, after] = kAdditions[(portrait.turn + number) % kAdditions.size()];
  return Cat(before, Word(portrait, number == 0 ? 0 : number + level), after);
}

// Most recent first.
Texts Titles(const Evidence& evidence, bool disliked) {
  Texts titles;
  for (auto event = evidence.history.rbegin(); event != evidence.history.rend(); ++event)
    if ((event->rating > 0 && event->rating <= 2) == disliked && !event->title.empty())
      titles.push_back(FirstWords(event->title, 8));
  return titles;
}

std::string Joined(const Texts& sentences) {
  std::string text;
  int64_t words = 0;
  for (const std::string& sentence : sentences) {
    const int64_t more = WordCount(sentence);
    if (more == 0 || words + more > kMostWords) continue;
    words += more;
    text += (text.empty() ? "" : " ") + sentence;
  }
  return text;
}

std::string Positive(const Target& target, const Portrait& portrait) {
  // The choice is tied to the needs only where its title names one.
  std::string serves = "The choice serves this need.";
  const Texts chosen = PlainWords(target.title);
  for (size_t w = 0; w < std::min(kStressed, portrait.words.size()); ++w)
    if (std::find(chosen.begin(), chosen.end(), portrait.words[w]) != chosen.end())
      serves = "The choice offers " + portrait.words[w] + ".";
  return Joined({Open(portrait, 0), Cat("The reviews also speak of ", Word(portrait, 2), "."),
                 Quoted(portrait, 0), serves});
}

std::string Base(const Evidence& evidence, const Portrait& portrait) {
  const Texts liked = Titles(evidence, false), disliked = Titles(evidence, true);
  return Joined(
      {Open(portrait, 0),
       Cat("The reviews also speak of ", Word(portrait, 2), " and ", Word(portrait, 3), "."),
       Quoted(portrait, 0), liked.empty() ? "" : "A recent choice is " + liked[0] + ".",
       disliked.empty() ? "" : "Of little use was " + disliked[0] + "."});
}

// The numbers behind a step's name: {2, 0} of "base/2/0".
std::vector<size_t> Numbers(std::string_view step) {
  std::vector<size_t> numbers;
  for (size_t at = step.find('/'); at != step.npos; at = step.find('/', at + 1)) {
    size_t number = 0;
    for (size_t i = at + 1; i < step.size() && step[i] != '/'; ++i)
      number = number * 10 + static_cast<size_t>(step[i] - '0');
    numbers.push_back(number);
  }
  return numbers;
}

std::string Refined(const Portrait& portrait, const std::vector<size_t>& numbers) {
  Texts sentences{Open(portrait, 1 + numbers[0]),
                  Quoted(portrait, numbers.back() + numbers.size())};
  for (size_t level = 1; level < numbers.size(); ++level)
    sentences.push_back(Add(portrait, level, numbers[level]));
  return Joined(sentences);
}

std::string Observation(const Portrait& portrait, const std::vector<size_t>& numbers) {
  const size_t level = numbers.size() - 1, number = numbers.back();
  if (level == 0) return Joined({Open(portrait, number)});
  return Joined({Add(portrait, level, number), Quoted(portrait, number + level - 1)});
}

std::string AsJson(const char* key, const std::string& text) {
  return nlohmann::json{{key, text}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string PulseTemplate(const Request& request, uint64_t seed) {
  const auto carried = nlohmann::json::parse(request.facts);
  const Evidence evidence = carried.at("evidence").get<Evidence>();
  const Portrait portrait = PortraitOf(evidence, seed);
  const std::vector<size_t> numbers = Numbers(request.step);
  if (request.step == "positive")
    return AsJson("rationale", Positive(carried.at("target").get<Target>(), portrait));
  if (request.step == "base") return AsJson("reason", Base(evidence, portrait));
  WR_CHECK(!numbers.empty(), request.Name());
  if (request.step.starts_with("base/")) return AsJson("reason", Refined(portrait, numbers));
  WR_CHECK(request.step.starts_with("chain/"), request.Name());
  return Observation(portrait, numbers);
}

}  // namespace whyrec::gen
