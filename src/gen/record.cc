#include "src/gen/record.h"

#include <nlohmann/json.hpp>

#include "src/base/error.h"

namespace whyrec::gen {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kMissing = "None";

Record ToRecord(const Json& json) {
  Record record{json.at("kind"), json.at("id"), json.at("step"), {}};
  if (record.kind != "item" && record.kind != "user")
    Fail(Exit::kData, "kind \"", record.kind, "\" is not item or user");
  if (record.step != "pos" && record.step != "neg" && record.step != "fused")
    Fail(Exit::kData, "step \"", record.step, "\" is not pos, neg or fused");
  Answer& answer = record.answer;
  answer.text = json.at("text");
  if (answer.text == kMissing) answer.text.clear();
  answer.prompt_sha256 = json.at("prompt_sha256");
  answer.why = json.value("why", "");
  answer.raw_sha256 = json.value("raw_sha256", "");
  answer.model = json.value("model", "");
  answer.parse = json.value("parse", "");
  answer.seed = json.value("seed", uint64_t{0});
  answer.tokens_in = json.value("tokens_in", int64_t{0});
  answer.tokens_out = json.value("tokens_out", int64_t{0});
  return record;
}

}  // namespace

std::string RecordLine(const Request& request, const Answer& answer) {
  const Json json{{"kind", request.kind},
                  {"id", request.id},
                  {"step", request.step},
                  {"text", answer.text.empty() ? kMissing : answer.text},
                  {"why", answer.why},
                  {"raw_sha256", answer.raw_sha256},
                  {"model", answer.model},
                  {"prompt_sha256", answer.prompt_sha256},
                  {"seed", answer.seed},
                  {"tokens_in", answer.tokens_in},
                  {"tokens_out", answer.tokens_out},
                  {"parse", answer.parse}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string RecordReader::place() const {
  return Cat(lines_.file().string(), ":", lines_.line_number());
}

bool RecordReader::Next(Record& record) {
  std::string line;
  do {
    if (!lines_.Next(line)) return false;
  } while (line.empty());
  try {
    record = ToRecord(Json::parse(line));
  } catch (const std::exception& e) {
    Fail(Exit::kData, place(), ": no record of a generated text: ", e.what());
  }
  return true;
}

}  // namespace whyrec::gen
