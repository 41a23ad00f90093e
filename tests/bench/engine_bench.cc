// Tokens per second while trees of reasons are generated: one request at a time, batched, batched
// with shared prefixes; random weights. Not a test:
//   engine_bench [users] [block tokens] [new tokens] [bf16] [cuda]
#include <ATen/Parallel.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/lm/text_engine.h"
#include "src/nn/parameters.h"

namespace whyrec::lm {
namespace {

using Level = std::vector<EngineRequest>;

std::vector<int64_t> RandomIds(Rng& rng, int64_t count, int64_t vocabulary) {
  std::vector<int64_t> ids(static_cast<size_t>(count));
  for (int64_t& id : ids) id = rng.Between(2, vocabulary - 1);
  return ids;
}

// A full tree per user: 1, 3 and 9 generations over 1, 1 and 3 prompts that begin with the block.
std::vector<Level> Trees(int64_t users, int64_t block, int64_t own, int64_t fresh,
                         int64_t vocabulary) {
  std::vector<Level> levels(3);
  for (int64_t user = 0; user < users; ++user) {
    Rng rng(static_cast<uint64_t>(user), "engine bench");
    const std::vector<int64_t> shared = RandomIds(rng, block, vocabulary);
    for (size_t level = 0; level < 3; ++level) {
      for (int prompt = 0; prompt < (level == 2 ? 3 : 1); ++prompt) {
        std::vector<int64_t> ids = shared;
        const auto end = RandomIds(rng, own, vocabulary);
        ids.insert(ids.end(), end.begin(), end.end());
        for (int copy = 0; copy < (level == 0 ? 1 : 3); ++copy) {
          const std::string name = Cat(user, ".", level, ".", prompt, ".", copy);
          levels[level].push_back({name, ids, Cat(user), fresh});
        }
      }
    }
  }
  return levels;
}

void Measure(const char* name, const Phi& model, const EngineOptions& options,
             const std::vector<Level>& levels) {
  TextEngine engine(model, options);
  const decode::Sampling sampling{.temperature = 0.7, .top_k = 51, .top_p = 0.95, .seed = 1};
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t cpu = std::clock();
  for (const Level& level : levels) engine.Run(level, sampling, [](size_t, EngineOutput) {});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double used = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  const EngineCounts& c = engine.counts();
  std::printf(
      "%-34s %8.1f tokens/s  %7.2f s  CPU %7.2f s  prompt %lld prefilled %lld drawn %lld steps "
      "%lld\n",
      name, static_cast<double>(c.decoded_tokens) / seconds, seconds, used,
      static_cast<long long>(c.prompt_tokens), static_cast<long long>(c.prefilled_tokens),
      static_cast<long long>(c.decoded_tokens), static_cast<long long>(c.steps));
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  const auto number = [&](int place, int64_t fallback) {
    return argc > place ? std::atoll(argv[place]) : fallback;
  };
  const int64_t users = number(1, 4), block = number(2, 400), fresh = number(3, 32);
  const bool half = argc > 4 && std::string(argv[4]) == "bf16";
  const bool cuda = argc > 5 && std::string(argv[5]) == "cuda";
  PhiConfig config;
  config.vocabulary = 8192;
  config.width = 512;
  config.inner = 1024;
  config.layers = 4;
  config.heads = 8;
  config.key_heads = 4;
  config.bos = config.pad = 0;
  config.eos = {0};
  nn::Parameters parameters(half ? at::kBFloat16 : at::kFloat, cuda ? at::kCUDA : at::kCPU);
  Phi model(config, parameters);
  model.Initialise(1);
  const auto levels = Trees(users, block, 60, fresh, config.vocabulary);
  std::printf("%lld users, block %lld, own parts 60, %lld new tokens, %s on %s, %d threads\n",
              static_cast<long long>(users), static_cast<long long>(block),
              static_cast<long long>(fresh), half ? "bf16" : "fp32", cuda ? "cuda" : "cpu",
              at::get_num_threads());
  Measure("one at a time", model, {.max_rows = 1, .share_prefixes = false}, levels);
  Measure("one at a time, shared prefixes", model, {.max_rows = 1}, levels);
  Measure("batched", model, {.share_prefixes = false}, levels);
  Measure("batched, shared prefixes", model, {}, levels);
  Measure("batched, shared, deterministic", model, {.deterministic = true}, levels);
  return 0;
}

}  // namespace
}  // namespace whyrec::lm

int main(int argc, char** argv) { return whyrec::lm::Main(argc, argv); }
