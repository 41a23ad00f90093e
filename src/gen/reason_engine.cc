#include "src/gen/reason_engine.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "src/base/error.h"
#include "src/gen/ask.h"
#include "src/gen/facts_json.h"
#include "src/gen/pulse_prompts.h"
#include "src/gen/record.h"
#include "src/gen/words.h"

namespace whyrec::gen {
namespace {

using config::TreeConfig;

constexpr int64_t kBaseTokens = 150;  // the base reason beside chains of short thoughts

std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

PromptLimits LimitsOf(const config::RunConfig& config) {
  const auto& positive = config.pulse().positive();
  return {positive.review_tokens(), positive.prompt_tokens()};
}

TextSampling SamplingOf(const config::PositiveConfig& config) {
  return {config.temperature(), config.top_k(), config.top_p(), config.max_new_tokens()};
}

TextSampling SamplingOf(const TreeConfig& config, bool base) {
  int64_t tokens = config.max_new_tokens();
  if (base && config.algorithm() == TreeConfig::BEAM_CHAIN) tokens = std::max(tokens, kBaseTokens);
  return {config.temperature(), config.top_k(), config.top_p(), tokens};
}

Request RequestOf(const Evidence& evidence, const std::string& step, Prompt prompt,
                  nlohmann::json facts) {
  return {.kind = evidence.split,
          .id = evidence.user,
          .step = step,
          .prompt = std::move(prompt.user),
          .facts = Dump(facts),
          .system = std::move(prompt.system)};
}

ReasonNode NodeOf(const Request& request, Answer answer) {
  std::string record = RecordLine(request, answer);
  ReasonNode node{.path = request.step,
                  .text = std::move(answer.text),
                  .parse = std::move(answer.parse),
                  .model = std::move(answer.model),
                  .tokens = answer.tokens_out,
                  .record = std::move(record)};
  // Of the model's own words only.
  if (node.parse != kFallbackText && node.tokens > 0)
    node.log_likelihood =
        static_cast<float>(answer.log_probability / static_cast<double>(node.tokens));
  return node;
}

bool IsWordByte(unsigned char c) {
  return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

// The position of the title in the text as whole words, both in lower case, from `at` on.
size_t FindTitle(const std::string& text, const std::string& title, size_t at) {
  if (title.empty()) return text.npos;
  for (at = text.find(title, at); at != text.npos; at = text.find(title, at + 1)) {
    const size_t end = at + title.size();
    const bool inside_before = at > 0 && IsWordByte(text[at - 1]) && IsWordByte(title.front());
    const bool inside_after =
        end < text.size() && IsWordByte(text[end]) && IsWordByte(title.back());
    if (!inside_before && !inside_after) return at;
  }
  return text.npos;
}

// The nodes of the tree's last complete level.
std::vector<int64_t> LastLevel(const ReasonTree& tree) {
  std::vector<int64_t> last;
  for (int64_t i = 0; i < std::ssize(tree.nodes); ++i)
    if (tree.nodes[static_cast<size_t>(i)].level == tree.levels - 1) last.push_back(i);
  return last;
}

// The best `beam` of them, in their order; the earlier one wins a tie.
std::vector<int64_t> Beam(const ReasonTree& tree, int64_t beam) {
  std::vector<int64_t> kept = LastLevel(tree);
  std::stable_sort(kept.begin(), kept.end(), [&](int64_t a, int64_t b) {
    return tree.nodes[static_cast<size_t>(a)].score > tree.nodes[static_cast<size_t>(b)].score;
  });
  kept.resize(std::min(kept.size(), static_cast<size_t>(beam)));
  std::sort(kept.begin(), kept.end());
  return kept;
}

// A chain holds all its thoughts, and their numbers.
void Continue(const ReasonNode& parent, ReasonNode& node) {
  const double sum =
      static_cast<double>(parent.log_likelihood) * static_cast<double>(parent.tokens) +
      static_cast<double>(node.log_likelihood) * static_cast<double>(node.tokens);
  node.text = parent.text + " " + node.text;
  node.tokens += parent.tokens;
  node.log_likelihood = static_cast<float>(sum / static_cast<double>(node.tokens));
}

std::string Percent(int64_t part, int64_t all) {
  const double percent = all > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(all) : 0;
  return Cat(std::round(percent * 10) / 10, " %");
}

}  // namespace

struct ReasonEngine::Thought {
  size_t user = 0;
  int64_t parent = -1;
  std::string path;
  Prompt prompt;
};

std::vector<ReasonNode> ReasonEngine::Positive(std::span<const std::pair<Evidence, Target>> users) {
  const auto& config = config_.pulse().positive();
  std::vector<Request> requests;
  for (const auto& [evidence, target] : users)
    requests.push_back(RequestOf(evidence, "positive",
                                 PositivePrompt(evidence, target, LimitsOf(config_)),
                                 {{"evidence", evidence}, {"target", target}}));
  auto answers = Ask(generator_, requests,
                     {.rules = ReasonRules(),
                      .attempts = config_.rationales().attempts(),
                      .draws = [&](int64_t) { return SamplingOf(config); },
                      .raw = config.parse() == config::PositiveConfig::RAW});
  std::vector<ReasonNode> nodes;
  for (size_t i = 0; i < answers.size(); ++i) {
    nodes.push_back(NodeOf(requests[i], std::move(answers[i])));
    if (config.mask_target_title())
      nodes.back().text = MaskTitle(nodes.back().text, users[i].second.title);
  }
  return nodes;
}

std::vector<ReasonEngine::Thought> ReasonEngine::Thoughts(const Evidence& evidence, size_t user,
                                                          const ReasonTree& tree) const {
  const auto& config = config_.pulse().tree();
  const PromptLimits limits = LimitsOf(config_);
  if (tree.levels == 0) return {{user, -1, "base", BasePrompt(evidence, limits)}};
  const bool chain = config.algorithm() == TreeConfig::BEAM_CHAIN;
  std::vector<Thought> thoughts;
  const auto branch = [&](int64_t parent, const std::string& path, const Prompt& prompt) {
    for (int i = 0; i < config.branch(); ++i)
      thoughts.push_back({user, parent, Cat(path, "/", i), prompt});
  };
  if (chain && tree.levels == 1) {
    branch(-1, "chain", ChainPrompt(evidence, "", limits));
    return thoughts;
  }
  for (const int64_t parent : chain ? Beam(tree, config.beam()) : LastLevel(tree)) {
    const ReasonNode& node = tree.nodes[static_cast<size_t>(parent)];
    branch(parent, node.path,
           chain ? ChainPrompt(evidence, node.text, limits)
                 : RefinePrompt(evidence, node.text, limits));
  }
  return thoughts;
}

// All thoughts of one level in one call.
void ReasonEngine::Think(std::span<const Evidence> users, const std::vector<Thought>& thoughts,
                         std::vector<ReasonTree>& trees) {
  const auto& config = config_.pulse().tree();
  const bool base = thoughts.empty() || thoughts[0].path == "base";
  const bool chain = !base && config.algorithm() == TreeConfig::BEAM_CHAIN;
  std::vector<Request> requests;
  for (const Thought& thought : thoughts) {
    const Evidence& evidence = users[thought.user];
    requests.push_back(RequestOf(evidence, thought.path, thought.prompt, {{"evidence", evidence}}));
  }
  auto answers = Ask(generator_, requests,
                     {.rules = chain ? ObservationRules() : ReasonRules(),
                      .attempts = config_.rationales().attempts(),
                      .draws = [&](int64_t) { return SamplingOf(config, base); }});
  for (size_t i = 0; i < thoughts.size(); ++i) {
    const Thought& thought = thoughts[i];
    ReasonTree& tree = trees[thought.user];
    ReasonNode node = NodeOf(requests[i], std::move(answers[i]));
    node.parent = thought.parent;
    node.level = tree.levels;
    if (chain && node.parent >= 0) Continue(tree.nodes[static_cast<size_t>(node.parent)], node);
    const bool known =
        chain && std::any_of(tree.nodes.begin(), tree.nodes.end(), [&](const ReasonNode& n) {
          return n.level == node.level && n.text == node.text;
        });
    if (known)
      tree.repeated.push_back(std::move(node.record));
    else
      tree.nodes.push_back(std::move(node));
  }
}

// The chains of the level that was just added.
void ReasonEngine::Rate(std::span<const std::string> behaviours, const std::vector<size_t>& users,
                        std::vector<ReasonTree>& trees) {
  WR_CHECK(scorer_ != nullptr, "chains are pruned by a scorer");
  std::vector<std::string> of;
  std::vector<std::vector<std::string>> reasons;
  std::vector<std::vector<int64_t>> nodes;
  for (const size_t user : users) {
    if (trees[user].levels <= 1) continue;
    of.push_back(behaviours[user]);
    nodes.push_back(LastLevel(trees[user]));
    reasons.emplace_back();
    for (const int64_t node : nodes.back())
      reasons.back().push_back(trees[user].nodes[static_cast<size_t>(node)].text);
  }
  if (of.empty()) return;
  const auto scores = scorer_->Score(of, reasons);
  WR_CHECK(scores.size() == reasons.size(), scores.size(), " ", reasons.size());
  size_t k = 0;
  for (const size_t user : users) {
    if (trees[user].levels <= 1) continue;
    WR_CHECK(scores[k].size() == nodes[k].size(), scores[k].size(), " ", nodes[k].size());
    for (size_t i = 0; i < nodes[k].size(); ++i) {
      WR_CHECK(std::isfinite(scores[k][i]), "score of a reason: ", scores[k][i]);
      trees[user].nodes[static_cast<size_t>(nodes[k][i])].score = scores[k][i];
    }
    ++k;
  }
}

std::vector<ReasonTree> ReasonEngine::Grow(
    std::span<const Evidence> users, std::span<const std::string> behaviours,
    std::vector<ReasonTree> begun,
    const std::function<void(const std::vector<ReasonTree>&)>& level_done) {
  const auto& config = config_.pulse().tree();
  const bool chain = config.algorithm() == TreeConfig::BEAM_CHAIN;
  WR_CHECK(!chain || behaviours.size() == users.size(), behaviours.size(), " ", users.size());
  std::vector<ReasonTree> trees = std::move(begun);
  if (trees.empty()) trees.resize(users.size());
  WR_CHECK(trees.size() == users.size(), trees.size(), " trees begun for ", users.size(), " users");
  for (int64_t level = 0; level <= config.depth(); ++level) {
    std::vector<size_t> growing;
    std::vector<Thought> thoughts;
    for (size_t user = 0; user < users.size(); ++user) {
      if (trees[user].levels != level) continue;
      growing.push_back(user);
      for (Thought& thought : Thoughts(users[user], user, trees[user]))
        thoughts.push_back(std::move(thought));
    }
    if (growing.empty()) continue;
    Think(users, thoughts, trees);
    for (const size_t user : growing) trees[user].levels = level + 1;
    if (chain) Rate(behaviours, growing, trees);
    if (level_done) level_done(trees);
  }
  return trees;
}

void ReasonCounts::Add(const ReasonNode& node) {
  ++texts;
  made_of_facts += node.parse == kFallbackText;
  words += WordCount(node.text);
}

void ReasonCounts::Add(const ReasonNode& node, const Target& target) {
  Add(node);
  ++told;
  titled += MentionsTitle(node.text, target.title);
}

Facts ReasonCounts::ToFacts() const {
  const double mean = texts > 0 ? static_cast<double>(words) / static_cast<double>(texts) : 0;
  Facts facts{{"parse_rate", Percent(texts - made_of_facts, texts)},
              {"mean_words", Cat(std::round(mean * 10) / 10)}};
  if (told > 0) facts.emplace_back("title_mention_rate", Percent(titled, told));
  return facts;
}

bool MentionsTitle(const std::string& text, const std::string& title) {
  const std::string lower = LowerCase(text);
  return FindTitle(lower, LowerCase(Harmless(title)), 0) != lower.npos ||
         lower.find(kMaskedTitle) != lower.npos;
}

std::string MaskTitle(const std::string& text, const std::string& title) {
  const std::string lower = LowerCase(text), sought = LowerCase(Harmless(title));
  std::string masked;
  size_t from = 0;
  for (size_t at = FindTitle(lower, sought, 0); at != lower.npos;
       at = FindTitle(lower, sought, from)) {
    masked += text.substr(from, at - from) + kMaskedTitle;
    from = at + sought.size();
  }
  return masked + text.substr(from);
}

}  // namespace whyrec::gen
