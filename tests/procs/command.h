// Runs a shell command with a deadline.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace whyrec {

struct Outcome {
  int code = 0;  // as a shell gives it; 124 when the deadline passed
  double seconds = 0;
  std::string output;  // stdout and stderr
};

inline Outcome RunCommand(const std::string& command, int deadline_seconds) {
  const auto start = std::chrono::steady_clock::now();
  Outcome out;
  const std::string limited =
      "timeout -k 5 " + std::to_string(deadline_seconds) + " " + command + " 2>&1";
  FILE* pipe = popen(limited.c_str(), "r");
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.output.append(buffer, n);
  const int status = pclose(pipe);
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

// The exit code, and every part in the output.
inline void ExpectOutcome(const Outcome& out, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(out.code, code) << out.output;
  for (const std::string& part : parts)
    EXPECT_NE(out.output.find(part), std::string::npos) << part << " in:\n" << out.output;
}

}  // namespace whyrec
