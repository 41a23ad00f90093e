// How the hidden states of a text become its vector.
#pragma once

namespace whyrec::lm {

enum class Pooling {
  kAuto,     // what the model's folder says (bert_folder.h)
  kMean,     // mean over the text's tokens
  kCls,      // the first token's state
  kEasyRec,  // tanh of a dense layer over the first token's state
};

}  // namespace whyrec::lm
