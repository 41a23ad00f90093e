// `whyrec generate` and `whyrec embed` as processes: what they answer, and what kills cost.
#include <ATen/Parallel.h>

#include <nlohmann/json.hpp>
#include <set>

#include "src/lm/bert.h"
#include "src/lm/phi.h"
#include "src/lm/t5.h"
#include "src/store/safetensors.h"
#include "src/text/tokenizer.h"
#include "tests/golden/folder.h"
#include "tests/procs/process.h"

namespace whyrec {
namespace {

const fs::path kSource = WHYREC_SOURCE_DIR;

// Random weights: texts that mean nothing, by all the code there is.
class Generate : public testing::Test {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }

  fs::path T5Folder() {
    const fs::path folder = folder_ / "t5";
    nn::Parameters parameters;
    lm::T5 model({.vocabulary = 32128,
                  .d_model = 16,
                  .d_kv = 8,
                  .d_ff = 32,
                  .heads = 2,
                  .encoder_layers = 1,
                  .decoder_layers = 1},
                 parameters);
    model.Initialise(5);
    model.Save(folder);
    fs::copy(kSource / "examples/t5-tokenizer/spiece.model", folder);
    return folder;
  }
  fs::path PhiFolder(const std::string& name = "phi", int64_t rows_missing = 0) {
    const fs::path folder = folder_ / name, tokenizer = kGolden / "tokenizers/phi.json";
    nn::Parameters parameters;
    lm::PhiConfig config{.vocabulary = text::LoadTokenizerJson(tokenizer)->size() - rows_missing,
                         .width = 64,
                         .inner = 96,
                         .layers = 2,
                         .heads = 4,
                         .key_heads = 2,
                         .positions = 512,
                         .original_positions = 512};
    config.bos = config.pad = 0;
    config.eos = {1};
    lm::Phi model(config, parameters);
    model.Initialise(5);
    model.Save(folder);
    fs::copy(tokenizer, folder / "tokenizer.json");
    return folder;
  }
  // Users with five prompts each, which begin alike.
  fs::path Prompts() {
    const fs::path file = folder_ / "prompts.jsonl";
    std::ofstream out(file);
    for (int i = 0; i < prompts_; ++i)
      out << nlohmann::json{{"id", i},
                            {"group", "user " + std::to_string(i / 5)},
                            {"prompt", "This customer bought gift cards number " +
                                           std::to_string(i / 5) + ". Why? Draft " +
                                           std::to_string(i)}}
                 .dump()
          << "\n";
    return file;
  }
  int Run(const Words& words) { return Process(words, folder_ / "out").Wait(); }
  std::string Said() const { return ReadAll(folder_ / "out"); }
  Words Command(const fs::path& model, const fs::path& out, const Words& more) {
    Words words = {kProgram,           "generate", "--model",    model.string(), "--in",
                   Prompts().string(), "--out",    out.string(), "--threads",    "1",
                   "--device",         "cpu"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  int prompts_ = 40;
  Temporary folder_;
};

TEST_F(Generate, AnswersInTheOrderOfThePrompts) {
  for (const fs::path& model : {T5Folder(), PhiFolder()})
    for (const Words& how : {Words{"--beams", "3", "--return", "2"}, Words{"--return", "1"},
                             Words{"--temperature", "0.8", "--top-k", "20", "--return", "3"}}) {
      const fs::path out = folder_ / "answers.jsonl";
      Words words = Command(model, out, how);
      words.insert(words.end(), {"--max-new-tokens", "8"});
      ASSERT_EQ(Run(words), 0) << Said();
      std::ifstream lines(out);
      int64_t next = 0;
      for (std::string line; std::getline(lines, line); ++next) {
        const auto answer = nlohmann::json::parse(line);
        EXPECT_EQ(answer["id"], next);
        ASSERT_EQ(std::to_string(answer["outputs"].size()), how.back());
        for (const auto& output : answer["outputs"]) {
          EXPECT_LE(output["ids"].size(), 8u);
          EXPECT_LT(output["score"], 0.0);
          EXPECT_EQ(output["finished"], output["ids"].size() < 8) << line;
        }
      }
      EXPECT_EQ(next, 40);
      EXPECT_FALSE(fs::exists(out.string() + ".partial"));
      const std::string before = ReadAll(out);
      ASSERT_EQ(Run(words), 0);
      EXPECT_NE(Said().find("nothing to do"), std::string::npos) << Said();
      EXPECT_EQ(ReadAll(out), before);
    }
}

// Killed and stopped again and again: the bytes of an undisturbed run, where batches are fixed.
TEST_F(Generate, KilledRunsContinue) {
  prompts_ = 80;  // long enough for three kills on any machine
  const fs::path model = PhiFolder();
  const Words how = {"--temperature", "1", "--max-new-tokens", "150", "--deterministic"};
  ASSERT_EQ(Run(Command(model, folder_ / "calm", how)), 0) << Said();
  const fs::path out = folder_ / "killed", partial = out.string() + ".partial";
  int kills = 0;
  std::set<size_t> sizes;
  for (int signal : {SIGKILL, SIGTERM, SIGKILL}) {
    Process process(Command(model, out, how), folder_ / "out");
    const size_t before = ReadAll(partial).size();
    if (!process.Until([&] { return ReadAll(partial).size() > before; })) break;
    process.Signal(signal);
    const int code = process.Wait();
    EXPECT_EQ(code, signal == SIGKILL ? 128 + SIGKILL : 75) << Said();
    EXPECT_FALSE(fs::exists(out));
    sizes.insert(ReadAll(partial).size());
    ++kills;
  }
  EXPECT_EQ(kills, 3) << "the run was over too soon to be killed";
  EXPECT_EQ(sizes.size(), 3u) << "a run began anew";
  Words other = how;
  other[1] = "0.5";
  EXPECT_EQ(Run(Command(model, out, other)), 2);
  EXPECT_NE(Said().find("temperature is 0.5, was 1.0"), std::string::npos) << Said();
  {  // as if the last kill had come in the middle of a group
    std::istringstream lines(ReadAll(partial));
    std::string first, second;
    std::getline(lines, first);
    std::getline(lines, second);
    std::ofstream(partial) << first << "\n" << second << "\n";
  }
  ASSERT_EQ(Run(Command(model, out, how)), 0) << Said();
  EXPECT_TRUE(ReadAll(out) == ReadAll(folder_ / "calm")) << "another text or score";
}

TEST_F(Generate, BadPromptsAndFoldersHaveMessages) {
  fs::path model = PhiFolder();
  const auto said = [&](const std::string& line, const Words& more = {}) {
    std::ofstream(folder_ / "bad.jsonl") << line << "\n";
    Words words = {kProgram,  "generate",
                   "--model", model.string(),
                   "--in",    (folder_ / "bad.jsonl").string(),
                   "--out",   (folder_ / "bad.out").string()};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(Run(words), 65) << Said();
    fs::remove_all((folder_ / "bad.out").string() + ".partial");
    return Said();
  };
  const auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(said(R"({"id": 1})"), "bad.jsonl:1: give either \"prompt\" or \"ids\"");
  has(said(R"({"id": 1, "prompt": ""})"), "prompt 1 is empty");
  has(said(R"({"id": "x", "ids": [3, 99999]})"), "prompt \"x\": id 99999 is not in 0..");
  has(said(R"({"id": 1, "prompt": "Why?"})", {"--max-new-tokens", "512"}),
      "exceeds the model's context of 512");
  fs::remove(model / "model.safetensors");
  has(said(R"({"id": 1, "ids": [1]})"), "model.safetensors");
  fs::remove(model / "config.json");
  has(said(R"({"id": 1, "ids": [1]})"), "config.json: cannot be read; ");
  model = PhiFolder("fewer", 3);
  has(said(R"({"id": 1, "prompt": "Why?"})"), "they belong to different models");
}

TEST_F(Generate, EmbedContinuesPartByPart) {
  WR_NEEDS_ENCODER();
  std::ofstream texts(folder_ / "texts.jsonl");
  for (int i = 0; i < 4200; ++i)
    texts << R"({"id": )" << i << R"(, "text": "card )" << i << "\"}\n";
  texts.close();
  const auto command = [&](const char* out) {
    return Words{kProgram,       "embed",
                 "--model",      EncoderFolder().string(),
                 "--in",         (folder_ / "texts.jsonl").string(),
                 "--out",        (folder_ / out).string(),
                 "--max-tokens", "8",
                 "--threads",    "1"};
  };
  ASSERT_EQ(Run(command("calm")), 0) << Said();
  {
    Process process(command("killed"), folder_ / "out");
    ASSERT_TRUE(process.Until([&] {
      return fs::exists(folder_ / "killed.partial/00000000.safetensors");
    })) << Said();
    process.Signal(SIGKILL);
    process.Wait();
  }
  EXPECT_FALSE(fs::exists(folder_ / "killed"));
  ASSERT_EQ(Run(command("killed")), 0) << Said();
  EXPECT_EQ(ReadAll(folder_ / "killed"), ReadAll(folder_ / "calm"));
  const HostTensor all = store::ReadSafetensors(folder_ / "killed").at("embeddings");
  EXPECT_EQ(all.shape(), (std::vector<int64_t>{4200, 384}));
}

}  // namespace
}  // namespace whyrec
