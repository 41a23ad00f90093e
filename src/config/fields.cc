#include "src/config/fields.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "src/base/error.h"
#include "src/config/run_config.h"

namespace whyrec::config {
namespace {

using google::protobuf::TextFormat;

void Collect(const Descriptor& type, const Leaf& above, std::vector<Leaf>& out) {
  for (int i = 0; i < type.field_count(); ++i) {
    Leaf leaf = above;
    leaf.path += (above.chain.empty() ? "" : ".") + type.field(i)->name();
    leaf.chain.push_back(type.field(i));
    if (IsMessage(*type.field(i)) && !type.field(i)->is_repeated() && !IsOverlay(*type.field(i)))
      Collect(*type.field(i)->message_type(), leaf, out);
    else
      out.push_back(std::move(leaf));
  }
}

std::vector<std::string> NamesOf(const google::protobuf::EnumDescriptor& type) {
  std::vector<std::string> out;
  for (int i = 0; i < type.value_count(); ++i) out.push_back(type.value(i)->name());
  return out;
}

// The expected type of a value, for messages.
std::string Wanted(const FieldDescriptor& field, const std::string& text) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return "an integer of 32 bits";
    case FieldDescriptor::CPPTYPE_INT64:
      return "an integer of 64 bits";
    case FieldDescriptor::CPPTYPE_UINT32:
      return "an integer of 32 bits, not negative";
    case FieldDescriptor::CPPTYPE_UINT64:
      return "an integer of 64 bits, not negative";
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_STRING:
      return "a text in quotes";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "a message { ... }";
    case FieldDescriptor::CPPTYPE_ENUM:
      break;
  }
  const auto names = NamesOf(*field.enum_type());
  std::string out = "one of";
  for (size_t i = 0; i < names.size(); ++i) out += (i ? ", " : " ") + names[i];
  return out + Suggest(text, names);
}

bool InRange(double value, const std::string& interval) {
  char open = 0, close = 0;
  double low = 0, high = 0;
  WR_CHECK(std::sscanf(interval.c_str(), "%c%lf, %lf%c", &open, &low, &high, &close) == 4,
           interval);
  return (open == '[' ? value >= low : value > low) &&
         (close == ']' ? value <= high : value < high);
}

std::string Variable(const std::string& name) {
  const auto get = [](const char* key) {
    const char* value = std::getenv(key);
    return std::string(value == nullptr ? "" : value);
  };
  if (std::string value = get(name.c_str()); !value.empty() || name != "WHYREC_CACHE") return value;
  const std::string cache = get("XDG_CACHE_HOME"), home = get("HOME");
  if (cache.empty() && home.empty()) return "";
  return (cache.empty() ? home + "/.cache" : cache) + "/whyrec";
}

// Replaces every ${NAME}; the name of an unset one goes to `missing`.
std::string Expand(std::string text, std::string& missing) {
  for (size_t at = 0; (at = text.find("${", at)) != std::string::npos;) {
    const size_t end = text.find('}', at);
    const std::string name = text.substr(at + 2, end == std::string::npos ? end : end - at - 2);
    const std::string value = Variable(name);
    if (end == std::string::npos || value.empty()) missing = name;
    text.replace(at, end == std::string::npos ? end : end + 1 - at, value);
    at += value.size();
  }
  return text;
}

std::string GetText(const Message& holder, const FieldDescriptor& field) {
  return holder.GetReflection()->GetString(holder, &field);
}

// Checks of a value that has parsed. `fresh` holds it alone.
std::string CheckValue(Message& fresh, const FieldDescriptor& field, const std::string& where,
                       const std::filesystem::path& folder) {
  const std::string printed = Print(fresh, field, field.is_repeated() ? 0 : -1);
  const double number = std::strtod(printed.c_str(), nullptr);
  if (const std::string interval = field.options().GetExtension(range);
      !interval.empty() && !InRange(number, interval))
    return where + " is " + printed + "; must be in " + interval;
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE && std::isnan(number))
    return where + " is nan; must be a number";
  if (!field.options().GetExtension(path)) return "";
  std::string missing;
  const std::string expanded = Expand(GetText(fresh, field), missing);
  if (!missing.empty()) return where + ": environment variable " + missing + " is not set";
  if (!expanded.empty())
    fresh.GetReflection()->SetString(
        &fresh, &field, (std::filesystem::absolute(folder) / expanded).lexically_normal().string());
  return "";
}

}  // namespace

