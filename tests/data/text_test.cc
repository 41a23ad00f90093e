// Cleaning of texts and Python literals, against what a browser and Python make of them.
#include "src/data/clean_text.h"
#include "src/data/json_lines.h"
#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

TEST(CleanText, TagsEntitiesAndBlanks) {
  EXPECT_EQ(CleanText("a<br/>b <b>c</b>\n\t d"), "a b c d");
  EXPECT_EQ(CleanText("I &lt;3 &amp;amp; &#39;x&#x27; &nbsp; caf&eacute; &#8482;"),
            "I <3 &amp; 'x' caf\u00e9 \u2122");
  EXPECT_EQ(CleanText("1 < 2, <3 & AT&T; &bogus; &#xZZ;"), "1 < 2, <3 & AT&T; &bogus; &#xZZ;");
  EXPECT_EQ(CleanText("open <b"), "open <b");
  EXPECT_EQ(CleanText("  \n "), "");
  EXPECT_EQ(CleanText("&#x1F600;&#xD800;"), "\U0001F600\uFFFD");
}

TEST(FirstSentence, FourToTwentyFiveWords) {
  EXPECT_EQ(FirstSentence("Great! I really like it. More words are here."), "I really like it.");
  EXPECT_EQ(FirstSentence("one two three four"), "one two three four");
  EXPECT_EQ(FirstSentence("one two three."), "");
  EXPECT_EQ(FirstSentence(""), "");
  EXPECT_EQ(FirstSentence("It costs 2.50 a piece\nand works? Yes."),
            "It costs 2.50 a piece and works?");
  std::string words = "w";
  for (int i = 1; i < 25; ++i) words += " w";
  EXPECT_EQ(FirstSentence(words + "."), words + ".");
  EXPECT_EQ(FirstSentence(words + " w. four words are here"), "four words are here");
}

TEST(PythonLiteral, MeansWhatPythonMeans) {
  EXPECT_EQ(ParsePythonLiteral("['a', \"b'c\", 'd\\'e', u'f\\u00e9', '\\x41\\n',]"),
            Json::array({"a", "b'c", "d'e", "f\u00e9", "A\n"}));
  EXPECT_EQ(ParsePythonLiteral("{'k': [1, -2.5, 3L, None], 't': (True, False), 'n': {}}"),
            Json::parse(R"({"k": [1, -2.5, 3, null], "t": [true, false], "n": {}})"));
  EXPECT_EQ(ParsePythonLiteral(" [ ] "), Json::array());
  for (const char* text :
       {"", "[", "['a'", "['a' 'b'", "{'a'}", "{1: 2}", "['\\x4']", "[1] 2", "name", "'a"})
    EXPECT_TRUE(ParsePythonLiteral(text).is_discarded()) << text;
  EXPECT_TRUE(ParsePythonLiteral(std::string(100000, '[')).is_discarded());
}

}  // namespace
}  // namespace whyrec::data
