#include "cluster/lease/coordinator.h"

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <exception>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "cluster/lease/clock.h"
#include "cluster/lease/connection.h"
#include "src/base/error.h"
#include "src/base/log.h"

namespace whyrec::cluster {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::milliseconds;

constexpr auto kSyncEvery = milliseconds(20);
constexpr auto kHelloWithin = std::chrono::seconds(10);
constexpr size_t kLongestName = 100;
constexpr int kMostStrangers = 64;  // connections whose token is not checked yet

}  // namespace

// Everything below runs on the coordinator's thread, except where it says otherwise.
struct Coordinator::State {
  struct Peer {
    std::shared_ptr<Connection> connection;                   // else
    std::function<void(const wire::FromCoordinator&)> local;  // a worker of this process
    std::function<void(const std::string&)> given_up;         // and its
    std::unique_ptr<asio::steady_timer> deadline;             // for its Hello, or to close its side
    std::string name;                                         // of a worker that was let in
  };

  State(LeaseService& leases, Options chosen) : service(leases), options(std::move(chosen)) {}

  void Listen() {
    if (options.listen.empty()) return;
    boost::system::error_code error;
    const auto address = asio::ip::make_address(options.listen, error);
    if (!error) {
      const tcp::endpoint endpoint(address, options.port);
      acceptor.open(endpoint.protocol(), error);
      if (!error && options.port != 0)
        acceptor.set_option(tcp::acceptor::reuse_address(true), error);
      if (!error) acceptor.bind(endpoint, error);
      if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    }
    if (error)
      Fail(Exit::kLaunch, "cannot listen on ", options.listen, " port ", options.port, ": ",
           error.message());
    port = acceptor.local_endpoint().port();
    Accept();
  }

  void Accept() {
    acceptor.async_accept([this](const boost::system::error_code& error, tcp::socket socket) {
      if (!acceptor.is_open()) return;
      if (!error) {
        Welcome(std::move(socket));
        return Accept();
      }
      // Out of descriptors, most likely: connections that end will free some.
      accept_again.expires_after(milliseconds(100));
      accept_again.async_wait([this](const boost::system::error_code& cancelled) {
        if (!cancelled) Accept();
      });
    });
  }

  void Welcome(tcp::socket socket) {
    const uint64_t session = next_session++;
    auto connection = std::make_shared<Connection>(std::move(socket), kMostStrangerFrame);
    int strangers = 0;
    for (const auto& [number, peer] : peers) strangers += peer.deadline != nullptr;
    if (strangers >= kMostStrangers)
      return Complain(connection->peer(), "too many connections without the token");
    Peer& peer = peers[session];
    peer.connection = connection;
    CloseLater(session, "nothing received for a long time");
    connection->Start({.frame = [this, session](const std::string& f) { Hear(session, f); },
                       .lost =
                           [this, session](const std::string& problem) {
                             const auto it = peers.find(session);
                             if (it == peers.end()) return;
                             if (!problem.empty()) Complain(it->second.connection->peer(), problem);
                             Forget(session);
                           }});
  }

  void CloseLater(uint64_t session, const char* complaint) {
    Peer& peer = peers.at(session);
    peer.deadline = std::make_unique<asio::steady_timer>(io, kHelloWithin);
    peer.deadline->async_wait(
        [this, session, complaint](const boost::system::error_code& cancelled) {
          if (cancelled) return;
          if (complaint != nullptr) Complain(peers.at(session).connection->peer(), complaint);
          Forget(session);
        });
  }

  // Each kind once: a port scanner must not fill the log.
  void Complain(const std::string& who, const std::string& why) {
    if (complaints.size() < 16 && complaints.insert(why.substr(0, 11)).second)
      Warn(Cat("coordinator: refused ", who, ": ", why, " (reported once)"));
  }

  void Forget(uint64_t session) {
    const auto it = peers.find(session);
    if (it == peers.end()) return;
    if (it->second.connection) it->second.connection->Close();
    if (!it->second.name.empty() && service.knows(session) && !shut)
      Warn(Cat("worker ", it->second.name, " has gone; its units go to others"));
    peers.erase(it);
    service.Lost(session, Now());
    After();
  }

  void Hear(uint64_t session, const std::string& frame) {
    wire::FromWorker message;
    if (message.ParseFromString(frame)) {
      Receive(session, message);
      const auto it = peers.find(session);
      if (message.has_hello() && it != peers.end() && service.knows(session)) {
        it->second.name = message.hello().name().substr(0, kLongestName);
        Info(Cat("worker ", it->second.name, " joins"));
      }
      return;
    }
    Complain(peers.at(session).connection->peer(), "a frame that is not a message");
    Forget(session);
  }

  void Receive(uint64_t session, const wire::FromWorker& message) {
    Deliver(service.Receive(session, message, Now()));
    After();
  }