const Message& Leaf::HolderIn(const Message& root) const {
  const Message* out = &root;
  for (size_t i = 0; i + 1 < chain.size(); ++i)
    out = &out->GetReflection()->GetMessage(*out, chain[i]);
  return *out;
}

Message& Leaf::MutableHolderIn(Message& root) const {
  Message* out = &root;
  for (size_t i = 0; i + 1 < chain.size(); ++i)
    out = out->GetReflection()->MutableMessage(out, chain[i]);
  return *out;
}

std::vector<Leaf> LeavesOf(const Descriptor& type) {
  std::vector<Leaf> out;
  Collect(type, {}, out);
  return out;
}

bool IsMessage(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

bool IsOverlay(const FieldDescriptor& field) { return field.options().GetExtension(overlay); }

bool IsNamed(const FieldDescriptor& field) { return field.options().GetExtension(named); }

bool PutNamed(Message& holder, const FieldDescriptor& field, const std::string& name,
              const std::string& text) {
  const auto* reflection = holder.GetReflection();
  const FieldDescriptor* name_field = field.message_type()->FindFieldByName("name");
  const FieldDescriptor* value_field = field.message_type()->FindFieldByName("value");
  for (int i = 0; i < reflection->FieldSize(holder, &field); ++i) {
    Message& entry = *reflection->MutableRepeatedMessage(&holder, &field, i);
    if (GetText(entry, *name_field) != name) continue;
    entry.GetReflection()->SetString(&entry, value_field, text);
    return false;
  }
  Message& entry = *reflection->AddMessage(&holder, &field);
  entry.GetReflection()->SetString(&entry, name_field, name);
  entry.GetReflection()->SetString(&entry, value_field, text);
  return true;
}

std::string OfProtocol(const FieldDescriptor& field, const RunConfig& config) {
  const ProtocolValue& value = field.options().GetExtension(protocol_value);
  if (config.protocol() == RunConfig::BOTH) return "";
  if (config.protocol() == RunConfig::STRICT) return value.strict();
  const bool code = config.reading() == RunConfig::RELEASED_CODE && value.has_released_code();
  return code ? value.released_code() : value.as_published();
}

std::string Print(const Message& holder, const FieldDescriptor& field, int index) {
  std::string out;
  TextFormat::PrintFieldValueToString(holder, &field, index, &out);
  return out;
}

std::string SetValue(Message& holder, const FieldDescriptor& field, const std::string& path,
                     const std::string& text, const std::filesystem::path& folder) {
  struct : google::protobuf::io::ErrorCollector {
    void AddError(int, int, const std::string&) override {}
  } quiet;  // suppresses Protobuf's messages about tokens; Wanted() says what to write
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&quiet);
  const std::unique_ptr<Message> fresh(holder.New());
  if (!parser.ParseFieldValueFromString(text, &field, fresh.get()))
    return path + " is " + text + "; must be " + Wanted(field, text);
  if (std::string problem = CheckValue(*fresh, field, path, folder); !problem.empty())
    return problem;
  holder.MergeFrom(*fresh);
  return "";
}

const FieldDescriptor* FindField(const Descriptor& type, const std::string& name,
                                 std::string& problem) {
  if (const FieldDescriptor* field = type.FindFieldByName(name)) return field;
  const auto& options = type.options();
  for (int i = 0; i < options.ExtensionSize(replaced); ++i) {
    const Replaced& old = options.GetExtension(replaced, i);
    if (old.field() != name) continue;
    problem = "\"" + name + "\" is no field of message \"" + type.name() + "\" any more; write  " +
              old.write();
    return nullptr;
  }
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  std::string advice = Suggest(name, names);
  if (advice.empty())  // the name exists, but in another message
    for (const Leaf& leaf : LeavesOf(*RunConfig::descriptor()))
      if (leaf.field()->name() == name) advice = "; did you mean \"" + leaf.path + "\"?";
  problem = "message \"" + type.name() + "\" has no field \"" + name + "\"" + advice;
  return nullptr;
}

}  // namespace whyrec::config
