#include "src/http/client.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <optional>

#include "src/base/error.h"

namespace whyrec::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Code = boost::system::error_code;
using Clock = std::chrono::steady_clock;
using Trouble = RawResponse::Trouble;

constexpr size_t kLongestHeader = 64 << 10;

auto Into(Code& code) { return asio::redirect_error(asio::use_awaitable, code); }

RawResponse Failed(Trouble trouble, std::string why) {
  RawResponse answer;
  answer.trouble = trouble;
  answer.why = std::move(why);
  return answer;
}

RawResponse Failed(const Code& code, const char* doing, double limit_s) {
  if (code == beast::error::timeout)
    return Failed(Trouble::kSilent, Cat("silent for ", limit_s, " s while ", doing));
  if (code == http::error::body_limit)
    return Failed(Trouble::kTooLong, Cat("its answer is longer than ", kLongestAnswer, " bytes"));
  return Failed(Trouble::kBroken,
                Cat("the connection broke while ", doing, " (", code.message(), ")"));
}

// Reading an answer: `heard` is set with its first byte.
template <typename Stream>
asio::awaitable<RawResponse> Talk(Stream& stream, beast::tcp_stream& tcp,
                                  beast::flat_buffer& buffer,
                                  http::request<http::string_body>& request,
                                  const RawRequest& question, bool& heard, bool& keep) {
  const auto start = Clock::now();
  Code code;
  tcp.expires_at(start + Seconds(question.first_byte_s));
  co_await http::async_write(stream, request, Into(code));
  // A server may answer and close before it has read the whole request: its answer counts.
  http::response_parser<http::string_body> parser;
  parser.body_limit(kLongestAnswer);
  parser.header_limit(kLongestHeader);
  if (!code || code == asio::error::broken_pipe || code == asio::error::connection_reset)
    co_await http::async_read_header(stream, buffer, parser, Into(code = {}));
  heard = parser.got_some();
  if (code) co_return Failed(code, "an answer was awaited", question.first_byte_s);

  tcp.expires_at(start + Seconds(question.total_s));
  co_await http::async_read(stream, buffer, parser, Into(code));
  if (code) co_return Failed(code, "it was answering", question.total_s);
  RawResponse answer;
  answer.status = static_cast<int>(parser.get().result_int());
  answer.retry_after = std::string(parser.get()[http::field::retry_after]);
  answer.body = std::move(parser.get().body());
  keep = parser.get().keep_alive();
  co_return answer;
}

}  // namespace

struct Client::Tls {
  Tls() : context(asio::ssl::context::tls_client) {
    context.set_default_verify_paths();  // SSL_CERT_FILE and SSL_CERT_DIR add to the system's
    context.set_verify_mode(asio::ssl::verify_peer);
  }
  asio::ssl::context context;
};

struct Client::Connection {
  Connection(asio::io_context& io, Tls* tls) {
    if (tls != nullptr)
      secure.emplace(io, tls->context);
    else
      plain.emplace(io);
  }
  beast::tcp_stream& tcp() { return secure ? secure->next_layer() : *plain; }

  std::optional<beast::tcp_stream> plain;
  std::optional<beast::ssl_stream<beast::tcp_stream>> secure;
  beast::flat_buffer buffer;
  bool used = false;   // has answered before
  bool heard = false;  // a byte of the present answer
  bool keep = false;   // may be asked again
};

Url ParseUrl(const std::string& text) {
  Url url{.text = text};
  while (!url.text.empty() && url.text.back() == '/') url.text.pop_back();
  const auto wrong = [&](const char* what) {
    Fail(Exit::kUsage, "endpoint \"", text, "\": ", what, "; write http[s]://HOST:PORT/v1");
  };
  for (unsigned char c : text)
    if (c <= ' ' || c == 0x7f) wrong("a blank or control character in it");
  if (url.text.starts_with("https://"))
    url.tls = true;
  else if (!url.text.starts_with("http://"))
    wrong("neither http:// nor https://");
  std::string rest = url.text.substr(url.tls ? 8 : 7);
  if (const auto slash = rest.find('/'); slash != rest.npos) {
    url.path = rest.substr(slash);
    rest.resize(slash);
  }
  if (rest.find('@') != rest.npos) wrong("keys go into the environment, not into the address");
  const auto bracket = rest.find(']');  // [::1]:8080
  const auto colon = rest.find(':', bracket == rest.npos ? 0 : bracket);
  url.host = rest.substr(0, colon);
  url.port = colon == rest.npos ? (url.tls ? "443" : "80") : rest.substr(colon + 1);
  if (bracket != rest.npos && rest.starts_with('[')) url.host = rest.substr(1, bracket - 1);
  if (url.host.empty()) wrong("no host");
  if (url.port.empty() || url.port.size() > 5 ||
      url.port.find_first_not_of("0123456789") != url.port.npos)
    wrong("the port is not a number");
  return url;
}

