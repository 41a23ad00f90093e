#include "src/eval/table.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "src/base/error.h"

namespace whyrec::eval {
namespace {

// Characters, not bytes: continuation bytes of UTF-8 take no place.
size_t Width(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string Fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

Table::Table(std::vector<std::string> head) { rows_.push_back(std::move(head)); }

void Table::Add(std::vector<std::string> cells) {
  WR_CHECK(cells.size() == rows_[0].size(), cells.size(), " cells under ", rows_[0].size());
  for (std::string& cell : cells)
    for (size_t at = 0; (at = cell.find('|', at)) != std::string::npos; at += 2)
      cell.insert(at, "\\");
  rows_.push_back(std::move(cells));
}

std::string Table::Markdown() const {
  std::vector<size_t> widths(rows_[0].size(), 3);
  for (const auto& row : rows_)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], Width(row[c]));
  std::string out;
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t c = 0; c < widths.size(); ++c) {
      const std::string pad(widths[c] - Width(rows_[r][c]), ' ');
      out += c == 0 ? "| " + rows_[r][c] + pad : " | " + pad + rows_[r][c];
    }
    out += " |\n";
    if (r > 0) continue;
    for (size_t c = 0; c < widths.size(); ++c)
      out += c == 0 ? "| " + std::string(widths[c], '-')
                    : " | " + std::string(widths[c] - 1, '-') + ":";
    out += " |\n";
  }
  return out;
}

}  // namespace whyrec::eval
