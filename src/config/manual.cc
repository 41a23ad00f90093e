#include "src/config/manual.h"

#include <google/protobuf/message.h>

#include <iomanip>
#include <sstream>

#include "src/base/error.h"
#include "src/config/fields.h"

namespace whyrec::config {
namespace {

constexpr size_t kColumns = 100;

std::string TypeOf(const FieldDescriptor& field) {
  std::string out = field.cpp_type_name();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    out.clear();
    for (int i = 0; i < field.enum_type()->value_count(); ++i)
      out += (i ? "|" : "") + field.enum_type()->value(i)->name();
  }
  if (field.options().GetExtension(path)) out = "path";
  if (field.is_repeated()) out = "list of " + out;
  const std::string interval = field.options().GetExtension(range);
  return interval.empty() ? out : out + " " + interval;
}

std::string DefaultOf(const Message& holder, const FieldDescriptor& field) {
  if (field.options().HasExtension(protocol_value)) {
    const ProtocolValue& value = field.options().GetExtension(protocol_value);
    return "as_published " + value.as_published() +
           (value.has_released_code() ? ", released_code " + value.released_code() : "") +
           ", strict " + value.strict();
  }
  return field.has_default_value() ? Print(holder, field) : "-";
}

void Describe(const Message& root, const std::string& prefix, std::ostream& out) {
  for (const Leaf& leaf : LeavesOf(*root.GetDescriptor())) {
    const FieldDescriptor& field = *leaf.field();
    if (IsOverlay(field)) {
      out << prefix << leaf.path << ".*  as " << field.name()
          << ".*: " << field.options().GetExtension(doc) << "\n";
    } else if (IsNamed(field)) {
      out << prefix << leaf.path << ".*  " << field.options().GetExtension(doc) << "\n";
    } else if (IsMessage(field)) {
      const Message& entry = *google::protobuf::MessageFactory::generated_factory()->GetPrototype(
          field.message_type());
      Describe(entry, prefix + leaf.path + "[].", out);
    } else {
      out << std::left << std::setw(34) << prefix + leaf.path << "  " << std::setw(24)
          << TypeOf(field) << "  " << std::setw(12) << DefaultOf(leaf.HolderIn(root), field);
      if (const std::string text = field.options().GetExtension(doc); !text.empty())
        out << "  " << text;
      out << "\n";
    }
  }
}

}  // namespace

std::string Paragraph(const std::string& text, int indent) {
  const std::string start(static_cast<size_t>(indent), ' ');
  std::string out, line = start;
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    if (line.size() > start.size() && line.size() + 1 + word.size() > kColumns) {
      out += line + "\n";
      line = start;
    }
    line += (line.size() > start.size() ? " " : "") + word;
  }
  return out + line + "\n";
}

std::string DescribeFields() {
  std::ostringstream out;
  Describe(RunConfig::default_instance(), "", out);
  return out.str();
}

std::string DescribeKnobs(const std::vector<Knob>& knobs) {
  std::ostringstream out;
  for (const Knob& knob : knobs) {
    out << "  " << std::left << std::setw(14) << knob.name << "  " << TypeOf(knob) << ", default "
        << Print(knob.value) << "\n"
        << Paragraph(knob.doc, 18);
    for (const Knob::Word& word : knob.words) out << Paragraph(word.name + ": " + word.doc, 20);
  }
  return out.str();
}

}  // namespace whyrec::config
