// Objects as language models write them: any quotes or none, raw line ends, trailing commas, a
// missing end. Proper JSON reads as JSON does.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace whyrec::gen {

struct LooseField {
  std::string key, value;  // the string's text; numbers, lists and objects as written
  bool closed = true;      // false: the text ended in the value
};

// The fields of the object that `text` begins with, as far as they can be read.
std::vector<LooseField> ReadLooseObject(std::string_view text);

// The string that `text` begins with, if that is a quote; it ends at a quote or with the text.
LooseField ReadLooseString(std::string_view text);

}  // namespace whyrec::gen
