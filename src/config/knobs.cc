#include "src/config/knobs.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <utility>

#include "src/base/error.h"

namespace whyrec::config {
namespace {

template <typename T>
std::optional<T> NumberIn(const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string> NamesOf(const auto& named) {
  std::vector<std::string> names;
  for (const auto& each : named) names.push_back(each.name);
  return names;
}

// The value that `text` states; nothing where it has another type or is out of range.
std::optional<KnobValue> Read(const Knob& knob, const std::string& text) {
  const auto within = [&](auto value) -> std::optional<KnobValue> {
    const auto number = static_cast<double>(value);
    if (number >= knob.low && number <= knob.high) return value;  // nan is not
    return std::nullopt;
  };
  if (std::holds_alternative<bool>(knob.value)) {
    if (text == "true" || text == "false") return text == "true";
  } else if (std::holds_alternative<int64_t>(knob.value)) {
    if (const auto value = NumberIn<int64_t>(text)) return within(*value);
  } else if (std::holds_alternative<double>(knob.value)) {
    if (const auto value = NumberIn<double>(text)) return within(*value);
  } else if (std::ranges::count(knob.words, text, &Knob::Word::name) > 0) {
    return text;
  }
  return std::nullopt;
}

// What the text of a value has to be, for messages.
std::string Wanted(const Knob& knob, const std::string& text) {
  if (std::holds_alternative<bool>(knob.value)) return "true or false";
  if (std::holds_alternative<int64_t>(knob.value)) return "an " + TypeOf(knob);
  if (std::holds_alternative<double>(knob.value)) return "a " + TypeOf(knob);
  const std::vector<std::string> names = NamesOf(knob.words);
  std::string out = "one of";
  for (const std::string& name : names) out += (name == names[0] ? " " : ", ") + name;
  return out + Suggest(text, names);
}

template <typename T>
std::string Format(const char* format, T value) {
  char text[40];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string Text(const KnobValue& value, const char* number_format) {
  if (const bool* on = std::get_if<bool>(&value)) return *on ? "true" : "false";
  if (const int64_t* count = std::get_if<int64_t>(&value)) return Cat(*count);
  if (const double* number = std::get_if<double>(&value)) return Format(number_format, *number);
  return std::get<std::string>(value);
}

}  // namespace

namespace knob {

Knob Switch(std::string name, bool value, std::string doc) {
  return {.name = std::move(name), .value = value, .doc = std::move(doc)};
}

Knob Count(std::string name, int64_t value, Range range, std::string doc) {
  return {std::move(name), value, std::move(doc), range.low, range.high};
}

Knob Number(std::string name, double value, Range range, std::string doc) {
  return {std::move(name), value, std::move(doc), range.low, range.high};
}

Knob Word(std::string name, std::vector<Knob::Word> words, std::string doc) {
  WR_CHECK(!words.empty(), "knob ", name, " has no words");
  return {.name = std::move(name),
          .value = words[0].name,
          .doc = std::move(doc),
          .words = std::move(words)};
}

}  // namespace knob

std::string TypeOf(const Knob& knob) {
  if (std::holds_alternative<bool>(knob.value)) return "true | false";
  const bool whole = std::holds_alternative<int64_t>(knob.value);
  if (whole || std::holds_alternative<double>(knob.value))
    return Cat(whole ? "integer" : "number", " in [", Format("%.15g", knob.low), ", ",
               Format("%.15g", knob.high), "]");
  std::string out;
  for (const Knob::Word& word : knob.words) out += (out.empty() ? "" : " | ") + word.name;
  return out;
}

std::string Print(const KnobValue& value) { return Text(value, "%.15g"); }

std::string Canonical(const KnobValue& value) { return Text(value, "%a"); }

Knobs::Knobs(const std::vector<Knob>& declared, const SystemConfig& given, const std::string& at,
             std::vector<Problem>& problems) {
  for (const Knob& knob : declared) values_[knob.name] = knob.value;
  for (const GivenKnob& stated : given.knobs()) {
    const std::string path = at + ".knobs." + stated.name();
    const auto knob = std::ranges::find(declared, stated.name(), &Knob::name);
    if (knob == declared.end())
      problems.push_back(
          {path + ".name", Cat("system ", given.name(), " has no knob \"", stated.name(), "\"",
                               Suggest(stated.name(), NamesOf(declared)), " (see `whyrec describe ",
                               given.name(), "`)")});
    else if (const auto value = Read(*knob, stated.value()))
      values_[knob->name] = *value;
    else
      problems.push_back({path + ".value", Cat(path, " is ", stated.value(), "; must be ",
                                               Wanted(*knob, stated.value()))});
  }
}

template <typename T>
const T& Knobs::Get(const std::string& name) const {
  const auto found = values_.find(name);
  WR_CHECK(found != values_.end(), "no knob ", name, " is declared");
  WR_CHECK(std::holds_alternative<T>(found->second), "knob ", name, " is declared as another type");
  return std::get<T>(found->second);
}

template const bool& Knobs::Get(const std::string&) const;
template const int64_t& Knobs::Get(const std::string&) const;
template const double& Knobs::Get(const std::string&) const;
template const std::string& Knobs::Get(const std::string&) const;

}  // namespace whyrec::config
