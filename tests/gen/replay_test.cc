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
      MakeReplay(file_)->Generate({request});
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

// Runs the chain and writes a record of every answer.
class Recording final : public Generator {
 public:
  explicit Recording(const std::filesystem::path& file)
      : inner_(MakeTemplate()), file_(file, std::ios::app) {}
  std::string name() const override { return "recording"; }
  std::vector<Answer> Generate(const std::vector<Request>& requests) override {
    const auto answers = inner_->Generate(requests);
    for (size_t i = 0; i < answers.size(); ++i)
      file_ << RecordLine(requests[i], answers[i]) << "\n";
    return answers;
  }

 private:
  std::unique_ptr<Generator> inner_;
  std::ofstream file_;
};

std::string AllFields(const ChainTexts& chain) {
  std::string text;
  for (const auto& a : {chain.pos, chain.neg, chain.fused})
    text += Cat(a.text, "|", a.why, "|", a.raw_sha256, "|", a.model, "|", a.prompt_sha256, "|",
                a.seed, "|", a.tokens_in, "|", a.tokens_out, "|", a.parse, "\n");
  return text;
}

TEST_F(ReplayTest, RoundTripOfAChain) {
  using Items = std::vector<std::pair<int64_t, ItemFacts>>;
  Items items{{0, {"A \"quoted\"\ttitle\n", "Brand", {"Kind"}, "Ünïcode description of it."}},
              {1, {}},  // an empty record: its texts are missing
              {2, {"Third title", "", {}, ""}}};
  if (std::filesystem::exists(GiftCardsFolder()))
    for (auto& [id, facts] : ReadGiftCards().items) items.emplace_back(id + 3, std::move(facts));
  std::vector<ChainTexts> written;
  {
    Recording recording(file_);
    written = RunItemChain(recording, "toy", std::span<const std::pair<int64_t, ItemFacts>>(items));
  }
  const auto replay = MakeReplay(file_);
  EXPECT_EQ(replay->name(), "replay");
  const auto read =
      RunItemChain(*replay, "toy", std::span<const std::pair<int64_t, ItemFacts>>(items));
  for (size_t i = 0; i < items.size(); ++i)
    ASSERT_EQ(AllFields(read[i]), AllFields(written[i])) << i;
}

TEST_F(ReplayTest, AllFieldsOfARecordComeBack) {
  const Request request{"user", 5, "neg", "the prompt", ""};
  const Answer answer{"text", "why", "raw", "r1", Sha256Of("the prompt"), 18446744073709551615u,
                      7,      9,     "json"};
  Write("\n" + RecordLine(request, answer) + "\n\n");
  EXPECT_EQ(AllFields({MakeReplay(file_)->Generate({request})[0], {}, {}}),
            AllFields({answer, {}, {}}));
}

TEST_F(ReplayTest, MissingTextIsNone) {
  const Request request{"user", 5, "neg", "p", ""};
  Answer answer;
  answer.prompt_sha256 = Sha256Of("p");
  EXPECT_NE(RecordLine(request, answer).find("\"text\":\"None\""), std::string::npos);
  Write(RecordLine(request, answer));
  EXPECT_EQ(MakeReplay(file_)->Generate({request})[0].text, "");
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
