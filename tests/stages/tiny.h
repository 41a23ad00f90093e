// A run that is over in seconds: gift cards, a T5 of a few thousand weights, 24 test users. Its
// systems are given as overrides.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "src/base/error.h"
#include "src/base/hash.h"

namespace whyrec {

namespace fs = std::filesystem;

inline constexpr const char* kGiftCards = WHYREC_SOURCE_DIR "/examples/gift-cards";

inline fs::path WriteTiny(const fs::path& folder) {
  const std::string data = kGiftCards;
  const fs::path file = folder / "tiny.txtpb";
  std::ofstream(file)
      << "catalogue {\n  dataset: \"gift-cards\" domain: \"gift card\"\n  reviews: \"" << data
      << "/reviews.jsonl.gz\" items: \"" << data << "/items.jsonl.gz\"\n"
      << R"(  fields { user: "user" time: "time" rating: "rating" text: "text" }
}
split { direct_negatives: 19 }
rationales { unit_size: 100 }
embeddings { max_tokens: 16 unit_size: 100 }
graphs { neighbours: 5 }
isrf {
  task: SEQUENTIAL task: DIRECT
  backbone {
    tokenizer: ")"
      << WHYREC_SOURCE_DIR << R"(/examples/t5-tokenizer/spiece.model"
    d_model: 16 d_ff: 32 d_kv: 8 heads: 2 layers: 1
  }
}
train { steps: 8 epoch_steps: 4 global_batch: 8 validation_users: 16 checkpoint_steps: 2 }
predict { users: 24 batch_users: 8 sequential_beams: 12 sequential_extra: 2 direct_beams: 4 }
metrics { bootstrap: 100 }
execution { threads: 1 device: "cpu" }
)";
  return file;
}

// The text encoder that ISRF's embeddings need, where the set-up has put it.
inline fs::path EncoderFolder() {
  const char* cache = std::getenv("WHYREC_CACHE");
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  return (cache ? fs::path(cache)
                : (xdg ? fs::path(xdg) : fs::path(home ? home : "") / ".cache") / "whyrec") /
         "minilm";
}
inline bool HasEncoder() { return fs::exists(EncoderFolder() / "model.safetensors"); }
#define WR_NEEDS_ENCODER() \
  if (!HasEncoder()) GTEST_SKIP() << "no text encoder in the cache; run launch/setup"

// Hash of every file of the workspace's artefacts, by "artefact/file". Left out: manifests and the
// log, which hold times, and scratch, whose names begin with '.'.
inline std::map<std::string, std::string> Contents(const fs::path& workspace) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(workspace)) {
    const fs::path path = entry.path().lexically_relative(workspace);
    if (!entry.is_regular_file() || path.filename() == "manifest.txtpb" || *path.begin() == "log" ||
        path.filename().string().starts_with('.'))
      continue;
    out[path.string()] = Sha256OfFile(entry.path());
  }
  return out;
}

}  // namespace whyrec
