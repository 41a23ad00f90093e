// whyrec embed: texts in, one tensor of vectors out.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/stop.h"
#include "src/commands/commands.h"
#include "src/commands/json_lines.h"
#include "src/commands/resumable.h"
#include "src/nn/numeric.h"
#include "src/store/safetensors.h"
#include "src/store/workspace.h"
#include "src/tensor/device_name.h"

namespace whyrec::commands {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kPart = 2048;  // texts of one part; a stopped run loses at most one part

std::vector<std::string> ReadTexts(const fs::path& file) {
  std::vector<std::string> texts;
  JsonLines lines(file);
  while (lines.Next()) {
    lines.Id();
    texts.push_back(lines.Text("text"));
  }
  if (texts.empty()) Fail(Exit::kData, file.string(), ": holds no texts");
  return texts;
}

fs::path PartFile(const fs::path& folder, int64_t part) {
  char name[32];
  std::snprintf(name, sizeof name, "%08lld.safetensors", static_cast<long long>(part));
  return folder / name;
}

HostTensor Merge(const fs::path& folder, int64_t texts, int64_t width) {
  HostTensor all = HostTensor::Zeros(DType::kF32, {texts, width});
  auto* to = static_cast<char*>(all.bytes());
  for (int64_t begin = 0; begin < texts; begin += kPart) {
    const HostTensor part =
        store::ReadSafetensors(PartFile(folder, begin / kPart)).at("embeddings");
    const int64_t rows = std::min(kPart, texts - begin);
    WR_CHECK(part.shape() == (std::vector<int64_t>{rows, width}), ShapeString(part.shape()));
    std::memcpy(to, part.bytes(), part.nbytes());
    to += part.nbytes();
  }
  return all;
}

nlohmann::json IdentityOf(const EmbedCommand& command) {
  const lm::EncoderOptions& o = command.options;
  return {{"command", "embed"},
          {"model", store::ExternalInput("model", command.model).content()},
          {"in", store::ExternalInput("in", command.in).content()},
          {"max_tokens", o.max_tokens},
          {"pooling", static_cast<int>(o.pooling)},
          {"normalise", o.normalise},
          {"dtype", o.dtype}};
}

}  // namespace

void Embed(const EmbedCommand& command) {
  const std::vector<std::string> texts = ReadTexts(command.in);
  const auto count = static_cast<int64_t>(texts.size());
  ResumableOutput output(command.out, IdentityOf(command));
  if (output.finished()) {
    Info(Cat("nothing to do: ", command.out.string(), " already has all ", count, " vectors"));
    return;
  }
  nn::SetThreads(command.threads);
  auto options = command.options;
  options.device = tensor::DeviceOfRank(options.device, cluster::ReadLocalLaunch());
  const auto encoder = lm::LoadEncoder(command.model, options);
  fs::create_directories(output.partial());
  Progress progress("embed", count, "texts");
  bool resumed = true;
  for (int64_t begin = 0, done = 0; begin < count; begin += kPart) {
    const int64_t end = std::min(count, begin + kPart);
    const fs::path part = PartFile(output.partial(), begin / kPart);
    if (resumed && fs::exists(part)) {
      progress.Resume(done += end - begin);
      continue;
    }
    resumed = false;
    if (StopRequested())
      Fail(Exit::kStoppedEarly, "stopped by a signal; ", begin, " texts are kept in ",
           output.partial().string(), ": run the same command again");
    store::WriteSafetensors(
        part, {{"embeddings", encoder->Encode({texts.begin() + begin, texts.begin() + end})}});
    progress.Advance(end - begin);
  }
  store::WriteSafetensors(command.out,
                          {{"embeddings", Merge(output.partial(), count, encoder->width())}});
  output.Finish({{"texts", count}, {"model_folder", command.model.string()}});
}

}  // namespace whyrec::commands
