// A run of PULSE that is over in seconds: a made-up catalogue, models of width 16. Its systems are
// given as overrides.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "src/base/error.h"

namespace whyrec {

// Every way to run the system.
inline const std::vector<std::string> kPulseVariants = {
    "THOUGHT", "NONE",   "BASE",     "LOG_LIKELIHOOD", "DISTILBERT", "SBERT",
    "RANDOM",  "ORACLE", "SHUFFLED", "PRIOR",          "BLIND"};

inline std::filesystem::path WritePulse(const std::filesystem::path& folder) {
  const std::string source = WHYREC_SOURCE_DIR, bert = source + "/tests/golden/bert/bert";
  const std::filesystem::path file = folder / "pulse_tiny.txtpb";
  std::ofstream(file) << R"(catalogue {
  dataset: "planted" domain: "bath product"
  planted { users: 24 tastes: 8 items_per_taste: 6 events: 6 }
}
split { direct_negatives: 9 train_candidates: true }
rationales { unit_size: 8 deterministic: true attempts: 2 }
pulse {
  language {
    tokenizer: ")" << source
                      << R"(/examples/phi-tokenizer/tokenizer.json"
    width: 16 inner: 32 layers: 2 heads: 2 key_heads: 1
    train { steps: 4 epoch_steps: 2 global_batch: 8 }
  }
  thought {
    vocabulary: ")" << bert
                      << R"(/vocab.txt" width: 16 inner: 32 layers: 2 heads: 2
    train { steps: 6 epoch_steps: 3 global_batch: 12 }
  }
  behaviour { max_tokens: 40 }
  tree { sbert: ")" << bert
                      << R"(" }
  scorer { rank: 2 train { steps: 4 epoch_steps: 2 global_batch: 8 } }
}
predict { batch_users: 8 }
metrics { bootstrap: 100 }
execution { threads: 1 device: "cpu" }
)";
  return file;
}

// These variants, with SASRec as the source of neighbours.
inline std::vector<std::string> PulseSystems(const std::vector<std::string>& variants) {
  std::vector<std::string> out;
  for (const std::string& variant : variants) {
    const std::string at = Cat("system[", out.size() / 2, "].");
    out.insert(out.end(), {at + "name=pulse", at + "variant=" + variant});
  }
  const std::string at = Cat("system[", variants.size(), "].");
  out.insert(out.end(), {at + "name=sasrec", at + "knobs.dim=8", at + "train.steps=6",
                         at + "train.epoch_steps=3", at + "train.global_batch=16",
                         at + "train.validation_users=16"});
  return out;
}

}  // namespace whyrec
