// Files of a split: train.h5 and labels.h5.
#include "src/base/error.h"
#include "src/data/parts_h5.h"
#include "src/data/split.h"

namespace whyrec::data {

void Save(const Split& split, const std::filesystem::path& folder) {
  const TrainView& train = split.train;
  store::Hdf5Writer train_file(folder / "train.h5");
  train_file.Attribute("dataset", train.dataset);
  train_file.Attribute("domain", train.domain);
  SaveItems(train_file, train.items);
  train_file.WriteInts("histories", train.histories);
  train_file.WriteFloats("ratings", train.ratings);
  train_file.WriteTexts("reviews", train.reviews);
  SaveExplanations(train_file, "explanations", train.explanations);
  train_file.WriteInts("numbers/user", train.numbers.user);
  train_file.WriteInts("numbers/item", train.numbers.item);
  train_file.Close();

  const LabelStore& labels = split.labels;
  store::Hdf5Writer label_file(folder / "labels.h5");
  label_file.WriteInts("validation", labels.validation_);
  label_file.WriteInts("test", labels.test_);
  label_file.WriteInts("validation_candidates", labels.validation_candidates_);
  label_file.WriteInts("test_candidates", labels.test_candidates_);
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
  train.ratings = file.ReadFloats("ratings");
  train.reviews = file.ReadTexts("reviews");
  train.explanations = LoadExplanations(file, "explanations");
  train.numbers = MakeNumbering(file.ReadInts("numbers/user"), file.ReadInts("numbers/item"));
  return train;
}

LabelStore LoadLabels(const std::filesystem::path& folder) {
  const store::Hdf5Reader file(folder / "labels.h5");
  return {file.ReadInts("validation"), file.ReadInts("test"),
          file.ReadRagged("validation_candidates"), file.ReadRagged("test_candidates"),
          LoadExplanations(file, "explanations")};
}

}  // namespace whyrec::data
