// Request and response bodies of OpenAI's completion and chat-completion routes, as Ollama, vLLM
// and llama.cpp's server implement them. No sockets here.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/gen/generator.h"

namespace whyrec::http {

struct Wording {  // how a server is addressed
  bool chat = true;
  bool top_k = true;  // false: it does not take it
  std::string model;  // empty: left out
};

inline const char* RouteOf(bool chat) { return chat ? "/chat/completions" : "/completions"; }

// Fits the 31 bits that every server takes.
uint64_t SeedOf(uint64_t run_seed, const gen::Request& request);
std::string CompletionBody(const Wording& wording, const gen::Request& request,
                           const gen::TextSampling& sampling, uint64_t seed);

struct Completion {
  std::string problem;  // why the answer is of no use; else empty
  std::string text;     // without thoughts; empty: the model said nothing
  std::string model;    // empty: not said
  bool finished = true;
  int64_t tokens_in = 0, tokens_out = 0;  // 0: not said
};
Completion ReadCompletion(bool chat, const std::string& body);

// What follows the thoughts of a reasoning model; nothing when they have no end.
std::string WithoutThoughts(std::string text);

struct ListedModel {
  std::string id;
  std::string entry;  // id and what else stays as it is while one model is served
};
// Empty when the body is no list of models.
std::optional<std::vector<ListedModel>> ReadModels(const std::string& body);

// The message of an error's body, or its beginning, in one line.
std::string ServerText(const std::string& body);

// Fewest tokens of the request's texts: every word is at least one.
int64_t FewestTokens(const gen::Request& request);

// A prompt of so many common words, each one token for most tokenizers.
std::string CanaryPrompt(int64_t words, uint64_t number);

// Retry-After: seconds or an HTTP date; empty when it is neither.
std::optional<double> RetryAfterSeconds(const std::string& value,
                                        std::chrono::system_clock::time_point now);

}  // namespace whyrec::http
