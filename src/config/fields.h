// Reflection over configuration messages: one way to walk, to print and to set a field, shared by
// files, overrides, protocol values, the fingerprint and the manual page. Used inside config only.
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

// A field that is no single message: a scalar, a list or an overlay, reached through single
// messages.
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

// What the protocol, and the reading of the paper, give a field that has a protocol_value.
std::string OfProtocol(const FieldDescriptor& field, const RunConfig& config);

// The effective value as text format writes it; `index` for lists, -1 else.
std::string Print(const Message& holder, const FieldDescriptor& field, int index = -1);

// Sets a single field, or appends to a list, from text format. The value is checked against type
// and range; a path is made absolute against `folder`. Returns "" or what is wrong, and then sets
// nothing.
std::string SetValue(Message& holder, const FieldDescriptor& field, const std::string& path,
                     const std::string& text, const std::filesystem::path& folder);

// The field of that name; null with `problem` filled (and a near name offered) when there is none.
const FieldDescriptor* FindField(const Descriptor& type, const std::string& name,
                                 std::string& problem);

}  // namespace whyrec::config
