#include "src/train/trainable.h"

#include "src/base/error.h"

namespace whyrec::train {

Slice RankSlice(int64_t global_batch, int rank, int ranks) {
  return {global_batch * rank / ranks, global_batch * (rank + 1) / ranks};
}

Slice PartSlice(const Slice& whole, const Part& part) {
  return {whole.begin + whole.size() * part.index / part.count,
          whole.begin + whole.size() * (part.index + 1) / part.count};
}

StepLoss Trainable::PartLoss(int64_t step, const Part& part) {
  if (part.count > 1)
    Fail(Exit::kUsage, "this system cannot split its batch: set train.micro_batch to 0");
  return Loss(step);
}

}  // namespace whyrec::train
