// The HTTP back end against a server that fails in every way we know of.
#include <gtest/gtest.h>

#include <chrono>

#include "src/http/http.h"
#include "tests/http/stub.h"

namespace whyrec::http {
namespace {

using Cut = StubAnswer::Cut;
using Clock = std::chrono::steady_clock;

double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct Bad {
  std::string name, says;  // says: part of the message when it never gets better
  StubAnswer answer;
};

std::vector<Bad> BadAnswers() {
  const std::string good = R"({"choices":[{"message":{"content":"cut here"}}]})";
  return {{"408", "408", {.status = 408, .body = "slow"}},
          {"409", "409", {.status = 409, .body = "conflict"}},
          {"429", "429", {.status = 429, .body = R"({"error":{"message":"too many"}})"}},
          {"500", "\"oh\"", {.status = 500, .body = R"({"error":"oh"})"}},
          {"503", "loading", {.status = 503, .body = R"({"error":{"message":"loading"}})"}},
          {"dropped", "connection broke", {.body = good, .cut = Cut::kBefore}},
          {"cut", "connection broke", {.body = good, .cut = Cut::kAmid}},
          {"stalls", "silent for", {.body = good, .delay_s = 20}},
          {"stalls in its answer", "silent for", {.body = good, .cut = Cut::kStallAmid}},
          {"bad JSON", "is not a JSON object", {.body = R"({"choices":[{"message":{"con)"}},
          {"HTML", "<html>", {.body = "<html>gateway</html>"}},
          {"no choices", "no choices", {.body = R"({"choices":[]})"}},
          {"error under 200", "overloaded", {.body = R"({"error":{"message":"overloaded"}})"}},
          {"too long", "longer than", {.body = std::string(9 << 20, ' ')}}};
}

TEST(HttpHostile, OneBadAnswerIsAskedAgain) {
  for (const auto& bad : BadAnswers()) {
    SCOPED_TRACE(bad.name);
    Stub stub([&](const StubQuestion& question) -> std::optional<StubAnswer> {
      if (question.prompt == Ask(2).prompt && question.nth == 0) return bad.answer;
      return std::nullopt;
    });
    auto options = OptionsFor({&stub});
    options.timeout_s = bad.name.starts_with("stalls") ? 0.5 : 5;
    const auto requests = Asks(4);
    const auto replies = MakeGenerator(options)->Generate(requests, kShort);
    for (size_t i = 0; i < requests.size(); ++i)
      EXPECT_EQ(replies[i].text, Stub::TextFor(requests[i].prompt));
    // A drop on a used connection may be asked once more on a new one.
    EXPECT_EQ(stub.asked().size(), 5u);
    std::set<uint64_t> seeds;  // a repeated request is the same request
    for (const auto& question : stub.asked())
      if (question.prompt == Ask(2).prompt) seeds.insert(question.body["seed"].get<uint64_t>());
    EXPECT_EQ(seeds.size(), 1u);
  }
}

TEST(HttpHostile, ABadAnswerForeverIsCode69AfterTheRetries) {
  for (const auto& bad : BadAnswers()) {
    SCOPED_TRACE(bad.name);
    Stub stub([&](const StubQuestion&) { return bad.answer; });
    auto options = OptionsFor({&stub});
    options.timeout_s = bad.name.starts_with("stalls") ? 0.2 : 5;
    options.retries = 2;
    const auto start = Clock::now();
    const auto problem = Problem(options, {Ask(2)}, Exit::kUnavailable);
    EXPECT_LT(Since(start), 6);
    for (const auto& part :
         {stub.url(), bad.says, std::string("3 tries of item 2 pos"), std::string("check that")})
      EXPECT_TRUE(Has(problem, part)) << part << " is not in: " << problem;
    // A drop on a used connection is asked once more at once, on a new one.
    EXPECT_EQ(stub.asked().size(), bad.name == "dropped" ? 4u : 3u);
  }
}

TEST(HttpHostile, RefusalsStopAtOnce) {
  const std::pair<int, Exit> cases[] = {{400, Exit::kData},  {401, Exit::kUsage},
                                        {403, Exit::kUsage}, {404, Exit::kUsage},
                                        {422, Exit::kData},  {302, Exit::kUsage}};
  for (const auto& [status, code] : cases) {
    Stub stub([&, status = status](const StubQuestion&) {
      return StubAnswer{.status = status, .body = R"({"error":{"message":"we will not"}})"};
    });
    auto options = OptionsFor({&stub});
    options.window = 1;
    const auto problem = Problem(options, Asks(3), code);
    EXPECT_TRUE(Has(problem, "we will not") && Has(problem, Cat(status)) &&
                Has(problem, stub.url()))
        << problem;
    EXPECT_EQ(stub.asked().size(), 1u) << status;
  }
}

TEST(HttpHostile, RetryAfterIsHonoured) {
  for (const std::string form : {"seconds", "date"}) {
    Stub stub([&](const StubQuestion& question) -> std::optional<StubAnswer> {
      if (question.nth > 0) return std::nullopt;
      const time_t then = time(nullptr) + 2;
      char date[64];
      strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&then));
      return StubAnswer{.status = 429,
                        .body = "{}",
                        .headers = Cat("Retry-After: ", form == "date" ? date : "1", "\r\n")};
    });
    MakeGenerator(OptionsFor({&stub}))->Generate({Ask(1)}, kShort);
    const auto asked = stub.asked();
    ASSERT_EQ(asked.size(), 2u);
    const double waited = std::chrono::duration<double>(asked[1].at - asked[0].at).count();
    EXPECT_GE(waited, 0.95) << form;
    EXPECT_LT(waited, 3) << form;
  }
  Stub stub([](const StubQuestion&) {
    return StubAnswer{.status = 503, .body = "{}", .headers = "Retry-After: 86400\r\n"};
  });
  const auto start = Clock::now();
  EXPECT_TRUE(Has(Problem(OptionsFor({&stub}), {Ask(1)}, Exit::kUnavailable), "86400 s"));
  EXPECT_LT(Since(start), 2);
}

TEST(HttpHostile, AServerWithRoomForFewGetsFew) {
  std::atomic<int> refused = 0;
  Stub* self = nullptr;
  Stub stub([&](const StubQuestion& question) -> std::optional<StubAnswer> {
    if (self->at_once() > 3) {
      ++refused;
      return StubAnswer{.status = 503, .body = "{}"};
    }
    return StubAnswer{.body = self->Usual(question).dump(), .delay_s = 0.005};
  });
  self = &stub;
  auto options = OptionsFor({&stub});
  options.window = 16;
  options.retries = 12;
  const auto requests = Asks(80);
  const auto replies = MakeGenerator(options)->Generate(requests, kShort);
  for (size_t i = 0; i < requests.size(); ++i)
    EXPECT_EQ(replies[i].text, Stub::TextFor(requests[i].prompt));
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 80);
}

