#include "src/config/run_config.h"
#include "src/config/manual.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "src/base/error.h"
#include "src/config/parse.h"
#include "tests/store/temporary.h"

namespace whyrec::config {
namespace {

namespace fs = std::filesystem;

class RunConfigTest : public testing::Test {
 protected:
  fs::path Write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  // The lines of the error that loading `text` gives, without the folder's name.
  std::vector<std::string> Errors(const std::string& text,
                                  const std::vector<std::string>& overrides = {}) {
    try {
      Load(Write("c.txtpb", text), overrides);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::kUsage);
      std::vector<std::string> lines;
      std::istringstream in(error.what());
      for (std::string line; std::getline(in, line);) {
        const std::string prefix = folder_.path().string() + "/";
        for (size_t at; (at = line.find(prefix)) != std::string::npos;)
          line.erase(at, prefix.size());
        lines.push_back(line);
      }
      return lines;
    }
    return {};
  }
  using Lines = std::vector<std::string>;
  const Temporary folder_;
};

TEST_F(RunConfigTest, OneErrorPerRule) {
  const struct {
    std::string text, error;
  } cases[] = {
      {"train {\n  bacth_size: 3\n}",
       "c.txtpb:2:3: message \"TrainConfig\" has no field \"bacth_size\"; did you mean "
       "\"global_batch\"?"},
      {"train {\n  epoch: 3\n}",
       "c.txtpb:2:3: message \"TrainConfig\" has no field \"epoch\"; did you mean \"epochs\"?"},
      {"learning_rate: 3",
       "c.txtpb:1:1: message \"RunConfig\" has no field \"learning_rate\"; did you mean "
       "\"train.learning_rate\"?"},
      {"zzz: 3", "c.txtpb:1:1: message \"RunConfig\" has no field \"zzz\""},
      {"isrf {\n  variant: POD\n}",
       "c.txtpb:2:3: \"variant\" is no field of message \"IsrfConfig\" any more; write  system { "
       "name: \"isrf\" variant: \"ISRF_CODE\" }, or \"ELMREC\" or \"POD\", one entry for each"},
      {"seed: 1\n\n  seed: 2", "c.txtpb:3:3: seed is stated twice"},
      {"train {}\ntrain {}", "c.txtpb:2:1: train is stated twice"},
      {"train {\n  global_batch: 0\n}",
       "c.txtpb:2:17: train.global_batch is 0; must be in [1, 65536]"},
      {"train { learning_rate: 0 }", "c.txtpb:1:24: train.learning_rate is 0; must be in (0, 1]"},
      {"train { dropout: 1 }", "c.txtpb:1:18: train.dropout is 1; must be in [0, 1)"},
      {"train { dropout: -.5 }", "c.txtpb:1:18: train.dropout is -0.5; must be in [0, 1)"},
      {"train { dropout: nan }", "c.txtpb:1:18: train.dropout is nan; must be in [0, 1)"},
      {"train { epochs: ten }", "c.txtpb:1:17: train.epochs is ten; must be an integer of 32 bits"},
      {"train { epochs: 1.5 }", "c.txtpb:1:17: train.epochs is 1.5; must be an integer of 32 bits"},
      {"train { epochs: 3000000000 }",
       "c.txtpb:1:17: train.epochs is 3000000000; must be an integer of 32 bits"},
      {"seed: -1", "c.txtpb:1:7: seed is -1; must be an integer of 64 bits, not negative"},
      {"train { dropout: \"a\" }", "c.txtpb:1:18: train.dropout is \"a\"; must be a number"},
      {"metrics { dedupe: 7 }", "c.txtpb:1:19: metrics.dedupe is 7; must be true or false"},
      {"name: beauty", "c.txtpb:1:7: name is beauty; must be a text in quotes"},
      {"protocol: STRICKT",
       "c.txtpb:1:11: protocol is STRICKT; must be one of AS_PUBLISHED, STRICT, BOTH; did you mean "
       "\"STRICT\"?"},
      {"train: 5", "c.txtpb:1:8: train is a message; write train { ... }"},
      {"seed 5", "c.txtpb:1:6: seed is a value; write seed: value"},
      {"seed: }", "c.txtpb:1:7: seed needs one value"},
      {"seed: [1, 2]", "c.txtpb:1:7: seed needs one value"},
      {"train {\n  epochs: 3\n", "c.txtpb:1:7: train begins here and is never closed"},
      {"seed: 1\n}", "c.txtpb:2:1: \"}\" stands where a field's name was expected"},
      {"isrf { task: [DIRECT SEQUENTIAL] }", "c.txtpb:1:22: expected , or ] in the list isrf.task"},
      {"name: \"abc", "c.txtpb:1:11: Unexpected end of string."},
      {"name: \"${NO_SUCH_VARIABLE_HERE}\"", ""},  // only paths expand
      {"catalogue { folder: \"${NO_SUCH_VARIABLE_HERE}/x\" }",
       "c.txtpb:1:21: catalogue.folder: environment variable NO_SUCH_VARIABLE_HERE is not set"},
      {"base: \"absent.txtpb\"", "c.txtpb:1:7: base absent.txtpb: cannot be read"},
      {"seed: 1\nbase: \"c.txtpb\"", "c.txtpb:2:7: base is circular: c.txtpb -> c.txtpb"},
  };
  for (const auto& [text, error] : cases) {
    const Lines errors = Errors(text);
    ASSERT_EQ(errors.empty(), error.empty()) << text;
    EXPECT_EQ(error.empty() ? "" : errors[0], error) << text;
  }
}

TEST_F(RunConfigTest, AllErrorsAtOnce) {
  Write("base.txtpb", "seed: x\ntrain { stepps: 4 }\n");
  EXPECT_EQ(Errors("base: \"base.txtpb\"  # first\n"
                   "protocol: LOOSE\n"
                   "train {\n"
                   "  epochs: ten\n"
                   "  unknown { a: 1 b { c: [1, 2] } d: \"}\" }\n"
                   "  dropout: 2, steps: -1; patience: 0\n"
                   "}\n"
                   "isrf { task: [DIRECT, FOO, 9] alpha: 'x' 'y' }\n"
                   "metrics { bootstrap: 1 }\n",
                   {"train.epochs=x", "no", "seed=3"}),
            (Lines{
                "base.txtpb:1:7: seed is x; must be an integer of 64 bits, not negative",
                "base.txtpb:2:9: message \"TrainConfig\" has no field \"stepps\"; did you mean "
                "\"steps\"?",
                "c.txtpb:2:11: protocol is LOOSE; must be one of AS_PUBLISHED, STRICT, BOTH",
                "c.txtpb:4:11: train.epochs is ten; must be an integer of 32 bits",
                "c.txtpb:5:3: message \"TrainConfig\" has no field \"unknown\"",
                "c.txtpb:6:12: train.dropout is 2; must be in [0, 1)",
                "c.txtpb:6:22: train.steps is -1; must be in [0, 1000000000]",
                "c.txtpb:6:36: train.patience is 0; must be in [1, 1000000]",
                "c.txtpb:8:23: isrf.task[1] is FOO; must be one of EXPLANATION, SEQUENTIAL, DIRECT",
                "c.txtpb:8:28: isrf.task[1] is 9; must be one of EXPLANATION, SEQUENTIAL, DIRECT",
                "c.txtpb:8:38: isrf.alpha is 'x''y'; must be a number",
                "c.txtpb:9:22: metrics.bootstrap is 1; must be in [100, 1000000]",
                "--set #1 (train.epochs=x): train.epochs is x; must be an integer of 32 bits",
                "--set #2 (no): expected path=value",
            }));
}

// Our walk against Protobuf's own parser, on a text with every form that the grammar has.
TEST_F(RunConfigTest, ReadsWhatProtobufReads) {
  const std::string text = R"(# comment
    name: "a\"b\n\303\244" 'second'   "third";
    seed: 0x10, protocol: 1
    train: { learning_rate: 1e-3f dropout: .5 weight_decay: 1 } # trailing
    isrf < alpha: 2. sigma: 1E1 task: [DIRECT, SEQUENTIAL] task: EXPLANATION task: [] >
    split { direct_negatives: 017 }
    metrics { dedupe: t }
    predict { direct_full: 0 }
    system: [ { name: "x" }, < name: "y" train { dropout: - 0 } > ]
    system { name: "z", train: { learning_rate: 1e-3F } ; })";
  RunConfig theirs, ours;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &theirs));
  const Parsed parsed = ParseText(text, "text", "/", ours);
  EXPECT_TRUE(parsed.problems.empty()) << parsed.problems[0];
  EXPECT_EQ(ours.DebugString(), theirs.DebugString());
  EXPECT_EQ(parsed.place_of.at("system[1].train.dropout"), "text:9:59");
}

