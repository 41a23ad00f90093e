// Markdown tables of reports.
#pragma once

#include <string>
#include <vector>

namespace whyrec::eval {

std::string Fixed(double value, int digits = 4);  // "0.0656"

class Table {
 public:
  explicit Table(std::vector<std::string> head);

  void Add(std::vector<std::string> cells);  // as many as the head
  // Columns padded to one width; the first left-aligned, the others right. "|" in cells is escaped.
  std::string Markdown() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace whyrec::eval
