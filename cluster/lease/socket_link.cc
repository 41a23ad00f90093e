// A worker's TCP connection to the coordinator, on its own thread. It reconnects until its patience
// runs out, since the coordinator may start later or be restarted.
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <optional>
#include <thread>

#include "cluster/lease/connection.h"
#include "cluster/lease/link.h"
#include "proto/wire.pb.h"
#include "src/base/error.h"
#include "src/base/text_file.h"

namespace whyrec::cluster {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kFirstPause = milliseconds(50), kLongestPause = milliseconds(1000);
constexpr auto kConnectLimit = std::chrono::seconds(10);

class SocketLink final : public Link {
 public:
  explicit SocketLink(const CoordinatorAddress& where) : where_(where) {}
  ~SocketLink() override {
    if (!thread_.joinable()) return;
    asio::post(io_, [this] {
      ending_ = true;
      timer_.cancel();
      resolver_.cancel();
      boost::system::error_code ignored;
      if (socket_) socket_->close(ignored);
      if (!connection_) return;
      connection_->CloseAfterSending();
      // Long enough for last words, not for a coordinator that no longer reads.
      timer_.expires_after(milliseconds(500));
      timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && connection_) std::exchange(connection_, nullptr)->Close();
      });
    });
    work_.reset();
    thread_.join();
  }

  void Start(Events events) override {
    events_ = std::move(events);
    trying_since_ = Clock::now();
    asio::post(io_, [this] { Try(); });
    thread_ = std::thread([this] { io_.run(); });
  }

  void Send(wire::FromWorker message) override {
    asio::post(io_, [this, message = std::move(message)] {
      if (connection_) connection_->Send(message);
    });
  }

 private:
  void Try() {
    if (ending_) return;
    std::string address = where_.address;
    if (address.empty()) {
      address = ReadFileIfAny(where_.address_file);
      address = address.substr(0, address.find('\n'));
      if (address == "finished") {
        wire::FromCoordinator message;
        message.mutable_end()->set_reason(wire::End::FINISHED);
        return events_.message(message);
      }
      if (address.empty()) return Again("there is no " + where_.address_file.string());
    }
    const size_t colon = address.rfind(':');
    if (colon == std::string::npos) return Again("'" + address + "' is not host:port");
    resolver_.async_resolve(address.substr(0, colon), address.substr(colon + 1),
                            [this, address](const boost::system::error_code& error,
                                            const tcp::resolver::results_type& found) {
                              if (ending_) return;
                              if (error) return Again(address + ": " + error.message());
                              ConnectTo(address, found);
                            });
  }

  void ConnectTo(const std::string& address, const tcp::resolver::results_type& found) {
    socket_ = std::make_unique<tcp::socket>(io_);
    timer_.expires_after(kConnectLimit);
    timer_.async_wait([this](const boost::system::error_code& error) {
      boost::system::error_code ignored;
      if (!error && socket_) socket_->close(ignored);
    });
    asio::async_connect(*socket_, found,
                        [this, address](const boost::system::error_code& error, const auto&) {
                          timer_.cancel();
                          auto socket = std::exchange(socket_, nullptr);
                          if (ending_) return;
                          if (error) return Again(address + ": " + error.message());
                          Connected(address, std::move(*socket));
                        });
  }

  void Connected(const std::string& address, tcp::socket socket) {
    connection_ = std::make_shared<Connection>(std::move(socket), kMostFrame);
    connection_->Start({.frame = [this](const std::string& frame) { Take(frame); },
                        .lost =
                            [this, address](const std::string& problem) {
                              connection_.reset();
                              if (ending_) return timer_.cancel(), void();
                              events_.lost();
                              Again(address + ": " +
                                    (problem.empty() ? "the connection was closed" : problem));
                            }});
    events_.connected();
  }

  void Take(const std::string& frame) {
    if (ending_) return;
    wire::FromCoordinator message;
    if (!message.ParseFromString(frame)) return;
    if (message.has_welcome()) {
      trying_since_.reset();
      pause_ = kFirstPause;
    }
    events_.message(message);
  }

  void Again(const std::string& why) {
    const auto now = Clock::now();
    if (!trying_since_) trying_since_ = now;
    if (std::chrono::duration<double>(now - *trying_since_).count() > where_.patience)
      return events_.given_up(Cat("no coordinator within ", where_.patience, " s (", why, ")"));
    timer_.expires_after(pause_);
    pause_ = std::min(2 * pause_, kLongestPause);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) Try();
    });
  }

  CoordinatorAddress where_;
  Events events_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
  asio::steady_timer timer_{io_};
  tcp::resolver resolver_{io_};
  std::unique_ptr<tcp::socket> socket_;  // while it connects
  std::shared_ptr<Connection> connection_;
  std::optional<Clock::time_point> trying_since_;
  milliseconds pause_ = kFirstPause;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Link> MakeSocketLink(const CoordinatorAddress& where) {
  return std::make_unique<SocketLink>(where);
}

}  // namespace whyrec::cluster