TEST(HttpHostile, AnUnreachableServerIsCode69InBoundedTime) {
  Options options;
  {
    Stub stub;
    options = OptionsFor({&stub});
  }  // now nobody listens there
  const auto start = Clock::now();
  const auto problem = Problem(options, {Ask(1)}, Exit::kUnavailable);
  EXPECT_LT(Since(start), 3);
  EXPECT_TRUE(Has(problem, options.endpoints[0]) && Has(problem, "no connection") &&
              Has(problem, "4 tries") && Has(problem, "rationales.http.endpoint"))
      << problem;
}

TEST(HttpHostile, ACrashInMidRunMovesTheWork) {
  Stub one, two;
  std::atomic<int> seen = 0;
  Stub frail([&](const StubQuestion&) -> std::optional<StubAnswer> {
    if (++seen > 5) return StubAnswer{.body = "{}", .cut = Cut::kBefore};
    return std::nullopt;
  });
  const auto requests = Asks(60);
  const auto generator = MakeGenerator(OptionsFor({&one, &frail, &two}));
  const auto replies = generator->Generate(requests, kShort);
  std::map<std::string, int> good;
  for (const Stub* stub : {&one, &two})
    for (const auto& question : stub->asked()) ++good[question.prompt];
  for (size_t i = 0; i < requests.size(); ++i)
    EXPECT_EQ(replies[i].text, Stub::TextFor(requests[i].prompt));
  for (const auto& [prompt, n] : good) EXPECT_EQ(n, 1) << prompt;
  EXPECT_EQ(good.size(), 55u);  // what it had answered is not asked again
  EXPECT_GT(seen, 5);

  // Later calls go on without it; when the last one dies, too, that is the end.
  one.Kill();
  EXPECT_EQ(generator->Generate(requests, kShort).size(), 60u);
  two.Kill();
  EXPECT_THROW(generator->Generate(requests, kShort), Error);
}

