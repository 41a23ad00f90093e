// Stop signals (SIGTERM, SIGINT, SIGUSR1, SIGUSR2) only set a flag; work stops at the next point
// where it can be resumed, with everything saved and exit code 75.
#pragma once

namespace whyrec {

void CatchStopSignals();
bool StopRequested();

}  // namespace whyrec
