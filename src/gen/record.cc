#include "src/gen/record.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "src/base/error.h"
#include "src/base/hash.h"

namespace whyrec::gen {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kMissing = "None";

void CheckName(const Record& record) {
  constexpr std::array kKinds{"item", "user", "train", "validation", "test"};
  const bool chain = record.kind == "item" || record.kind == "user";
  if (std::find(kKinds.begin(), kKinds.end(), record.kind) == kKinds.end())
    Fail(Exit::kData, "kind \"", record.kind, "\" is not item, user, train, validation or test");
  if (chain && record.step != "pos" && record.step != "neg" && record.step != "fused")
    Fail(Exit::kData, "step \"", record.step, "\" is not pos, neg or fused");
  if (record.step.empty()) Fail(Exit::kData, "step is empty");
}

Record ToRecord(const Json& json) {
  Record record{json.at("kind"), json.at("id"), json.at("step"), {}};
  CheckName(record);
  Answer& answer = record.answer;
  record.has_raw = json.contains("raw");
  if (record.has_raw) answer.raw = json.at("raw");
  answer.text = record.has_raw ? json.value("text", std::string(kMissing))
                               : json.at("text").get<std::string>();
  if (answer.text == kMissing) answer.text.clear();
  answer.prompt_sha256 = json.at("prompt_sha256");
  answer.why = json.value("why", "");
  answer.model = json.value("model", "");
  answer.parse = json.value("parse", "");
  answer.seed = json.value("seed", uint64_t{0});
  answer.tokens_in = json.value("tokens_in", int64_t{0});
  answer.tokens_out = json.value("tokens_out", int64_t{0});
  answer.finished = json.value("finished", true);
  if (json.contains("log_probability") && json.at("log_probability").is_number())
    answer.log_probability = json.at("log_probability");
  return record;
}

}  // namespace

std::string RecordLine(const Request& request, const Answer& answer) {
  Json json{{"kind", request.kind},
            {"id", request.id},
            {"step", request.step},
            {"text", answer.text.empty() ? kMissing : answer.text},
            {"why", answer.why},
            {"raw", answer.raw},
            {"raw_sha256", Sha256Of(answer.raw)},
            {"model", answer.model},
            {"prompt_sha256", answer.prompt_sha256},
            {"seed", answer.seed},
            {"tokens_in", answer.tokens_in},
            {"tokens_out", answer.tokens_out},
            {"parse", answer.parse}};
  if (std::isfinite(answer.log_probability)) json["log_probability"] = answer.log_probability;
  if (!answer.finished) json["finished"] = false;
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
    Fail(Exit::kData, place(), ": not a record of a generated text: ", e.what());
  }
  return true;
}

}  // namespace whyrec::gen
