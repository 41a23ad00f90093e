#include "src/config/run_config.h"

#include <google/protobuf/stubs/strutil.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

#include "src/base/error.h"
#include "src/config/fields.h"
#include "src/config/parse.h"

namespace whyrec::config {
namespace {

namespace fs = std::filesystem;
using Problems = std::vector<std::string>;
using Places = std::map<std::string, std::string>;  // where a field was stated last, by its path

// MergeFrom would append the child's lists to the parent's; a list that the child states replaces
// it.
void ClearReplacedLists(Message& parent, const Message& child) {
  std::vector<const FieldDescriptor*> set;
  child.GetReflection()->ListFields(child, &set);
  for (const FieldDescriptor* field : set) {
    const auto* reflection = parent.GetReflection();
    if (field->is_repeated())
      reflection->ClearField(&parent, field);
    else if (IsMessage(*field) && reflection->HasField(parent, field))
      ClearReplacedLists(*reflection->MutableMessage(&parent, field),
                         reflection->GetMessage(child, field));
  }
}

// A path as messages show it: relative below the working directory, else absolute.
fs::path Shown(const fs::path& file) {
  const fs::path near = file.lexically_proximate(fs::current_path());
  return near.native().starts_with("..") ? file : near;
}

// `above` over `places`; a list that a file states replaces its base's.
void MergePlaces(Places& places, const Places& above) {
  for (const auto& [path, place] : above)
    if (path.ends_with("[0]"))
      std::erase_if(places, [list = path.substr(0, path.size() - 2)](const auto& old) {
        return old.first.starts_with(list);
      });
  for (const auto& [path, place] : above) places[path] = place;
}

// Where a field, or else the message that holds it, was stated; `file` where none was.
std::string PlaceOf(std::string path, const Places& places, const fs::path& file) {
  while (!path.empty()) {
    if (const auto found = places.find(path); found != places.end()) return found->second;
    path.resize(std::max<size_t>(path.find_last_of(".[") + 1, 1) - 1);
  }
  return file.string();
}

// `file` on top of its base chain. `place` is where the file is named; "" on the command line.
RunConfig LoadChain(const fs::path& file, const std::string& place, std::vector<fs::path> below,
                    Problems& problems, Places& places) {
  const std::string start = place.empty() ? "" : place + ": base ";
  std::ifstream in(file, std::ios::binary);
  if (!in || fs::is_directory(file)) {
    problems.push_back(start + file.string() + ": cannot be read");
    return {};
  }
  const fs::path real = fs::weakly_canonical(file);
  const bool circle = std::find(below.begin(), below.end(), real) != below.end();
  below.push_back(real);
  if (circle) {
    std::string chain;
    for (const fs::path& step : below) chain += (chain.empty() ? "" : " -> ") + step.string();
    problems.push_back(start + "is circular: " + chain);
    return {};
  }
  const std::string text(std::istreambuf_iterator<char>(in), {});
  RunConfig out;
  Parsed parsed = ParseText(text, file.string(), fs::absolute(file).parent_path(), out);
  RunConfig parent;
  if (out.has_base())
    parent = LoadChain(Shown(out.base()), parsed.place_of["base"], below, problems, places);
  MergePlaces(places, parsed.place_of);
  problems.insert(problems.end(), parsed.problems.begin(), parsed.problems.end());
  out.clear_base();
  parent.clear_name();  // two runs of one name would share a workspace
  ClearReplacedLists(parent, out);
  parent.MergeFrom(out);
  return parent;
}

// One step of an override's path: "system[0]" -> name and index (-1 without brackets).
struct Step {
  std::string name;
  int index = -1;
};

std::string ParseStep(std::string_view text, Step& out) {
  const size_t at = text.find('[');
  out.name = text.substr(0, at);
  if (at == std::string_view::npos) return "";
  const std::string index(text.substr(at + 1, text.size() - at - 2));
  const bool digits = !index.empty() && index.size() < 7 &&
                      index.find_first_not_of("0123456789") == std::string::npos;
  if (!text.ends_with(']') || !digits) return Cat("\"", text, "\" is not name[index]");
  out.index = std::stoi(index);
  return "";
}

// Puts the value that was appended to a list in the place of value `index`.
void MoveLastTo(Message& holder, const FieldDescriptor& field, int index) {
  const auto* reflection = holder.GetReflection();
  const int last = reflection->FieldSize(holder, &field) - 1;
  if (index == last) return;
  reflection->SwapElements(&holder, &field, index, last);
  reflection->RemoveLast(&holder, &field);
}

// Sets the field at `rest`, a path below `holder`; `path` is the whole path, for messages.
std::string Set(Message& holder, const std::string& path, std::string_view rest, std::string text) {
  const size_t dot = rest.find('.');
  Step step;
  std::string problem = ParseStep(rest.substr(0, dot), step);
  const FieldDescriptor* field =
      problem.empty() ? FindField(*holder.GetDescriptor(), step.name, problem) : nullptr;
  if (field == nullptr) return problem;
  const auto* reflection = holder.GetReflection();
  if (field->is_repeated() && !IsNamed(*field)) {
    const int size = reflection->FieldSize(holder, field);
    if (step.index < 0) return Cat(step.name, " is a list; write ", step.name, "[index]");
    if (step.index > size)
      return Cat(step.name, " has ", size, " entries; the next one is ", step.name, "[", size, "]");
    if (IsMessage(*field) && dot != std::string_view::npos && step.index == size)
      reflection->AddMessage(&holder, field);
  } else if (step.index >= 0) {
    return step.name + " is not a list";
  }
  if (IsNamed(*field)) {
    if (step.index >= 0 || dot == std::string_view::npos || dot + 1 == rest.size())
      return path + " is no value; write " + step.name + ".NAME";
    PutNamed(holder, *field, std::string(rest.substr(dot + 1)), text);
    return "";
  }
  if (IsMessage(*field)) {
    if (dot == std::string_view::npos) return path + " is a message; set one of its fields";
    Message* inner = field->is_repeated()
                         ? reflection->MutableRepeatedMessage(&holder, field, step.index)
                         : reflection->MutableMessage(&holder, field);
    return Set(*inner, path, rest.substr(dot + 1), std::move(text));
  }
  if (dot != std::string_view::npos) return step.name + " has no fields of its own";
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !text.starts_with('"'))
    text = "\"" + google::protobuf::CEscape(text) + "\"";  // a shell has taken the quotes
  problem = SetValue(holder, *field, path, text, fs::current_path());
  if (problem.empty() && field->is_repeated()) MoveLastTo(holder, *field, step.index);
  return problem;
}

void Override(RunConfig& config, size_t number, const std::string& text, Problems& problems,
              Places& places) {
  const std::string place = Cat("--set #", number, " (", text, ")");
  const size_t equals = text.find('=');
  std::string problem = "expected path=value";
  if (equals != std::string::npos) {
    const std::string path = text.substr(0, equals);
    problem = path == "base" ? "base can only stand in a file"
                             : Set(config, path, path, text.substr(equals + 1));
    std::erase_if(places, [&](const auto& old) { return old.first.starts_with(path + "."); });
    places[path] = place;
  }
  if (!problem.empty()) problems.push_back(place + ": " + problem);
}

// Gives every unset field that has one the value of the protocol, and expands paths that are
// defaults.
void FillIn(RunConfig& config, Problems& problems) {
  for (const Leaf& leaf : LeavesOf(*RunConfig::descriptor())) {
    const FieldDescriptor& field = *leaf.field();
    const Message& holder = leaf.HolderIn(config);
    if (field.is_repeated() || holder.GetReflection()->HasField(holder, &field)) continue;
    const auto& options = field.options();
    std::string text;
    if (options.HasExtension(protocol_value)) {
      text = OfProtocol(field, config);
    } else if (options.GetExtension(path) && field.has_default_value()) {
      text = Print(holder, field);
    }
    if (text.empty()) continue;
    const std::string problem =
        SetValue(leaf.MutableHolderIn(config), field, leaf.path, text, fs::current_path());
    if (!problem.empty()) problems.push_back(problem);
  }
}

}  // namespace

