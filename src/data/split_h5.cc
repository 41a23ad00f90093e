// Files of a split: train.h5 and labels.h5.
#include "src/base/error.h"
#include "src/data/parts_h5.h"
#include "src/data/split.h"
#include "src/store/hdf5_file.h"

namespace whyrec::data {
namespace {

void SaveHeldOut(store::Hdf5Writer& file, const std::string& name, const HeldOut& held_out) {
  file.WriteInts(name + "/items", held_out.items);
  file.WriteInts(name + "/times", held_out.times);
  file.WriteFloats(name + "/ratings", held_out.ratings);
  file.WriteTexts(name + "/reviews", held_out.reviews);
  file.WriteInts(name + "/candidates", held_out.candidates);
}

HeldOut LoadHeldOut(const store::Hdf5Reader& file, const std::string& name) {
  return {.items = file.ReadInts(name + "/items"),
          .times = file.ReadInts(name + "/times"),
          .ratings = file.ReadFloats(name + "/ratings"),
          .reviews = file.ReadTexts(name + "/reviews"),
          .candidates = file.ReadRagged(name + "/candidates")};
}

}  // namespace

void Save(const Split& split, const std::filesystem::path& folder) {
  const TrainView& train = split.train;
  store::Hdf5Writer train_file(folder / "train.h5");
  train_file.Attribute("dataset", train.dataset);
  train_file.Attribute("domain", train.domain);
  SaveItems(train_file, train.items);
  train_file.WriteInts("histories", train.histories);
  train_file.WriteInts("times", train.times);
  train_file.WriteFloats("ratings", train.ratings);
  train_file.WriteTexts("reviews", train.reviews);
  SaveExplanations(train_file, "explanations", train.explanations);
  train_file.WriteInts("candidates", train.candidates);
  train_file.WriteInts("numbers/user", train.numbers.user);
  train_file.WriteInts("numbers/item", train.numbers.item);
  train_file.Close();

  const LabelStore& labels = split.labels;
  store::Hdf5Writer label_file(folder / "labels.h5");
  SaveHeldOut(label_file, "validation", labels.validation_);
  SaveHeldOut(label_file, "test", labels.test_);
  SaveExplanations(label_file, "explanations", labels.explanations_);
  label_file.Close();
}

TrainView LoadTrainView(const std::filesystem::path& folder) {
  const store::Hdf5Reader file(folder / "train.h5");
  TrainView train;
  train.dataset = file.Attribute("dataset");
  train.domain = file.Attribute("domain");
  train.items = LoadItems(file);
  train.histories = file.ReadRagged("histories");
  train.times = file.ReadInts("times");
  train.ratings = file.ReadFloats("ratings");
  train.reviews = file.ReadTexts("reviews");
  train.explanations = LoadExplanations(file, "explanations");
  train.candidates = file.ReadRagged("candidates");
  train.numbers = MakeNumbering(file.ReadInts("numbers/user"), file.ReadInts("numbers/item"));
  return train;
}

LabelStore LoadLabels(const std::filesystem::path& folder) {
  const store::Hdf5Reader file(folder / "labels.h5");
  return {LoadHeldOut(file, "validation"), LoadHeldOut(file, "test"),
          LoadExplanations(file, "explanations")};
}

}  // namespace whyrec::data