  void Deliver(const LeaseService::Replies& replies) {
    for (const auto& [session, message, close] : replies) {
      const auto it = peers.find(session);
      if (it == peers.end()) continue;
      Peer& peer = it->second;
      if (peer.local) {
        peer.local(message);
        continue;
      }
      if (message.has_welcome()) {
        peer.deadline.reset();
        peer.connection->set_limit(kMostFrame);
      }
      if (message.has_refusal()) Complain(peer.connection->peer(), message.refusal());
      if (message.ByteSizeLong() > 0) peer.connection->Send(message);
      if (!close) continue;
      peer.connection->CloseAfterSending();
      CloseLater(session, nullptr);
    }
  }

  // What has gathered is written now if the last time is long enough ago, else then.
  void After() {
    if (options.progress) options.progress(service.table());
    const bool last = service.table().finished() && !finished;
    if ((!service.gathered() && !last) || sync_waits) return;
    sync_waits = true;
    sync.expires_at(std::max(std::chrono::steady_clock::now(), synced + kSyncEvery));
    sync.async_wait([this](const boost::system::error_code& cancelled) {
      if (cancelled) return;
      sync_waits = false;
      Deliver(service.Sync());
      synced = std::chrono::steady_clock::now();
      if (service.finished()) finished = true;
    });
  }

  void Tick() {
    service.Tick(Now());
    After();
    sessions = service.sessions();
    // A quarter of the TTL without a tick counts as a suspended process, so ticks are more
    // frequent.
    tick.expires_after(milliseconds(20));
    tick.async_wait([this](const boost::system::error_code& cancelled) {
      if (!cancelled) Tick();
    });
  }

  void Run() {  // the thread
    try {
      io.run();
    } catch (...) {
      std::lock_guard lock(mutex);
      failure = std::current_exception();
      failed = true;
    }
    for (const auto& [session, peer] : peers)
      if (peer.given_up) peer.given_up("the coordinator has ended");
    peers.clear();
  }

  void Shut() {
    shut = true;
    boost::system::error_code ignored;
    acceptor.close(ignored);
    accept_again.cancel();
    for (auto& [session, peer] : peers)
      if (peer.connection) peer.connection->CloseAfterSending();
  }

  asio::io_context io{1};
  LeaseService& service;
  Options options;
  tcp::acceptor acceptor{io};
  asio::steady_timer tick{io}, sync{io}, accept_again{io};
  std::map<uint64_t, Peer> peers;
  uint64_t next_session = 1;
  uint16_t port = 0;
  bool sync_waits = false, shut = false;
  std::chrono::steady_clock::time_point synced;
  std::set<std::string> complaints;
  std::thread thread;
  // Read by other threads.
  std::atomic<bool> finished = false, failed = false;
  std::atomic<size_t> sessions = 0;
  std::mutex mutex;
  std::exception_ptr failure;
};

// A worker of this process: its messages are posted to the coordinator's thread, the answers are
// calls from there.
class Coordinator::Local final : public Link {
 public:
  explicit Local(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~Local() override {
    // Returns when no callback runs any more.
    std::promise<void> gone;
    asio::post(state_->io, [&] {
      state_->Forget(session_);
      gone.set_value();
    });
    auto done = gone.get_future();
    while (done.wait_for(milliseconds(5)) != std::future_status::ready)
      if (state_->failed || state_->io.stopped()) {
        if (state_->thread.joinable()) state_->thread.join();
        break;
      }
  }

  void Start(Events events) override {
    events_ = std::move(events);
    asio::post(state_->io, [this] {
      session_ = state_->next_session++;
      state_->peers[session_] = {.local = events_.message, .given_up = events_.given_up};
      events_.connected();
    });
  }

  void Send(wire::FromWorker message) override {
    asio::post(state_->io, [this, message = std::move(message)] {
      if (state_->peers.contains(session_)) state_->Receive(session_, message);
    });
  }

 private:
  std::shared_ptr<State> state_;
  Events events_;
  uint64_t session_ = 0;
};

Coordinator::Coordinator(LeaseService& service, Options options)
    : state_(std::make_shared<State>(service, std::move(options))) {
  state_->Listen();
  asio::post(state_->io, [state = state_.get()] { state->Tick(); });
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
}

Coordinator::~Coordinator() { Stop(0); }

uint16_t Coordinator::port() const { return state_->port; }
size_t Coordinator::sessions() const { return state_->sessions; }
std::unique_ptr<Link> Coordinator::LocalLink() { return std::make_unique<Local>(state_); }

bool Coordinator::Finished() const {
  if (state_->failed) {
    std::lock_guard lock(state_->mutex);
    std::rethrow_exception(state_->failure);
  }
  return state_->finished;
}

void Coordinator::Drain(wire::End::Reason reason) {
  asio::post(state_->io, [state = state_.get(), reason] {
    state->Deliver(state->service.Drain(reason));
    state->After();
  });
}

void Coordinator::Stop(double grace_seconds) {
  if (!state_->thread.joinable()) return;
  std::atomic<bool> quiet = false;
  asio::post(state_->io, [&] { state_->Shut(); });
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(grace_seconds);
  while (!quiet && !state_->failed && std::chrono::steady_clock::now() < end) {
    asio::post(state_->io, [&quiet, state = state_.get()] { quiet = state->peers.empty(); });
    std::this_thread::sleep_for(milliseconds(5));
  }
  state_->io.stop();
  state_->thread.join();
}

}  // namespace whyrec::cluster
