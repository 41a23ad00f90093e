// Reflection over configuration messages: how to enumerate, print and set fields, shared by files,
// overrides, protocol values, the fingerprint and the manual page. Used inside src/config only.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <filesystem>
#include <string>
#include <vector>

#include "proto/config.pb.h"

namespace whyrec::config {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A field that is not a plain submessage: a scalar, a list or an overlay, with the chain of
// submessages that leads to it.
struct Leaf {
  std::string path;                           // "isrf.backbone.folder"
  std::vector<const FieldDescriptor*> chain;  // from the outermost message; back() is the leaf

  const FieldDescriptor* field() const { return chain.back(); }
  const Message& HolderIn(const Message& root) const;  // an absent one reads as its defaults
  Message& MutableHolderIn(Message& root) const;       // an absent one is created
};

// All leaves below a message type, in declaration order.
std::vector<Leaf> LeavesOf(const Descriptor& type);

bool IsMessage(const FieldDescriptor& field);
bool IsOverlay(const FieldDescriptor& field);
bool IsNamed(const FieldDescriptor& field);  // a list written  field { NAME: value }

// The entry `name` of a named list gets `text` as its value. False where it had one.
bool PutNamed(Message& holder, const FieldDescriptor& field, const std::string& name,
              const std::string& text);

// The value that the protocol (and, for PULSE, the reading) gives a field with a protocol_value.
// Empty under BOTH.
std::string OfProtocol(const FieldDescriptor& field, const RunConfig& config);

// The effective value as text format writes it; `index` for lists, -1 else.
std::string Print(const Message& holder, const FieldDescriptor& field, int index = -1);

// Sets a single field, or appends to a list, from text format. The value is checked against type
// and range; a path is made absolute against `folder`. Returns "" or what is wrong, and then sets
// nothing.
std::string SetValue(Message& holder, const FieldDescriptor& field, const std::string& path,
                     const std::string& text, const std::filesystem::path& folder);

// The field of that name. Null when there is none; `problem` then says so and offers a similar
// name.
const FieldDescriptor* FindField(const Descriptor& type, const std::string& name,
                                 std::string& problem);

}  // namespace whyrec::config
