// The manual page: what can be configured, at 100 columns.
#pragma once

#include <string>
#include <vector>

#include "src/config/knobs.h"

namespace whyrec::config {

// `text` in lines of at most 100 columns, each ended by "\n": the first begins with `indent`
// spaces, the others with `hanging`.
std::string Paragraph(const std::string& text, size_t indent, size_t hanging);

// Every message and field of a configuration: path, type with range, default, sentence, words with
// their meaning, and where the default is from.
std::string DescribeFields();

// A system's knobs: name, type with range or words, default, and their sentences.
std::string DescribeKnobs(const std::vector<Knob>& knobs);

}  // namespace whyrec::config
