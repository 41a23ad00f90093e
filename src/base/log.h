// Messages for people, on stderr. Only rank 0 writes.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace whyrec {

void SetLogRank(int rank);
void Info(const std::string& line);
void Warn(const std::string& line);

enum class ProgressMode { kAuto, kBar, kLines, kNone };
void SetProgressMode(ProgressMode mode);

// Progress of one stage. On a terminal: one line, redrawn at most 10 times a second. Otherwise
// plain lines: at the first step, then every 30 s or 5 %, whichever is later, each with rate and
// time left.
class Progress {
 public:
  Progress(std::string what, int64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  void Advance(int64_t n = 1, const std::string& note = "");  // note: "loss 2.31"
  // The stage resumes with `done` of the total already done; the rate counts the rest only.
  void Resume(int64_t done);

 private:
  void Show(bool last);
  std::string Line() const;

  std::string what_, unit_, note_;
  int64_t total_, done_ = 0, resumed_ = 0;
  bool bar_, drawn_ = false;
  std::chrono::steady_clock::time_point start_, shown_;
  int64_t shown_done_ = 0;
};

}  // namespace whyrec