TEST(HttpHostile, AnIdleConnectionMayBeClosedWithoutLoss) {
  Stub stub([](const StubQuestion& question) -> std::optional<StubAnswer> {
    return StubAnswer{.body = Json{{"choices", {{{"message", {{"content", "yes"}}}}}}}.dump(),
                      .close = question.nth == 0};
  });
  auto options = OptionsFor({&stub});
  options.retries = 0;
  const auto generator = MakeGenerator(options);
  for (int64_t id = 0; id < 6; ++id) {
    EXPECT_EQ(generator->Generate({Ask(id)}, kShort)[0].text, "yes");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(stub.asked().size(), 6u);
}

TEST(HttpHostile, SilentTruncationIsSeenBeforeTheFirstRequest) {
  Stub stub;
  stub.checks = [&](const StubQuestion& question) -> std::optional<StubAnswer> {
    if (!question.prompt.starts_with("List")) return std::nullopt;
    auto body = stub.Usual(question);
    body["usage"]["prompt_tokens"] = std::min<int64_t>(2048, Stub::Words(question.prompt));
    return StubAnswer{.body = body.dump()};
  };
  auto options = OptionsFor({&stub});
  options.context = 0;
  const auto problem = Problem(options, {Ask(1)}, Exit::kData);
  for (const char* part : {"2048", "num_ctx", "--max-model-len", "-c", "rationales.http.context"})
    EXPECT_TRUE(Has(problem, part)) << problem;
  EXPECT_TRUE(stub.asked().empty());
  for (const auto& question : stub.questions()) {
    if (!question.prompt.starts_with("List")) continue;
    EXPECT_GT(Stub::Words(question.prompt), 3400);
  }
  options.context = 2000;  // enough for what this user asks
  EXPECT_EQ(Problem(options, {Ask(1)}, Exit::kOk), "");
}

TEST(HttpHostile, SilentTruncationIsSeenInAReply) {
  Stub stub([&](const StubQuestion& question) -> std::optional<StubAnswer> {
    auto body = stub.Usual(question);
    body["usage"]["prompt_tokens"] = std::min<int64_t>(2048, Stub::Words(question.prompt));
    return StubAnswer{.body = body.dump()};
  });
  auto requests = Asks(3);
  EXPECT_EQ(Problem(OptionsFor({&stub}), requests, Exit::kOk), "");
  for (int i = 0; i < 2100; ++i) requests[1].prompt += " more";
  const auto problem = Problem(OptionsFor({&stub}), requests, Exit::kData);
  for (const char* part : {"2048", "2104", "num_ctx", "item 1 pos"})
    EXPECT_TRUE(Has(problem, part)) << problem;
}

TEST(HttpHostile, WithoutUsageTheUserIsWarned) {
  const auto silent = [](const StubQuestion& question) -> std::optional<StubAnswer> {
    if (question.path == "/v1/models") return std::nullopt;
    return StubAnswer{.body = R"({"choices":[{"message":{"content":"yes"}}]})"};
  };
  Stub stub(silent);
  stub.checks = silent;
  testing::internal::CaptureStderr();
  EXPECT_EQ(Problem(OptionsFor({&stub}), {Ask(1)}, Exit::kOk), "");
  EXPECT_TRUE(Has(testing::internal::GetCapturedStderr(), "may cut prompts unseen"));
}

TEST(HttpHostile, AnotherModelInMidRunStopsThatEndpoint) {
  for (bool alone : {true, false}) {
    std::atomic<int> seen = 0;
    Stub steady;
    Stub fickle([&](const StubQuestion&) -> std::optional<StubAnswer> {
      if (++seen == 8) fickle.model = "stub-2";
      return std::nullopt;
    });
    const auto options = alone ? OptionsFor({&fickle}) : OptionsFor({&fickle, &steady});
    const auto requests = Asks(50);
    if (alone) {
      const auto problem = Problem(options, requests, Exit::kUnavailable);
      EXPECT_TRUE(Has(problem, "stub-2 instead of stub-1") && Has(problem, fickle.url()))
          << problem;
      continue;
    }
    testing::internal::CaptureStderr();
    const auto replies = MakeGenerator(options)->Generate(requests, kShort);
    EXPECT_TRUE(Has(testing::internal::GetCapturedStderr(), "stub-2 instead of stub-1"));
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(replies[i].model, "stub-1");
      EXPECT_EQ(replies[i].text, Stub::TextFor(requests[i].prompt));
    }
    EXPECT_GE(seen, 8);
  }
}

