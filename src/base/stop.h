// Stop signals (SIGTERM, SIGINT, SIGUSR1, SIGUSR2) only set a flag; work ends at the next safe
// place, with everything saved and exit code 75.
#pragma once

namespace whyrec {

void CatchStopSignals();
bool StopRequested();

}  // namespace whyrec
