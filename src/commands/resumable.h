// A result file of long work that can be stopped and continued. <out>.partial holds the finished
// part until the result is complete; <out>.run.json records the options and stays.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/base/open_file.h"

namespace whyrec::commands {

class ResumableOutput {
 public:
  // `identity`: an object with everything that determines the result. Unfinished work with another
  // identity is not overwritten: Error(kUsage) names what differs.
  ResumableOutput(std::filesystem::path out, nlohmann::json identity);

  bool finished() const { return finished_; }  // <out> exists and was made with this identity
  std::filesystem::path partial() const { return out_.string() + ".partial"; }
  // <out> is complete: records that, with `facts` beside the identity, and deletes the partial
  // file.
  void Finish(const nlohmann::json& facts);

 private:
  std::filesystem::path run_file() const { return out_.string() + ".run.json"; }

  std::filesystem::path out_;
  nlohmann::json identity_;
  bool finished_ = false;
};

// Lines that are appended one at a time and survive a crash: opening the file reads the complete
// lines and cuts off an incomplete last one.
class LineJournal {
 public:
  explicit LineJournal(const std::filesystem::path& file);  // Error(kCannotWrite)
  ~LineJournal();
  const std::vector<std::string>& lines() const { return lines_; }  // of former tries and this one
  void Append(const std::string& line);                             // Error(kCannotWrite)

 private:
  OpenFile file_;
  std::vector<std::string> lines_;
};

}  // namespace whyrec::commands
