// The program as a process of its own, with its output in a file.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/procs/command.h"
#include "tests/stages/tiny.h"
#include "tests/store/temporary.h"

namespace whyrec {

using Words = std::vector<std::string>;

inline const std::string kProgram = WHYREC_BINARY_DIR "/whyrec";

inline std::string ReadAll(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Process ids of the children of `parent` whose name, in parentheses, is `name`.
inline std::vector<int> ChildrenOf(int parent, const std::string& name) {
  std::vector<int> out;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    if (!std::isdigit(entry.path().filename().string()[0])) continue;
    std::istringstream stat(ReadAll(entry.path() / "stat"));
    int pid = 0, its_parent = 0;
    std::string its_name, state;
    if (stat >> pid >> its_name >> state >> its_parent && its_parent == parent && its_name == name)
      out.push_back(pid);
  }
  return out;
}

class Process {
 public:
  Process(const Words& words, const fs::path& output) : start_(Clock::now()) {
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    const int out = open(output.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    pid_ = fork();
    if (pid_ != 0) {
      close(out);
      return;
    }
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  ~Process() {
    Signal(SIGKILL);
    if (!ended_) waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;

  int pid() const { return pid_; }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  void Signal(int signal) const {
    if (!ended_) kill(pid_, signal);
  }

  // As a shell gives it; nothing while it runs.
  std::optional<int> Code() {
    if (!ended_) {
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
      ended_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return ended_;
  }

  // Its code, 124 when it is still running after that time.
  int Wait(double seconds = 120) {
    return Until([&] { return Code().has_value(); }, seconds) ? *ended_ : 124;
  }

  // Looks every 2 ms whether it is so; false when the process ends or the time passes before.
  template <typename Condition>
  bool Until(Condition condition, double seconds = 120) {
    for (const auto end = Clock::now() + std::chrono::duration<double>(seconds);
         Clock::now() < end;) {
      if (condition()) return true;
      if (Code()) return condition();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_;
  pid_t pid_;
  std::optional<int> ended_;
};

// A folder with the tiny configuration, and `whyrec run` on it.
class TinyRuns : public testing::Test {
 protected:
  void SetUp() override {
    WriteTiny(folder_.path());
    prepared_ = folder_ / "prepared";
  }

  Words Arguments(const std::string& workspace, const Words& overrides) const {
    Words out = {(folder_ / "tiny.txtpb").string(), "--workspace", (folder_ / workspace).string()};
    for (const std::string& override : overrides) out.insert(out.end(), {"--set", override});
    return out;
  }
  Words Program(const std::string& workspace, const Words& overrides) const {
    Words out = Arguments(workspace, overrides);
    out.insert(out.begin(), {kProgram, "run"});
    return out;
  }
  // To its end; the output is in Said().
  int Finish(const Words& words) const { return Process(words, folder_ / "out").Wait(); }
  std::string Said() const { return ReadAll(folder_ / "out"); }

  static size_t Checkpoints(const fs::path& workspace, const char* variant = "isrf_code") {
    const fs::path training = workspace / Cat("train.isrf.", variant, ".partial");
    std::error_code absent;
    size_t n = 0;
    for (fs::directory_iterator it(training / ".checkpoint", absent), end; !absent && it != end;
         it.increment(absent))
      n += it->path().filename().string().starts_with("step-") && it->path().extension() != ".tmp";
    return n;
  }

  Temporary folder_;
  fs::path prepared_;
};

}  // namespace whyrec
