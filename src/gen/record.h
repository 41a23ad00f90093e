// Records of generated texts, so that a run can be resumed, audited and replayed. One JSON object a
// line:
// {kind, id, step, text, why, raw, raw_sha256, model, prompt_sha256, seed, tokens_in, tokens_out,
// parse, log_probability where known, finished where false}. A missing text is stored as "None".
// kind and step as in a Request.
#pragma once

#include <filesystem>
#include <string>

#include "src/base/text_file.h"
#include "src/gen/ask.h"

namespace whyrec::gen {

struct Record {
  std::string kind;
  int64_t id = 0;
  std::string step;
  Answer answer;
  bool has_raw = false;  // else `text` is all that is left of it
};

std::string RecordLine(const Request& request, const Answer& answer);  // without "\n"

class RecordReader {
 public:
  explicit RecordReader(const std::filesystem::path& jsonl) : lines_(jsonl) {}  // plain or gzip
  // False at the end; blank lines are passed over. Error(kData) with file:line for a line that is
  // no record. kind, id, step, prompt_sha256, and text or raw must be there, the rest may be
  // missing.
  bool Next(Record& record);
  std::string place() const;  // file:line of the last record

 private:
  LineReader lines_;
};

}  // namespace whyrec::gen
