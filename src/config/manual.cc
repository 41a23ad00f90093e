#include "src/config/manual.h"

#include <google/protobuf/message.h>

#include <sstream>

#include "src/base/error.h"
#include "src/config/fields.h"

namespace whyrec::config {
namespace {

constexpr size_t kColumns = 100;

std::string DocOf(const FieldDescriptor& field) { return field.options().GetExtension(doc); }

std::string KindOf(const FieldDescriptor& field) {
  if (field.options().GetExtension(path)) return "path";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true | false";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "number";
    case FieldDescriptor::CPPTYPE_STRING:
      return "text";
    case FieldDescriptor::CPPTYPE_ENUM:
      break;
    default:
      return "integer";
  }
  std::string out;
  for (int i = 0; i < field.enum_type()->value_count(); ++i)
    out += (i ? " | " : "") + field.enum_type()->value(i)->name();
  return out;
}

std::string TypeOf(const FieldDescriptor& field) {
  const std::string interval = field.options().GetExtension(range);
  return (field.is_repeated() ? "list of " : "") + KindOf(field) +
         (interval.empty() ? "" : " in " + interval);
}

std::string DefaultOf(const Message& holder, const FieldDescriptor& field) {
  if (field.options().HasExtension(protocol_value)) {
    const ProtocolValue& value = field.options().GetExtension(protocol_value);
    return "; AS_PUBLISHED " + value.as_published() +
           (value.has_released_code() ? " (RELEASED_CODE " + value.released_code() + ")" : "") +
           ", STRICT " + value.strict();
  }
  return field.has_default_value() ? ", default " + Print(holder, field) : "";
}

// The headings of the messages that `leaf` is the first to be in.
void DescribeMessages(const Leaf& leaf, const Leaf* before, const std::string& prefix,
                      std::ostream& out) {
  std::string path = prefix;
  bool known = before != nullptr;
  for (size_t i = 0; i + 1 < leaf.chain.size(); ++i) {
    path += (i ? "." : "") + leaf.chain[i]->name();
    known = known && i < before->chain.size() && before->chain[i] == leaf.chain[i];
    if (!known) out << "\n" << Paragraph(path + ": " + DocOf(*leaf.chain[i]), 0, 4);
  }
}

void DescribeValue(const Message& holder, const FieldDescriptor& field, const std::string& path,
                   std::ostream& out) {
  out << Paragraph(path + "  " + TypeOf(field) + DefaultOf(holder, field), 0, 4)
      << Paragraph(DocOf(field), 4, 4);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM)
    for (int i = 0; i < field.enum_type()->value_count(); ++i) {
      const auto& value = *field.enum_type()->value(i);
      out << Paragraph(value.name() + ": " + value.options().GetExtension(value_doc), 6, 8);
    }
  if (const std::string from = field.options().GetExtension(source); !from.empty())
    out << Paragraph("Source: " + from, 4, 4);
}

void Describe(const Message& root, const std::string& prefix, std::ostream& out) {
  const std::vector<Leaf> leaves = LeavesOf(*root.GetDescriptor());
  const Leaf* before = nullptr;
  for (const Leaf& leaf : leaves) {
    const FieldDescriptor& field = *leaf.field();
    const std::string path = prefix + leaf.path;
    DescribeMessages(leaf, before, prefix, out);
    before = &leaf;
    if (IsOverlay(field) || IsNamed(field)) {
      out << Paragraph(path + ".*  " + DocOf(field), 0, 4);
    } else if (IsMessage(field)) {
      out << "\n" << Paragraph(path + "[]: " + DocOf(field), 0, 4);
      Describe(*google::protobuf::MessageFactory::generated_factory()->GetPrototype(
                   field.message_type()),
               path + "[].", out);
    } else {
      DescribeValue(leaf.HolderIn(root), field, path, out);
    }
  }
}

}  // namespace

std::string Paragraph(const std::string& text, size_t indent, size_t hanging) {
  std::string out, line(indent, ' ');
  bool empty = true;
  std::istringstream in(text);
  for (std::string word; in >> word; empty = false) {
    if (!empty && line.size() + 1 + word.size() > kColumns) {
      out += line + "\n";
      line = std::string(hanging, ' ');
      empty = true;
    }
    line += (empty ? "" : " ") + word;
  }
  return out + line + "\n";
}

std::string DescribeFields() {
  std::ostringstream out;
  Describe(RunConfig::default_instance(), "", out);
  return out.str();
}

std::string DescribeKnobs(const std::vector<Knob>& knobs) {
  std::string out;
  for (const Knob& knob : knobs) {
    out += Paragraph(knob.name + "  " + TypeOf(knob) + ", default " + Print(knob.value), 2, 6) +
           Paragraph(knob.doc, 6, 6);
    for (const Knob::Word& word : knob.words) out += Paragraph(word.name + ": " + word.doc, 8, 10);
  }
  return out;
}

}  // namespace whyrec::config