Client::Client(asio::io_context& io, Url url, std::string key)
    : io_(io), url_(std::move(url)), key_(std::move(key)) {
  if (url_.tls) tls_ = std::make_unique<Tls>();
}

Client::~Client() = default;

asio::awaitable<RawResponse> Client::Ask(RawRequest question) {
  for (;;) {
    if (aborted_) co_return Failed(Trouble::kBroken, "cut off");
    std::shared_ptr<Connection> connection;
    if (!idle_.empty()) {
      connection = std::move(idle_.back());
      idle_.pop_back();
    } else {
      connection = std::make_shared<Connection>(io_, tls_.get());
    }
    active_.insert(connection);
    RawResponse answer;
    if (!connection->used) answer = co_await Connect(*connection, question.connect_s);
    if (answer.trouble == Trouble::kNone && aborted_) answer = Failed(Trouble::kBroken, "cut off");
    if (answer.trouble == Trouble::kNone) answer = co_await Exchange(*connection, question);
    active_.erase(connection);
    // The server closed the idle connection before it read the request: send it again.
    if (connection->used && !connection->heard && answer.trouble == Trouble::kBroken && !aborted_) {
      idle_.clear();
      continue;
    }
    if (answer.trouble == Trouble::kNone && connection->keep && !aborted_) {
      connection->used = true;
      idle_.push_back(connection);
    }
    co_return answer;
  }
}

void Client::Abort() {
  aborted_ = true;
  idle_.clear();
  for (const auto& connection : active_) connection->tcp().close();
}

asio::awaitable<RawResponse> Client::Connect(Connection& connection, double limit_s) {
  Code code;
  asio::ip::tcp::resolver resolver(io_);  // name look-ups have the system's time-out, not ours
  const auto addresses = co_await resolver.async_resolve(url_.host, url_.port, Into(code));
  if (code) co_return Failed(Trouble::kNoConnection, Cat("no such host (", code.message(), ")"));
  if (aborted_) co_return Failed(Trouble::kBroken, "cut off");
  auto& tcp = connection.tcp();
  tcp.expires_after(Seconds(limit_s));
  co_await tcp.async_connect(addresses, Into(code));
  if (code)
    co_return Failed(Trouble::kNoConnection, code == beast::error::timeout
                                                 ? Cat("no connection within ", limit_s, " s")
                                                 : Cat("no connection (", code.message(), ")"));
  Code ignored;
  tcp.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  tcp.socket().set_option(asio::socket_base::keep_alive(true), ignored);
  if (!connection.secure) co_return RawResponse{};

  auto& secure = *connection.secure;
  Code no_address;
  asio::ip::make_address(url_.host, no_address);
  if (no_address) SSL_set_tlsext_host_name(secure.native_handle(), url_.host.c_str());
  secure.set_verify_callback(asio::ssl::host_name_verification(url_.host));
  co_await secure.async_handshake(asio::ssl::stream_base::client, Into(code));
  if (!code) co_return RawResponse{};
  const long verdict = SSL_get_verify_result(secure.native_handle());
  if (verdict != X509_V_OK || code.message().find("certificate verify") != std::string::npos)
    co_return Failed(Trouble::kCertificate,
                     Cat("its certificate is not trusted for ", url_.host, " (",
                         verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
                                              : "made out to another host",
                         ")"));
  co_return Failed(Trouble::kNoConnection, Cat("no TLS with it (", code.message(), ")"));
}

asio::awaitable<RawResponse> Client::Exchange(Connection& connection, const RawRequest& question) {
  http::request<http::string_body> request{
      question.body.empty() ? http::verb::get : http::verb::post, url_.path + question.path, 11};
  const std::string host =
      url_.host.find(':') == std::string::npos ? url_.host : "[" + url_.host + "]";
  request.set(http::field::host, host + ":" + url_.port);
  request.set(http::field::user_agent, "whyrec");
  request.set(http::field::accept, "application/json");
  if (!key_.empty()) request.set(http::field::authorization, "Bearer " + key_);
  if (!question.body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = question.body;
  request.prepare_payload();
  connection.heard = connection.keep = false;
  if (connection.secure)
    co_return co_await Talk(*connection.secure, connection.tcp(), connection.buffer, request,
                            question, connection.heard, connection.keep);
  co_return co_await Talk(*connection.plain, connection.tcp(), connection.buffer, request, question,
                          connection.heard, connection.keep);
}

}  // namespace whyrec::http
