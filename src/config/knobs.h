// Options that one system has for itself. The system declares each with type, default, range or
// words, and a sentence; a configuration states them as
//   system { name: "sasrec" knobs { dim: 64 dropout: 0.2 loss: CE mask_history: false } }
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "src/config/run_config.h"

namespace whyrec::config {

using KnobValue = std::variant<bool, int64_t, double, std::string>;

struct Knob {
  struct Word {
    std::string name, doc;
  };
  std::string name;
  KnobValue value;               // the default; its type is the knob's
  std::string doc;               // a sentence with unit and source
  double low = 0, high = 0;      // of numbers; both are allowed
  std::vector<Word> words = {};  // of texts
};

// The four kinds, for declarations.
namespace knob {
struct Range {
  double low, high;
};
Knob Switch(std::string name, bool value, std::string doc);
Knob Count(std::string name, int64_t value, Range range, std::string doc);
Knob Number(std::string name, double value, Range range, std::string doc);
Knob Word(std::string name, std::vector<Knob::Word> words, std::string doc);  // default: the first
}  // namespace knob

std::string TypeOf(const Knob& knob);           // "integer in [1, 4096]", "BCE | CE"
std::string Print(const KnobValue& value);      // as a configuration states it
std::string Canonical(const KnobValue& value);  // equal values print equally, others differently

// The values of a system's knobs. A name that was not declared, or declared with another type, is
// an internal error.
class Knobs {
 public:
  Knobs() = default;
  // The defaults, and over them what `given` states. What is wrong there goes to `problems`, with
  // paths that start with `at` ("system[0]"), and leaves the default.
  Knobs(const std::vector<Knob>& declared, const SystemConfig& given, const std::string& at,
        std::vector<Problem>& problems);

  bool Has(const std::string& name) const { return values_.contains(name); }
  bool On(const std::string& name) const { return Get<bool>(name); }
  int64_t Count(const std::string& name) const { return Get<int64_t>(name); }
  double Number(const std::string& name) const { return Get<double>(name); }
  const std::string& Word(const std::string& name) const { return Get<std::string>(name); }

  const std::map<std::string, KnobValue>& values() const { return values_; }

 private:
  template <typename T>
  const T& Get(const std::string& name) const;

  std::map<std::string, KnobValue> values_;
};

}  // namespace whyrec::config
