// The HTTP back end against a server that behaves: what is sent, what comes back, in which order.
#include "src/http/http.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "proto/config.pb.h"
#include "src/base/stop.h"
#include "src/http/json.h"
#include "tests/http/stub.h"

namespace whyrec::http {
namespace {

void ExpectAnswered(const std::vector<gen::Request>& requests,
                    const std::vector<gen::Reply>& replies) {
  ASSERT_EQ(replies.size(), requests.size());
  for (size_t i = 0; i < requests.size(); ++i)
    EXPECT_EQ(replies[i].text, Stub::TextFor(requests[i].prompt));
}

TEST(Http, RepliesInOrderNothingLostOrDoubled) {
  const auto later = [](const StubQuestion& question) {
    StubAnswer answer{.delay_s = 0.001 * static_cast<double>(question.prompt.size() * 7 % 23)};
    answer.body =
        Json{{"choices", {{{"message", {{"content", Stub::TextFor(question.prompt)}}}}}}}.dump();
    return answer;
  };
  Stub one(later), two(later);
  std::vector<gen::Request> requests;
  for (int64_t id = 0; id < 40; ++id)
    for (const char* step : {"base", "base/1", "base/1/22"}) requests.push_back(Ask(id, step));
  const auto generator = MakeGenerator(OptionsFor({&one, &two}));
  ExpectAnswered(requests, generator->Generate(requests, kShort));
  EXPECT_EQ(generator->name(), "stub-1");

  std::map<std::string, int> times;
  std::map<std::string, std::set<int>> where;  // of a group
  int at = 0;
  for (const Stub* stub : {&one, &two}) {
    ++at;
    EXPECT_GT(stub->asked().size(), 20u);
    for (const auto& question : stub->asked()) {
      ++times[question.prompt];
      where[question.prompt.substr(0, question.prompt.find(' ', 4))].insert(at);
    }
  }
  EXPECT_EQ(times.size(), requests.size());
  for (const auto& [prompt, n] : times) EXPECT_EQ(n, 1) << prompt;
  EXPECT_EQ(where.size(), 40u);
  for (const auto& [group, stubs] : where) EXPECT_EQ(stubs.size(), 1u) << group;
  // Connections stay open: as many as the window grows to (8 and 1 more per window answered).
  EXPECT_LT(2 * one.connections(), static_cast<int64_t>(one.asked().size()));
}

TEST(Http, NothingToAskIsNoError) {
  Stub stub;
  EXPECT_TRUE(MakeGenerator(OptionsFor({&stub}))->Generate({}, kShort).empty());
}

TEST(Http, ChatFields) {
  Stub stub;
  auto options = OptionsFor({&stub});
  options.model = "stub-1";
  gen::Request request = Ask(4);
  request.system = "be brief";
  const gen::TextSampling sampling{.temperature = 0.25, .top_p = 0.75, .max_new_tokens = 33};
  auto again = request;
  again.attempt = 1;
  const auto replies = MakeGenerator(options)->Generate({request, again}, sampling);
  const auto asked = stub.asked();
  ASSERT_EQ(asked.size(), 2u);
  std::set<uint64_t> seeds;
  for (const auto& question : asked) {
    EXPECT_EQ(question.path, "/v1/chat/completions");
    EXPECT_EQ(question.body["model"], "stub-1");
    EXPECT_EQ(question.body["temperature"], 0.25);
    EXPECT_EQ(question.body["top_p"], 0.75);
    EXPECT_EQ(question.body["max_tokens"], 33);
    EXPECT_EQ(question.body["messages"], Json::parse(R"([{"role":"system","content":"be brief"},
                              {"role":"user","content":"ask 4 pos please"}])"));
    EXPECT_TRUE(question.authorization.empty());
    seeds.insert(question.body["seed"].get<uint64_t>());
  }
  EXPECT_EQ(seeds, (std::set<uint64_t>{replies[0].seed, replies[1].seed}));
  EXPECT_EQ(seeds.size(), 2u);
  EXPECT_EQ(replies[0].tokens_in, 11);
  EXPECT_EQ(replies[0].tokens_out, 3);
  EXPECT_EQ(replies[0].model, "stub-1");
  EXPECT_TRUE(std::isnan(replies[0].log_probability));
  EXPECT_EQ(replies[0].sampling_differs, "");
}

TEST(Http, CompletionsRenderThePromptHere) {
  Stub stub([](const StubQuestion&) { return std::nullopt; });
  auto options = OptionsFor({&stub});
  options.chat = false;
  options.context = 0;
  gen::Request request = Ask(4);
  request.system = "be brief";
  const auto reply = MakeGenerator(options)->Generate({request}, kShort)[0];
  const std::string prompt =
      "<|system|>be brief<|end|><|user|>ask 4 pos please<|end|><|assistant|>";
  EXPECT_EQ(stub.questions().back().path, "/v1/completions");
  EXPECT_EQ(stub.questions().back().prompt, prompt);
  EXPECT_EQ(reply.text, Stub::TextFor(prompt));
}

TEST(Http, KeyGoesIntoTheHeaderOnly) {
  setenv("WHYREC_TEST_KEY", "sk-very-secret-0123", 1);
  Stub stub([](const StubQuestion&) {
    return StubAnswer{.status = 401,
                      .body = std::string(385, ' ') +
                              "bad key sk-very-secret-0123, "
                              "sk-very-secret-0123, sk-very-secret-0123"};
  });
  config::HttpConfig config;
  config.add_endpoint(stub.url());
  config.set_key_variable("WHYREC_TEST_KEY");
  config.set_window(3);
  config.set_context(321);
  auto options = OptionsOf(config, 8);
  EXPECT_EQ(options.window, 3);
  EXPECT_EQ(options.retries, 6);
  EXPECT_EQ(options.context, 321);
  EXPECT_EQ(options.seed, 8u);
  EXPECT_TRUE(options.chat);
  testing::internal::CaptureStderr();
  const auto problem = Problem(options, {Ask(1)}, Exit::kUsage);
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_NE(problem.find("401"), std::string::npos) << problem;
  EXPECT_NE(problem.find("key_variable"), std::string::npos) << problem;
  for (const auto& text : {problem, log}) EXPECT_EQ(text.find("sk-v"), std::string::npos) << text;
  for (const auto& question : stub.questions())
    EXPECT_EQ(question.authorization, "Bearer sk-very-secret-0123");
  EXPECT_EQ(stub.asked().size(), 1u);
  options.key = "two\r\nlines";
  EXPECT_THROW(MakeGenerator(options), Error);
  unsetenv("WHYREC_TEST_KEY");
  EXPECT_EQ(OptionsOf(config, 8).key, "");
}

// How the server treats top_k -> what the reply says, and how often the request carried it.
TEST(Http, TopKIsTestedAndRecorded) {
  for (const std::string treats : {"honours", "refuses", "ignores"}) {
    Stub stub;
    stub.checks = [&](const StubQuestion& question) -> std::optional<StubAnswer> {
      if (!question.body.contains("top_k")) return std::nullopt;
      EXPECT_EQ(question.body["top_k"], 1);
      if (treats == "refuses")
        return StubAnswer{.status = 400,
                          .body = R"({"error":{"message":"Unrecognized argument: top_k"}})"};
      if (treats == "honours") return std::nullopt;
      return StubAnswer{.body = Cat(R"({"choices":[{"message":{"content":"s)",
                                    question.body["seed"].get<int64_t>(), R"("}}]})")};
    };
    const auto generator = MakeGenerator(OptionsFor({&stub}));
    const auto replies =
        generator->Generate(Asks(5), {.temperature = 0.7, .top_k = 50, .max_new_tokens = 4});
    const auto told = treats == "honours"   ? ""
                      : treats == "refuses" ? "no top_k (refused)"
                                            : "no top_k (ignored)";
    for (const auto& reply : replies) EXPECT_EQ(reply.sampling_differs, told);
    ASSERT_EQ(stub.asked().size(), 5u);
    for (const auto& question : stub.asked())
      EXPECT_EQ(question.body.value("top_k", 0), treats == "refuses" ? 0 : 50) << treats;
    // Neither greedy nor unlimited sampling is concerned.
    EXPECT_EQ(generator->Generate({Ask(9)}, kShort)[0].sampling_differs, "");
    EXPECT_EQ(generator->Generate({Ask(8)}, {.temperature = 0, .top_k = 50})[0].sampling_differs,
              "");
  }
}

