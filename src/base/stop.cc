#include "src/base/stop.h"

#include <csignal>
#include <initializer_list>

namespace whyrec {
namespace {

volatile std::sig_atomic_t g_stop = 0;

void OnSignal(int) {
  if (g_stop) std::signal(SIGINT, SIG_DFL);  // the next Ctrl-C kills the program at once
  g_stop = 1;
}

}  // namespace

void CatchStopSignals() {
  for (int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) std::signal(signal, OnSignal);
}

bool StopRequested() { return g_stop != 0; }

}  // namespace whyrec
