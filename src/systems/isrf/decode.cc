#include "src/systems/isrf/decode.h"

#include <algorithm>
#include <charconv>

namespace whyrec::systems {
namespace {

using config::PredictConfig;

constexpr size_t kListLength = 10;  // the longest cut-off of the metrics

PredictConfig::Decode DecodeOf(Task task, const PredictConfig& config) {
  return task == Task::kSequential ? config.sequential_decode() : config.direct_decode();
}

}  // namespace

NumberDecoder::NumberDecoder(const data::TrainView& train, const config::RunConfig& config,
                             BatchMaker& batches, const text::Tokenizer& tokenizer)
    : train_(train), config_(config), batches_(batches), tokenizer_(tokenizer) {
  const PredictConfig::Decode sequential = config.predict().sequential_decode();
  if (sequential == PredictConfig::CANDIDATE_TRIE || sequential == PredictConfig::EXACT)
    Fail(Exit::kUsage, "predict.sequential_decode is ", PredictConfig::Decode_Name(sequential),
         ", but the sequential task has no candidates; use TRIE");
  decode::Trie::Builder all_items;
  for (int64_t item = 0; item < train.item_count(); ++item) all_items.Insert(Columns(item));
  all_items_ = all_items.Build();
}

// The pieces of an item's number as columns; new pieces get the next one.
std::vector<int64_t> NumberDecoder::Columns(int64_t item) {
  std::vector<int64_t> columns = batches_.NumberTokens(item);
  for (int64_t& token : columns) {
    const auto [found, is_new] = columns_.try_emplace(token, std::ssize(pieces_));
    if (is_new) pieces_.push_back(token);
    token = found->second;
  }
  return columns;
}

bool NumberDecoder::Restricted(Task task) const {
  return DecodeOf(task, config_.predict()) != PredictConfig::FREE;
}

bool NumberDecoder::Exact(Task task) const {
  return DecodeOf(task, config_.predict()) == PredictConfig::EXACT;
}

decode::BeamOptions NumberDecoder::Options(Task task) const {
  const auto& predict = config_.predict();
  decode::BeamOptions options{.max_new_tokens = predict.max_new_tokens(),
                              .length_penalty = predict.length_penalty()};
  const bool sequential = task == Task::kSequential;
  options.beams = sequential ? predict.sequential_beams() : predict.direct_beams();
  options.returned =
      std::min<int64_t>(options.beams, kListLength + (sequential ? predict.sequential_extra() : 0));
  return options;
}

std::vector<const decode::Trie*> NumberDecoder::Tries(Task task,
                                                      const std::vector<Query>& queries) {
  const PredictConfig::Decode decode = DecodeOf(task, config_.predict());
  if (decode == PredictConfig::FREE) return {};
  if (decode == PredictConfig::TRIE)
    return std::vector<const decode::Trie*>(queries.size(), &all_items_);
  candidates_.resize(queries.size());
  std::vector<const decode::Trie*> tries;
  for (size_t i = 0; i < queries.size(); ++i) {
    decode::Trie::Builder candidates;
    for (int64_t item : queries[i].candidates) candidates.Insert(Columns(item));
    candidates_[i] = candidates.Build();
    tries.push_back(&candidates_[i]);
  }
  return tries;
}

std::vector<lm::Candidates> NumberDecoder::CandidateColumns(const std::vector<Query>& queries) {
  std::vector<lm::Candidates> out(queries.size());
  for (size_t i = 0; i < queries.size(); ++i)
    for (int64_t item : queries[i].candidates) out[i].push_back(Columns(item));
  return out;
}

// The integer of the first space-separated part.
int64_t NumberDecoder::ItemOf(Task task, std::vector<int64_t> tokens) const {
  if (Restricted(task))
    for (int64_t& token : tokens) token = pieces_[token];
  std::string text = tokenizer_.Decode(tokens);
  text.erase(0, text.find_first_not_of(' '));
  text.resize(std::min(text.size(), text.find(' ')));
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (!is_number || number < 1 || number > train_.item_count()) return -1;
  return train_.numbers.item_row[number - 1];
}

std::vector<int64_t> NumberDecoder::Items(Task task, const Query& query,
                                          const std::vector<decode::Hypothesis>& hypotheses) const {
  std::vector<int64_t> list;
  for (const decode::Hypothesis& hypothesis : hypotheses) {
    const int64_t item = ItemOf(task, hypothesis.tokens);
    if (task == Task::kSequential) {  // ELMRec's "re-ranking" drops history and unparsable answers
      const auto& h = query.history;
      if (item < 0 || std::find(h.begin(), h.end(), item) != h.end()) continue;
    }
    list.push_back(item);
  }
  list.resize(std::min(list.size(), kListLength));
  if (config_.predict().fill() == PredictConfig::NONE) return list;
  list.resize(kListLength, -1);
  Rng rng(config_.seed(), "fill", static_cast<uint64_t>(task), static_cast<uint64_t>(query.user));
  for (int64_t& item : list)
    if (item < 0)
      item = static_cast<int64_t>(rng.Below(static_cast<uint64_t>(train_.item_count())));
  return list;
}

}  // namespace whyrec::systems
