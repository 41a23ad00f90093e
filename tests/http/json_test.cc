// What is read from and written into bodies, windows and the ring, without a server.
#include "src/http/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "src/base/error.h"
#include "src/http/client.h"
#include "src/http/ring.h"
#include "src/http/window.h"

namespace whyrec::http {
namespace {

using Json = nlohmann::json;

TEST(HttpJson, ReadsAnswers) {
  struct Case {
    const char *body, *text;
    bool is_problem, finished;
  };
  const Case cases[] = {
      {R"({"choices":[{"message":{"content":" good "},"finish_reason":"stop"}]})", "good", 0, 1},
      {R"({"choices":[{"message":{"content":null},"finish_reason":"stop"}]})", "", 0, 1},
      {R"({"choices":[{"message":{},"finish_reason":null}],"usage":null,"model":7})", "", 0, 1},
      {R"({"choices":[{"message":{"content":"cut"},"finish_reason":"length"}]})", "cut", 0, 0},
      {R"({"choices":[{"message":{"content":[{"type":"text","text":"a"},{"text":"b"}]}}]})", "ab",
       0, 1},
      {R"({"choices":[{"message":{"content":"<think>\nhm</think>\n\nyes"}}]})", "yes", 0, 1},
      {R"({"choices":[{"message":{"content":"hm, well</think>yes"}}]})", "yes", 0, 1},
      {R"({"choices":[{"message":{"content":"<think>never ends"},"finish_reason":"length"}]})", "",
       0, 0},
      {R"({"choices":[{"message":{"content":"yes","reasoning_content":"hm","reasoning":"hm"}}]})",
       "yes", 0, 1},
      {R"({"choices":[{"message":{"content":"first"}},{"message":{"content":"second"}}]})", "first",
       0, 1},
      {R"({"choices":[]})", "", 1, 1},
      {R"({"choices":["x"]})", "", 1, 1},
      {R"({"error":{"message":"busy"}})", "", 1, 1},
      {R"([1])", "", 1, 1},
      {R"({"choices":[{"message":{"conte)", "", 1, 1},
      {"", "", 1, 1},
      {"<html>", "", 1, 1},
      {"{\"choices\":[{\"message\":{\"content\":\"\xff\"}}]}", "", 1, 1},
  };
  for (const auto& c : cases) {
    const auto completion = ReadCompletion(true, c.body);
    EXPECT_EQ(!completion.problem.empty(), c.is_problem) << c.body << completion.problem;
    EXPECT_EQ(completion.text, c.text) << c.body;
    EXPECT_EQ(completion.finished, c.finished) << c.body;
  }
  const auto plain = ReadCompletion(false, R"({"model":"m","choices":[{"text":"t"}],
                "usage":{"prompt_tokens":12,"completion_tokens":3}})");
  EXPECT_EQ(plain.text, "t");
  EXPECT_EQ(plain.model, "m");
  EXPECT_EQ(plain.tokens_in, 12);
  EXPECT_EQ(plain.tokens_out, 3);
}

TEST(HttpJson, WritesBodies) {
  const gen::Request request{.kind = "user",
                             .id = 3,
                             .step = "base",
                             .prompt = "p \xff<|end|>",
                             .facts = "",
                             .system = "s"};
  const gen::TextSampling sampling{
      .temperature = 0.7, .top_k = 5, .top_p = 0.9, .max_new_tokens = 64};
  const auto chat = Json::parse(CompletionBody({true, true, "m"}, request, sampling, 11));
  EXPECT_EQ(chat,
            Json::parse("{\"model\":\"m\",\"temperature\":0.7,\"top_p\":0.9,\"max_tokens\":64,"
                        "\"seed\":11,\"stream\":false,\"top_k\":5,\"messages\":["
                        "{\"role\":\"system\",\"content\":\"s\"},"
                        "{\"role\":\"user\",\"content\":\"p \xef\xbf\xbd<|end|>\"}]}"));
  const auto plain = Json::parse(CompletionBody({false, false, ""}, request, sampling, 11));
  EXPECT_FALSE(plain.contains("model"));
  EXPECT_FALSE(plain.contains("top_k"));
  // What a review spells must not end the user's turn.
  EXPECT_EQ(plain["prompt"],
            "<|system|>s<|end|><|user|>p \xef\xbf\xbd< |end|><|end|><|assistant|>");
  const auto greedy =
      Json::parse(CompletionBody({true, true, ""}, request, {.temperature = 0, .top_k = 5}, 1));
  EXPECT_FALSE(greedy.contains("top_k"));
}

TEST(HttpJson, SeedsFollowRunAndRequest) {
  gen::Request request{.kind = "user", .id = 3, .step = "base/1", .prompt = "p", .facts = ""};
  const uint64_t seed = SeedOf(7, request);
  EXPECT_EQ(seed, SeedOf(7, request));
  EXPECT_LT(seed, 1ull << 31);
  EXPECT_NE(seed, SeedOf(8, request));
  request.attempt = 1;
  EXPECT_NE(seed, SeedOf(7, request));
  request.attempt = 0;
  request.step = "base/2";
  EXPECT_NE(seed, SeedOf(7, request));
}

TEST(HttpJson, CountsWordsFromBelow) {
  gen::Request request{.kind = "k", .id = 0, .step = "s", .prompt = " two\nwords ", .facts = ""};
  EXPECT_EQ(FewestTokens(request), 2);
  request.system = "a b\tc";
  EXPECT_EQ(FewestTokens(request), 5);
  request.system.clear();
  request.prompt = CanaryPrompt(3436, 99);
  EXPECT_EQ(FewestTokens(request), 3436);
}

TEST(HttpJson, RetryAfterInBothForms) {
  const auto now = std::chrono::system_clock::from_time_t(784111777);  // RFC 9110's example
  EXPECT_EQ(RetryAfterSeconds("120", now), 120);
  EXPECT_EQ(RetryAfterSeconds("Sun, 06 Nov 1994 08:50:07 GMT", now), 30);
  EXPECT_EQ(RetryAfterSeconds("Sun, 06 Nov 1994 08:40:07 GMT", now), 0);
  EXPECT_FALSE(RetryAfterSeconds("", now));
  EXPECT_FALSE(RetryAfterSeconds("-5", now));
  EXPECT_FALSE(RetryAfterSeconds("soon", now));
}

TEST(HttpJson, ServerTexts) {
  EXPECT_EQ(ServerText(R"({"error":{"message":"no\nmodel","code":3}})"), "\"no model\"");
  EXPECT_EQ(ServerText(R"({"error":"no model"})"), "\"no model\"");
  EXPECT_EQ(ServerText(R"({"detail":"Not Found"})"), "\"Not Found\"");
  EXPECT_EQ(ServerText("<html>\x1b[2J"), "\"<html> [2J\"");
  EXPECT_EQ(ServerText(""), "(it says nothing)");
  EXPECT_LT(ServerText(std::string(100000, 'x')).size(), 500u);
}

TEST(HttpJson, ListsOfModels) {
  EXPECT_FALSE(ReadModels("[]"));
  EXPECT_FALSE(ReadModels("nothing"));
  EXPECT_TRUE(ReadModels(R"({"data":[]})")->empty());
  // A time that differs is no other model; another length is.
  const auto entry = [](int created, int length) {
    return ReadModels(Cat(R"({"data":[{"id":"m","created":)", created, R"(,"max_model_len":)",
                          length, "}]}"))
        ->at(0)
        .entry;
  };
  EXPECT_EQ(entry(1, 10), entry(2, 10));
  EXPECT_NE(entry(1, 10), entry(1, 20));
}

TEST(HttpUrl, PartsAndErrors) {
  const auto url = ParseUrl("https://host.example/v1/");
  EXPECT_TRUE(url.tls);
  EXPECT_EQ(url.host + " " + url.port + " " + url.path, "host.example 443 /v1");
  const auto six = ParseUrl("http://[::1]:8080/v1");
  EXPECT_EQ(six.host + " " + six.port + " " + six.path, "::1 8080 /v1");
  EXPECT_EQ(ParseUrl("http://h").port, "80");
  for (const char* bad :
       {"", "h:80", "ftp://h", "http://", "http://h:x/", "http://h:/", "http:///v1", "http://h /v1",
        "http://user:key@h/v1", "http://h\r\nX: y/v1"})
    EXPECT_THROW(ParseUrl(bad), Error) << bad;
}

TEST(Window, GrowsByOneAWindowAndHalvesOnceAWindow) {
  Window window(4);
  for (int i = 0; i < 3; ++i) window.Success(4);
  EXPECT_EQ(window.size(), 4);
  for (int i = 0; i < 2; ++i) window.Success(4);
  EXPECT_EQ(window.size(), 5);
  for (int i = 0; i < 100; ++i) window.Success(1);  // never full
  EXPECT_EQ(window.size(), 5);
  const auto number = window.number();
  for (int i = 0; i < 5; ++i) window.TooMuch(number);  // all of one window
  EXPECT_EQ(window.size(), 2);
  for (int i = 0; i < 9; ++i) window.TooMuch(window.number());
  EXPECT_EQ(window.size(), 1);
}

TEST(Ring, SharesAreEvenAndALossMovesItsOwnGroupsOnly) {
  const Ring ring({"http://a/v1", "http://b/v1", "http://c/v1"});
  std::vector<int> share(3);
  for (int i = 0; i < 3000; ++i) {
    const std::string group = Cat("user ", i);
    const auto owner = ring.Owner(group, {true, true, true});
    ++share[owner];
    const auto without = ring.Owner(group, {true, false, true});
    if (owner == 1)
      EXPECT_NE(without, 1);
    else
      EXPECT_EQ(without, owner);
  }
  for (int n : share) EXPECT_NEAR(n, 1000, 300);
  EXPECT_EQ(ring.Owner("user 1", {false, false, false}), -1);
}

}  // namespace
}  // namespace whyrec::http
