// A result file made by long work that can be stopped and continued: while it is made,
// <out>.partial holds what is done; <out>.run.json says by which options, also afterwards.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace whyrec::commands {

class ResumableOutput {
 public:
  // `identity`: an object with everything that decides the result. Unfinished work with another
  // identity is not thrown away: Error(kUsage) names what differs.
  ResumableOutput(std::filesystem::path out, nlohmann::json identity);

  bool finished() const { return finished_; }  // <out> stands, made with this identity
  std::filesystem::path partial() const { return out_.string() + ".partial"; }
  // The result stands in <out>: notes it, with `facts` beside the identity, and drops the partial.
  void Finish(const nlohmann::json& facts);

 private:
  std::filesystem::path run_file() const { return out_.string() + ".run.json"; }

  std::filesystem::path out_;
  nlohmann::json identity_;
  bool finished_ = false;
};

// Lines that are written one at a time and survive the end of the process: opening reads the whole
// lines of a former try and cuts a torn one off.
class LineJournal {
 public:
  explicit LineJournal(const std::filesystem::path& file);  // Error(kCannotWrite)
  ~LineJournal();
  LineJournal(const LineJournal&) = delete;
  const std::vector<std::string>& lines() const { return lines_; }  // of former tries and this one
  void Append(const std::string& line);                             // Error(kCannotWrite)

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::vector<std::string> lines_;
};

}  // namespace whyrec::commands
