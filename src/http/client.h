// HTTP/1.1 client for one server: persistent connections, TLS, time-outs. It does not interpret
// bodies. Boost.Beast is included in client.cc only, since it is slow to compile.
#pragma once

#include <utility>  // before awaitable.hpp of Boost 1.74, which lacks it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace whyrec::http {

inline std::chrono::steady_clock::duration Seconds(double s) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(s));
}

inline constexpr size_t kLongestAnswer = 8 << 20;  // bytes

struct Url {
  bool tls = false;
  std::string host, port, path;  // path: "/v1", without a slash at its end
  std::string text;              // all of it again
};
// Error(kUsage) for anything but http[s]://HOST[:PORT][/PATH].
Url ParseUrl(const std::string& text);

struct RawRequest {
  std::string path;  // below the URL's: "/models"
  std::string body;  // JSON, sent by POST; empty: GET
  double connect_s = 10, first_byte_s = 30, total_s = 60;
};

struct RawResponse {
  enum class Trouble { kNone, kNoConnection, kCertificate, kBroken, kTooLong, kSilent };
  Trouble trouble = Trouble::kNone;
  std::string why;  // of the trouble
  int status = 0;
  std::string body, retry_after;
};

// All calls are on the thread that runs the io_context.
class Client {
 public:
  // `key` goes out as a bearer token and nowhere else.
  Client(boost::asio::io_context& io, Url url, std::string key);
  ~Client();
  // Sends the request once, or a second time when the server had closed an idle connection.
  boost::asio::awaitable<RawResponse> Ask(RawRequest question);
  // Aborts running requests; they and all later ones return kBroken until Resume.
  void Abort();
  void Resume() { aborted_ = false; }
  bool aborted() const { return aborted_; }
  const Url& url() const { return url_; }

 private:
  struct Connection;
  struct Tls;
  boost::asio::awaitable<RawResponse> Connect(Connection& connection, double limit_s);
  boost::asio::awaitable<RawResponse> Exchange(Connection& connection, const RawRequest& question);

  boost::asio::io_context& io_;
  Url url_;
  std::string key_;
  std::unique_ptr<Tls> tls_;  // made with the first connection
  std::vector<std::shared_ptr<Connection>> idle_;
  std::set<std::shared_ptr<Connection>> active_;
  bool aborted_ = false;
};

}  // namespace whyrec::http
