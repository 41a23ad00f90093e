// The manual page: what can be configured, at 100 columns.
#pragma once

#include <string>
#include <vector>

#include "src/config/knobs.h"

namespace whyrec::config {

// `text` in lines of at most 100 columns that begin with `indent` spaces, each ended by "\n".
std::string Paragraph(const std::string& text, int indent);

// Every field of a configuration: path, type with range, default, and its sentence.
std::string DescribeFields();

// A system's knobs: name, type with range or words, default, and their sentences.
std::string DescribeKnobs(const std::vector<Knob>& knobs);

}  // namespace whyrec::config
