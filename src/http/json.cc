#include "src/http/json.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/text/chat.h"

namespace whyrec::http {
namespace {

using Json = nlohmann::json;

constexpr size_t kServerText = 400;  // bytes of a server's text that a message quotes

// A member of an object; null when there is none, or no object.
const Json& At(const Json& json, const char* name) {
  static const Json null;
  if (!json.is_object()) return null;
  const auto found = json.find(name);
  return found == json.end() ? null : *found;
}

std::string Text(const Json& json) { return json.is_string() ? json.get<std::string>() : ""; }

int64_t Count(const Json& json) {
  return json.is_number() ? std::max<int64_t>(0, json.get<int64_t>()) : 0;
}

// Some servers send a list of parts instead of a text.
std::string Content(const Json& json) {
  if (!json.is_array()) return Text(json);
  std::string text;
  for (const auto& part : json) text += Text(At(part, "text"));
  return text;
}

std::string Trim(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// A review that spells "<|end|>" must not end the user's turn.
std::string Harmless(std::string content) {
  if (!text::SpellsSpecialToken(content)) return content;
  for (size_t at = 0; (at = content.find("<|", at)) != content.npos; at += 3)
    content.replace(at, 2, "< |");
  return content;
}

}  // namespace

uint64_t SeedOf(uint64_t run_seed, const gen::Request& request) {
  return Rng(run_seed, "text of " + request.Name()).Next() >> 33;
}

std::string CompletionBody(const Wording& wording, const gen::Request& request,
                           const gen::TextSampling& sampling, uint64_t seed) {
  Json body{{"temperature", sampling.temperature},
            {"top_p", sampling.top_p},
            {"max_tokens", sampling.max_new_tokens},
            {"seed", seed},
            {"stream", false}};
  if (!wording.model.empty()) body["model"] = wording.model;
  if (wording.top_k && sampling.top_k > 0 && sampling.temperature > 0)
    body["top_k"] = sampling.top_k;
  if (wording.chat) {
    auto& messages = body["messages"] = Json::array();
    if (!request.system.empty())
      messages.push_back({{"role", "system"}, {"content", request.system}});
    messages.push_back({{"role", "user"}, {"content", request.prompt}});
  } else {
    std::vector<text::ChatMessage> messages;
    if (!request.system.empty()) messages.push_back({"system", Harmless(request.system)});
    messages.push_back({"user", Harmless(request.prompt)});
    body["prompt"] = text::ChatPrompt(messages);
    body["stop"] = {"<|end|>", "<|endoftext|>"};
  }
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Completion ReadCompletion(bool chat, const std::string& body) {
  Completion completion;
  const auto json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    completion.problem = "the answer is not a JSON object: " + ServerText(body);
    return completion;
  }
  const auto& choices = At(json, "choices");
  if (!choices.is_array() || choices.empty() || !choices[0].is_object()) {
    completion.problem = "the answer has no choices: " + ServerText(body);
    return completion;
  }
  const auto& choice = choices[0];
  completion.text = WithoutThoughts(chat ? Content(At(At(choice, "message"), "content"))
                                         : Content(At(choice, "text")));
  completion.finished = Text(At(choice, "finish_reason")) != "length";
  completion.model = Text(At(json, "model"));
  completion.tokens_in = Count(At(At(json, "usage"), "prompt_tokens"));
  completion.tokens_out = Count(At(At(json, "usage"), "completion_tokens"));
  return completion;
}

std::string WithoutThoughts(std::string text) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  // The opening tag may be part of the server's template, so that only the closing one is visible.
  if (const auto close = text.rfind(kClose); close != text.npos)
    text.erase(0, close + kClose.size());
  if (const auto open = text.find(kOpen); open != text.npos) text.resize(open);
  return Trim(text);
}

std::optional<std::vector<ListedModel>> ReadModels(const std::string& body) {
  const auto json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  const auto& data = At(json, "data");
  if (!data.is_array()) return std::nullopt;
  std::vector<ListedModel> models;
  for (const auto& model : data) {
    const std::string id = Text(At(model, "id"));
    if (id.empty()) continue;
    // Times and permissions of an entry differ from call to call (vLLM).
    Json entry{{"id", id}};
    for (const char* part : {"owned_by", "root", "parent", "max_model_len"})
      if (!At(model, part).is_null()) entry[part] = At(model, part);
    for (const char* part : {"n_params", "size", "n_vocab", "n_embd"})  // llama.cpp
      if (!At(At(model, "meta"), part).is_null()) entry[part] = At(At(model, "meta"), part);
    models.push_back({id, entry.dump()});
  }
  return models;
}

std::string ServerText(const std::string& body) {
  const auto json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  std::string text;
  for (const Json& part : {At(At(json, "error"), "message"), At(json, "error"), At(json, "message"),
                           At(json, "detail")})
    if (text.empty()) text = part.is_string() ? Text(part) : "";
  if (text.empty()) text = body;
  if (text.size() > kServerText) text = text.substr(0, kServerText) + "...";
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  text = Trim(text);
  return text.empty() ? "(it says nothing)" : "\"" + text + "\"";
}

int64_t FewestTokens(const gen::Request& request) {
  int64_t words = 0;
  for (const std::string* text : {&request.system, &request.prompt}) {
    bool inside = false;
    for (unsigned char c : *text) {
      const bool is_space = std::isspace(c) != 0;
      words += !is_space && !inside;
      inside = !is_space;
    }
  }
  return words;
}

std::string CanaryPrompt(int64_t words, uint64_t number) {
  constexpr std::array<const char*, 32> kCommon = {
      "time", "year", "people", "way",   "day",  "man",   "thing", "world", "life", "hand", "part",
      "work", "week", "case",   "point", "home", "water", "room",  "money", "book", "word", "side",
      "door", "name", "team",   "air",   "game", "food",  "city",  "tree",  "road", "house"};
  // Starts with a number, so that no server has it in its prefix cache: some do not count cached
  // tokens.
  std::string prompt = Cat("List ", number, ":");
  Rng rng(number, "canary");
  for (int64_t i = 2; i < words; ++i) prompt += Cat(" ", kCommon[rng.Below(kCommon.size())]);
  return prompt;
}

std::optional<double> RetryAfterSeconds(const std::string& value,
                                        std::chrono::system_clock::time_point now) {
  const std::string text = Trim(value);
  if (text.empty()) return std::nullopt;
  if (text.size() <= 9 && text.find_first_not_of("0123456789.") == text.npos)
    return std::strtod(text.c_str(), nullptr);
  tm parts{};
  const char* end = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  const auto then = std::chrono::system_clock::from_time_t(timegm(&parts));
  return std::max(0.0, std::chrono::duration<double>(then - now).count());
}

}  // namespace whyrec::http
