// Restarts the program with the environment it needs. Some settings are read from the environment
// before main: how long OpenMP's threads spin while they wait, which variants of exp and log the C
// library uses, which kernels LibTorch, MKL and oneDNN choose. To change them, a program has to
// execute itself again: same process, arguments, working directory and open files, new environment.
#pragma once

namespace whyrec {

// Returns if the environment is as needed; otherwise replaces the process by a second start of the
// same program. Call it before threads, locks and signal handlers: the second start has none of
// them. It can be called before any initialiser has run, and then costs milliseconds (src/main.cc).
//
// Always: waiting OpenMP threads sleep after about 0.15 ms, unless OMP_WAIT_POLICY or
// GOMP_SPINCOUNT is set. plain_kernels (execution.reproducible): one thread, and kernels that give
// the same bits on every x86-64 CPU, whatever was set. Throws Error(kLaunch) if the program cannot
// be started again.
void StartSelf(char** arguments, char** environment, bool plain_kernels);

}  // namespace whyrec