// Damage at every place: the walk ends, and says something wherever Protobuf's parser does.
TEST_F(RunConfigTest, DamagedTextNeverPassesAndNeverHangs) {
  const std::string good =
      "seed: 3 train { epochs: 4 dropout: -0 } isrf { task: [DIRECT, DIRECT] }"
      " system { name: \"x\" train < steps: 13 > }";
  int wrong = 0;
  for (size_t i = 0; i < good.size(); ++i)
    for (const char byte : std::string("{}<>[]:;,-\"'#x0. ")) {
      std::string text = good;
      text[i] = byte;
      RunConfig theirs, ours;
      google::protobuf::TextFormat::Parser parser;
      testing::internal::CaptureStderr();
      const bool accepted = parser.ParseFromString(text, &theirs);
      testing::internal::GetCapturedStderr();
      const Parsed parsed = ParseText(text, "text", "/", ours);
      wrong += !accepted;
      EXPECT_TRUE(accepted || !parsed.problems.empty()) << text;
      if (!parsed.problems.empty()) continue;
      EXPECT_EQ(ours.DebugString(), theirs.DebugString()) << text;
    }
  EXPECT_GT(wrong, 500);
}

TEST_F(RunConfigTest, BaseIsMergedFirstAndListsAreReplaced) {
  Write("a.txtpb",
        "name: 'a' seed: 1 train { epochs: 7 steps: 9 } system { name: 'p' } system { name: 'q' }"
        "isrf { task: [DIRECT, SEQUENTIAL] }");
  Write("sub/b.txtpb", "base: '../a.txtpb' train { epochs: 8 } system { name: 'r' }");
  const RunConfig config = Load(Write("c.txtpb", "base: 'sub/b.txtpb' seed: 3"));
  EXPECT_EQ(config.name(), "c");
  EXPECT_FALSE(config.has_base());
  EXPECT_EQ(config.seed(), 3u);
  EXPECT_EQ(config.train().epochs(), 8);
  EXPECT_EQ(config.train().steps(), 9);
  ASSERT_EQ(config.system_size(), 1);
  EXPECT_EQ(config.system(0).name(), "r");
  EXPECT_EQ(config.isrf().task_size(), 2);
  // However it came about, an equal configuration prints equally.
  EXPECT_EQ(Canonical(config),
            Canonical(Load(Write("d.txtpb",
                                 "name: 'c' train { steps: 9 epochs: 8 } seed: 3 system "
                                 "{ name: 'r' } isrf { task: DIRECT task: SEQUENTIAL }"))));
}

