// http_ask URL ROUTE N WORDS: asks a server for N texts, prompts of WORDS words; replies as JSON
// lines. Errors go out as the program's do. For http_real_server.py.
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "src/base/error.h"
#include "src/http/http.h"
#include "src/http/json.h"

int main(int, char** argv) {
  using namespace whyrec;
  using namespace whyrec::http;
  try {
    const auto generator = MakeGenerator({.endpoints = {argv[1]},
                                          .chat = std::string(argv[2]) == "CHAT",
                                          .window = 2,
                                          .retries = 2,
                                          .seed = 5});
    std::vector<gen::Request> requests;
    for (int64_t i = 0; i < std::atoi(argv[3]); ++i)
      requests.push_back({.kind = "item",
                          .id = i,
                          .step = "pos",
                          .prompt = CanaryPrompt(std::atoi(argv[4]), static_cast<uint64_t>(i)),
                          .facts = ""});
    const gen::TextSampling sampling{
        .temperature = 0.9, .top_k = 40, .top_p = 0.95, .max_new_tokens = 12};
    const auto replies = generator->Generate(requests, sampling);
    for (const auto& reply : replies) {
      const nlohmann::json line{{"text", reply.text},
                                {"model", reply.model},
                                {"seed", reply.seed},
                                {"tokens_in", reply.tokens_in},
                                {"tokens_out", reply.tokens_out},
                                {"finished", reply.finished},
                                {"differs", reply.sampling_differs}};
      std::cout << line.dump() << "\n";
    }
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return static_cast<int>(error.code());
  }
  return 0;
}
