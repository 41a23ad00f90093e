// The interface between a paper's equations and the machinery. A scorer states its equations: the
// loss of examples and the scores of items. Everything else - batches and ranks, epochs,
// micro-batches, dropout streams, validation, early stopping, prediction - belongs to
// MakeSequential and MakePairwise.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/base/facts.h"
#include "src/base/ragged.h"
#include "src/nn/dropout.h"
#include "src/nn/parameters.h"
#include "src/ranking/recommender.h"
#include "src/ranking/samplers.h"
#include "src/train/team.h"

namespace whyrec::ranking {

// Items [begin, end), rows of the catalogue.
struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// The type and the device of parameters that the configuration names.
at::ScalarType TypeOf(const BuildContext& context);
at::Device DeviceOf(const BuildContext& context);

class Scorer {
 public:
  // What LossSum is made of: its name in losses.csv, and the loss of a validation item.
  enum class Loss {
    kBce,           // -log s(x+) - log s(-x-), s the sigmoid
    kCrossEntropy,  // -log softmax(x)[+] over all items
    kBpr,           // -log s(x+ - x-)
  };

  virtual ~Scorer() = default;
  virtual nn::Parameters& parameters() = 0;
  virtual void Initialise(uint64_t seed) = 0;
  virtual Loss loss() const = 0;
  // Whether LossSum reads the distinct users and items of the whole batch.
  virtual bool contrasts() const { return false; }

  // Scorers whose tables can be distributed over ranks (graphs.placement). Join is called by all
  // ranks before Initialise; then BeginStep, with all examples of this rank, and EndStep around the
  // calls of LossSum; Prepare, Scores and Save are called by all ranks together, too.
  virtual bool distributes() const { return false; }
  virtual void Join(const train::Team& /*team*/) {}
  virtual void BeginStep(const Examples& /*own*/) {}
  virtual void EndStep() {}
  virtual Facts facts() const { return {}; }  // about training, for the manifest; by all ranks

  // A sum over the examples, scalar; the loss of a step is the sum over its passes divided by the
  // targets of the global batch. `draws`: one stream for each sample.
  virtual at::Tensor LossSum(const Examples& examples, const nn::Draws& draws) = 0;
  // Of items.size() items for each query, [Q, items.size()], on the device of the parameters.
  // Called without gradients, after Prepare or Load.
  virtual at::Tensor Scores(std::span<const Query> queries, Range items) = 0;
  // Called after parameters have changed, before Scores: computes what all queries share.
  virtual void Prepare() {}

  // Called at the end of training, by all ranks, with the best parameters: writes files besides
  // model.safetensors.
  virtual void Save(const std::filesystem::path& /*folder*/) {}
  // Called with the trained parameters, before prediction.
  virtual void Load(const std::filesystem::path& /*folder*/) { Prepare(); }
  // Recommender::UserVectors, [Q, d].
  virtual at::Tensor UserVectors(std::span<const Query> queries, bool padded);
};

// Trained on sequences of the training histories: NextItem, Prefix, or a Window of fixed targets.
using MakeSampler = std::function<std::unique_ptr<Sampler>(
    const Ragged<int64_t>& histories, const Ragged<int64_t>& excluded, int64_t items,
    const SamplerOptions& options)>;
std::unique_ptr<Recommender> MakeSequential(const BuildContext& context,
                                            std::unique_ptr<Scorer> scorer,
                                            const SamplerOptions& options, MakeSampler make);

// Trained on pairs of a positive and a negative item of a user. With `refit`, training is repeated
// from the start, for the number of steps that validated best, with the validation items among the
// positives, because systems that read histories see them at the test. `refit` is called with these
// positives first, so that graphs can be rebuilt.
using TakePositives = std::function<void(const Ragged<int64_t>& positives)>;
std::unique_ptr<Recommender> MakePairwise(const BuildContext& context,
                                          std::unique_ptr<Scorer> scorer, TakePositives refit = {});

// Training options that these two do not read, and why: of every system that they train.
std::vector<std::pair<std::string, std::string>> IgnoredTraining();

}  // namespace whyrec::ranking
