#include "src/base/log.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <sstream>

namespace whyrec {
namespace {

int g_rank = 0;  // set once at start; the log is the only process-wide state
ProgressMode g_mode = ProgressMode::kAuto;
std::atomic<bool> g_bar_stands = false;  // a progress bar occupies the terminal's last line

bool DrawsBar() {
  if (g_mode != ProgressMode::kAuto) return g_mode == ProgressMode::kBar;
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) && term != nullptr && std::string(term) != "dumb";
}

std::string Clock(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  std::ostringstream out;
  if (s >= 3600)
    out << s / 3600 << "h" << std::setw(2) << std::setfill('0') << s / 60 % 60 << "m";
  else if (s >= 60)
    out << s / 60 << "m" << std::setw(2) << std::setfill('0') << s % 60 << "s";
  else
    out << s << "s";
  return out.str();
}

// A line longer than the terminal would wrap, and the next drawing would leave its first rows
// behind.
std::string CutToTerminal(std::string line) {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    line.resize(std::min<size_t>(line.size(), size.ws_col - 1));
  }
  return line;
}

void Say(const char* kind, const std::string& line) {
  if (g_rank != 0) return;
  std::fprintf(stderr, "%s%s%s\n", g_bar_stands.exchange(false) ? "\r\033[K" : "", kind,
               line.c_str());
}

}  // namespace

void SetLogRank(int rank) { g_rank = rank; }
void SetProgressMode(ProgressMode mode) { g_mode = mode; }

void Info(const std::string& line) { Say("", line); }

void Warn(const std::string& line) { Say("warning: ", line); }

Progress::Progress(std::string what, int64_t total, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      bar_(DrawsBar()),
      start_(std::chrono::steady_clock::now()),
      shown_(start_) {}

Progress::~Progress() {
  if (drawn_ || done_ > resumed_) Show(true);
}

void Progress::Resume(int64_t done) { done_ = resumed_ = shown_done_ = done; }

void Progress::Advance(int64_t n, const std::string& note) {
  const bool first = done_ == resumed_;
  done_ += n;
  note_ = note;
  const double since =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - shown_).count();
  const bool due = bar_ ? since >= 0.1 : since >= 30 && (done_ - shown_done_) * 20 >= total_;
  if ((first || due) && done_ < total_) Show(false);
}

std::string Progress::Line() const {
  const double seconds = std::max(
      1e-9, std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
  const double rate = static_cast<double>(done_ - resumed_) / seconds;
  std::ostringstream out;
  out << what_ << " " << done_ << "/" << total_ << " " << unit_;
  if (done_ >= total_) {
    out << " in " << Clock(seconds);
  } else if (rate > 0) {
    out << ", " << std::setprecision(3) << rate << " " << unit_ << "/s, "
        << Clock(static_cast<double>(total_ - done_) / rate) << " left";
  }
  if (!note_.empty()) out << ", " << note_;
  return out.str();
}

void Progress::Show(bool last) {
  if (g_rank != 0 || g_mode == ProgressMode::kNone) return;
  if (bar_)
    std::fprintf(stderr, "\r\033[K%s%s", CutToTerminal(Line()).c_str(), last ? "\n" : "");
  else
    std::fprintf(stderr, "%s\n", Line().c_str());
  std::fflush(stderr);
  drawn_ = !last;
  g_bar_stands = bar_ && !last;
  shown_ = std::chrono::steady_clock::now();
  shown_done_ = done_;
}

}  // namespace whyrec