TEST(Http, EmptyAnswersComeBackEmpty) {
  const char* bodies[] = {R"({"choices":[{"message":{"content":null}}]})",
                          R"({"choices":[{"message":{"content":""}}]})",
                          R"({"choices":[{"message":{"content":"<think>long"},
                              "finish_reason":"length"}]})"};
  Stub stub([&](const StubQuestion& question) {
    return StubAnswer{.body = bodies[question.prompt[4] - '0']};
  });
  const auto replies = MakeGenerator(OptionsFor({&stub}))->Generate(Asks(3), kShort);
  EXPECT_EQ(stub.asked().size(), 3u);  // asking again is the engine's business
  for (const auto& reply : replies) EXPECT_EQ(reply.text, "");
  EXPECT_TRUE(replies[0].finished);
  EXPECT_FALSE(replies[2].finished);
}

TEST(Http, TheWindowBoundsWhatIsUnderWay) {
  for (int64_t window : {1, 6}) {
    Stub stub([](const StubQuestion& question) {
      return StubAnswer{.body = Json{{"choices", {{{"text", question.prompt}}}}}.dump(),
                        .delay_s = question.prompt.ends_with("slow") ? 0.4 : 0.02};
    });
    auto options = OptionsFor({&stub});
    options.window = window;
    const auto generator = MakeGenerator(options);
    auto slow = Asks(2 * window);
    for (auto& request : slow) request.prompt += " slow";
    generator->Generate(slow, kShort);
    const auto asked = stub.asked();
    const auto early = std::count_if(asked.begin(), asked.end(), [&](const auto& question) {
      return question.at - asked[0].at < std::chrono::milliseconds(350);
    });
    EXPECT_LE(early, window);
    generator->Generate(Asks(60), kShort);
    EXPECT_GT(stub.most_at_once(), window + 1);  // it grew, by one a window
    EXPECT_LT(stub.most_at_once(), 20);
  }
}

