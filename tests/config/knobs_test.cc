// Knobs, from the file to the value that a system asks for.
#include "src/config/knobs.h"

#include <gtest/gtest.h>

#include <fstream>

#include "src/base/error.h"
#include "src/config/manual.h"
#include "tests/store/temporary.h"

namespace whyrec::config {
namespace {

using Lines = std::vector<std::string>;

const std::vector<Knob> kKnobs = {
    knob::Count("dim", 64, {1, 4096}, "width of a vector; the paper's value"),
    knob::Number("dropout", 0.5, {0, 0.99}, "share of values that are dropped"),
    knob::Switch("mask_history", true, "leave the history out"),
    knob::Word("loss", {{"BCE", "one negative"}, {"CE", "over all items"}}, "what is minimised")};

std::vector<Problem> CheckKnobs(const RunConfig& config) {
  std::vector<Problem> problems;
  for (int i = 0; i < config.system_size(); ++i)
    Knobs(kKnobs, config.system(i), Cat("system[", i, "]"), problems);
  return problems;
}

class KnobsTest : public testing::Test {
 protected:
  KnobsTest() { std::filesystem::current_path(folder_.path()); }
  ~KnobsTest() override { std::filesystem::current_path(before_); }

  RunConfig LoadText(const std::string& text, const Lines& overrides) {
    std::ofstream("c.txtpb") << text;
    return Load("c.txtpb", overrides, CheckKnobs);
  }
  Knobs Values(const std::string& text, const Lines& overrides = {}) {
    std::vector<Problem> none;
    return Knobs(kKnobs, LoadText(text, overrides).system(0), "", none);
  }
  std::string Errors(const std::string& text, const Lines& overrides = {}) {
    try {
      LoadText(text, overrides);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::kUsage);
      return error.what();
    }
  }