TEST_F(RunConfigTest, PathsAreTakenAgainstTheFileThatStatesThem) {
  setenv("WHYREC_TEST_DATA", "/data", 1);
  setenv("WHYREC_CACHE", "/cache", 1);
  Write("sub/b.txtpb", "catalogue { folder: 'beauty/../toys' items: '${WHYREC_TEST_DATA}/i' }");
  const auto file = Write("c.txtpb", "base: 'sub/b.txtpb' catalogue { reviews: 'r.json' }");
  const RunConfig config = Load(file, {"isrf.templates=t.json"});
  EXPECT_EQ(config.catalogue().folder(), (folder_ / "sub/toys").string());
  EXPECT_EQ(config.catalogue().items(), "/data/i");
  EXPECT_EQ(config.catalogue().reviews(), (folder_ / "r.json").string());
  EXPECT_EQ(config.isrf().templates(), (fs::current_path() / "t.json").string());
  EXPECT_EQ(config.embeddings().encoder(), "/cache/minilm");
  unsetenv("WHYREC_CACHE");
  setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(Load(file).embeddings().encoder(), "/xdg/whyrec/minilm");
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", "/home/me", 1);
  EXPECT_EQ(Load(file).embeddings().encoder(), "/home/me/.cache/whyrec/minilm");
}

