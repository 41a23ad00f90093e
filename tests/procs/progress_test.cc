// What the log writes to a pipe and to a pseudo-terminal. The terminal's picture is made by a small
// screen of this test: carriage return, line feed, erase line, wrapping at the width.
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "src/base/log.h"

namespace whyrec {
namespace {

std::string ReadToEnd(int fd) {
  std::string out;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
    out.append(buffer, static_cast<size_t>(n));
  close(fd);
  return out;
}

// What `body` writes to stderr in a child process: a pipe when width is 0, else a terminal that
// wide.
std::string Written(int width, const std::function<void()>& body, const char* term = "xterm") {
  int ends[2] = {-1, -1};
  pid_t child;
  if (width == 0) {
    EXPECT_EQ(pipe(ends), 0);
    child = fork();
  } else {
    termios raw = {};  // no output processing: we see the very bytes
    cfmakeraw(&raw);
    winsize size = {};
    size.ws_col = static_cast<unsigned short>(width);
    size.ws_row = 24;
    child = forkpty(&ends[0], nullptr, &raw, &size);
  }
  if (child == 0) {
    if (width == 0) dup2(ends[1], STDERR_FILENO);
    setenv("TERM", term, 1);
    body();
    _exit(0);
  }
  if (width == 0) close(ends[1]);
  const std::string out = ReadToEnd(ends[0]);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  return out;
}

std::vector<std::string> Screen(const std::string& bytes, size_t width) {
  std::vector<std::string> rows(1);
  size_t column = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '\n') {
      rows.emplace_back();
      column = 0;
    } else if (bytes[i] == '\r') {
      column = 0;
    } else if (bytes.compare(i, 3, "\033[K") == 0) {
      rows.back().resize(std::min(column, rows.back().size()));
      i += 2;
    } else {
      if (column == width) {
        rows.emplace_back();
        column = 0;
      }
      if (rows.back().size() <= column) rows.back().resize(column + 1, ' ');
      rows.back()[column++] = bytes[i];
    }
  }
  if (rows.back().empty()) rows.pop_back();
  return rows;
}

// About 0.4 s of steps, with a line said in the middle.
void SomeSteps() {
  Progress progress("train", 200, "samples");
  for (int i = 0; i < 200; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    progress.Advance(1, "loss 2.31 and a long remark of the system that trains");
    if (i == 100) Info("epoch 1 has ended");
  }
}

size_t Count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(Progress, APipeGetsPlainLines) {
  for (const std::string& out : {Written(0, SomeSteps), Written(80, SomeSteps, "dumb")}) {
    EXPECT_EQ(out.find('\r'), std::string::npos) << out;
    EXPECT_EQ(out.find('\033'), std::string::npos) << out;
    EXPECT_EQ(Count(out, "\n"), 3u) << out;  // first step, the line said, the end
    EXPECT_EQ(out.find("train 1/200 samples, "), 0u) << out;
    EXPECT_NE(out.find(" left, loss 2.31"), std::string::npos) << out;
    EXPECT_NE(out.find("\nepoch 1 has ended\ntrain 200/200 samples in "), std::string::npos) << out;
  }
}

class Terminal : public testing::TestWithParam<int> {};

TEST_P(Terminal, OneLineIsRedrawn) {
  const int width = GetParam();
  const std::string out = Written(width, SomeSteps);
  const auto rows = Screen(out, static_cast<size_t>(width));
  ASSERT_EQ(rows.size(), 2u) << out;
  EXPECT_EQ(rows[0], "epoch 1 has ended");
  EXPECT_EQ(rows[1].find("train 200/200"), 0u) << rows[1];
  EXPECT_GE(Count(out, "train "), 3u) << out;    // redrawn at all ...
  EXPECT_LE(Count(out, "train 1"), 14u) << out;  // ... but not at every step
}

INSTANTIATE_TEST_SUITE_P(Widths, Terminal, testing::Values(20, 80, 200));

TEST(Progress, OtherRanksAndNoneAreSilent) {
  auto second_rank = [] {
    SetLogRank(1);
    SomeSteps();
    Warn("of rank 1");
  };
  EXPECT_EQ(Written(0, second_rank), "");
  auto none = [] {
    SetProgressMode(ProgressMode::kNone);
    SomeSteps();
  };
  EXPECT_EQ(Written(80, none), "epoch 1 has ended\n");
}

}  // namespace
}  // namespace whyrec