TEST(Http, ModelIsTheServersOnlyOneOrTheOneAskedFor) {
  Stub stub;
  stub.checks = [](const StubQuestion& question) -> std::optional<StubAnswer> {
    if (question.path != "/v1/models") return std::nullopt;
    return StubAnswer{.body = R"({"data":[{"id":"a"},{"id":"b"}]})"};
  };
  auto options = OptionsFor({&stub});
  const auto problem = Problem(options, {Ask(1)}, Exit::kUsage);
  EXPECT_NE(problem.find("a, b"), std::string::npos) << problem;
  EXPECT_NE(problem.find("rationales.http.model"), std::string::npos) << problem;
  options.model = "b:latest";  // an alias need not be listed
  const auto generator = MakeGenerator(options);
  EXPECT_EQ(generator->name(), "stub-1");
  EXPECT_EQ(stub.questions().back().body["model"], "b:latest");

  Stub other;
  other.model = "stub-2";
  Stub first;
  const auto mixed = Problem(OptionsFor({&first, &other}), {Ask(1)}, Exit::kUsage);
  EXPECT_NE(mixed.find("stub-1"), std::string::npos) << mixed;
  EXPECT_NE(mixed.find("stub-2"), std::string::npos) << mixed;
}

TEST(Http, NoEndpointOrTheSameTwice) {
  EXPECT_THROW(MakeGenerator({}), Error);
  EXPECT_THROW(MakeGenerator({.endpoints = {"http://h/v1", "http://h/v1"}}), Error);
  EXPECT_THROW(MakeGenerator({.endpoints = {"h:80"}}), Error);
}

TEST(HttpDeathTest, AStopSignalEndsTheWait) {
  const auto stopped = [] {
    Stub stub([](const StubQuestion&) {
      raise(SIGTERM);
      return StubAnswer{.body = "{}", .delay_s = 30};
    });
    auto options = OptionsFor({&stub});
    options.timeout_s = 60;
    CatchStopSignals();
    try {
      MakeGenerator(options)->Generate({Ask(1)}, kShort);
    } catch (const Error& error) {
      _exit(static_cast<int>(error.code()));
    }
    _exit(0);
  };
  EXPECT_EXIT(stopped(), testing::ExitedWithCode(75), "");
}

}  // namespace
}  // namespace whyrec::http
