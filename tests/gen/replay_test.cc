// Records: what the template back end wrote comes back from a file; every bad file is named.
#include <fstream>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/gen/record.h"
#include "tests/gen/gift_cards.h"

namespace whyrec::gen {
namespace {

class ReplayTest : public testing::Test {
 protected:
  ~ReplayTest() override { std::filesystem::remove(file_); }

  void Write(const std::string& text) { std::ofstream(file_) << text; }

  std::string Problem(const Request& request = {"item", 4, "pos", "prompt", ""}) {
    try {
      MakeReplay(file_)->Generate({request}, {});
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::kData) << e.what();
      return e.what();
    }
    return "";
  }

  std::filesystem::path file_ =
      std::filesystem::temp_directory_path() /
      Cat("whyrec_", testing::UnitTest::GetInstance()->current_test_info()->name(), ".jsonl");
};

std::string AllFields(const ChainTexts& chain) {
  std::string text;
  for (const auto& a : {chain.pos, chain.neg, chain.fused})
    text += Cat(a.text, "|", a.why, "|", a.raw, "|", a.model, "|", a.prompt_sha256, "|", a.seed,
                "|", a.tokens_in, "|", a.tokens_out, "|", a.parse, "\n");
  return text;
}

TEST_F(ReplayTest, RoundTripOfAChain) {
  using Items = std::vector<std::pair<int64_t, ItemFacts>>;
  Items items{{0, {"A \"quoted\"\ttitle\n", "Brand", {"Kind"}, "Ünïcode description of it."}},
              {1, {}},  // an empty record: its texts are missing
              {2, {"Third title", "", {}, ""}}};
  if (std::filesystem::exists(GiftCardsFolder()))
    for (auto& [id, facts] : ReadGiftCards().items) items.emplace_back(id + 3, std::move(facts));
  const std::string domain = "toy";
  const auto written =
      RunItemChain(*MakeTemplate(), domain, std::span<const std::pair<int64_t, ItemFacts>>(items));
  {
    std::ofstream file(file_);
    for (size_t i = 0; i < items.size(); ++i) {
      const auto& [id, facts] = items[i];
      const auto& [pos, neg, fused] = written[i];
      const auto add = [&, id = id](const std::string& step, const std::string& prompt,
                                    const Answer& answer) {
        file << RecordLine({"item", id, step, prompt, ""}, answer) << "\n";
      };
      add("pos", ItemPosPrompt(domain, facts), pos);
      add("neg", ItemNegPrompt(facts, pos.text), neg);
      add("fused", ItemFusedPrompt(facts, pos.text, neg.text), fused);
    }
  }
  const auto replay = MakeReplay(file_);
  EXPECT_EQ(replay->name(), "replay");
  const auto read =
      RunItemChain(*replay, "toy", std::span<const std::pair<int64_t, ItemFacts>>(items));
  for (size_t i = 0; i < items.size(); ++i)
    ASSERT_EQ(AllFields(read[i]), AllFields(written[i])) << i;
}

Answer Read(Generator& generator, const Request& request, const AnswerRules& rules) {
  return Ask(generator, {request},
             {.rules = rules, .attempts = 2, .draws = [](int64_t) { return TextSampling(); }})
      .at(0);
}

TEST_F(ReplayTest, AllFieldsOfARecordComeBack) {
  const Request request{"user", 5, "neg", "the prompt", ""};
  const Answer answer{.text = "text",
                      .why = "why",
                      .raw = "{'summary': 'text', why: 'why'}",
                      .model = "r1",
                      .prompt_sha256 = Sha256Of("the prompt"),
                      .seed = 18446744073709551615u,
                      .tokens_in = 7,
                      .tokens_out = 9,
                      .parse = "json",
                      .log_probability = -2.5,
                      .finished = false};
  Write("\n" + RecordLine(request, answer) + "\n\n");
  const auto replay = MakeReplay(file_);
  const Answer read = Read(*replay, request, SummaryRules(80));
  EXPECT_EQ(AllFields({read, {}, {}}), AllFields({answer, {}, {}}));
  EXPECT_EQ(read.log_probability, -2.5);
  EXPECT_FALSE(read.finished);
}

TEST_F(ReplayTest, MissingTextIsNone) {
  const Request request{"user", 5, "neg", "p", ""};
  Answer answer;
  answer.raw = "None";
  answer.prompt_sha256 = Sha256Of("p");
  EXPECT_NE(RecordLine(request, answer).find("\"text\":\"None\""), std::string::npos);
  Write(RecordLine(request, answer));
  EXPECT_EQ(Read(*MakeReplay(file_), request, SummaryRules(80)).text, "");
}

// Records of PULSE, and older ones that kept the text alone.
TEST_F(ReplayTest, NodesOfTreesAndRecordsWithoutTheRawAnswer) {
  const Request node{"validation", 3, "base/2/0", "p", ""};
  const std::string text = "This customer keeps looking for \"loose\" green tea as a gift.";
  const nlohmann::json record{{"kind", "validation"}, {"id", 3},
                              {"step", "base/2/0"},   {"text", text},
                              {"why", "seen"},        {"prompt_sha256", Sha256Of("p")}};
  Write(record.dump());
  const auto replay = MakeReplay(file_);
  EXPECT_EQ(Read(*replay, node, ReasonRules()).text, text);
  EXPECT_EQ(Read(*replay, node, SummaryRules(80)).why, "seen");
  Request again = node;
  again.attempt = 1;
  EXPECT_EQ(replay->Generate({again}, {})[0].text, replay->Generate({node}, {})[0].text);
}

TEST_F(ReplayTest, NamesWhatIsMissing) {
  Write(R"({"kind": "item", "id": 4, "step": "pos", "text": "t", "prompt_sha256": "00"})");
  const std::string other = Problem();
  for (const std::string& part :
       {std::string("kind item"), std::string("id 4"), std::string("step pos"), Sha256Of("prompt"),
        std::string("another prompt")})
    EXPECT_NE(other.find(part), std::string::npos) << other;
  const std::string none = Problem({"item", 5, "pos", "prompt", ""});
  EXPECT_NE(none.find("id 5"), std::string::npos) << none;
  EXPECT_EQ(none.find("another prompt"), std::string::npos) << none;
}

TEST_F(ReplayTest, BadRecordsAreNamedByLine) {
  const std::string good =
      R"({"kind": "item", "id": 4, "step": "pos", "text": "t", "prompt_sha256": "00"})";
  for (const auto& [bad, words] : std::vector<std::pair<std::string, std::string>>{
           {"{", "parse error"},
           {R"({"kind": "item"})", "'id'"},
           {R"({"kind": "item", "id": "4", "step": "pos", "text": "t", "prompt_sha256": "0"})",
            "number"},
           {R"({"kind": "thing", "id": 4, "step": "pos", "text": "t", "prompt_sha256": "0"})",
            "thing"},
           {R"({"kind": "test", "id": 4, "step": "", "text": "t", "prompt_sha256": "0"})", "empty"},
           {R"({"kind": "test", "id": 4, "step": "base", "prompt_sha256": "0"})", "'text'"},
           {R"({"kind": "item", "id": 4, "step": "last", "text": "t", "prompt_sha256": "0"})",
            "last"},
           {R"({"kind": "item", "id": 4, "step": "pos", "text": "u", "prompt_sha256": "00"})",
            "second text"}}) {
    Write(good + "\n" + bad + "\n");
    const std::string problem = Problem();
    EXPECT_NE(problem.find(file_.string() + ":2: "), std::string::npos) << problem;
    EXPECT_NE(problem.find(words), std::string::npos) << problem;
  }
}

}  // namespace
}  // namespace whyrec::gen