RunConfig WithTraining(const RunConfig& config, const TrainConfig& over) {
  RunConfig out = config;
  out.mutable_train()->MergeFrom(over);
  return out;
}

bool IsStated(const RunConfig& config, const std::string& path) {
  bool stated = true;
  const Message* holder = &config;
  for (std::string_view rest = path; !rest.empty();) {
    const size_t end = std::min(rest.find('.'), rest.size());
    Step step;
    const std::string problem = ParseStep(rest.substr(0, end), step);
    const FieldDescriptor* field = holder->GetDescriptor()->FindFieldByName(step.name);
    WR_CHECK(problem.empty() && field, "no configuration field is named ", path);
    const auto* reflection = holder->GetReflection();
    if (field->is_repeated() && step.index >= reflection->FieldSize(*holder, field)) return false;
    stated = stated && (field->is_repeated() || reflection->HasField(*holder, field));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!rest.empty())
      holder = field->is_repeated() ? &reflection->GetRepeatedMessage(*holder, field, step.index)
                                    : &reflection->GetMessage(*holder, field);
  }
  return stated;
}

void Require(const std::vector<Problem>& problems) {
  std::string all;
  for (const Problem& problem : problems) all += (all.empty() ? "" : "\n") + problem.message;
  if (!all.empty()) throw Error(Exit::kUsage, all);
}

std::vector<RunConfig> ByProtocol(const RunConfig& config) {
  if (config.protocol() != RunConfig::BOTH) return {config};
  std::vector<RunConfig> out;
  for (const auto protocol : {RunConfig::STRICT, RunConfig::AS_PUBLISHED}) {
    out.push_back(config);
    out.back().set_protocol(protocol);
    Problems problems;
    FillIn(out.back(), problems);
    WR_CHECK(problems.empty(), problems[0]);
  }
  return out;
}

RunConfig Load(const fs::path& file, const std::vector<std::string>& overrides,
               const Check& check) {
  Problems problems;
  Places places;
  RunConfig out = LoadChain(file, "", {}, problems, places);
  for (size_t i = 0; i < overrides.size(); ++i)
    Override(out, i + 1, overrides[i], problems, places);
  FillIn(out, problems);
  if (!out.has_name()) out.set_name(file.stem().string());
  if (check)
    for (const auto& [path, message] : check(out)) {
      const std::string place = PlaceOf(path, places, file) + ": ";
      const auto said = [&](const std::string& line) { return line.starts_with(place); };
      if (std::ranges::none_of(problems, said)) problems.push_back(place + message);
    }
  if (problems.empty()) return out;
  std::string all;
  for (const std::string& problem : problems) all += (all.empty() ? "" : "\n") + problem;
  throw Error(Exit::kUsage, all);
}

}  // namespace whyrec::config
