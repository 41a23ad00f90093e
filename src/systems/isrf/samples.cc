#include "src/systems/isrf/samples.h"

#include <algorithm>

#include "src/base/ragged.h"
namespace whyrec::systems {
namespace {

using config::IsrfConfig;

constexpr int64_t kEos = 1;

// Rows of different lengths as one padded matrix.
HostTensor Pad(const std::vector<std::vector<int64_t>>& rows) {
  size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row.size());
  HostTensor out = HostTensor::Zeros(
      DType::kI64, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(width)});
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy(rows[i].begin(), rows[i].end(), out.row<int64_t>(static_cast<int64_t>(i)).begin());
  return out;
}

int64_t TemplateCount(const text::Templates& prompts, T5Task task) {
  if (task == IsrfConfig::EXPLANATION) return prompts.explanation_count();
  return task == IsrfConfig::SEQUENTIAL ? prompts.sequential_count() : prompts.direct_count();
}

}  // namespace

SampleSource::SampleSource(const data::TrainView& train, const config::RunConfig& config,
                           const Ragged<int64_t>& negative_exclusion,
                           const text::Templates& prompts)
    : train_(train), config_(config), exclusion_(negative_exclusion), prompts_(prompts) {
  for (int64_t user = 0; user < train.user_count(); ++user)
    if (train.histories.row(user).size() >= 2) users_.push_back(user);
  for (T5Task task : {IsrfConfig::EXPLANATION, IsrfConfig::SEQUENTIAL, IsrfConfig::DIRECT}) {
    const auto& wanted = config.isrf().task();
    const bool asked = wanted.empty() || std::count(wanted.begin(), wanted.end(), task) > 0;
    const bool possible =
        task == IsrfConfig::EXPLANATION ? !train.explanations.empty() : !users_.empty();
    if (asked && possible) tasks_.push_back(task);
  }
  if (tasks_.empty()) Fail(Exit::kUsage, "isrf.task: none of the tasks has training samples");
  const auto cursor = [&](size_t n, const char* purpose) {
    return std::make_unique<data::CursorSampler>(static_cast<int64_t>(n), config.seed(), purpose,
                                                 config.train().shuffle_first_pass());
  };
  if (!train.explanations.empty()) explanations_ = cursor(train.explanations.size(), "explanation");
  if (users_.empty()) return;
  sequential_ = cursor(users_.size(), "sequential");
  direct_ = cursor(users_.size(), "direct");
}

int64_t SampleSource::EpochSteps() const {
  const auto batch = static_cast<size_t>(config_.train().global_batch());
  size_t steps = 0;
  for (T5Task task : tasks_)
    steps += std::max<size_t>(
        1, (task == IsrfConfig::EXPLANATION ? train_.explanations.size() : users_.size()) / batch);
  return static_cast<int64_t>(steps);
}

Sample SampleSource::Draw(T5Task task, int64_t draw) {
  Sample sample = task == IsrfConfig::EXPLANATION  ? Explanation(draw)
                  : task == IsrfConfig::SEQUENTIAL ? Sequential(draw)
                                                   : Direct(draw);
  Rng rng(config_.seed(), "template", static_cast<uint64_t>(task), static_cast<uint64_t>(draw));
  sample.prompt =
      static_cast<int64_t>(rng.Below(static_cast<uint64_t>(TemplateCount(prompts_, task))));
  return sample;
}

Sample SampleSource::Explanation(int64_t draw) {
  const auto& record = train_.explanations[explanations_->At(draw)];
  return {.user = record.user, .items = {record.item}, .text = record.text};
}

Sample SampleSource::Sequential(int64_t draw) {
  const int64_t user = users_[sequential_->At(draw)];
  const auto history = train_.histories.row(user);
  Rng rng(config_.seed(), "segment", 0, static_cast<uint64_t>(draw));
  const auto [first, last] = data::SequentialSegment(static_cast<int64_t>(history.size()),
                                                     config_.isrf().max_sequence(), rng);
  return {.user = user,
          .items = {history.begin() + first, history.begin() + last},
          .target = history[last]};
}