  const std::filesystem::path before_ = std::filesystem::current_path();
  Temporary folder_;
};

TEST_F(KnobsTest, DefaultsHoldUntilStated) {
  const Knobs none = Values("system { name: 's' }");
  EXPECT_EQ(none.Count("dim"), 64);
  EXPECT_EQ(none.Number("dropout"), 0.5);
  EXPECT_TRUE(none.On("mask_history"));
  EXPECT_EQ(none.Word("loss"), "BCE");

  const std::string text =
      "system { name: 's' knobs { dim: 8, mask_history: false; loss: CE } knobs < dropout: 1e-1 > "
      "}";
  const Knobs some = Values(text);
  EXPECT_EQ(some.Count("dim"), 8);
  EXPECT_EQ(some.Number("dropout"), 0.1);
  EXPECT_FALSE(some.On("mask_history"));
  EXPECT_EQ(some.Word("loss"), "CE");

  const Knobs over = Values(text, {"system[0].knobs.dim=9", "system[0].knobs.loss=BCE"});
  EXPECT_EQ(over.Count("dim"), 9);
  EXPECT_EQ(over.Word("loss"), "BCE");
  EXPECT_EQ(over.Number("dropout"), 0.1);
  EXPECT_EQ(Values("", {"system[0].name=s", "system[0].knobs.dim=2"}).Count("dim"), 2);
}

TEST_F(KnobsTest, AWholeNumberIsANumber) {
  EXPECT_EQ(Values("system { knobs { dropout: 0 } }").Number("dropout"), 0);
}

TEST_F(KnobsTest, AllErrorsOfAFileWithTheirPlaces) {
  EXPECT_EQ(Errors("seed: x\n"
                   "system { name: 's'\n"
                   "  knobs { dim: 50.5 dimm: 3\n"
                   "    dropout: 1 mask_history: 0 loss: BCF } }\n"
                   "system { name: 't' knobs { dim: 0 dropout: nan loss: 'CE' colour: RED } }\n"),
            "c.txtpb:1:7: seed is x; must be an integer of 64 bits, not negative\n"
            "c.txtpb:3:16: system[0].knobs.dim is 50.5; must be an integer in [1, 4096]\n"
            "c.txtpb:3:21: system s has no knob \"dimm\"; did you mean \"dim\"? (see `whyrec "
            "describe s`)\n"
            "c.txtpb:4:14: system[0].knobs.dropout is 1; must be a number in [0, 0.99]\n"
            "c.txtpb:4:30: system[0].knobs.mask_history is 0; must be true or false\n"
            "c.txtpb:4:38: system[0].knobs.loss is BCF; must be one of BCE, CE; did you mean "
            "\"BCE\"?\n"
            "c.txtpb:5:33: system[1].knobs.dim is 0; must be an integer in [1, 4096]\n"
            "c.txtpb:5:44: system[1].knobs.dropout is nan; must be a number in [0, 0.99]\n"
            "c.txtpb:5:54: system[1].knobs.loss is 'CE'; must be one of BCE, CE\n"
            "c.txtpb:5:59: system t has no knob \"colour\" (see `whyrec describe t`)");
}

TEST_F(KnobsTest, BrokenBlocks) {
  const std::pair<const char*, const char*> kCases[] = {
      {"system { knobs { dim: 1 dim: 2 } }", "c.txtpb:1:25: system[0].knobs.dim is stated twice"},
      {"system { knobs { dim 1 } }",
       "c.txtpb:1:18: \"dim\" stands in system[0].knobs; write NAME: value"},
      {"system { knobs { dim: {} } }",
       "c.txtpb:1:18: \"dim\" stands in system[0].knobs; write NAME: value"},
      {"system { knobs { dim: 1", "c.txtpb:1:16: system[0].knobs begins here and is never closed"},
      {"system { knobs: 3 }", "c.txtpb:1:17: system[0].knobs is a message; write knobs { ... }"},
      {"system { knob { dim: 3 } }",
       "c.txtpb:1:10: message \"SystemConfig\" has no field \"knob\"; did you mean \"knobs\"?"},
  };
  for (const auto& [text, error] : kCases)
    EXPECT_TRUE(Errors(text).starts_with(error)) << Errors(text);
}

// Damage at every place: the walk ends, and what it accepts has types.
TEST_F(KnobsTest, DamagedBlocksNeverHang) {
  const std::string good = "system { knobs { dim: 8 loss: CE, dropout: .5 } } seed: 3";
  int wrong = 0;
  for (size_t i = 0; i < good.size(); ++i)
    for (const char byte : std::string("{}<>[]:;,-\"'#x0. ")) {
      std::string text = good;
      text[i] = byte;
      wrong += !Errors(text).empty();
    }
  EXPECT_GT(wrong, 500);
}

TEST_F(KnobsTest, OverridesAreTheirOwnPlace) {
  EXPECT_EQ(Errors("system { name: 's' knobs { dim: 1 } }",
                   {"system[0].knobs.dim=ten", "system[0].knobs.los=CE"}),
            "--set #1 (system[0].knobs.dim=ten): system[0].knobs.dim is ten; must be an integer in "
            "[1, 4096]\n"
            "--set #2 (system[0].knobs.los=CE): system s has no knob \"los\"; did you mean "
            "\"loss\"? (see `whyrec describe s`)");
  EXPECT_EQ(Errors("system {}", {"system[0].knobs=3"}),
            "--set #1 (system[0].knobs=3): system[0].knobs is no value; write knobs.NAME");
}

TEST_F(KnobsTest, PlacesAcrossBases) {
  std::ofstream("b.txtpb") << "system { name: 's' knobs { dim: 0 } }\n";
  EXPECT_EQ(Errors("base: 'b.txtpb'"),
            "b.txtpb:1:33: system[0].knobs.dim is 0; must be an integer in [1, 4096]");
  EXPECT_EQ(Errors("base: 'b.txtpb'\nsystem { name: 's' }"), "");
  EXPECT_EQ(Errors("base: 'b.txtpb'\n\nsystem { knobs { dim: -1 } }"),
            "c.txtpb:3:23: system[0].knobs.dim is -1; must be an integer in [1, 4096]");
}

TEST_F(KnobsTest, WhatWasNotDeclaredIsOurMistake) {
  const Knobs knobs = Values("system {}");
  EXPECT_TRUE(knobs.Has("dim"));
  EXPECT_FALSE(knobs.Has("heads"));
  EXPECT_THROW(knobs.Count("heads"), Error);
  EXPECT_THROW(knobs.Number("dim"), Error);
  EXPECT_THROW(knobs.Count("dropout"), Error);
  EXPECT_THROW(knobs.Word("mask_history"), Error);
}

TEST_F(KnobsTest, CanonicalLinesTellValuesApart) {
  EXPECT_EQ(Canonical(KnobValue(0.1)), "0x1.999999999999ap-4");
  EXPECT_NE(Canonical(KnobValue(0.1234567)), Canonical(KnobValue(0.12345671)));
  EXPECT_EQ(Canonical(KnobValue(int64_t{64})), "64");
  EXPECT_EQ(Canonical(KnobValue(false)), "false");
  EXPECT_EQ(Canonical(KnobValue("CE")), "CE");
  // As in the resolved configuration of a run's log.
  EXPECT_EQ(Canonical(LoadText("system { name: 's' knobs { loss: CE dim: 8 } }", {}), {"system"}),
            (Lines{"system[0].knobs.dim=8", "system[0].knobs.loss=CE", "system[0].name=\"s\"",
                   "system[0].variant=\"\""}));
}

TEST(Manual, Knobs) {
  EXPECT_EQ(DescribeKnobs(kKnobs),
            "  dim integer in [1, 4096], default 64\n"
            "      width of a vector; the paper's value\n"
            "  dropout number in [0, 0.99], default 0.5\n"
            "      share of values that are dropped\n"
            "  mask_history true | false, default true\n"
            "      leave the history out\n"
            "  loss BCE | CE, default BCE\n"
            "      what is minimised\n"
            "        BCE: one negative\n"
            "        CE: over all items\n");
  EXPECT_EQ(Paragraph("a b  c\nd", 2, 4), "  a b c d\n");
  std::string words;
  for (int i = 0; i < 60; ++i) words += "word ";
  const std::string wrapped = Paragraph(words, 0, 18);  // one more would end in column 104
  EXPECT_EQ(wrapped.find('\n'), 99U);
  EXPECT_EQ(wrapped.find('w', 99), 118U);
}

}  // namespace
}  // namespace whyrec::config
