// What is printed of configurations: the fingerprint's lines and the protocol's keys. The nearest
// of several words.
#include <google/protobuf/message.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "src/base/error.h"
#include "src/config/fields.h"
#include "src/config/run_config.h"

namespace whyrec::config {
namespace {

std::string CanonicalValue(const Message& holder, const FieldDescriptor& field, int index = -1) {
  const std::string text = Print(holder, field, index);
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE) return text;
  char exact[40];
  std::snprintf(exact, sizeof exact, "%a", std::strtod(text.c_str(), nullptr));
  return exact;
}

void AddLines(const Message& root, const std::string& prefix, std::vector<std::string>& out) {
  for (const Leaf& leaf : LeavesOf(*root.GetDescriptor())) {
    const auto outside = [](const FieldDescriptor* field) {
      return field->options().GetExtension(outside_fingerprint);
    };
    if (std::any_of(leaf.chain.begin(), leaf.chain.end(), outside)) continue;
    if (IsOverlay(*leaf.field())) continue;  // counted where it lies over its message
    const Message& holder = leaf.HolderIn(root);
    const auto* reflection = holder.GetReflection();
    const FieldDescriptor& field = *leaf.field();
    const std::string name = prefix + leaf.path;
    if (!field.is_repeated()) {
      const bool set = reflection->HasField(holder, &field);
      const bool is_path = field.options().GetExtension(path);
      // A switch without a default is neither on nor off: something else decides.
      const bool open =
          !set && field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL && !field.has_default_value();
      if (is_path || open)
        out.push_back(name + (set ? "=set" : "=unset"));
      else
        out.push_back(name + "=" + CanonicalValue(holder, field));
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(holder, &field); ++i) {
      if (IsNamed(field)) {
        const auto& given =
            dynamic_cast<const GivenKnob&>(reflection->GetRepeatedMessage(holder, &field, i));
        out.push_back(name + "." + given.name() + "=" + given.value());
        continue;
      }
      const std::string entry = Cat(name, "[", i, "]");
      if (IsMessage(field))
        AddLines(reflection->GetRepeatedMessage(holder, &field, i), entry + ".", out);
      else
        out.push_back(entry + "=" + CanonicalValue(holder, field, i));
    }
  }
}

bool IsWithin(const std::string& line, const std::string& part) {
  return line.starts_with(part) && line.find_first_of(".[=", part.size()) == part.size();
}

// Optimal string alignment: edits, and swaps of neighbours, each cost 1.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1,
                          d[i - 1][j - 1] + (std::tolower(a[i - 1]) != std::tolower(b[j - 1]))});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

std::vector<std::string> WordsOf(std::string_view name) {
  std::vector<std::string> out;
  std::istringstream in{std::string(name)};
  for (std::string word; std::getline(in, word, '_');)
    if (word.size() >= 4) out.push_back(word);
  return out;
}

}  // namespace

std::vector<std::string> Canonical(const RunConfig& config, const std::vector<std::string>& parts) {
  std::vector<std::string> lines;
  AddLines(config, "", lines);
  std::sort(lines.begin(), lines.end());
  if (parts.empty()) return lines;
  for (const std::string& part : parts) {
    std::string unknown = part;
    for (const Leaf& leaf : LeavesOf(*RunConfig::descriptor()))
      if (IsWithin(leaf.path + "=", part)) unknown.clear();
    WR_CHECK(unknown.empty(), "no configuration field is named ", unknown);
  }
  std::erase_if(lines, [&](const std::string& line) {
    return std::none_of(parts.begin(), parts.end(),
                        [&](const std::string& part) { return IsWithin(line, part); });
  });
  return lines;
}

std::vector<std::string> ProtocolKeys(const RunConfig& config,
                                      const std::vector<std::string>& parts) {
  std::vector<std::string> out;
  for (const Leaf& leaf : LeavesOf(*RunConfig::descriptor())) {
    if (!leaf.field()->options().HasExtension(protocol_value)) continue;
    const auto holds = [&](const std::string& part) { return IsWithin(leaf.path + "=", part); };
    if (!parts.empty() && std::ranges::none_of(parts, holds)) continue;
    const std::string own = OfProtocol(*leaf.field(), config);
    const std::string value = Print(leaf.HolderIn(config), *leaf.field());
    out.push_back(leaf.path + "=" + value + (value == own ? "" : "  (protocol: " + own + ")"));
  }
  return out;
}

std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates)
    if (const size_t d = Distance(word, candidate); d < least && d < word.size()) {
      least = d;
      best = candidate;
    }
  if (!best.empty()) return best;
  for (const std::string& candidate : candidates)  // bacth_size: one word of global_batch
    for (const std::string& mine : WordsOf(word))
      for (const std::string& theirs : WordsOf(candidate))
        if (Distance(mine, theirs) <= 1) return candidate;
  return "";
}

std::string Suggest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string near = Nearest(word, candidates);
  return near.empty() ? "" : "; did you mean \"" + near + "\"?";
}

}  // namespace whyrec::config