Sample SampleSource::Direct(int64_t draw) {
  const int64_t user = users_[direct_->At(draw)];
  const auto history = train_.histories.row(user);
  Rng rng(config_.seed(), "direct", 0, static_cast<uint64_t>(draw));
  Sample sample{.user = user, .target = history[rng.Below(history.size())]};
  sample.items = data::DrawNegatives(train_.item_count(), exclusion_.row(user),
                                     config_.split().direct_negatives(), rng);
  sample.items.push_back(sample.target);
  rng.Shuffle(sample.items);
  return sample;
}

BatchMaker::BatchMaker(IsrfVariant variant, const data::TrainView& train,
                       const config::IsrfConfig& config, const text::Templates& prompts,
                       const text::Tokenizer& tokenizer)
    : variant_(variant), train_(train), config_(config), prompts_(prompts), cache_(tokenizer) {}

std::vector<int64_t> BatchMaker::NumberTokens(int64_t item_row) {
  return cache_.EncodeIds(std::to_string(train_.numbers.item[item_row]));
}

std::string BatchMaker::Prompt(T5Task task, const Sample& sample) const {
  std::vector<int64_t> numbers;
  for (int64_t item : sample.items) numbers.push_back(train_.numbers.item[item]);
  const int64_t user = train_.numbers.user[sample.user];
  if (task == IsrfConfig::EXPLANATION)
    return prompts_.ExplanationPrompt(sample.prompt, user, numbers[0]);
  return task == IsrfConfig::SEQUENTIAL ? prompts_.SequentialPrompt(sample.prompt, user, numbers)
                                        : prompts_.DirectPrompt(sample.prompt, user, numbers);
}

text::Tokens BatchMaker::Source(T5Task task, const Sample& sample) {
  const bool nodes = task != IsrfConfig::SEQUENTIAL && variant_ != IsrfVariant::kPod;
  const int64_t users = train_.user_count();
  text::Tokens tokens =
      cache_.Encode(Prompt(task, sample),
                    nodes ? text::WholeWordRule::kNode : text::WholeWordRule::kOrdinal, users);
  if (nodes)  // from numbers in the prompt to rows of the graph
    for (int64_t& id : tokens.whole_words)
      if (id > 0)
        id = id <= users ? sample.user + 1 : users + 1 + train_.numbers.item_row[id - users - 1];
  tokens.ids.push_back(kEos);
  tokens.whole_words.push_back(0);
  return tokens;
}

std::vector<int64_t> BatchMaker::Target(T5Task task, const Sample& sample) {
  const bool explains = task == IsrfConfig::EXPLANATION;
  if (!explains && sample.target < 0) return {kEos};  // a query
  std::vector<int64_t> ids = explains ? cache_.EncodeIds(sample.text) : NumberTokens(sample.target);
  ids.push_back(kEos);
  if (explains && ids.size() > static_cast<size_t>(config_.explanation_tokens()))
    ids.resize(static_cast<size_t>(config_.explanation_tokens()));
  return ids;
}

Batch BatchMaker::Make(T5Task task, std::span<const Sample> samples) {
  std::vector<std::vector<int64_t>> sources, words, targets;
  std::vector<int64_t> users;
  for (const Sample& sample : samples) {
    text::Tokens tokens = Source(task, sample);
    sources.push_back(std::move(tokens.ids));
    words.push_back(std::move(tokens.whole_words));
    targets.push_back(Target(task, sample));
    users.push_back(sample.user + 1);
  }
  Batch batch{.task = task,
              .source = Pad(sources),
              .mask = {},
              .whole_words = Pad(words),
              .target = Pad(targets),
              .users = HostTensor::From(users, {static_cast<int64_t>(users.size())})};
  batch.mask = HostTensor::Zeros(DType::kU8, batch.source.shape());
  for (size_t i = 0; i < sources.size(); ++i) {
    auto row = batch.mask.row<uint8_t>(static_cast<int64_t>(i));
    std::fill_n(row.begin(), sources[i].size(), uint8_t{1});
  }
  if (batch.whole_words.dim(1) != batch.source.dim(1))
    Fail(Exit::kInternal, "whole-word ids and tokens differ in length");
  return batch;
}

}  // namespace whyrec::systems
