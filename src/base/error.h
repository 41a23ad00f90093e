// Failures. Bad input and broken invariants throw Error; its code is the program's exit code.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace whyrec {

// Exit codes of the program (sysexits where one fits).
enum class Exit : int {
  kOk = 0,
  kUsage = 2,          // command line or configuration
  kData = 65,          // input data wrong, or a STRICT audit failed
  kUnavailable = 69,   // no text endpoint answered, after all retries
  kInternal = 70,      // a broken invariant: a bug in whyrec
  kLaunch = 71,        // launch or communication failure
  kCannotWrite = 73,   // disk full, permission
  kStoppedEarly = 75,  // stopped early, the save is complete: run the same command again
};

class Error : public std::runtime_error {
 public:
  Error(Exit code, const std::string& what) : std::runtime_error(what), code_(code) {}
  Exit code() const { return code_; }

 private:
  Exit code_;
};

// Concatenates anything that prints.
template <typename... Parts>
std::string Cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Throws Error(code, text of the parts).
template <typename... Parts>
[[noreturn]] void Fail(Exit code, const Parts&... parts) {
  throw Error(code, Cat(parts...));
}

}  // namespace whyrec

// Checks an invariant; throws Error(kInternal). The text should hold the differing values.
#define WR_CHECK(condition, ...)                                                              \
  do {                                                                                        \
    if (!(condition))                                                                         \
      ::whyrec::Fail(::whyrec::Exit::kInternal, __FILE__, ":", __LINE__, ": " #condition " ", \
                     ##__VA_ARGS__);                                                          \
  } while (0)
