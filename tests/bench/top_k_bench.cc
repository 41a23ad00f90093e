// Times nearest users on a file of vectors; tests/bench/top_k_bench.py makes it, runs this beside
// FAISS and prints the table.
//
// top_k_bench FILE K THREADS REPEATS OUT   FILE: safetensors with "x" F32 [n, w]; OUT gets the
// lists as "rows" I32 [n, k]   -> {"ms"} of each repeat
#include <ATen/Parallel.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "src/nn/top_k.h"
#include "src/store/safetensors.h"

int main(int count, char** words) {
  using namespace whyrec;
  if (count != 6) {
    std::cerr << "top_k_bench FILE K THREADS REPEATS OUT\n";
    return 2;
  }
  at::set_num_threads(std::atoi(words[3]));
  const HostTensor x = store::ReadSafetensors(words[1]).at("x");
  HostTensor rows;
  std::vector<double> times;
  for (int64_t repeat = std::atoll(words[4]); repeat > 0; --repeat) {
    const auto begin = std::chrono::steady_clock::now();
    rows = nn::TopKCosine(x, std::atoll(words[2]));
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
            .count());
  }
  store::WriteSafetensors(words[5], {{"rows", rows}});
  std::cout << nlohmann::json{{"ms", times}}.dump() << std::endl;
}
