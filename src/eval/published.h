// What the papers print, for the reports that stand beside them.
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

// Of a data set by its name, however it is spelt ("luxury_beauty"); empty where there is nothing.
std::vector<Published> PublishedOf(const std::string& dataset);

}  // namespace whyrec::eval