TEST_F(RunConfigTest, Overrides) {
  const auto file = Write("c.txtpb", "system { name: 'a' } isrf { task: DIRECT }");
  const RunConfig config =
      Load(file,
           {"train.global_batch=32", "train.global_batch=33", "system[0].name=popularity",
            "system[1].name=isrf", "system[1].knobs.k=-1e-2", "system[1].knobs.k=-2e-2",
            "isrf.task[1]=SEQUENTIAL", "isrf.task[0]=EXPLANATION", "name=a \"b\"",
            "catalogue.domain=\"toy\"", "metrics.dedupe=false", "isrf.backbone.folder=/models/t5"});
  EXPECT_EQ(config.train().global_batch(), 33);
  ASSERT_EQ(config.system_size(), 2);
  EXPECT_EQ(config.system(0).name(), "popularity");
  EXPECT_EQ(config.system(1).name(), "isrf");
  ASSERT_EQ(config.system(1).knobs_size(), 1);
  EXPECT_EQ(config.system(1).knobs(0).value(), "-2e-2");
  ASSERT_EQ(config.isrf().task_size(), 2);
  EXPECT_EQ(config.isrf().task(0), IsrfConfig::EXPLANATION);
  EXPECT_EQ(config.isrf().task(1), IsrfConfig::SEQUENTIAL);
  EXPECT_EQ(config.name(), "a \"b\"");
  EXPECT_EQ(config.catalogue().domain(), "toy");
  EXPECT_FALSE(config.metrics().dedupe());
  EXPECT_EQ(config.isrf().backbone().folder(), "/models/t5");
}

TEST_F(RunConfigTest, OverrideErrors) {
  const struct {
    std::string text, error;
  } cases[] = {
      {"train.epochs=ten", "train.epochs is ten; must be an integer of 32 bits"},
      {"train.epochs=", "train.epochs is ; must be an integer of 32 bits"},
      {"train.epochs=1 2", "train.epochs is 1 2; must be an integer of 32 bits"},
      {"train.epochs=0", "train.epochs is 0; must be in [1, 100000]"},
      {"train.epoch=1", "message \"TrainConfig\" has no field \"epoch\"; did you mean \"epochs\"?"},
      {"protocol=strict",
       "protocol is strict; must be one of AS_PUBLISHED, STRICT, BOTH; did you mean \"STRICT\"?"},
      {"train=1", "train is a message; set one of its fields"},
      {"train.epochs.x=1", "epochs has no fields of its own"},
      {"train[0].epochs=1", "train is not a list"},
      {"isrf.task=DIRECT", "task is a list; write task[index]"},
      {"isrf.task[1]=DIRECT", "task has 0 entries; the next one is task[0]"},
      {"system[2].name=a", "system has 0 entries; the next one is system[0]"},
      {"system[-1].name=a", "\"system[-1]\" is not name[index]"},
      {"system[0=a", "\"system[0\" is not name[index]"},
      {"=a", "message \"RunConfig\" has no field \"\""},
      {"base=a", "base can only stand in a file"},
  };
  for (const auto& [text, error] : cases)
    EXPECT_EQ(Errors("", {"seed=1", text}), (Lines{"--set #2 (" + text + "): " + error}));
}

