// Results printed in the papers, which reports show beside ours.
#pragma once

#include <string>
#include <vector>

namespace whyrec::eval {

struct Published {
  std::string system, variant;  // as in reports; variant empty: of a system without variants
  std::string metric;
  double value;
  std::string source;  // "PULSE, table 3"
};

// By the data set's name, ignoring case and punctuation ("luxury_beauty"); empty if none are known.
std::vector<Published> PublishedOf(const std::string& dataset);

}  // namespace whyrec::eval
