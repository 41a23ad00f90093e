// `whyrec answers`: what a server said comes back from the file that the command writes, answers of
// no use and second draws included, as the same artefacts to the byte; and its errors.
#include "src/commands/commands.h"
#include "src/gen/ask.h"
#include "src/gen/record.h"
#include "tests/base/error_of.h"
#include "tests/http/stub.h"
#include "tests/stages/pulse_run.h"

namespace whyrec::commands {

using namespace stages;  // the runs that these tests start
namespace {

// Half of what it says is nothing or no words, by prompt and seed: some prompts get on at their
// second draw, some never. ISRF takes any words.
class Moody {
 public:
  Moody() {
    stub_.checks = [this](const http::StubQuestion& question) -> std::optional<http::StubAnswer> {
      const auto is = [&](const char* words) { return question.prompt.starts_with(words); };
      if (!is("Evidence, oldest first.") && !is("You profile") && !is("Same product") &&
          !is("Merge the") && !is("From the same") && !is("Condense"))
        return std::nullopt;
      return Answer(question);
    };
  }

  Names Overrides() const {
    return {"rationales.backend=HTTP", "rationales.http.endpoint[0]=" + stub_.url(),
            "rationales.http.context=100"};
  }
  int64_t asked() const { return std::ssize(stub_.questions()); }

 private:
  http::StubAnswer Answer(const http::StubQuestion& question) const {
    const std::string hash =
        Sha256Of(question.prompt + question.body.value("seed", http::Json(0)).dump());
    const std::string text = Cat("This shopper wants \"", hash.substr(0, 9),
                                 "\" again and again, as a gift for somebody at home.");
    http::Json answer = stub_.Usual(question);
    answer["usage"]["prompt_tokens"] = http::Stub::Words(question.body["messages"].dump()) + 50;
    answer["choices"][0]["message"]["content"] =
        hash[0] < '4'   ? std::string()
        : hash[0] < '8' ? std::string("... ?!")
                        : http::Json{{"summary", text}, {"reason", text}, {"why", "seen"}}.dump();
    return {.body = answer.dump()};
  }

  http::Stub stub_;
};

Names Joined(Names all, const Names& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// A tiny encoder for the stage behind ISRF's texts.
std::string Encoder(const fs::path& folder) {
  fs::copy(WHYREC_SOURCE_DIR "/tests/golden/bert/bert", folder / "encoder",
           fs::copy_options::recursive);
  fs::create_directory(folder / "encoder/1_Pooling");
  std::ofstream(folder / "encoder/1_Pooling/config.json")
      << R"({"pooling_mode_mean_tokens": true})";
  return "embeddings.encoder=" + (folder / "encoder").string();
}

// Up to the first stage that trains, which the texts do not change.
Names RunTexts(const config::RunConfig& config, const fs::path& folder) {
  SetProgressMode(ProgressMode::kNone);
  nn::SetThreads(1);
  store::Workspace workspace(folder);
  return RunChain({config, *cluster::MakeSelf(), workspace}, Kind::kLeased);
}

void ExpectReplayed(const config::RunConfig& config, const fs::path& made, const Names& stages,
                    Names (*run)(const config::RunConfig&, const fs::path&)) {
  const Temporary folder;
  const fs::path file = folder / "answers.jsonl";
  Answers(made, file);
  int64_t of_no_use = 0, lines = 0;
  gen::RecordReader reader(file);
  for (gen::Record record; reader.Next(record); ++lines) {
    EXPECT_TRUE(record.has_raw);
    EXPECT_NE(record.answer.parse, gen::kFallbackText);
    const bool said = record.answer.raw.find("again and again") != std::string::npos;
    const bool failed = record.answer.parse == "failed";
    EXPECT_EQ(failed, record.answer.text.empty()) << record.answer.text;
    EXPECT_FALSE(failed && said) << record.answer.raw;
    of_no_use += failed;
  }
  EXPECT_GT(of_no_use, 0);
  EXPECT_LT(of_no_use, lines / 2);
  config::RunConfig replay = config;
  replay.mutable_rationales()->set_backend(config::RationalesConfig::REPLAY);
  replay.mutable_rationales()->set_replay_file(file.string());
  const auto want = Contents(made);
  const fs::path copy = folder / "copy";
  fs::copy(made, copy, fs::copy_options::recursive);
  Names ran = run(replay, copy);
  std::ranges::sort(ran);
  EXPECT_EQ(ran, stages);
  EXPECT_EQ(Contents(copy), want);
}

TEST(Answers, ReplayGivesTheSameReasonsOfPulse) {
  const Moody server;
  const auto config = LoadPulse({"THOUGHT"}, server.Overrides());
  const Temporary folder;
  RunAlone(config, folder.path());
  EXPECT_GT(server.asked(), 24 * (1 + 3 * 13) * 5 / 4) << "no second draws";
  ExpectReplayed(config, folder.path(), {"rationales.positive", "rationales.tree"}, RunAlone);
}

TEST(Answers, ReplayGivesTheSameTextsOfIsrf) {
  const Moody server;
  const Temporary folder;
  const auto config =
      LoadTiny(Joined(server.Overrides(), {Encoder(folder.path())}), {"system[0].name=isrf"});
  RunTexts(config, folder / "run");
  ExpectReplayed(config, folder / "run", {"rationales.item", "rationales.user"}, RunTexts);
}

std::string Problem(const fs::path& workspace, const fs::path& file) {
  return ErrorOf([&] { Answers(workspace, file); });
}

TEST(Answers, SayWhyThereAreNone) {
  const Temporary folder;
  const fs::path run = folder / "run", file = folder / "answers.jsonl";
  EXPECT_NE(Problem(folder / "no", file).find("is not a workspace"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "no"));
  fs::create_directory(run);
  EXPECT_NE(Problem(run, file).find("has no finished texts"), std::string::npos);
  const auto config = LoadTiny({Encoder(folder.path())}, {"system[0].name=isrf"});
  RunTexts(config, run);
  EXPECT_NE(Problem(run, file).find("rationales.backend is TEMPLATE"), std::string::npos);
  EXPECT_FALSE(fs::exists(file));
}

}  // namespace
}  // namespace whyrec::commands