// The table of proto/config.proto and isrf.proto, by hand.
TEST_F(RunConfigTest, ProtocolDecidesUnstatedFields) {
  const auto file = Write("c.txtpb", "");
  const Lines published{
      "catalogue.order.ties=INPUT",
      "catalogue.untitled=NO_TITLE",
      "split.item_ids=FIRST_APPEARANCE",
      "split.user_ids=AS_GIVEN",
      "split.negative_exclude=FULL",
      "split.validation_negatives=FRESH",
      "rationales.history=LAST20_FULL",
      "isrf.loss_ignore_pad=false",
      "isrf.cross_attention_mask_pad=false",
      "train.stop=LOSS_MEAN3",
      "train.patience_rule=CUMULATIVE",
      "train.shuffle_first_pass=false",
      "predict.sequential_decode=FREE",
      "predict.direct_decode=FREE",
      "predict.fill=RANDOM",
      "predict.length_penalty=1",
      "predict.direct_full=false",
      "metrics.dedupe=false",
  };
  const Lines parts = {"catalogue", "split", "rationales", "isrf", "train", "predict", "metrics"};
  EXPECT_EQ(ProtocolKeys(Load(file, {"protocol=AS_PUBLISHED"}), parts), published);
  const RunConfig strict = Load(file);
  EXPECT_EQ(strict.split().item_ids(), SplitConfig::PERMUTED);
  EXPECT_EQ(strict.predict().direct_decode(), PredictConfig::CANDIDATE_TRIE);
  EXPECT_TRUE(strict.metrics().dedupe());
  const Lines mixed = ProtocolKeys(Load(file, {"predict.fill=RANDOM"}), parts);
  EXPECT_EQ(mixed.size(), published.size());
  EXPECT_NE(std::find(mixed.begin(), mixed.end(), "predict.fill=RANDOM  (protocol: NONE)"),
            mixed.end());
}

// Under BOTH each half is what the protocol alone would make of the file.
TEST_F(RunConfigTest, BothProtocols) {
  const auto file = Write("c.txtpb", "predict { fill: RANDOM } train { steps: 3 }");
  const auto halves = ByProtocol(Load(file, {"protocol=BOTH"}));
  ASSERT_EQ(halves.size(), 2u);
  EXPECT_EQ(Canonical(halves[0]), Canonical(Load(file, {"protocol=STRICT"})));
  EXPECT_EQ(Canonical(halves[1]), Canonical(Load(file, {"protocol=AS_PUBLISHED"})));
  EXPECT_NE(Canonical(halves[0]), Canonical(halves[1]));
  EXPECT_EQ(Canonical(ByProtocol(Load(file)).at(0)), Canonical(Load(file)));
}

TEST_F(RunConfigTest, CanonicalLines) {
  const auto file = Write("c.txtpb",
                          "catalogue { folder: 'x' domain: 'a\"b' } "
                          "execution { threads: 3 } system { knobs { dim: 3 } }");
  const RunConfig config = Load(file, {"train.learning_rate=0.1"});
  const Lines all = Canonical(config);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  const auto has = [&](const std::string& line) {
    return std::find(all.begin(), all.end(), line) != all.end();
  };
  EXPECT_TRUE(has("train.learning_rate=0x1.999999999999ap-4"));
  EXPECT_TRUE(has("train.epochs=100"));  // a default
  EXPECT_TRUE(has("split.item_ids=PERMUTED"));
  EXPECT_TRUE(has("catalogue.folder=set"));
  EXPECT_TRUE(has("catalogue.items=unset"));
  EXPECT_TRUE(has("catalogue.domain=\"a\\\"b\""));
  EXPECT_TRUE(has("system[0].knobs.dim=3"));
  for (const std::string& line : all)
    EXPECT_FALSE(line.starts_with("execution.threads") || line.starts_with("train.checkpoint"));
  EXPECT_TRUE(has("execution.reproducible=false"));

  EXPECT_EQ(Canonical(config, {"metrics", "isrf.backbone.heads", "system"}),
            (Lines{"isrf.backbone.heads=8", "metrics.bootstrap=2000", "metrics.dedupe=true",
                   "system[0].knobs.dim=3", "system[0].name=\"\"", "system[0].variant=\"\""}));
  EXPECT_EQ(Canonical(config, {"seed"}), Lines{"seed=2025"});
  EXPECT_THROW(Canonical(config, {"trian"}), Error);
  // Another place for the same data changes nothing; stating a default changes nothing.
  EXPECT_EQ(all, Canonical(Load(file, {"catalogue.folder=/elsewhere", "train.learning_rate=1e-1",
                                       "train.epochs=100", "execution.threads=4"})));
  EXPECT_NE(all, Canonical(Load(file)));
}

