#include "src/http/http.h"

#include <algorithm>
#include <cstdlib>

#include "proto/config.pb.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/http/dispatch.h"

namespace whyrec::http {
namespace {

bool IsNear(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

void Check(const Options& options) {
  if (options.endpoints.empty())
    Fail(Exit::kUsage, "rationales.backend is HTTP: set rationales.http.endpoint to ",
         "http[s]://HOST:PORT/v1 of a server");
  for (unsigned char c : options.key)
    if (c < ' ' || c == 0x7f)
      Fail(Exit::kUsage, "the key of the text endpoint has a line break or control character in ",
           "it; set its environment variable anew");
  for (const auto& endpoint : options.endpoints) {
    const Url url = ParseUrl(endpoint);
    if (std::count(options.endpoints.begin(), options.endpoints.end(), endpoint) > 1)
      Fail(Exit::kUsage, "rationales.http.endpoint names ", endpoint, " twice");
    if (!url.tls && !options.key.empty() && !IsNear(url.host))
      Warn("the key goes to " + url.host + " unencrypted; use https:// where others may listen");
  }
}

class ServerGenerator final : public gen::Generator {
 public:
  explicit ServerGenerator(const Options& options) : dispatch_(options) {}

  std::string name() const override {
    if (dispatch_.model().empty()) dispatch_.Prepare();
    return dispatch_.model();
  }

  std::vector<gen::Reply> Generate(const std::vector<gen::Request>& requests,
                                   const gen::TextSampling& sampling) override {
    return dispatch_.Run(requests, sampling);
  }

 private:
  mutable Dispatch dispatch_;  // mutable: name() asks the server on its first call
};

}  // namespace

Options OptionsOf(const config::HttpConfig& config, uint64_t seed) {
  const char* key = std::getenv(config.key_variable().c_str());
  Options options{.endpoints = {config.endpoint().begin(), config.endpoint().end()},
                  .model = config.model(),
                  .chat = config.route() == config::HttpConfig::CHAT,
                  .key = key == nullptr ? "" : key,
                  .window = config.window(),
                  .retries = config.retries(),
                  .timeout_s = config.timeout_s(),
                  .context = config.context(),
                  .seed = seed};
  Check(options);
  return options;
}

std::unique_ptr<gen::Generator> MakeGenerator(const Options& options) {
  Check(options);
  return std::make_unique<ServerGenerator>(options);
}

}  // namespace whyrec::http