// Under the same name: other weights in the list, or other greedy texts.
TEST(HttpHostile, AnotherFingerprintStopsTheEndpoint) {
  for (const std::string changes : {"list", "one text", "texts", "nothing"}) {
    SCOPED_TRACE(changes);
    Stub stub;
    std::atomic<bool> changed = false;
    stub.checks = [&](const StubQuestion& question) -> std::optional<StubAnswer> {
      const bool is_one = question.prompt.starts_with("Name");
      if (!changed || question.path == "/v1/models" ||
          !(changes == "texts" || (changes == "one text" && is_one)))
        return std::nullopt;
      auto body = stub.Usual(question);
      body["choices"][0]["message"]["content"] = "quite another text";
      return StubAnswer{.body = body.dump()};
    };
    auto options = OptionsFor({&stub});
    options.examine_s = 0;  // before each call
    const auto generator = MakeGenerator(options);
    generator->Generate({Ask(1)}, kShort);
    changed = true;
    if (changes == "list") stub.root = "weights-2";
    std::string problem;
    try {
      generator->Generate({Ask(2)}, kShort);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::kUnavailable);
      problem = error.what();
    }
    if (changes == "one text" || changes == "nothing") {
      EXPECT_EQ(problem, "");
      continue;
    }
    const bool named = changes == "list"
                           ? Has(problem, "weights-2") && Has(problem, "weights-1")
                           : Has(problem, "quite another text") && Has(problem, "answer to [");
    EXPECT_TRUE(named) << problem;
    EXPECT_EQ(stub.asked().size(), 1u);
    EXPECT_THROW(generator->Generate({Ask(2)}, kShort), Error);  // nor does it come back
  }
}

TEST(HttpHostile, AfterAnErrorTheGeneratorCanBeUsedAgain) {
  Stub stub([](const StubQuestion& question) -> std::optional<StubAnswer> {
    if (question.nth == 0) return StubAnswer{.status = 400, .body = "not yet"};
    return std::nullopt;
  });
  const auto generator = MakeGenerator(OptionsFor({&stub}));
  EXPECT_THROW(generator->Generate({Ask(1)}, kShort), Error);
  EXPECT_EQ(generator->Generate({Ask(1)}, kShort)[0].text, Stub::TextFor(Ask(1).prompt));
}

}  // namespace
}  // namespace whyrec::http