// What the options of the fields state must itself be sound.
TEST_F(RunConfigTest, AnOpenSwitchIsNotOff) {
  std::set<Lines> three;
  for (const char* text :
       {"", "split { distinct_titles: false }", "split { distinct_titles: true }"})
    three.insert(Canonical(Load(Write("c.txtpb", text)), {"split.distinct_titles"}));
  EXPECT_EQ(three, (std::set<Lines>{{"split.distinct_titles=unset"},
                                    {"split.distinct_titles=false"},
                                    {"split.distinct_titles=true"}}));
}

TEST_F(RunConfigTest, DefaultsAndProtocolValuesPassTheirOwnChecks) {
  const RunConfig empty;
  RunConfig target;
  setenv("WHYREC_CACHE", "/cache", 1);
  int checked = 0;
  for (const Leaf& leaf : LeavesOf(*RunConfig::descriptor())) {
    const FieldDescriptor& field = *leaf.field();
    std::vector<std::string> texts;
    if (field.has_default_value()) texts.push_back(Print(leaf.HolderIn(empty), field));
    if (field.options().HasExtension(protocol_value)) {
      texts.push_back(field.options().GetExtension(protocol_value).strict());
      texts.push_back(field.options().GetExtension(protocol_value).as_published());
      if (field.options().GetExtension(protocol_value).has_released_code())
        texts.push_back(field.options().GetExtension(protocol_value).released_code());
    }
    for (const std::string& text : texts) {
      EXPECT_EQ(SetValue(leaf.MutableHolderIn(target), field, leaf.path, text, "/"), "");
      ++checked;
    }
  }
  EXPECT_GT(checked, 80);
}

TEST_F(RunConfigTest, DescriptionShowsEveryField) {
  const std::string text = DescribeFields();
  for (const Leaf& leaf : LeavesOf(*RunConfig::descriptor()))
    EXPECT_NE(("\n" + text).find("\n" + leaf.path), std::string::npos) << leaf.path;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) EXPECT_LE(line.size(), 100U) << line;
  for (const char* part :
       {"\ntrain: Training of all systems; ",
        "\ntrain.global_batch integer in [1, 65536], default 64\n    Samples in one step over all "
        "ranks\n    Source: ISRF",
        "\ntrain.patience_rule CUMULATIVE | CONSECUTIVE; AS_PUBLISHED CUMULATIVE, STRICT "
        "CONSECUTIVE\n    When the count of epochs without improvement starts again\n      "
        "CUMULATIVE: never\n      CONSECUTIVE: at every improvement\n",
        "\nsystem[].knobs.* ", "\npulse.scorer.train.* "})
    EXPECT_NE(text.find(part), std::string::npos) << part;
}

TEST_F(RunConfigTest, WhatIsStated) {
  const RunConfig config = Load(Write(
      "c.txtpb", "train { steps: 0 } system { name: 'a' } system { train { stop: METRIC } }"));
  for (const char* path : {"train", "train.steps", "system[0].name", "system[1].train.stop",
                           "split.item_ids"})  // by the protocol
    EXPECT_TRUE(IsStated(config, path)) << path;
  for (const char* path : {"train.epochs", "system[0].train", "system[0].train.stop",
                           "system[2].name", "pulse.scorer.train.stop"})
    EXPECT_FALSE(IsStated(config, path)) << path;
  EXPECT_THROW(IsStated(config, "train.stopp"), Error);
  EXPECT_THROW(IsStated(config, "pulse.scorer.train.stopp"), Error);
}

TEST(Nearest, Words) {
  EXPECT_EQ(Nearest("epohcs", {"steps", "epochs"}), "epochs");
  EXPECT_EQ(Nearest("bacth_size", {"steps", "global_batch"}), "global_batch");
  EXPECT_EQ(Nearest("direct", {"POD", "DIRECT"}), "DIRECT");
  EXPECT_EQ(Nearest("colour", {"steps", "epochs"}), "");
  EXPECT_EQ(Nearest("", {"a"}), "");
}

}  // namespace
}  // namespace whyrec::config
